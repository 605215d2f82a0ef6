"""Retrieval numbers with intervals, as every evaluation of the starter prints them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from multimodal.measures import interval

__all__ = ["RANKS", "fit_logit_scale", "interval", "ranks", "recall"]

RANKS = (1, 5, 10)


def ranks(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """How many columns beat the right one in each row, (n,); row i's right column is i, ties favour it.

    `scores` is (n, n): queries in rows.
    """
    better: NDArray[np.int64] = (scores > np.diag(scores)[:, None] + 1e-6).sum(1)
    return better


def recall(better: NDArray[np.int64], k: int) -> float:
    return float((better < k).mean())


def fit_logit_scale(scores: NDArray[np.float32], choices: int = 10, seed: int = 0) -> float:
    """The scale at which softmax(scale * cosines) over `choices` captions is most likely right.

    `scores` (n, n) are cosines, items in rows, their own caption on the diagonal; the others of a choice
    are drawn at random, 50 draws an item. Minimises the negative log-likelihood over 1 to 100.
    """
    rng = np.random.default_rng(seed)
    n = len(scores)
    rows = np.repeat(np.arange(n), 50)
    others = (rows[:, None] + rng.integers(1, n, (len(rows), choices - 1))) % n
    drawn = scores[rows[:, None], np.concatenate([rows[:, None], others], 1)].astype(np.float64)
    scales = np.geomspace(1, 100, 200)
    losses = [(np.log(np.exp(s * (drawn - drawn[:, :1])).sum(1))).mean() for s in scales]
    return float(scales[int(np.argmin(losses))])
