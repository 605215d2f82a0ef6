"""Teach the student: a tagger that gives the teacher's scores and features on any window.

Distillation (Hinton et al. 2015): binary cross-entropy to the teacher's 521 scores plus the cosine
between the features before the last layer (Romero et al. 2015, FitNets). AdamW, cosine schedule, weights
averaged over steps. A run that was stopped goes on from its last checkpoint.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from multimodal.towers.audio_module import Tagger

BATCH = 128
PEAK_RATE = 3e-3
WARM_UP = 200
AVERAGE = 0.998
FEATURE_WEIGHT = 1.0
CHECK = 100
"""Steps between checkpoints."""
FIRST_BIAS = -6.0
"""Of the class logits: nearly all classes are absent from nearly all windows."""


class Shards:
    """Batches from the shards in a folder, newly written ones included as they come."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self._folder = folder
        self._rng = np.random.default_rng(seed)
        self._loaded: list[tuple[np.ndarray[Any, Any], ...]] = []
        self._order: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._loaded)

    def batch(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """mel (128, mels, frames), scores (128, 521), features (128, 1024), float32."""
        if not self._order:
            self._refresh()
        parts = [self._order.pop() for _ in range(2)]
        half = BATCH // 2
        arrays = [
            np.concatenate([self._loaded[shard][k][at * half : (at + 1) * half] for shard, at in parts])
            for k in range(3)
        ]
        mel, scores, features = (torch.from_numpy(array).float() for array in arrays)
        return mel, scores / 255.0, features

    def _refresh(self) -> None:
        """Load what is new, then shuffle half-batches: each window comes once a round."""
        for path in sorted(self._folder.glob("*.npz"))[len(self._loaded) :]:
            with np.load(path) as saved:
                self._loaded.append((saved["mels"], saved["scores"], saved["features"]))
        if not self._loaded:
            raise SystemExit(f"no training windows in {self._folder}")
        halves = [
            (shard, at)
            for shard, arrays in enumerate(self._loaded)
            for at in range(2 * (len(arrays[0]) // BATCH))
        ]
        self._rng.shuffle(halves)
        self._order = [(int(a), int(b)) for a, b in halves]


def train(folder: Path, checkpoint: Path, steps: int, seed: int = 0) -> Tagger:
    """Train for `steps` in all, from the checkpoint where there is one; the weights averaged over steps."""
    torch.manual_seed(seed)
    student = Tagger(batch_norm=True).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.nn.init.constant_(student.classes.bias, FIRST_BIAS)
    average = Tagger(batch_norm=True)
    average.load_state_dict(student.state_dict())
    optimizer = torch.optim.AdamW(student.parameters(), lr=PEAK_RATE, weight_decay=0.02)
    first = 0
    if checkpoint.is_file():
        saved = torch.load(checkpoint, weights_only=True)
        student.load_state_dict(saved["student"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        first = int(saved["step"])
    shards = Shards(folder, seed + first)
    losses: list[tuple[float, float]] = []
    began = time.time()
    for step in range(first, steps):
        rate = PEAK_RATE * min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = rate + 1e-6
        losses.append(_step(student, optimizer, *shards.batch()))
        _average(average, student, min(AVERAGE, (step + 1) / (step + 20)))
        if (step + 1) % CHECK == 0 or step + 1 == steps:
            state = {
                "student": student.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step + 1,
            }
            torch.save(state, checkpoint.with_suffix(".tmp"))
            checkpoint.with_suffix(".tmp").replace(checkpoint)
            bce, cosine = np.mean(losses, axis=0)
            speed = (step + 1 - first) * BATCH / (time.time() - began)
            print(
                f"step {step + 1}/{steps}: score loss {bce:.3f}, feature cosine {cosine:.3f},"
                f" {len(shards)} shards, {speed:.0f} windows/s",
                flush=True,
            )
            losses.clear()
    return average.eval()


def _step(
    student: Tagger,
    optimizer: torch.optim.Optimizer,
    mel: torch.Tensor,
    scores: torch.Tensor,
    wanted: torch.Tensor,
) -> tuple[float, float]:
    student.train()
    with torch.autocast("cpu", torch.bfloat16):
        features, logits = student(mel)
    score_loss = F.binary_cross_entropy_with_logits(logits.float(), scores, reduction="sum") / len(mel)
    cosine = F.cosine_similarity(features.float(), wanted, dim=1).mean()
    loss = score_loss + FEATURE_WEIGHT * (1 - cosine)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(student.parameters(), 5.0)
    optimizer.step()
    return float(score_loss.detach()), float(cosine.detach())


@torch.no_grad()
def _average(average: Tagger, student: Tagger, keep: float) -> None:
    for mean, now in zip(average.state_dict().values(), student.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(now, 1 - keep)
        else:
            mean.copy_(now)
