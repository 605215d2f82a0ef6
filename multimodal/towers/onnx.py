"""The starter's convolutional towers on onnxruntime: 0.3 s to import where torch takes 3.

The `.onnx` file is the graph alone; its weights are read in place from the safetensors file beside it,
the same one that torch loads for training.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import SpaceError
from multimodal.towers.base import Preprocess, identity, unit

FORWARD_BATCH = 4
"""Pictures or windows a forward pass takes at once: 16 gains nothing on a CPU (27 against 26 ms a picture)
and its peak is 830 MB instead of 290."""


class OnnxTower:
    """Runs one graph with a single input of fixed shape per item and a single output (n, feature_dim)."""

    def __init__(self, graph: Path, preprocess: Preprocess, config: Mapping[str, Any]) -> None:
        """`config` holds `weights_hash` and what else decides the output; `graph` opens on first use."""
        if not graph.is_file():
            raise SpaceError(f"{graph} is missing from the space")
        self._graph = graph
        self.preprocess = preprocess
        self.feature_dim = int(config["feature_dim"])
        self.tower_id = f"{graph.stem}-" + identity(dict(config))

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads()
        # spinning threads that wait for work starve the decoders beside them
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            return onnxruntime.InferenceSession(str(self._graph), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions share no base but Exception
            raise SpaceError(f"{self._graph} cannot be loaded: {error}") from error

    @property
    def weights(self) -> Path:
        """The safetensors file that the graph reads its weights from: it lies beside it."""
        return self._graph.with_suffix(".safetensors")

    def forward(self, batch: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """n arrays of one shape to features (n, feature_dim)."""
        name = self._session.get_inputs()[0].name
        chunks = [
            self._session.run(None, {name: np.stack(batch[start : start + FORWARD_BATCH])})[0]
            for start in range(0, len(batch), FORWARD_BATCH)
        ]
        return np.concatenate(chunks).astype(np.float32, copy=False)


class WindowedTower:
    """A tower over fixed windows of a longer content: the unit mean of its windows' features.

    `inner.preprocess` gives (windows, ...) per content; every window counts the same.
    """

    def __init__(self, inner: OnnxTower) -> None:
        self.windows = inner
        self.preprocess = inner.preprocess
        self.feature_dim = inner.feature_dim
        self.tower_id = inner.tower_id + "-mean"

    def forward(self, batch: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """n contents of (w_i, ...) windows to features (n, feature_dim)."""
        windows = [window for content in batch for window in content]
        features = unit(self.windows.forward(windows))
        ends = np.cumsum([len(content) for content in batch])
        return np.stack([rows.mean(axis=0) for rows in np.split(features, ends[:-1])])


def threads() -> int:
    """Threads for a forward pass: OMP_NUM_THREADS where it is set, else the cores there are."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) > 0 else os.cpu_count() or 1
