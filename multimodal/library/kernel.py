"""The nearest rows to a query: exactly, with all cores, or among the candidates of codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from multimodal.library import codes

if TYPE_CHECKING:
    from multimodal.library.vectors import Matrix

BLOCK = 256
"""Rows numpy unpacks at a time: they stay in the cache (100,000 x 512: 88 ms, against 220 with 4,096)."""
FAISS_AFTER = 100_000
"""Rows that numpy scores in a process before faiss is imported, which costs as much as those (0.1-0.2 s)."""
GATHER = 0.02
"""Share of a matrix up to which allowed rows are copied together; beyond, faiss looks at all with a mask. Of
a million rows of 512 random 1 % take 10 ms against 20, 5 % 28 against 28, 12 % 64 against 40; in runs of a
thousand, as a folder's files lie, 1 % takes 15 against 8, 5 % 24 against 16 (all of them: 72 ms)."""
SLICE = 65_536
"""Rows, at least, that are worth a thread of their own: faiss takes 3 ms for so many."""
SCATTERED = 1_000
"""The same where they have to be brought together first."""
SELECTIVE = 0.125
"""Share of allowed rows below which codes are not asked: their candidates would mostly be forbidden."""

Numbers: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float32]
Scored: TypeAlias = tuple[Numbers, Floats]
"""Places (m,) and their cosines (m,), unordered."""
_Item = TypeVar("_Item")


def faiss_is_loaded() -> bool:
    """Whether using it costs no import."""
    return "faiss" in sys.modules


