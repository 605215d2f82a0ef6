"""Products of small matrices on one thread: where the threads of BLAS cost more than they bring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

_lock = Lock()
_inside = 0
_threads = 1
_limit: Any = None


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


@contextmanager
def one_thread() -> Iterator[int]:
    """Keep numpy's matrix products to one thread inside, and give the number of threads they had.

    The limit is the process's: the first who enters sets it, the last who leaves takes it back. It may be
    nested and held by several threads. Where numpy's BLAS cannot be told (Accelerate), the number is 1.
    """
    global _inside, _limit, _threads
    with _lock:
        if not _inside:
            found = _controller()
            _threads = max((library.num_threads for library in found.lib_controllers), default=1)
            _limit = found.limit(limits=1)
        _inside += 1
    try:
        yield _threads
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _limit.restore_original_limits()
                _limit = None
