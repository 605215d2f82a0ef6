"""Rows in few bytes: what is scanned in place of float16 rows, and how the rows found are scored again.

    kind      of a row of 512    scanned as
    float16   1,024 bytes        itself, exactly
    int8        512 bytes        one byte a dimension, between the least and the largest value of each
    index       128 bytes        product quantisation, 4 bits for every two dimensions, scanned with tables in
                                 registers (Jegou et al. 2011, Product Quantization for Nearest Neighbor
                                 Search; Andre et al. 2015, Cache locality is not enough)
    binary       72 bytes        one bit a dimension and two numbers, against the query as it is (Gao and Long
                                 2024, RaBitQ)

A scan finds candidates, some for each row wanted; their float16 rows, which lie in a mapped file that the
scan does not touch, decide. Codes are quick to make anew and kept in files beside the rows.

Hamming distances of sign bits were tried: between texts and pictures, whose vectors lie apart, 0.9 % of the
rows as candidates hold 0.80 of the nearest ten, those of `binary` 0.94 and of `index` 0.996; and a million
codes take 6 ms, those of `index` 5.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from multimodal.library.vectors import Matrix

Storage: TypeAlias = Literal["float16", "int8", "binary"]
"""What a library is searched by; "float16" takes an "index" once there are `INDEXED_FROM` rows."""
Kind: TypeAlias = Literal["int8", "index", "binary"]
STORAGES: tuple[Storage, ...] = get_args(Storage)
SHARE: Mapping[Kind, float] = {"int8": 0.0, "index": 0.004, "binary": 0.012}
"""Of the rows, how many are candidates. Of the nearest ten of 11,684 pictures (384 dimensions) those hold for
500 texts 0.982 (0.976-0.989) with "index" and 0.965 (0.958-0.972) with "binary", for 500 pictures 0.993 and
1.000; with "int8" all."""
LEAST: Mapping[Kind, int] = {"int8": 128, "index": 1_000, "binary": 1_000}
"""Candidates, at least."""
PER_WANTED = 4
"""Candidates for each row wanted, at least."""
INDEXED_FROM = 1_000_000
"""Rows of a library from which they are scanned as an "index": exactly they take 40 ms and more."""
CODED_FROM = 4_096
"""Rows of a matrix below which codes gain nothing: they are searched exactly in a millisecond."""
SHARD = 1 << 20
"""Rows in one file of codes: as much is written again when rows are added, and searched by one thread."""
LAG = 0.05
"""Share of a shard whose rows may still lack codes. They are searched exactly."""
TRAINED = 20_000
"""Rows, evenly taken, that codes are fitted to."""
BLOCK = 65_536
"""Rows that are unpacked at a time when codes are made: 134 MB of 512 dimensions."""
SUFFIX = ".codes"


@dataclass(frozen=True, eq=False)
class Codes:
    """Rows of one kind; `index` is of faiss. Searching is safe from several threads, adding is not."""

    kind: Kind
    index: Any

    @classmethod
    def of(cls, rows: NDArray[np.floating], kind: Kind) -> Codes:
        """Codes fitted to unit rows (n, dim), without them yet; `add` puts them in.

        "index" needs an even dimension and 16 rows; where they are odd or fewer, codes are "int8".
        """
        if kind == "index" and (rows.shape[1] % 2 or len(rows) < 16):
            kind = "int8"
        places = np.linspace(0, len(rows) - 1, min(len(rows), TRAINED)).astype(np.int64)
        index = _empty(kind, rows.shape[1])
        index.train(np.ascontiguousarray(rows[places], np.float32))
        return cls(kind, index)

    def __len__(self) -> int:
        return int(self.index.ntotal)

    def add(self, rows: NDArray[np.floating]) -> None:
        """Put unit rows (m, dim) behind those there are."""
        for begin in range(0, len(rows), BLOCK):
            self.index.add(np.ascontiguousarray(rows[begin : begin + BLOCK], np.float32))

    def candidates(
        self, queries: NDArray[np.float32], count: int, few: int | None = None
    ) -> NDArray[np.int64]:
        """Places (m, c) that hold nearly all of the `count` nearest rows to unit queries (m, dim); -1 where
        there is no row. `few` is how many to look at, for measuring."""
        if few is None:
            few = max(LEAST[self.kind], int(SHARE[self.kind] * len(self)), PER_WANTED * count)
        found = self.index.search(np.ascontiguousarray(queries, np.float32), min(few, len(self)))[1]
        return np.asarray(found, np.int64)

    def save(self, path: Path) -> None:
        """Write them whole or not at all. Raises OSError."""
        import faiss

        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            faiss.write_index(self.index, str(temporary))
            with temporary.open("r+b") as file:  # a power cut must not leave zeros that look like codes
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except RuntimeError as error:  # what faiss makes of a full disk
            raise OSError(f"{path} cannot be written: {error}") from error
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def read(cls, path: Path, kind: Kind) -> Codes | None:
        """What `save` wrote; None where there is nothing, or it is damaged."""
        if not path.exists():
            return None
        import faiss

        try:
            return cls(kind, faiss.read_index(str(path)))
        except RuntimeError:
            return None


def _empty(kind: Kind, dim: int) -> Any:
    import faiss

    if kind == "int8":
        return faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    if kind == "index":
        index = faiss.IndexPQFastScan(dim, dim // 2, 4, faiss.METRIC_INNER_PRODUCT)
        index.pq.cp.min_points_per_centroid = 1  # or faiss writes to the console
        return index
    turned = faiss.RandomRotationMatrix(dim, dim)
    turned.init(0)
    fast = getattr(faiss, "IndexRaBitQFastScan", None)  # since 1.13
    bits = (fast or faiss.IndexRaBitQ)(dim, faiss.METRIC_INNER_PRODUCT)
    return faiss.IndexPreTransform(turned, bits)


def nearest(
    rows: NDArray[np.floating],
    queries: NDArray[np.floating],
    k: int,
    kind: Storage | Literal["index"],
    rescored: bool = True,
    candidates: int | None = None,
) -> NDArray[np.int64]:
    """Places (m, min(k, n)) of the rows (n, dim) nearest to queries (m, dim), best first, as a library of
    that storage finds them; -1 where fewer candidates than that are looked at. All are of length 1.

    `rescored` False takes the codes at their word, for what they lose alone; "float16" has nothing to
    score again. `candidates`, if given, is how many rows are scored again: of few thousand rows a library
    looks at a large part, so that a measure of what large ones lose must look at as small a share as they
    do (`SHARE`). Nothing is kept: for a few hundred thousand rows.
    """
    asked = np.asarray(queries, np.float32)
    half = np.asarray(rows, np.float16)
    count = min(k, len(half))
    if kind == "float16":
        cosines = asked @ half.astype(np.float32).T
        return np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    codes = Codes.of(half, kind)
    codes.add(half)
    if not rescored:
        return np.asarray(codes.index.search(np.ascontiguousarray(asked), count)[1], np.int64)
    found = np.empty((len(asked), count), np.int64)
    for number, places in enumerate(codes.candidates(asked, count, candidates)):
        places = np.sort(places[places >= 0])
        cosines = half[places].astype(np.float32) @ asked[number]
        best = places[np.argsort(-cosines, kind="stable")[:count]]
        found[number, : len(best)], found[number, len(best) :] = best, -1
    return found


def wanted(storage: Storage, matrices: Mapping[Any, Matrix]) -> Kind | None:
    """The codes that a library of these matrices is scanned by; None for the rows themselves."""
    if storage != "float16":
        return storage
    return "index" if sum(map(len, matrices.values())) >= INDEXED_FROM else None


def keep(matrices: Mapping[Any, Matrix], storage: Storage = "float16") -> None:
    """Make or complete the codes beside the mapped files of a library; a search never waits for them.

    A million rows of 512 take a core 15 s for an "index", 8 for "binary"; of rows added later a shard gets
    codes when they are `LAG` of it. Where they cannot be written, searches stay exact. Codes of another kind
    are taken away.
    """
    kind = wanted(storage, matrices)
    for matrix in matrices.values():
        if matrix.stem is None:
            continue
        with suppress(OSError):  # Windows keeps what a reader has mapped
            for path in matrix.stem.parent.glob(f"{matrix.stem.name}.*{SUFFIX}"):
                if kind is None or not path.name.startswith(f"{matrix.stem.name}.{kind}"):
                    path.unlink()
        if kind is not None and len(matrix) >= CODED_FROM:
            with suppress(OSError):
                _keep(matrix, matrix.stem, kind)


def _keep(matrix: Matrix, stem: Path, kind: Kind) -> None:
    for begin in range(0, len(matrix), SHARD):
        rows = matrix.vectors[begin : begin + SHARD]
        path = place_of(stem, kind, begin)
        codes = Codes.read(path, kind)
        if codes is None:
            codes = Codes.of(rows, kind)
        if len(rows) - len(codes) > LAG * len(rows):
            codes.add(rows[len(codes) :])
            codes.save(path)


def place_of(stem: Path, kind: Kind, begin: int) -> Path:
    """The file for the codes of the rows from `begin`, a multiple of `SHARD`."""
    return stem.with_name(f"{stem.name}.{kind}{begin // SHARD}{SUFFIX}")


def kept(matrix: Matrix) -> list[tuple[int, Codes]]:
    """The codes there are for a matrix: for each shard its first row and its codes, of one kind."""
    if matrix.stem is None:
        return []
    kinds: tuple[Kind, ...] = get_args(Kind)
    for kind in kinds:
        found = list(_read(matrix, matrix.stem, kind))
        if found:
            return found
    return []


def _read(matrix: Matrix, stem: Path, kind: Kind) -> Iterator[tuple[int, Codes]]:
    for begin in range(0, len(matrix), SHARD):
        codes = Codes.read(place_of(stem, kind, begin), kind)
        if codes is not None and codes.index.d == matrix.vectors.shape[1]:
            yield begin, codes
