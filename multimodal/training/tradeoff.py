"""How far to go from the space before to the one after: weights interpolated, the point chosen by
validation (WiSE-FT: Wortsman et al. 2022, Robust fine-tuning of zero-shot models)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal.adapted import SHARED, Adapter
from multimodal.training.data import Data
from multimodal.training.scores import kept, of_first, recall, reciprocal, scored
from multimodal.types import Modality, Vectors

ALPHAS = tuple(step / 10 for step in range(11))
CLOSE = 1e-9


@dataclass(frozen=True)
class Point:
    """Of one alpha in [0, 1]: R@10 and mean reciprocal rank on validation, and what is kept: the share of
    generic queries that still find among the first what they found first (`scores.kept`), or of R@10 of those
    generic pairs that were not rehearsed, whichever is less."""

    alpha: float
    recall: float
    mrr: float
    kept: float


def trade_off(
    data: Data,
    generic: Mapping[Modality, NDArray[np.float32]],
    adapters: Mapping[str, Adapter],
    keep: Data | None,
) -> list[Point]:
    """A point for each of ALPHAS, ascending."""
    made: list[Point] = []
    found: list[float] = []
    for alpha in ALPHAS:
        scaled = {modality: adapter.scaled(alpha) for modality, adapter in adapters.items()}
        scores = scored(data, rows_through(data.rows, scaled), "train", "validation")
        through = rows_through(generic, scaled)
        held = kept(generic, {modality: through(modality) for modality in generic})
        if keep is not None:
            found.append(recall(scored(keep, rows_through(keep.rows, scaled), "train", "validation")))
            held = min(held, of_first(found))
        made.append(Point(alpha, recall(scores), reciprocal(scores), held))
    return made


def chosen(points: list[Point], lose: float, validated: bool) -> Point:
    """The point with the best R@10 and reciprocal rank, taken together, among those that lose at most `lose`
    of what is kept at 0; the furthest of those where there is no validation."""
    allowed = [point for point in points if point.kept >= points[0].kept - lose - CLOSE]
    if not validated:
        return allowed[-1]
    return max(allowed, key=lambda point: (point.recall + point.mrr, -point.alpha))


def rows_through(
    rows: Mapping[Modality, NDArray[np.float32]], adapters: Mapping[str, Adapter]
) -> Callable[[Modality], Vectors]:
    """All rows of a modality through its adapter, each computed once."""
    known: dict[Modality, Vectors] = {}

    def through(modality: Modality) -> Vectors:
        if modality not in known:
            adapter = adapters.get(SHARED[modality])
            known[modality] = rows[modality] if adapter is None else adapter(rows[modality])
        return known[modality]

    return through
