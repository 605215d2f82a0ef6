"""How a network learns to give its teacher's vectors: AdamW, a cosine schedule, exact resume."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from multimodal.precision import cpu_has_bf16
from multimodal.training import averaging, checkpoint

WARMUP = 0.05
"""Share of all steps in which the rate rises."""
DECAY = 0.01
CLIPPED = 1.0
"""Norm of the gradient at most."""
EVERY = 20.0
"""Seconds between checkpoints."""

Places = NDArray[np.int64]
Progress = Callable[[str, int, int], object]
"""Told of what is done, of how many, of how many."""


class Course(Protocol):
    """How long and how fast: a `Transformer`, a `Vit`, or what else has these."""

    @property
    def epochs(self) -> int:
        """Times that everything is seen."""

    @property
    def rate(self) -> float:
        """Peak learning rate of AdamW; a cosine takes it to zero."""


def apart(got: Tensor, wanted: Tensor) -> Tensor:
    """The mean 1 - cosine of a student's rows (n, dim) with its teacher's."""
    return (1 - F.cosine_similarity(got.float(), wanted)).mean()


def fit(
    model: nn.Module,
    course: Course,
    batches: Callable[[int], list[Places]],
    rows: Callable[[Places, int], tuple[Any, Any]],
    seed: int,
    kept: Path | None = None,
    progress: Progress | None = None,
    loss: Callable[[Any, Any], Tensor] = apart,
    mean: float = 0.0,
) -> bool:
    """Train a model in place, and leave it in evaluation mode; whether it went on from a checkpoint.

    `batches` gives the places of each step of an epoch, as many in each; `rows` what the student makes of
    such places in a step and what the teacher does, as `loss` takes them: by default rows (n, dim) and unit
    rows (n, dim). All that they draw follows from epoch and step, so that a training that goes on from the
    checkpoint `kept` has the numbers it would have had.

    With a `mean` above 0 the model ends as the running mean of its weights and buffers over the steps, which
    keeps that share of itself in each (`averaging.follow`). Raises SpaceError.
    """
    model.train()
    optimiser = torch.optim.AdamW(_groups(model), lr=course.rate, betas=(0.9, 0.98))
    state = checkpoint.State()
    means = averaging.begun(model) if mean else None
    found = checkpoint.load(kept, model, optimiser, means) if kept is not None else None
    if found is not None:
        state = found[0]
    order = batches(state.epoch)
    total, saved = course.epochs * len(order), time.monotonic()
    while state.epoch < course.epochs:
        for places in order[state.batch :]:
            for group in optimiser.param_groups:
                group["lr"] = _rate(course.rate, state.step, total)
            optimiser.zero_grad()
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(np.random.SeedSequence([seed, state.step]).generate_state(1)[0]))
                with torch.autocast("cpu", torch.bfloat16, enabled=cpu_has_bf16()):
                    got, wanted = rows(places, state.step)
                loss(got, wanted).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIPPED)
            optimiser.step()
            if means is not None:
                averaging.follow(means, model, mean, state.step)
            state.step, state.batch = state.step + 1, state.batch + 1
            if kept is not None and time.monotonic() - saved >= EVERY:
                checkpoint.save(kept, state, model, optimiser, {}, {}, means)
                saved = time.monotonic()
            if progress is not None:
                progress("training", state.step, total)
        state.epoch, state.batch = state.epoch + 1, 0
        order = batches(state.epoch)
    if kept is not None:
        checkpoint.save(kept, state, model, optimiser, {}, {}, means)
    if means is not None:
        model.load_state_dict(means)
    model.eval()
    return found is not None


def cosine(got: NDArray[np.floating], wanted: NDArray[np.floating]) -> float:
    """The mean cosine of rows (n, dim) with their teacher's."""
    lengths = np.linalg.norm(got, axis=1) * np.linalg.norm(wanted, axis=1)
    return float(((got * wanted).sum(axis=1) / np.maximum(lengths, 1e-12)).mean())


def _groups(model: nn.Module) -> list[dict[str, Any]]:
    """Matrices, which decay, and vectors, which do not."""
    matrices = [one for one in model.parameters() if one.ndim > 1]
    vectors = [one for one in model.parameters() if one.ndim < 2]
    return [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}]


def _rate(peak: float, step: int, total: int) -> float:
    """A linear rise, then half a cosine down to zero (Loshchilov and Hutter 2017)."""
    warm = WARMUP * total
    if step < warm:
        return peak * (step + 1) / (warm + 1)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1.0, total - warm)))
