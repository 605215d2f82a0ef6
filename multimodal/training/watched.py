"""From pairs with videos to a space whose pooler has learned, measured before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multimodal.errors import QueryError
from multimodal.towers.base import unit
from multimodal.training.data import Data
from multimodal.training.features import Feature, features
from multimodal.training.fitting import Learned, _counts
from multimodal.training.pooling import WithPooler, seen, train_pooler
from multimodal.training.scores import Rows, Score, recall, reciprocal, scored
from multimodal.training.settings import Settings
from multimodal.training.tradeoff import Point
from multimodal.types import FileRecord, Item, Modality, Vectors

if TYPE_CHECKING:
    from multimodal.space import Space

FEWEST = 2
"""Validation pairs without which training pairs are set aside instead."""


def pooled(
    space: Space,
    settings: Settings,
    data: Data,
    items: Mapping[str, Item],
    left_out: Sequence[FileRecord] = (),
    run: Path | None = None,
    workers: int | None = None,
    listener: Callable[[dict[str, float]], object] | None = None,
) -> Learned:
    """Train the attention over frames; `items` are those of the pairs by their content.

    It learns in seconds, so a training that was killed begins again, from the features that it kept. What it
    learned is taken where it finds validation pairs better than the mean does, all videos embedded anew.
    Rows of other modalities do not move. Raises QueryError, ReadError, SpaceError.
    """
    if any(kind.modalities.count("video") != 1 for kind in data.kinds):
        raise QueryError("A pooler learns from pairs of one video and one thing that is no video.")
    keys = data.keys["video"]
    videos = [seen(space, items[key]) for key in keys]
    chosen, targets, apart = [], [], []
    for kind in data.kinds:
        side = kind.modalities.index("video")
        of, other = (kind.left, kind.right)[side], (kind.right, kind.left)[side]
        for place in kind.places("train", "validation"):
            video = videos[of[place]]
            if video is not None:
                apart.append(kind.split[place] == 1)
                chosen.append(video)
                targets.append(data.rows[kind.modalities[1 - side]][other[place]])
    held = np.flatnonzero(apart)
    history: list[dict[str, float]] = []

    def tell(line: dict[str, float]) -> None:
        history.append(line)
        if listener is not None:
            listener(line)

    pooler = train_pooler(
        chosen,
        unit(np.stack(targets)),
        seed=settings.seed,
        epochs=settings.epochs,
        rate=settings.rate,
        validation=held if len(held) >= FEWEST else None,
        listener=tell,
    )
    other_space = type(space)(WithPooler(space._source, pooler))
    rows = data.rows
    if pooler.w.any():
        again, _ = features(other_space, [items[key] for key in keys], run, workers)
        anew: dict[str, Feature] = {feature.key: feature for feature in again.values()}
        rows = {**rows, "video": np.stack([anew[key].row for key in keys])}
    splits = ("test",) if data.count("test") else ("train", "validation")
    tried = [_point(data, some, alpha) for alpha, some in ((0.0, data.rows), (1.0, rows))]
    better = tried[1].recall + tried[1].mrr > tried[0].recall + tried[0].mrr or not data.count("validation")
    point = tried[1] if better and pooler.w.any() else tried[0]
    return Learned(
        space=other_space if point.alpha else space,
        adapters={},
        settings=settings,
        counts=_counts(data),
        split=splits[-1],
        before=_scored(data, data.rows, *splits),
        after=_scored(data, rows if point.alpha else data.rows, *splits),
        history=history,
        best_epoch=int(history[-1]["best"]) - 1,
        points=tried,
        point=point,
        left_out=left_out,
        resumed=False,
    )


def _scored(data: Data, rows: Mapping[Modality, Vectors], *splits: str) -> list[Score]:
    found: Rows = rows.__getitem__
    return scored(data, found, *splits)


def _point(data: Data, rows: Mapping[Modality, Vectors], alpha: float) -> Point:
    scores = _scored(data, rows, "train", "validation")
    return Point(alpha, recall(scores), reciprocal(scores), 1.0)
