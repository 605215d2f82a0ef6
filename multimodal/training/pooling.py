"""The temporal attention of videos, learned from videos and what belongs to them.

>>> better = fit_pooler(load_space(), [("a bee on a flower", Path("bee.mp4")), ...])

Query-free attention (`multimodal.towers.video.TemporalPooler`) can learn which frames say little: title
cards, blur, darkness. It starts as the mean, and stays the mean where validation finds nothing better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multimodal.encoder import Encoder
from multimodal.errors import QueryError, SpaceError
from multimodal.measures import judge
from multimodal.sources import POOLER, Source
from multimodal.towers.base import unit
from multimodal.towers.video import TemporalPooler, VideoTower, time_code
from multimodal.types import Clip, Item, Modality

if TYPE_CHECKING:
    from multimodal.space import Space

Floats = NDArray[np.float32]

LEAST = 8
"""Videos without which there is nothing to validate on."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A video's frames: unit rows (t, dim) at `times` (t,) seconds."""

    frames: Floats
    times: Floats


class WithPooler:
    """Another space's source whose videos are pooled by attention that was learned."""

    def __init__(self, base: Source, pooler: TemporalPooler) -> None:
        self._base, self.pooler = base, pooler
        self.name = f"{base.name}+pooler"
        self._video = Encoder("video", VideoTower(base.build("image"), pooler))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._base, name)

    def build(self, modality: Modality) -> Encoder:
        return self._video if modality == "video" else self._base.build(modality)

    def save(self, folder: Path) -> None:
        self._base.save(folder)
        self.pooler.save(folder / POOLER)
        (folder / POOLER).chmod(0o644)  # safetensors writes files that only their owner reads


def fit_pooler(
    space: Space, pairs: Sequence[tuple[Item, Item]], *, seed: int = 0, epochs: int = 200
) -> Space:
    """A space whose video pooler has learned from pairs of a text, picture or sound, and a video (file or
    Clip), in any order. Raises QueryError, ReadError, NoEncoder, SpaceError."""
    if "_base" in vars(space._source):
        raise SpaceError(f"{space.name} is made from another space: give the pooler that one.")
    videos, others = [], []
    for left, right in pairs:
        first, second = seen(space, left), seen(space, right)
        if (first is None) == (second is None):
            raise QueryError("A pooler learns from pairs of one video and one thing that is no video.")
        videos.append(first or second)
        others.append(left if first is None else right)
    pooler = train_pooler(
        [one for one in videos if one is not None], space.embed(others), seed=seed, epochs=epochs
    )
    return type(space)(WithPooler(space._source, pooler))


def seen(space: Space, item: Item) -> Seen | None:
    """The frames that are kept of a video, all segments one after the other; None for what is no video."""
    if isinstance(item, Clip):
        clips = [item]
    elif isinstance(item, Path):
        clips = [
            one.content for one in space.read(item) if one.role != "blank" and isinstance(one.content, Clip)
        ]
    else:
        clips = []
    if not clips:
        return None
    encoder = space["video"]
    _, kept = encoder.embed_kept([encoder.tower.preprocess(clip) for clip in clips])
    parts = [frames for frames in kept if frames is not None]
    begins = [float(clip.times[0] - clips[0].times[0]) for clip in clips]
    times = np.concatenate([one.times + begin for one, begin in zip(parts, begins, strict=True)])
    return Seen(np.concatenate([one.vectors for one in parts]), times.astype(np.float32))


def train_pooler(
    videos: Sequence[Seen],
    targets: Floats,
    *,
    seed: int = 0,
    epochs: int = 200,
    rate: float = 3e-3,
    scale: float = 30.0,
    validation: NDArray[np.int64] | None = None,
    listener: Callable[[dict[str, float]], object] | None = None,
) -> TemporalPooler:
    """The attention by which pooled videos find their `targets` (n, dim), unit rows, among all of them.

    InfoNCE both ways over all training videos at once, AdamW; the places in `validation`, by default a fifth
    drawn at random, are set aside, and the weights with the best mean reciprocal rank there are kept: those
    of the mean where none is better. Equal targets are no negatives of each other. `listener` is told of
    each epoch: epoch (from 1), loss, mrr, recall@10, best (the best epoch so far, 0 for the mean). Raises
    QueryError for fewer than 8 videos.
    """
    import torch
    from torch.nn import functional as F

    if len(videos) < LEAST:
        raise QueryError(f"A pooler learns from at least {LEAST} videos, not from {len(videos)}.")
    start = TemporalPooler.mean(targets.shape[1], seed=seed)
    order = np.random.default_rng(seed).permutation(len(videos))
    held, train = order[: max(2, len(order) // 5)], order[max(2, len(order) // 5) :]
    if validation is not None:
        held, train = validation, np.setdiff1d(order, validation)
    longest = max(len(one.times) for one in videos)
    frames = np.zeros((len(videos), longest, targets.shape[1]), np.float32)
    code = np.zeros((len(videos), longest, start.U.shape[1]), np.float32)
    there = np.zeros((len(videos), longest), bool)
    for place, one in enumerate(videos):
        count = len(one.times)
        frames[place, :count], there[place, :count] = one.frames, True
        code[place, :count] = time_code(one.times, code.shape[2])
    tensors = [torch.from_numpy(array) for array in (frames, code, there, targets.astype(np.float32))]
    learned = {
        name: torch.nn.Parameter(torch.from_numpy(value.copy())) for name, value in start.tensors().items()
    }
    optimiser = torch.optim.AdamW(learned.values(), lr=rate, weight_decay=0.05)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)

    def pooled(places: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        some, codes, mask, goals = (tensor[torch.from_numpy(places)] for tensor in tensors)
        hidden = torch.tanh(some @ learned["W"].T + codes @ learned["U"].T + learned["b"])
        weights = (hidden @ learned["w"]).masked_fill(~mask, -torch.inf).softmax(dim=1)
        return F.normalize((weights[:, :, None] * some).sum(dim=1), dim=-1), goals

    def found() -> tuple[float, float]:
        """Mean reciprocal rank and R@10, both ways."""
        with torch.inference_mode():
            rows, goals = (part.numpy() for part in pooled(held))
        right = goals @ goals.T > 0.999
        ranks = np.concatenate([judge(one, right).rank for one in (goals @ rows.T, rows @ goals.T)])
        return float((1 / ranks).mean()), float((ranks <= 10).mean())

    best, kept, best_epoch = found()[0], start, 0
    for epoch in range(1, epochs + 1):
        rows, goals = pooled(train)
        same = (goals @ goals.T > 0.999).fill_diagonal_(False)
        logits = (scale * rows @ goals.T).masked_fill(same, -torch.inf)
        target = torch.arange(len(rows))
        loss = F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        cosine.step()
        now, within = found()
        if now > best:
            best, best_epoch = now, epoch
            kept = TemporalPooler(**{name: value.detach().numpy().copy() for name, value in learned.items()})
        if listener is not None:
            told = {"epoch": epoch, "loss": loss.item(), "mrr": now, "recall@10": within, "best": best_epoch}
            listener({name: float(value) for name, value in told.items()})
    return kept


def pooled_rows(pooler: TemporalPooler, videos: Sequence[Seen]) -> Floats:
    """Unit rows (n, dim) of videos."""
    return unit(np.stack([pooler.pool(one.frames, one.times) for one in videos]))
