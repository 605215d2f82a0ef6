"""Teach the student: a tagger that gives the teacher's scores and features on any window.

Distillation (Hinton et al. 2015): binary cross-entropy to the teacher's 521 scores plus the cosine
between the features before the last layer (Romero et al. 2015, FitNets). The training itself is that of
`multimodal distil` (`multimodal.distil.fitting`); here are what it reads, its loss and its settings.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from multimodal.distil import fitting
from multimodal.towers.audio_module import Tagger

BATCH = 128
AVERAGE = 0.998
FEATURE_WEIGHT = 1.0
FIRST_BIAS = -6.0
"""Of the class logits: nearly all classes are absent from nearly all windows."""
TOLD = 100
"""Steps between lines that tell of the training."""


@dataclass(frozen=True)
class Course:
    """How long and how fast."""

    epochs: int
    rate: float


class Windows:
    """The labelled windows of a folder of shards, all in memory: 15 MB for each 1,024 of them."""

    def __init__(self, folder: Path) -> None:
        self._shards: list[tuple[NDArray[Any], ...]] = []
        for path in sorted(folder.glob("*.npz")):
            with np.load(path) as saved:
                self._shards.append((saved["mels"], saved["scores"], saved["features"]))
        if not self._shards:
            raise SystemExit(f"no training windows in {folder}")
        sizes = [len(mels) for mels, _, _ in self._shards]
        self._places = np.array([(k, at) for k, size in enumerate(sizes) for at in range(size)])

    def __len__(self) -> int:
        return len(self._places)

    def batch(self, places: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """mel (n, mels, frames), scores (n, 521) in [0, 1], features (n, 1024), all float32."""
        found = [[self._shards[k][part][at] for k, at in self._places[places]] for part in range(3)]
        mel, scores, features = (torch.from_numpy(np.stack(rows)).float() for rows in found)
        return mel, scores / 255.0, features


class Loss:
    """The distillation loss, and what its terms have been of late."""

    def __init__(self) -> None:
        self._terms: list[tuple[float, float]] = []

    def __call__(
        self, got: tuple[torch.Tensor, torch.Tensor], wanted: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        """Of features (n, 1024) and logits (n, 521), wanted features (n, 1024) and scores (n, 521)."""
        features, logits = got
        score_loss = F.binary_cross_entropy_with_logits(logits.float(), wanted[1], reduction="sum")
        score_loss = score_loss / len(logits)
        cosine = F.cosine_similarity(features.float(), wanted[0], dim=1).mean()
        self._terms.append((float(score_loss.detach()), float(cosine.detach())))
        return score_loss + FEATURE_WEIGHT * (1 - cosine)

    def told(self) -> str:
        """The means since it was last asked."""
        score_loss, cosine = np.mean(self._terms, axis=0)
        self._terms.clear()
        return f"score loss {score_loss:.3f}, feature cosine {cosine:.3f}"


def train(
    folder: Path,
    target: Path,
    course: Course,
    start: Path | None = None,
    average: float = AVERAGE,
    seed: int = 0,
) -> None:
    """Write the student of the windows in `folder` to `target` (safetensors), batch norms unfolded.

    It begins as the student at `start`, or at random, and goes on from its checkpoint where there is one.
    """
    windows, loss = Windows(folder), Loss()
    torch.manual_seed(seed)
    student = Tagger(batch_norm=True)
    torch.nn.init.constant_(student.classes.bias, FIRST_BIAS)
    if start is not None:
        student.load_state_dict(load_file(start))
    student = student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    begun = time.monotonic()
    first: list[int] = []

    def batches(epoch: int) -> list[NDArray[np.int64]]:
        mixed = np.random.default_rng([seed, epoch]).permutation(len(windows))
        return [mixed[at : at + BATCH] for at in range(0, len(mixed) - BATCH + 1, BATCH)]

    def rows(places: NDArray[np.int64], _: int) -> tuple[Any, Any]:
        mel, scores, features = windows.batch(places)
        return student(mel), (features, scores)

    def tell(_: str, done: int, total: int) -> None:
        first.append(done)
        if done % TOLD == 0 or done == total:
            pace = (done - first[0] + 1) * BATCH / (time.monotonic() - begun)
            print(f"step {done}/{total}: {loss.told()}, {pace:.0f} windows/s", flush=True)

    kept = target.with_name(f"{target.stem}.checkpoint.safetensors")
    fitting.fit(student, course, batches, rows, seed, kept, tell, loss, average)
    save_file({name: tensor.contiguous() for name, tensor in student.state_dict().items()}, str(target))


def trained(path: Path) -> Tagger:
    """The student that `train` wrote, for use."""
    student = Tagger(batch_norm=True)
    student.load_state_dict(load_file(path))
    return student.eval()
