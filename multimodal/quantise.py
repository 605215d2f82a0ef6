"""Picture towers in int8: made from real pictures, measured, and kept only where little is lost.

    >>> report = quantise(space, "small", pictures, captions)      # doctest: +SKIP
    >>> load_space("small", precision="int8", backend="openvino")  # doctest: +SKIP

Needs `multimodal[openvino]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import SpaceError
from multimodal.precision import agreement
from multimodal.space import Space
from multimodal.towers.base import unit

MOST_LOST = 0.005
"""Of R@10, as a share of all queries."""
LEAST_PICTURES = 8
BATCH = 8
"""Pictures that are embedded at once."""
RANK = 10


@dataclass(frozen=True)
class Quantised:
    """What a quantised tower keeps, on `pictures` pictures that set no ranges: R@10 of captions and pictures
    both ways before and after, and the least cosine of a row with float32's."""

    folder: Path
    pictures: int
    before: float
    after: float
    cosine: float


def quantise(
    space: Space,
    folder: str | Path,
    pictures: Sequence[Any],
    captions: Sequence[str],
    *,
    most_lost: float = MOST_LOST,
) -> Quantised:
    """Save `space`, an open_clip model, to a new folder with an int8 graph of its picture tower.

    Every second picture (PIL) sets the ranges of the int8 numbers, the others are searched by their captions
    and the other way round. Give some hundreds of the kind that will be searched: 200 that are judged
    resolve half a point. Raises SpaceError where R@10 falls by more than `most_lost`, and writes nothing
    then; without OpenVINO and nncf; for a space of another kind; for fewer than 8 pictures.
    """
    from multimodal.towers import openvino
    from multimodal.towers.clip import ClipImageTower

    if len(pictures) < LEAST_PICTURES or len(pictures) != len(captions):
        raise SpaceError(f"quantise takes at least {LEAST_PICTURES} pictures, each with a caption.")
    tower = space["image"].tower
    if not isinstance(tower, ClipImageTower):
        raise SpaceError(f"The picture tower of {space.name!r} is no open_clip model's: it stays as it is.")
    prepared = [tower.preprocess(picture) for picture in pictures]
    graph = openvino.converted(tower._model, tower.preprocess)
    small = openvino.quantised(graph, [pixels[None] for pixels in prepared[::2]])
    judged = prepared[1::2]
    exact = _embedded(openvino.compiled(graph, "fp32"), judged)
    rows = _embedded(openvino.compiled(small, "fp32"), judged)
    texts, names = space.embed(list(captions[1::2])), np.array(captions[1::2])
    before, after = recall(texts, exact, names), recall(texts, rows, names)
    if before - after > most_lost:
        raise SpaceError(
            f"int8 loses {100 * (before - after):.1f} points of R@10 ({before:.3f} to {after:.3f} on"
            f" {len(judged)} pictures), more than {100 * most_lost:.1f}: it is not kept."
        )
    target = space.save(folder)
    openvino.save(small, target)
    return Quantised(target, len(judged), before, after, agreement(rows, exact))


def recall(texts: NDArray[np.float32], rows: NDArray[np.float32], names: NDArray[Any]) -> float:
    """Mean R@10 of texts (n, dim) asking for rows (n, dim) and of rows asking for texts; equal names are
    right answers too."""
    right = names[:, None] == names[None, :]
    found = []
    for scores in (texts @ rows.T, rows @ texts.T):
        best = np.where(right, scores, -np.inf).max(axis=1)
        found.append((((scores > best[:, None] + 1e-6) & ~right).sum(axis=1) < RANK).mean())
    return float(np.mean(found))


def _embedded(run: Any, prepared: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    parts = [run(np.stack(prepared[at : at + BATCH])) for at in range(0, len(prepared), BATCH)]
    return unit(np.concatenate(parts))
