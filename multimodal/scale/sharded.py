"""One library searched by several processes at once, each of which reads its own share of the rows.

    >>> with sharded(library, processes=4):
    ...     library.search("a cat on a sofa")

The processes map the files of vectors that lie in the library and score their rows exactly; the one that asks
merges the nearest and goes on as always, so hits, scores and confidences are those of
`Library.search(..., exact=True)`.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multimodal.errors import QueryError
from multimodal.library.kernel import Floats, Kernel, Numbers, Scored
from multimodal.library.vectors import Matrix

if TYPE_CHECKING:
    from multimodal.library import Library


@contextmanager
def sharded(library: Library, processes: int | None = None) -> Iterator[Library]:
    """Have the searches of a library done by `processes` (default: one for each core) that each scan a share
    of the rows, for as long as the context lasts. They start with the first search.

    A process that dies is started again, and its call answered by this one. Raises QueryError for none.
    """
    count = processes if processes is not None else os.cpu_count() or 1
    if count < 1:
        raise QueryError(f"Processes to search with are at least 1, not {count}.")
    kernel = ShardedKernel(count)
    with library._lock:
        former = library._searcher.scan_by(kernel)
    try:
        yield library
    finally:
        with library._lock:
            library._searcher.scan_by(former)
        kernel.close()


class ShardedKernel(Kernel):
    """The nearest rows of matrices that are mapped files, exactly, by processes of one share each."""

    def __init__(self, processes: int) -> None:
        super().__init__()
        self._processes: list[ProcessPoolExecutor | None] = [None] * processes

    def close(self) -> None:
        """End the processes."""
        self.forget()
        for process in self._processes:
            if process is not None:
                process.shutdown()
        self._processes = [None] * len(self._processes)

    def top(
        self,
        matrix: Matrix,
        query: Floats,
        count: int,
        allowed: Numbers | None = None,
        exact: bool = False,
    ) -> tuple[Numbers, float]:
        """As `Kernel.top`, always exact. Rows that lie in memory alone are scored here."""
        if matrix.stem is None or count >= (len(matrix) if allowed is None else len(allowed)):
            return super().top(matrix, query, count, allowed, exact=True)
        try:
            asked = self._asked(matrix, matrix.stem, query, count, allowed)
            parts = [future.result() for future in asked]
        except (BrokenExecutor, OSError):  # a process was killed, or the files have been made anew meanwhile
            self.close()
            return super().top(matrix, query, count, allowed, exact=True)
        places, cosines = (np.concatenate(some) for some in zip(*parts, strict=True))
        best = np.argpartition(cosines, len(cosines) - count)[-count:] if len(cosines) > count else ...
        return places[best], float(cosines[best].min())

    def _asked(
        self, matrix: Matrix, stem: Path, query: Floats, count: int, allowed: Numbers | None
    ) -> list[Future[Scored]]:
        bounds = np.linspace(0, len(matrix), len(self._processes) + 1).astype(np.int64).tolist()
        asked: list[Future[Scored]] = []
        for number, (begin, end) in enumerate(pairwise(bounds)):
            mine = (
                None if allowed is None else allowed[slice(*np.searchsorted(allowed, (begin, end)))] - begin
            )
            if begin == end or (mine is not None and not len(mine)):
                continue
            share = stem, begin, end, matrix.vectors.shape[1]
            asked.append(self._process(number).submit(_nearest, share, query, count, mine))
        return asked

    def _process(self, number: int) -> ProcessPoolExecutor:
        """The process of a share: always the same one, which has its rows mapped."""
        process = self._processes[number]
        if process is None:
            process = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
            self._processes[number] = process
        return process


def _nearest(share: tuple[Path, int, int, int], query: Floats, count: int, allowed: Numbers | None) -> Scored:
    """The places in the whole matrix of the nearest rows of a share, and their cosines."""
    matrix, kernel = _opened(share)
    places, _ = kernel.top(matrix, query, count, allowed, exact=True)
    return places + share[1], matrix.cosines(places, query).astype(np.float32)


@lru_cache(maxsize=8)  # one for each modality, and what was there before the library grew
def _opened(share: tuple[Path, int, int, int]) -> tuple[Matrix, Kernel]:
    stem, begin, end, dim = share
    rows = np.memmap(stem.with_suffix(".f16"), np.dtype("<f2"), "r", begin * dim * 2, (end - begin, dim))
    places = np.arange(end - begin)
    return Matrix(np.asarray(rows), places, places), Kernel(threads=1)
