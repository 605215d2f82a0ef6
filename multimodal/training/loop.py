"""The training loop, to be read from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multimodal.training import averaging, checkpoint
from multimodal.training.data import Data, Ints, Kind
from multimodal.training.heads import Heads
from multimodal.training.losses import info_nce, sigmoids
from multimodal.training.mining import Batch, batches, drawn, mine
from multimodal.training.scores import Rows, recall, reciprocal, scored
from multimodal.training.settings import Settings
from multimodal.training.towers import Towers
from multimodal.types import Modality, Vectors

GENERIC = 64
"""Generic rows of each modality in a step."""
CLIPPED = 1.0
"""Norm of the gradient at most."""
EVERY = 10.0
"""Seconds between checkpoints within an epoch."""
SPENT = 20
"""Checkpoints within an epoch are this many times as far apart as writing one takes."""

Listener = Callable[[dict[str, float]], object]
Learner: TypeAlias = "Heads | Towers"
"""Or what has their interface: recipes train the starter's towers here. `moved` is what a step adds to the
pairs' loss; the state dict is what is averaged, kept and put back."""


@dataclass(frozen=True)
class Trained:
    """`history` has one line an epoch: epoch (from 1), step, loss, moved (mean 1 - cosine of generic rows),
    rate, scale, recall@10 and mrr on validation, seconds. The model holds the weights of `best_epoch`."""

    history: list[dict[str, float]]
    best_epoch: int
    resumed: bool


