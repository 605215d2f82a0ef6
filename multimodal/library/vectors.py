"""The vectors of a library for searching: memory-mapped files derived from the store, and the kernel.

`vectors/` holds per modality one file of vectors and one of numbers, and `stamp.json`, which says what
state of the store they show. They are only ever a copy: where the stamp does not match they are
completed (rows were added) or made anew (rows went away); where they cannot be written, vectors are
read into memory.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from multimodal.library.store import Store
from multimodal.types import MODALITIES, Modality

LAYOUT = 1
"""Raise when the files' meaning changes; files of another layout are made anew."""
HALF = 2.0**-11
"""The rounding error of a float16, relative; a row's length is off by as much at most."""
BLOCK = 256
"""Rows numpy unpacks at a time: they stay in the cache (100,000 x 512: 88 ms, against 220 with 4,096)."""
FAISS_AFTER = 100_000
"""Rows that numpy scores in a process before faiss is imported, which costs as much as those (0.1-0.2 s)."""
GATHER = 0.02
"""Share of a matrix up to which allowed rows are copied together; beyond, faiss looks at all with a mask. Of
a million rows of 512 random 1 % take 10 ms against 20, 5 % 28 against 28, 12 % 64 against 40; in runs of a
thousand, as a folder's files lie, 1 % takes 15 against 8, 5 % 24 against 16 (all of them: 72 ms)."""
LOCK_SECONDS = 10.0


@dataclass(frozen=True, eq=False)
class Matrix:
    """The rows of one modality, by ascending segment number."""

    vectors: NDArray[np.float16]
    """(n, dim), unit length but for the rounding: within HALF of 1."""
    segments: NDArray[np.int64]
    """(n,) segment numbers."""
    files: NDArray[np.int64]
    """(n,) file numbers."""
    name: str = ""
    """Of the files that hold it, which is another once they are made anew; empty for rows in memory."""

    def __len__(self) -> int:
        return len(self.segments)

    def cosines(self, rows: NDArray[np.int64], query: NDArray[np.float32]) -> NDArray[np.float64]:
        """Cosines (m,) of some rows, the same for equal vectors whatever their place and the kernel."""
        found = self.vectors[rows].astype(np.float64)
        lengths = np.sqrt((found * found).sum(axis=1))
        return (found * query.astype(np.float64)).sum(axis=1) / np.maximum(lengths, 1e-12)


class Outrun(Exception):
    """Another process has brought the files to a later state than this snapshot of the store."""