class Kernel:
    """Top-k over matrices: numpy for the first searches of a small library, faiss beyond.

    Importing faiss pays off after about as many rows as it takes numpy to score in that time. faiss takes
    a single query with one core, so slices of a matrix are searched side by side.
    """

    def __init__(self, faiss_after: int = FAISS_AFTER, threads: int | None = None) -> None:
        self._faiss_after = faiss_after
        self._threads = threads or _cores()
        self._scored = 0
        self._held: dict[int, _Held] = {}
        self._pool: ThreadPoolExecutor | None = None

    def top(
        self,
        matrix: Matrix,
        query: Floats,
        count: int,
        allowed: Numbers | None = None,
        exact: bool = False,
    ) -> tuple[Numbers, float]:
        """The places (m,) of at least the `count` nearest rows, unordered, and a bound: no other row's
        cosine is above it (minus infinity where every row is returned).

        `allowed` are the places, ascending, that may be found: no other row is scored. Where a matrix has
        codes, now and then a near row is missed and the bound holds for the rows looked at, unless
        `exact`.
        """
        rows = len(matrix) if allowed is None else len(allowed)
        if count >= rows:
            return (np.arange(rows) if allowed is None else allowed), -np.inf
        share = rows / len(matrix)
        if not exact and share >= SELECTIVE and self._of(matrix).codes:
            found = self._coded(self._of(matrix), query, count, allowed, share)
            if sum(len(part[0]) for part in found) >= count:
                return _best(found, count)
        self._scored += rows
        if not faiss_is_loaded() and self._scored <= self._faiss_after:
            cosines = scores(matrix.vectors, query, allowed)
            return _best([(np.arange(rows) if allowed is None else allowed, cosines)], count)
        if allowed is not None and share <= GATHER:
            return _best(self._gathered(matrix, query, count, allowed), count)
        search = partial(_exact, query=query, count=count, allowed=allowed)
        return _best(self._each(search, self._of(matrix).slices(self._threads)), count)

    def _coded(
        self, held: _Held, query: Floats, count: int, allowed: Numbers | None, share: float
    ) -> list[Scored]:
        """The best candidates of the codes, and the best of the rows that have none yet."""

        def candidates(shard: tuple[int, codes.Codes]) -> Numbers:
            found = shard[1].candidates(query[None], int(count / share))[0]
            return found[found >= 0] + shard[0]

        places = np.sort(np.concatenate(self._each(candidates, held.codes)))
        places = places[: np.searchsorted(places, len(held.matrix))]  # the codes may be of a later state
        if allowed is not None:
            spots = np.minimum(np.searchsorted(allowed, places), len(allowed) - 1)
            places = places[allowed[spots] == places]
        late = self._each(partial(_exact, query=query, count=count, allowed=allowed), held.late)
        return [*late, *self._gathered(held.matrix, query, count, places)]

    def _gathered(self, matrix: Matrix, query: Floats, count: int, places: Numbers) -> list[Scored]:
        """The nearest of some rows, scattered over the matrix."""

        def nearest(part: Numbers) -> Scored:
            chosen = matrix.vectors[part]  # named, for it must live while faiss looks at it
            cosines, found = faiss_index(chosen).search(query[None], min(count, len(part)))
            return part[found[0]], cosines[0]

        parts = np.array_split(places, max(1, min(self._threads, len(places) // SCATTERED)))
        return self._each(nearest, [part for part in parts if len(part)])

    def _of(self, matrix: Matrix) -> _Held:
        return self._held.setdefault(id(matrix), _Held(matrix))

    def _each(self, call: Callable[[_Item], Any], items: Iterable[_Item]) -> list[Any]:
        """What `call` gives for each of the items, on as many cores.

        A single one goes to a thread of ours, too: there faiss does not gather a team for it, which on a
        busy machine takes longer than the search (10,000 rows: 7 ms against 1).
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, "multimodal-search", _alone)
        return list(self._pool.map(call, items))

    def forget(self) -> None:
        """Let go of the matrices searched so far."""
        self._held.clear()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


@dataclass(eq=False)
class _Held:
    """A matrix and what faiss makes of it."""

    matrix: Matrix
    _slices: list[tuple[int, Any]] = field(default_factory=list)

    @cached_property
    def codes(self) -> list[tuple[int, codes.Codes]]:
        return codes.kept(self.matrix)

    @cached_property
    def late(self) -> list[tuple[int, Any]]:
        """What codes do not cover, as `slices`."""
        ends = [0, *(begin + len(made) for begin, made in self.codes)]
        begins = [*(begin for begin, _ in self.codes), len(self.matrix)]
        return [self._slice(a, b) for a, b in zip(ends, begins, strict=True) if a < b]

    def slices(self, threads: int) -> list[tuple[int, Any]]:
        """The first row and the index of each slice: some for each thread, which differ in speed."""
        if not self._slices:
            rows = len(self.matrix)
            count = 1 if threads < 2 else max(1, min(4 * threads, rows // SLICE))
            bounds = np.linspace(0, rows, count + 1).astype(np.int64).tolist()
            self._slices += [self._slice(a, b) for a, b in pairwise(bounds)]
        return self._slices

    def _slice(self, begin: int, end: int) -> tuple[int, Any]:
        return begin, faiss_index(self.matrix.vectors[begin:end])


def _exact(slice_: tuple[int, Any], query: Floats, count: int, allowed: Numbers | None) -> Scored:
    """The nearest rows of a slice, of those that are allowed."""
    begin, index = slice_
    rows, how = index.ntotal, {}
    if allowed is not None:
        import faiss

        inside = allowed[slice(*np.searchsorted(allowed, (begin, begin + index.ntotal)))]
        rows, mask = len(inside), np.zeros(index.ntotal, np.bool_)
        mask[inside - begin] = True
        bits = np.packbits(mask, bitorder="little")  # faiss looks at it in place
        how = {"params": faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))}
    if not rows:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    cosines, found = index.search(query[None], min(count, rows), **how)
    return found[0] + begin, cosines[0]


def _best(found: list[Scored], count: int) -> tuple[Numbers, float]:
    """The `count` best places of all and the least cosine among them."""
    places = np.concatenate([part[0] for part in found])
    cosines = np.concatenate([part[1] for part in found])
    if len(places) > count:
        kept = np.argpartition(cosines, len(places) - count)[-count:]
        places, cosines = places[kept], cosines[kept]
    return places, float(cosines.min())


def _cores() -> int:
    usable = getattr(os, "sched_getaffinity", None)  # Linux knows which cores this process may use
    return len(usable(0)) if usable else os.cpu_count() or 1


def _alone() -> None:
    """Keep faiss from starting threads in each of our own."""
    import faiss

    faiss.omp_set_num_threads(1)


def scores(vectors: NDArray[np.float16], query: Floats, places: Numbers | None = None) -> Floats:
    """Cosines (n,) of rows (n, dim), or of those at `places` (n,), with a query (dim,)."""
    rows = len(vectors) if places is None else len(places)
    found = np.empty(rows, np.float32)
    unpacked = np.empty((min(BLOCK, rows), vectors.shape[1]), np.float32)
    for begin in range(0, rows, BLOCK):
        end = begin + BLOCK
        block = vectors[begin:end] if places is None else vectors[places[begin:end]]
        np.copyto(unpacked[: len(block)], block)
        np.dot(unpacked[: len(block)], query, out=found[begin : begin + len(block)])
    return found


def faiss_index(vectors: NDArray[np.float16]) -> Any:
    """An exact fp16 index (IndexScalarQuantizer, inner product) that looks at the mapped rows in place.

    faiss has no call for this in Python; where its vector type cannot be pointed at memory of ours, the
    rows are copied. The index is valid while `vectors` lives.
    """
    import faiss

    index = faiss.IndexScalarQuantizer(
        vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    flat = vectors.view(np.uint8).reshape(-1)
    try:
        stored, pointer = index.codes, faiss.swig_ptr(flat)
        stored.is_owned = False
        stored.view_data = stored.c_ptr = pointer
        stored.view_size = stored.c_size = flat.size
        index.ntotal = len(vectors)
    except (AttributeError, TypeError):  # faiss before 1.11 always owns its codes
        faiss.copy_array_to_vector(np.ascontiguousarray(flat), index.codes)
        index.ntotal = len(vectors)
    return index
