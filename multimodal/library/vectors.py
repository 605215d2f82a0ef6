"""The vectors of a library for searching: memory-mapped files derived from the store.

`vectors/` holds per modality one file of vectors and one of numbers, and `stamp.json`, which says what
state of the store they show. They are only ever a copy: where the stamp does not match they are
completed (rows were added) or made anew (rows went away); where they cannot be written, vectors are
read into memory.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from multimodal.library.codes import SUFFIX
from multimodal.library.kernel import Kernel as Kernel
from multimodal.library.kernel import faiss_index as faiss_index
from multimodal.library.kernel import scores as scores
from multimodal.library.store import Store
from multimodal.types import MODALITIES, Modality

LAYOUT = 1
"""Raise when the files' meaning changes; files of another layout are made anew."""
HALF = 2.0**-11
"""The rounding error of a float16, relative; a row's length is off by as much at most."""
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
    stem: Path | None = None
    """Those files without their endings, None for rows in memory; codes for faster scans lie beside them."""

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
        self._sweep({part["name"] for part in parts.values()})
        return stamp

    def _sweep(self, wanted: set[str]) -> None:
        for path in self._folder.iterdir():
            if path.suffix in (".f16", ".i64", SUFFIX) and path.name.partition(".")[0] not in wanted:
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
    return Matrix(np.asarray(vectors), np.array(numbers[:, 0]), np.array(numbers[:, 1]), stem.name, stem)


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