class VectorFiles:
    """The derived files in a library's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._library = folder.parent

    def load(self, store: Store, patient: bool = True) -> dict[Modality, Matrix]:
        """Matrices that show the store as this snapshot of it does.

        Raises Outrun where the files already show a later state: take a new snapshot. An impatient
        caller gets the files made anew instead (a database put back from a copy is truly behind them).
        """
        settings = store.settings()
        stamp = self._stamp()
        if _matches(stamp, settings):
            with suppress(OSError, ValueError):  # another process may just have replaced them
                return self._mapped(stamp)
        found = self._updated(store, settings, patient)
        return _in_memory(store, int(settings["dim"])) if found is None else found

    def _stamp(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self._folder / "stamp.json").read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    def _mapped(self, stamp: Mapping[str, Any]) -> dict[Modality, Matrix]:
        return {
            modality: _map(self._folder / part["name"], part["rows"], stamp["dim"])
            for modality, part in stamp["parts"].items()
        }

    def _updated(
        self, store: Store, settings: Mapping[str, Any], patient: bool
    ) -> dict[Modality, Matrix] | None:
        """Bring the files up to date; None where they cannot be written."""
        if not os.access(self._library, os.W_OK):
            return None
        from filelock import FileLock, Timeout

        try:
            with FileLock(self._library / "vectors.lock", timeout=LOCK_SECONDS):
                stamp = self._stamp()
                if patient and _is_later(stamp, settings):
                    raise Outrun
                if not _matches(stamp, settings):
                    stamp = self._write(store, settings, stamp)
                return self._mapped(stamp)
        except (OSError, ValueError, Timeout):
            return None

    def _write(self, store: Store, settings: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
        self._folder.mkdir(exist_ok=True)
        grown = all(old.get(key) == settings[key] for key in ("library", "dim", "deletions"))
        grown = grown and old.get("layout") == LAYOUT and old["generation"] < settings["generation"]
        parts: dict[str, Any] = {}
        for modality in MODALITIES:
            before = old["parts"].get(modality) if grown else None
            part = before or {"name": f"{modality}-{secrets.token_hex(4)}", "rows": 0, "last": 0}
            part = _append(store, modality, self._folder, part)
            if part["rows"]:
                parts[modality] = part
        keys = ("library", "dim", "deletions", "generation")
        stamp = {"layout": LAYOUT, **{key: settings[key] for key in keys}, "parts": parts}
        _replace(self._folder / "stamp.json", json.dumps(stamp))
        self._sweep({f"{part['name']}{ending}" for part in parts.values() for ending in (".f16", ".i64")})
        return stamp

    def _sweep(self, wanted: set[str]) -> None:
        for path in self._folder.iterdir():
            if path.suffix in (".f16", ".i64") and path.name not in wanted:
                with suppress(
                    OSError
                ):  # Windows keeps a file that a reader has mapped; a later sweep takes it
                    path.unlink()


def _matches(stamp: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    keys = ("library", "dim", "generation", "deletions")
    return stamp.get("layout") == LAYOUT and all(stamp.get(key) == settings[key] for key in keys)


def _is_later(stamp: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    return stamp.get("library") == settings["library"] and stamp["generation"] > settings["generation"]


def _map(stem: Path, rows: int, dim: int) -> Matrix:
    vectors = np.memmap(stem.with_suffix(".f16"), np.dtype("<f2"), "r", shape=(rows, dim))
    numbers = np.memmap(stem.with_suffix(".i64"), np.dtype("<i8"), "r", shape=(rows, 2))
    # plain views of the mapping: taking rows of a memmap itself costs several times as much
    return Matrix(np.asarray(vectors), np.array(numbers[:, 0]), np.array(numbers[:, 1]), stem.name)


def _append(store: Store, modality: Modality, folder: Path, part: Mapping[str, Any]) -> dict[str, Any]:
    """Write the rows after `part["last"]` behind the first `part["rows"]`, which readers may have mapped.

    What stands behind those is what a killed process left; the stamp does not count it.
    """
    rows, last, stem = int(part["rows"]), int(part["last"]), folder / part["name"]
    groups = store.vectors(modality, last)
    first = next(groups, None)
    if first is None:
        return dict(part)
    width = len(first[0][2])
    with _opened(stem.with_suffix(".f16")) as vectors, _opened(stem.with_suffix(".i64")) as numbers:
        vectors.seek(rows * width)
        numbers.seek(rows * 16)
        group: list[tuple[int, int, bytes]] | None = first
        while group:
            vectors.write(b"".join(row[2] for row in group))
            numbers.write(np.array([row[:2] for row in group], "<i8").tobytes())
            rows, last = rows + len(group), group[-1][0]
            group = next(groups, None)
        for file in (vectors, numbers):
            file.flush()
            os.fsync(file.fileno())
    return {"name": part["name"], "rows": rows, "last": last}


def _opened(path: Path) -> BinaryIO:
    path.touch()
    return path.open("r+b")


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _in_memory(store: Store, dim: int) -> dict[Modality, Matrix]:
    matrices: dict[Modality, Matrix] = {}
    for modality in MODALITIES:
        rows = [row for group in store.vectors(modality, 0) for row in group]
        if rows:
            vectors = np.frombuffer(b"".join(row[2] for row in rows), "<f2").reshape(len(rows), dim)
            numbers = np.array([row[:2] for row in rows], np.int64)
            matrices[modality] = Matrix(vectors, numbers[:, 0].copy(), numbers[:, 1].copy())
    return matrices


class Kernel:
    """Exact top-k over matrices: numpy for the first searches of a small library, faiss beyond.

    Importing faiss pays off after about as many rows as it takes numpy to score in that time.
    """

    def __init__(self, faiss_after: int = FAISS_AFTER) -> None:
        self._faiss_after = faiss_after
        self._scored = 0
        self._indexes: dict[int, tuple[Matrix, Any]] = {}

    def top(
        self,
        matrix: Matrix,
        query: NDArray[np.float32],
        count: int,
        allowed: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.int64], float]:
        """The places (m,) of at least the `count` nearest rows, unordered, and a bound: no other row's
        cosine is above it (minus infinity where every row is returned).

        `allowed` are the places, ascending, that may be found: no other row is scored.
        """
        rows = len(matrix) if allowed is None else len(allowed)
        if count >= rows:
            return (np.arange(rows) if allowed is None else allowed), -np.inf
        self._scored += rows
        if "faiss" not in sys.modules and self._scored <= self._faiss_after:
            cosines = scores(matrix.vectors, query, allowed)
            places = np.argpartition(cosines, rows - count)[-count:]
            return (places if allowed is None else allowed[places]), float(cosines[places].min())
        if allowed is None:
            cosines, found = self._index(matrix).search(query[None], count)
            return found[0], float(cosines[0, -1])
        if rows <= GATHER * len(matrix):
            chosen = matrix.vectors[allowed]  # named, for it must live while faiss looks at it
            cosines, found = faiss_index(chosen).search(query[None], count)
            return allowed[found[0]], float(cosines[0, -1])
        return _masked(self._index(matrix), query, count, allowed)

    def _index(self, matrix: Matrix) -> Any:
        if id(matrix) not in self._indexes:
            self._indexes[id(matrix)] = (matrix, faiss_index(matrix.vectors))
        return self._indexes[id(matrix)][1]

    def forget(self) -> None:
        """Let go of the matrices searched so far."""
        self._indexes.clear()


def _masked(
    index: Any, query: NDArray[np.float32], count: int, allowed: NDArray[np.int64]
) -> tuple[NDArray[np.int64], float]:
    import faiss

    mask = np.zeros(index.ntotal, np.bool_)
    mask[allowed] = True
    bits = np.packbits(mask, bitorder="little")  # faiss looks at it in place
    chosen = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
    cosines, found = index.search(query[None], count, params=chosen)
    return found[0], float(cosines[0, -1])


def scores(
    vectors: NDArray[np.float16], query: NDArray[np.float32], places: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
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
        codes, pointer = index.codes, faiss.swig_ptr(flat)
        codes.is_owned = False
        codes.view_data = codes.c_ptr = pointer
        codes.view_size = codes.c_size = flat.size
        index.ntotal = len(vectors)
    except (AttributeError, TypeError):  # faiss before 1.11 always owns its codes
        faiss.copy_array_to_vector(np.ascontiguousarray(flat), index.codes)
        index.ntotal = len(vectors)
    return index
