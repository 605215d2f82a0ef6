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
    rows, columns = np.nonzero(right)
    parts = _steps(len(rows), right.shape[1])
    rank = np.concatenate([_ranks(scores, rows[begin:end], columns[begin:end]) for begin, end in parts])
    rank = rank[np.lexsort((rank, rows))]  # of each query's right answers, the best first
    count = right.sum(axis=1)
    firsts = np.cumsum(count) - count
    nth = np.arange(len(rank)) - firsts[rows] + 1
    discounts = 1 / np.log2(np.arange(2, DEPTH + 2))
    gains = np.where(rank <= DEPTH, 1 / np.log2(rank + 1), 0.0)
    ideal = np.cumsum(discounts)[np.minimum(count, DEPTH) - 1]
    precision = np.add.reduceat(nth / rank, firsts) / count
    return Judged(rank[firsts], np.add.reduceat(gains, firsts) / ideal, precision)


def _ranks(
    scores: NDArray[np.floating], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The ranks (n,), from 1, of some candidates for some queries: without sorting, a tenth of the time."""
    own, lines = scores[rows, columns][:, None], scores[rows]
    before = np.arange(scores.shape[1]) < columns[:, None]
    ranks: NDArray[np.int64] = 1 + ((lines > own) | ((lines == own) & before)).sum(axis=1)
    return ranks


def _steps(count: int, width: int) -> list[tuple[int, int]]:
    """Beginnings and ends of parts of `count` rows, each of at most BLOCK numbers."""
    step = max(1, BLOCK // max(width, 1))
    return [(begin, min(begin + step, count)) for begin in range(0, count, step)]


def averages(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each draw."""
    return drawn.mean(axis=1)


def medians(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """The median of each draw."""
    return np.median(drawn, axis=1)


def calibration_errors(drawn: NDArray[np.float64], bins: int = 15) -> NDArray[np.float64]:
    """The expected calibration error, in [0, 1], of each draw (Guo et al. 2017, On Calibration of Modern
    Neural Networks).

    `drawn` (draws, n, 2) holds the confidence of each answer and whether it is right, 1 or 0. Answers are put
    into `bins` of equal width by their confidence; it is the mean distance of a bin's confidence from its
    share of right answers, weighed by its size.
    """
    draws, n = drawn.shape[:2]
    place = np.clip(np.ceil(drawn[..., 0] * bins).astype(np.int64) - 1, 0, bins - 1)
    place += np.arange(draws)[:, None] * bins
    gaps = np.bincount(place.ravel(), (drawn[..., 0] - drawn[..., 1]).ravel(), draws * bins)
    return np.asarray(np.abs(gaps.reshape(draws, bins)).sum(axis=1) / n)


def interval(
    values: NDArray[np.generic], seed: int = 0, of: Summary = averages, draws: int = DRAWS
) -> tuple[float, float]:
    """Bounds that hold 95 % of what `of` gives for `values` (n, ...) drawn anew with replacement.

    The percentile bootstrap of Efron 1979; the same seed gives the same bounds.
    """
    rng, n = np.random.default_rng(seed), len(values)
    found = [
        of(values[rng.integers(0, n, (end - begin, n))])  # type: ignore[arg-type]
        for begin, end in _steps(draws, n)
    ]
    low, high = np.percentile(np.concatenate(found), [2.5, 97.5])
    return float(low), float(high)
