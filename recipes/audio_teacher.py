"""The teacher: an AudioSet tagger that labels any window of sound, run as it is and never shipped.

Hershey et al. 2017 (CNN architectures for large-scale audio classification) and Gemmeke et al. 2017
(AudioSet) describe its training; the file is YAMNet as TensorFlow Lite, 521 classes.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SAMPLES = 15_600
CLASSES = 521
FEATURES = 1024


class Teacher:
    """Runs the tagger on one thread. Needs `ai-edge-litert` and the class map beside the file."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        maps = sorted(path.parent.glob("*class_map.csv"))
        if not path.is_file() or not maps:
            raise SystemExit(f"{path} and a *class_map.csv beside it are needed to teach the sound tower")
        with maps[0].open(encoding="utf-8") as file:
            self.names = [row["display_name"] for row in csv.DictReader(file)]
        self._interpreter = Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=True)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        pooled = [d for d in self._interpreter.get_tensor_details() if _is_pooled(d["shape"])]
        self._features = pooled[-1]["index"]
        self._scale, self._zero = pooled[-1]["quantization"]

    def __call__(self, samples: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(scores (521,) in [0, 1], features (1024,) >= 0) of 15,600 samples at 16 kHz in [-1, 1]."""
        self._interpreter.set_tensor(self._input, samples[:SAMPLES])
        self._interpreter.invoke()
        scores = self._interpreter.get_tensor(self._output)[0]
        features = self._interpreter.get_tensor(self._features).reshape(-1)
        return scores.astype(np.float32), (features.astype(np.float32) - self._zero) * np.float32(self._scale)


def _is_pooled(shape: NDArray[np.int32]) -> bool:
    return len(shape) == 4 and tuple(shape) == (1, 1, 1, FEATURES)
