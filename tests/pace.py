"""Bounds on time that hold on a slow or busy machine as on a quiet one.

    with within(2):
        list(read(path))

The bound is stretched by how much slower a fixed loop runs on this machine, at this moment, than on the one
the bounds were written on, and never shrunk. Only the calling thread is timed unless another clock is given,
and the garbage collector does not look at what the tests before have left.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOP = 0.025
"""Seconds of `_loop` on the machine where the bounds were written."""


@contextmanager
def within(seconds: float, clock: Callable[[], float] = time.thread_time) -> Iterator[None]:
    """Fails where what is inside takes longer than `seconds` of `clock` on the machine of the bounds."""
    gc.freeze()
    began = clock()
    try:
        yield
        took = clock() - began
    finally:
        gc.unfreeze()
    if took > seconds:
        began = clock()
        _loop()
        slower = max(1.0, (clock() - began) / LOOP)
        assert took <= seconds * slower, (
            f"{took:.2f} s, and {seconds:g} s are allowed, {slower:.1f} times here"
        )


def _loop() -> int:
    total = 0
    for number in range(500_000):
        total += number & 7
    return total
