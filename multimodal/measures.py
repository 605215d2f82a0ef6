"""How good a ranking is, and how sure that is: measures of retrieval with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
"""Samples of a bootstrap."""
DEPTH = 10
"""Ranks that nDCG looks at."""
BLOCK = 1 << 22
"""Numbers held at a time: 32 MB of floats."""

Summary: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From values (draws, n) to one number for each draw (draws,)."""


@dataclass(frozen=True, eq=False)
class Judged:
    """What each of q queries got: arrays (q,).

    `rank` is that of its best right answer, from 1. `ndcg` is the normalised discounted cumulative gain of
    the first 10 (Järvelin and Kekäläinen 2002), gain 1 for a right answer, discount log2(rank + 1).
    `precision` is the average precision over the whole ranking; its mean over queries is called mAP.
    """

    rank: NDArray[np.int64]
    ndcg: NDArray[np.float64]
    precision: NDArray[np.float64]


def judge(scores: NDArray[np.floating], right: NDArray[np.bool_]) -> Judged:
    """Judge rankings: `scores` (q, g) of g candidates for q queries, `right` (q, g) says which answer.

    Equal scores keep the order of the candidates. Raises ValueError for a query without a right answer.
    """
    if not right.any(axis=1).all():
        raise ValueError("every query needs a right answer")
    order = np.argsort(-scores, axis=1, kind="stable")
    hits = np.take_along_axis(right, order, axis=1)
    places = np.arange(1, scores.shape[1] + 1)
    discounts = 1 / np.log2(places[:DEPTH] + 1)
    count = hits.sum(axis=1)
    ideal = np.cumsum(discounts)[np.minimum(count, len(discounts)) - 1]
    ndcg = (hits[:, :DEPTH] * discounts).sum(axis=1) / ideal
    precision = (hits * np.cumsum(hits, axis=1) / places).sum(axis=1) / count
    return Judged(hits.argmax(axis=1) + 1, ndcg, precision)


def averages(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each draw."""
    return drawn.mean(axis=1)


def medians(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """The median of each draw."""
    return np.median(drawn, axis=1)


def interval(
    values: NDArray[np.generic], seed: int = 0, of: Summary = averages, draws: int = DRAWS
) -> tuple[float, float]:
    """Bounds that hold 95 % of what `of` gives for `values` (n,) drawn anew with replacement.

    The percentile bootstrap of Efron 1979; the same seed gives the same bounds.
    """
    rng = np.random.default_rng(seed)
    step = max(1, BLOCK // len(values))
    found = [
        of(values[rng.integers(0, len(values), (min(step, draws - begin), len(values)))])  # type: ignore[arg-type]
        for begin in range(0, draws, step)
    ]
    low, high = np.percentile(np.concatenate(found), [2.5, 97.5])
    return float(low), float(high)
