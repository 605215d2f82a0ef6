"""From torch to OpenVINO while pictures are being embedded, where that turns out to be faster.

Converting a tower takes seconds, in each process anew, and gains some milliseconds a picture: nothing for a
query or a small folder, a tenth to a half of the time for a large one. So torch begins, and after AFTER
pictures the two are timed on pictures of the user's own.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from numpy.typing import NDArray

from multimodal.errors import SpaceError
from multimodal.precision import TOLERANCE, Chosen, Compute, Floats, Run

AFTER = 2000
"""Pictures embedded by then: a ViT-B/32 converts in the time of 200 of them, and gains that back in 1,400."""
ROUNDS = 3
GAIN = 1.05
"""Times as fast as torch that OpenVINO must be."""


def can_go_over(compute: Compute, kind: str) -> bool:
    """Whether a tower on a device of torch's type `kind` may go over: OpenVINO is there and nothing was said
    against it."""
    asked = compute.backend == "auto" and not compute.compiled and compute.precision != "fp16"
    return asked and kind == "cpu" and find_spec("openvino") is not None


class Faster:
    """A forward pass, (n, h, w, 3) uint8 to (n, dim), by `first` and then by the faster of the two.

    `second` makes the other one; where it raises SpaceError, or its rows are not those of float32 to
    TOLERANCE, `first` stays.
    """

    def __init__(self, first: Run, second: Callable[[], Chosen], after: int = AFTER) -> None:
        self._run = first
        self._second: Callable[[], Chosen] | None = second
        self._left = after
        self.went_over = False

    def __call__(self, batch: NDArray[Any]) -> Floats:
        self._left -= len(batch)
        if self._left <= 0:
            self._compare(batch)
        return self._run(batch)

    def _compare(self, batch: NDArray[Any]) -> None:
        second, self._second = self._second, None
        if second is None:
            return
        try:
            other = second()
        except SpaceError:
            return
        if other.cosine >= TOLERANCE and GAIN * seconds(other.run, batch) < seconds(self._run, batch):
            self._run, self.went_over = other.run, True


def seconds(run: Run, batch: NDArray[Any]) -> float:
    """The median of ROUNDS passes after a first."""
    run(batch)
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        run(batch)
        times.append(time.perf_counter() - began)
    return statistics.median(times)
