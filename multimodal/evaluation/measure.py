"""A measured value with its interval, of numbers that belong to queries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal.measures import DRAWS, Summary, averages, interval


@dataclass(frozen=True)
class Measure:
    """A measured value and the bounds of its 95 % interval, by bootstrap over the queries."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def measured(
    values: NDArray[np.generic], of: Summary = averages, seed: int = 0, draws: int = DRAWS
) -> Measure:
    """What `of` gives for values (n, ...), the mean if nothing else is said, with its interval."""
    drawn = np.asarray(values, np.float64)
    return Measure(float(of(drawn[None])[0]), *interval(drawn, seed, of, draws))
