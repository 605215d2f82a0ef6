"""The searching half of a library: its vectors as they are now, and what queries are judged by."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multimodal.library.answering import Answering, Request
from multimodal.library.asking import Asked
from multimodal.library.bank import Bank, bank_of
from multimodal.library.calibration import Reference
from multimodal.library.codes import keep
from multimodal.library.filters import Allowed, Filter
from multimodal.library.references import References
from multimodal.library.roots import Roots
from multimodal.library.search import Judge
from multimodal.library.sqlite import SqliteStore
from multimodal.library.vectors import Kernel, Matrix, Outrun, VectorFiles
from multimodal.space import Space
from multimodal.towers.blas import one_thread
from multimodal.types import Hits, Modality

REMEMBERED = 16
"""Filters whose answers are kept: a table of a million segments takes 8 MB each."""


class Searcher:
    """Searches one library, from one thread at a time. `reading` gives its store, `space` its space."""

    def __init__(
        self,
        home: Path,
        roots: Roots,
        reading: Callable[[], SqliteStore],
        space: Callable[[], Space],
    ) -> None:
        self._roots, self._reading, self._space = roots, reading, space
        self._folder = home / "vectors"
        self._files = VectorFiles(self._folder)
        self._matrices: dict[Modality, Matrix] = {}
        self._shown: tuple[object, ...] | None = None
        self._kernel = Kernel()
        self._bank: Bank | None = None
        self._filtered: dict[Filter, Allowed | None] = {}
        self._references = References(self._folder, lambda numbers: reading().frames(numbers))

    def forget(self) -> None:
        """Let go of the mapped files."""
        self._matrices, self._shown, self._bank = {}, None, None
        self._kernel.forget()
        self._references.forget()

    def scan_by(self, kernel: Kernel) -> Kernel:
        """Have another kernel find the nearest rows; gives the one that did until now."""
        former, self._kernel = self._kernel, kernel
        return former

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
            self._bank = None
            self._filtered.clear()
        return self._matrices

    @property
    def bank(self) -> Bank:
        """The generic queries that hits are judged by."""
        matrices = self.matrices(patient=False)
        if self._bank is None:
            self._bank = bank_of(self._space(), matrices, self._folder / "bank.safetensors")
        return self._bank

    def prepare(self) -> None:
        """Do now what the first search for words would have to do. Raises Outrun."""
        matrices = self.matrices()
        for modality, matrix in matrices.items():
            self._references.of(self.bank, "text", modality, matrix)
        keep(matrices, self._reading().settings().get("storage", "float16"))

    def centre(self, modality: Modality) -> NDArray[np.float32] | None:
        """The mean vector (dim,) of queries of a modality; None where it is not known."""
        return self.bank.centre(modality)

    def search(self, asked: Asked, request: Request) -> Hits:
        """The hits of a query, best first. Raises QueryError."""
        # Products of this size gain nothing from a second thread, and wait long for one on a busy machine
        # (935 x 384 x 128: 1.1 ms with one, 9 with two beside other work).
        with one_thread():
            for _ in range(3):
                with suppress(Outrun), self._reading().snapshot():
                    return self._search(asked, request, patient=True)
            with self._reading().snapshot():
                return self._search(asked, request, patient=False)

    def _search(self, asked: Asked, request: Request, patient: bool) -> Hits:
        store, shown = self._reading(), self.matrices(patient)
        wanted = request.filter.modalities or request.modalities
        matrices = {name: shown[name] for name in request.modalities if name in shown and name in wanted}
        allowed = self._allowed(request.filter)
        places = {name: allowed.positions(m) if allowed else None for name, m in matrices.items()}

        def reference(modality: Modality) -> Reference:
            rows = matrices[modality], places[modality]
            return self._references.among(self.bank, asked.modality, modality, *rows)

        judge = Judge(self.bank, reference, store.frames)
        return Answering(store, self._roots, asked, request, matrices, places, judge, self._kernel).hits()

    def _allowed(self, wanted: Filter) -> Allowed | None:
        """What a filter lets through, remembered while the library stays as it is: of a million rows a
        condition on files takes 50 ms."""
        if "now" in (wanted.where or "").lower():  # a time that passes
            return wanted.allowed(self._reading(), self._roots)
        if wanted not in self._filtered:
            if len(self._filtered) >= REMEMBERED:
                self._filtered.clear()
            self._filtered[wanted] = wanted.allowed(self._reading(), self._roots)
        return self._filtered[wanted]
