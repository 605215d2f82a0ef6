"""The searching half of a library: its vectors as they are now, and hits from ranked rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multimodal.library import search as ranking
from multimodal.library.asking import Asked
from multimodal.library.filters import Filter
from multimodal.library.roots import Roots
from multimodal.library.sqlite import SqliteStore
from multimodal.library.store import StoredSegment
from multimodal.library.vectors import Kernel, Matrix, Outrun, VectorFiles
from multimodal.types import MODALITIES, Hit, Modality

FOLD = 0.985
"""Cosine from which two results are shown as one: higher than that of `duplicates`, whose groups a person
looks through. Recompressed and halved photos of the starter's space have 0.98 to 0.99 as their median."""
CENTRE_ROWS = 4096
"""Rows that a modality's centre is the mean of, evenly taken."""
FEW = 32
"""Fewer rows than this have no centre worth the name."""


@dataclass(frozen=True)
class Request:
    """What a search is to give: `k` files, or segments, of some modalities that a filter lets through;
    copies folded into one."""

    k: int = 10
    modalities: tuple[Modality, ...] = MODALITIES
    filter: Filter = Filter()  # noqa: RUF009 - frozen
    per_file: bool = True
    fold: bool = True


@dataclass
class _Found:
    """A hit in the making: its row, what is stored of it, and the copies folded into it."""

    row: ranking.Ranked
    stored: StoredSegment
    vector: NDArray[np.float32]
    copies: list[Path] = field(default_factory=list)


class Searcher:
    """Searches one library, from one thread at a time. `reading` gives its store."""

    def __init__(self, home: Path, roots: Roots, reading: Callable[[], SqliteStore]) -> None:
        self._roots = roots
        self._reading = reading
        self._files = VectorFiles(home / "vectors")
        self._matrices: dict[Modality, Matrix] = {}
        self._shown: tuple[object, ...] | None = None
        self._kernel = Kernel()

    def forget(self) -> None:
        """Let go of the mapped files."""
        self._matrices, self._shown = {}, None
        self._kernel.forget()

    def matrices(self, patient: bool = True) -> dict[Modality, Matrix]:
        """The vectors as the store is now, mapped again only when it has changed. Raises Outrun."""
        store = self._reading()
        settings = store.settings()
        if (settings["library"], settings["generation"]) != self._shown:
            self._kernel.forget()
            self._shown = None
            with store.snapshot():
                self._matrices = self._files.load(store, patient)
                settings = store.settings()
            self._shown = (settings["library"], settings["generation"])
        return self._matrices

    def centre(self, modality: Modality) -> NDArray[np.float32] | None:
        """The mean vector (dim,) of the library's rows of a modality; None where there are too few."""
        matrix = self.matrices(patient=False).get(modality)
        if matrix is None or len(matrix) < FEW:
            return None
        places = np.unique(np.linspace(0, len(matrix) - 1, CENTRE_ROWS).astype(np.int64))
        mean: NDArray[np.float32] = matrix.vectors[places].astype(np.float32).mean(axis=0)
        return mean

    def search(
        self, asked: Asked, request: Request, known: Callable[[Modality, Modality], ranking.Background | None]
    ) -> list[Hit]:
        """The hits of a query, best first; `known` gives the backgrounds that the space has measured."""
        for _ in range(3):
            with suppress(Outrun), self._reading().snapshot():
                return self._search(asked, request, known, patient=True)
        with self._reading().snapshot():
            return self._search(asked, request, known, patient=False)

    def _search(
        self,
        asked: Asked,
        request: Request,
        known: Callable[[Modality, Modality], ranking.Background | None],
        patient: bool,
    ) -> list[Hit]:
        shown = self.matrices(patient)
        wanted = request.filter.modalities or request.modalities
        matrices = {name: shown[name] for name in request.modalities if name in shown and name in wanted}
        against = ranking.backgrounds(asked, matrices, known)
        let = request.filter.allowed(self._reading(), self._roots)
        places = {} if let is None else {name: let.positions(matrix) for name, matrix in matrices.items()}
        rows = sum(len(places.get(name, matrix)) for name, matrix in matrices.items())
        count = request.k
        while True:
            ranked = ranking.rank(matrices, asked, against, count, request.per_file, self._kernel, places)
            found = self._found(ranked, matrices, request)
            everything = len(ranked) == rows
            if len(found) >= request.k or everything or len(ranked) < count:
                return [self._hit(one) for one in found[: request.k]]
            count *= 2  # copies took places

    def _found(
        self, ranked: list[ranking.Ranked], matrices: dict[Modality, Matrix], request: Request
    ) -> list[_Found]:
        """Rows in their order, the first of each file where that is asked, copies folded into the first."""
        stored = self._reading().segments([row.segment for row in ranked])
        ranked = [row for row in ranked if row.segment in stored]
        ranked.sort(key=lambda row: (-row.score, *_place(stored[row.segment])))
        found: list[_Found] = []
        files: set[int] = set()
        for row in ranked:
            if request.per_file and row.file in files:
                continue
            files.add(row.file)
            one = _Found(row, stored[row.segment], _vector(matrices[row.modality], row.segment))
            first = _copied(one, found) if request.fold else None
            if first is None:
                found.append(one)
            elif one.row.file != first.row.file:
                first.copies.append(self._path(one.stored))
        return found

    def _hit(self, found: _Found) -> Hit:
        row, stored = found.row, found.stored
        return Hit(
            self._path(stored),
            row.modality,
            row.score,
            min(1.0, max(-1.0, row.cosine)),
            stored.start,
            stored.end,
            stored.text,
            stored.page,
            stored.chars,
            stored.role,
            row.segment,
            stored.id,
            tuple(dict.fromkeys(found.copies)),
        )

    def _path(self, stored: StoredSegment) -> Path:
        return self._roots.folder(stored.root) / stored.path


def _vector(matrix: Matrix, segment: int) -> NDArray[np.float32]:
    place = int(np.searchsorted(matrix.segments, segment))
    return matrix.vectors[place].astype(np.float32)


def _copied(one: _Found, found: Sequence[_Found]) -> _Found | None:
    """The hit that this one is a copy of: of the same kind, and as good as the same vector."""
    for first in found:
        alike = first.row.modality == one.row.modality and first.stored.role == one.stored.role
        if alike and float(first.vector @ one.vector) >= FOLD:
            return first
    return None


def _place(found: StoredSegment) -> tuple[str, str, int]:
    return (found.root, found.path, found.ordinal)
