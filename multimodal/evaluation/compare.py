"""Whether one space is better than another on the same queries: paired differences, and by what chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import QueryError
from multimodal.evaluation.measure import Measure, measured
from multimodal.evaluation.retrieval import Evaluation
from multimodal.measures import BLOCK
from multimodal.types import Modality

FLIPS = 10_000
"""Random signs that a p-value is counted in: none below 0.0001 is told apart."""


@dataclass(frozen=True)
class Comparison:
    """One measure of one direction: `before` and `after` are means over `queries`, `difference` that of
    after minus before with its 95 % interval, `p` the two-sided chance of one as large if neither space were
    better (a paired randomisation test, Smucker, Allan and Carterette 2007)."""

    query: Modality
    target: Modality
    columns: tuple[str, str]
    measure: str
    queries: int
    before: float
    after: float
    difference: Measure
    p: float


def compare(a: Evaluation, b: Evaluation, seed: int = 0) -> list[Comparison]:
    """The measures of `b` beside those of `a`, query by query; both are evaluations of the same pairs.

    Queries that only one of them could embed are left out, whatever they were looked for among. Raises
    QueryError where they share none.
    """
    found = []
    others = {(one.query, one.target, one.columns): one for one in b.directions}
    for one in a.directions:
        other = others.get((one.query, one.target, one.columns))
        if other is None:
            continue
        place = {name: number for number, name in enumerate(other.names)}
        shared = [(here, place[name]) for here, name in enumerate(one.names) if name in place]
        if not shared:
            continue
        left, right = (np.array(side) for side in zip(*shared, strict=True))
        for name in one.per_query:
            before, after = one.per_query[name][left], other.per_query[name][right]
            gain = after - before
            found.append(
                Comparison(
                    one.query,
                    one.target,
                    one.columns,
                    name,
                    len(gain),
                    float(before.mean()),
                    float(after.mean()),
                    measured(gain, seed=seed),
                    chance(gain, seed),
                )
            )
    if not found:
        raise QueryError("The two evaluations share no query: compare what was measured on the same pairs.")
    return found


def chance(gains: NDArray[np.float64], seed: int = 0, flips: int = FLIPS) -> float:
    """The share of random sign patterns whose mean is at least as far from 0 as that of `gains` (n,)."""
    moved = gains[gains != 0]
    if not len(moved):
        return 1.0
    rng, seen, far = np.random.default_rng(seed), 0, 0
    bar = abs(moved.sum()) - 1e-9
    step = max(1, min(flips, BLOCK // len(moved)))
    while seen < flips:
        count = min(step, flips - seen)
        signs = rng.integers(0, 2, (count, len(moved)), dtype=np.int8) * 2 - 1
        far += int((np.abs(signs @ moved) >= bar).sum())
        seen += count
    return (far + 1) / (flips + 1)  # what was seen is one of the patterns