def train(
    model: Learner,
    data: Data,
    settings: Settings,
    kept: Path | None = None,
    listener: Listener | None = None,
    every: float = EVERY,
) -> Trained:
    """Train a model in place, and leave it with the weights that validation likes best.

    `kept` is the file of the checkpoint: where there is one, training goes on from there, with the numbers
    it would have had. `listener` is told of each epoch. Raises SpaceError.
    """
    device = torch.device(settings.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model.to(device).train()
    optimiser = torch.optim.AdamW(model.groups(settings.decay), lr=settings.rate, betas=(0.9, 0.98))
    state = checkpoint.State()
    best: dict[str, Tensor] = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    mined: dict[str, Tensor] = {}
    mean = averaging.begun(model) if settings.average else None
    found = checkpoint.load(kept, model, optimiser, mean) if kept is not None else None
    if found is not None:
        state, best, mined = found
    first = batches(data, settings.batch, settings.seed, 0, settings.drawn)
    per_epoch = math.ceil(len(first) / settings.accumulate)
    total = settings.epochs * per_epoch
    saved = begun = time.monotonic()
    rows: Rows | None = None

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        while state.epoch < settings.epochs and not state.ended:
            order = batches(data, settings.batch, settings.seed, state.epoch, settings.drawn)
            if settings.hard and state.batch == 0:
                mined = _mined(rows or rows_of(model, mean), data, settings, state.epoch)

            for number in range(state.batch, len(order), settings.accumulate):
                group = order[number : number + settings.accumulate]
                torch.manual_seed(_mixed(settings.seed, state.step))
                rng = np.random.default_rng([settings.seed, 2, state.step])
                optimiser.param_groups[0]["lr"] = optimiser.param_groups[1]["lr"] = _rate(
                    settings, state.step, total
                )
                optimiser.zero_grad()
                for batch in group:
                    with torch.autocast(device.type, torch.bfloat16, enabled=settings.bf16):
                        contrast = _contrast(model, data, batch, mined, settings, rng)
                    moved = model.moved(rng, GENERIC)
                    loss = contrast + settings.hold * moved
                    (loss / len(group)).backward()
                    state.losses.append(float(loss.detach()))
                torch.nn.utils.clip_grad_norm_(model.parameters(), CLIPPED)
                optimiser.step()
                if mean is not None:
                    averaging.follow(mean, model, settings.average, state.step)
                state.step += 1
                state.batch = number + len(group)
                if kept is not None and state.batch < len(order) and time.monotonic() - saved >= every:
                    writing = time.monotonic()
                    checkpoint.save(kept, state, model, optimiser, best, mined, mean)
                    saved = time.monotonic()
                    every = every and max(every, SPENT * (saved - writing))

            rows = rows_of(model, mean)
            scores = scored(data, rows, "train", "validation")
            line = {
                "epoch": float(state.epoch + 1),
                "step": float(state.step),
                "loss": float(np.mean(state.losses)),
                "moved": float(moved.detach()),
                "rate": float(optimiser.param_groups[0]["lr"]),
                "scale": float(model.scale.detach()),
                "recall@10": recall(scores),
                "mrr": reciprocal(scores),
                "seconds": time.monotonic() - begun,
            }
            state.history.append(line)
            reached = (line["recall@10"], line["mrr"])
            if reached > state.best or not scores:
                state.best, state.best_epoch = reached, state.epoch
                best = {name: tensor.clone() for name, tensor in (mean or model.state_dict()).items()}
            state.ended = bool(scores) and state.epoch - state.best_epoch >= settings.patience
            state.epoch, state.batch, state.losses = state.epoch + 1, 0, []
            if kept is not None:
                checkpoint.save(kept, state, model, optimiser, best, mined, mean)
                saved = time.monotonic()
            if listener is not None:
                listener(line)

    model.load_state_dict(best)
    model.eval()
    return Trained(state.history, state.best_epoch, found is not None)


def _contrast(
    model: Learner,
    data: Data,
    batch: Batch,
    mined: dict[str, Tensor],
    settings: Settings,
    rng: np.random.Generator,
) -> Tensor:
    """The loss of a batch both ways: each left side among all right sides and those mined for it, and the
    other way round. What belongs together by another pair is no negative, nor is what is alike."""
    kind, pairs = data.kinds[batch.number], batch.pairs
    rights = lefts = pairs[:0]
    if settings.hard:
        rights = drawn(mined[f"{batch.number}.right"].numpy(), pairs, settings.hard, rng)
        lefts = drawn(mined[f"{batch.number}.left"].numpy(), pairs, settings.hard, rng)
    codes = kind.learned
    all_rights, all_lefts = np.concatenate([pairs, rights]), np.concatenate([pairs, lefts])
    left = model.embed(kind.modalities[0], kind.left[all_lefts])
    right = model.embed(kind.modalities[1], kind.right[all_rights])
    count, device = len(pairs), left.device
    forward_wrong = ~kind.belongs(codes, kind.left_group[pairs], kind.right_group[all_rights])
    back_wrong = ~kind.belongs(codes, kind.left_group[all_lefts], kind.right_group[pairs]).T
    if settings.alike < 1:
        forward_wrong &= ~_alike(data, kind, pairs, all_rights, settings.alike)
        back_wrong &= ~_alike(data, kind, pairs, all_lefts, settings.alike)
    counts = np.ones(count, np.float32) if settings.drawn else kind.weight[pairs]  # those drawn had theirs
    weight = torch.from_numpy(counts).to(device)
    ways = (
        (left[:count] @ right.T, torch.from_numpy(forward_wrong).to(device)),
        (right[:count] @ left.T, torch.from_numpy(back_wrong).to(device)),
    )
    if settings.loss == "siglip":
        each = [sigmoids(cosines.float(), wrong, weight, model.scale, model.bias) for cosines, wrong in ways]
    else:
        each = [info_nce(cosines.float(), wrong, weight, model.scale) for cosines, wrong in ways]
    loss = torch.stack(each).mean()
    if settings.pull:
        apart = 1 - (left[:count] * right[:count]).sum(dim=1).float()
        loss = loss + settings.pull * (weight * apart).sum() / weight.sum()
    return loss


def _alike(data: Data, kind: Kind, these: Ints, those: Ints, above: float) -> NDArray[np.bool_]:
    """Whether texts of pairs `these` (n,) and `those` (m,) mean about the same: (n, m).

    By their rows before training, since a text that learns could else come near others to be excused. Pairs
    without texts are not alike."""
    found = np.zeros((len(these), len(those)), np.bool_)
    for modality, side in zip(kind.modalities, (kind.left, kind.right), strict=True):
        if modality == "text":
            rows = data.rows[modality]
            found |= rows[side[these]] @ rows[side[those]].T > above
    return found


def _mined(rows: Rows, data: Data, settings: Settings, epoch: int) -> dict[str, Tensor]:
    found = mine(data, rows, settings.seed, epoch)
    sides = {f"{number}.right": right for number, (right, _) in enumerate(found)}
    sides |= {f"{number}.left": left for number, (_, left) in enumerate(found)}
    return {name: torch.from_numpy(side) for name, side in sides.items()}


def _rate(settings: Settings, step: int, total: int) -> float:
    """A linear rise, then half a cosine down to zero (Loshchilov and Hutter 2017)."""
    warm = settings.warmup * total
    if step < warm:
        return settings.rate * (step + 1) / (warm + 1)
    return settings.rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1.0, total - warm)))


def _mixed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, 3, step]).generate_state(1)[0])


def rows_of(model: Learner, mean: dict[str, Tensor] | None = None) -> Rows:
    """All rows of a modality as the model has them now, or with the `mean` weights, each computed once."""
    known: dict[Modality, Vectors] = {}
    training = model.training

    def rows(modality: Modality) -> Vectors:
        if modality not in known:
            model.eval()
            own = {name: tensor.clone() for name, tensor in model.state_dict().items()} if mean else {}
            if mean:
                model.load_state_dict(mean)
            count, block = model.count(modality), model.block
            with torch.inference_mode():
                parts: list[Any] = [
                    model.embed(modality, np.arange(begin, min(begin + block, count))).float().cpu().numpy()
                    for begin in range(0, count, block)
                ]
            known[modality] = np.concatenate(parts)
            if mean:
                model.load_state_dict(own)
            model.train(training)
        return known[modality]

    return rows
