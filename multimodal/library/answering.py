"""One search: what is near, what has the words, one order of both, and whether anything matches at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import QueryError
from multimodal.library.asking import Asked
from multimodal.library.calibration import CANDIDATES, bar, confidence, presence
from multimodal.library.filters import Filter, Scope
from multimodal.library.fusion import Placed, best_rows, hybrid, lifts
from multimodal.library.results import Entry, folded, shown
from multimodal.library.roots import Roots
from multimodal.library.search import Judge, Ranked, best_levels, rank
from multimodal.library.store import Store
from multimodal.library.vectors import Kernel, Matrix
from multimodal.library.words import WordHit, Words
from multimodal.types import MODALITIES, Hits, Modality

Mode: TypeAlias = Literal["hybrid", "meaning", "words"]
MODES: tuple[Mode, ...] = ("hybrid", "meaning", "words")
WORDS = 100
"""Hits of words that are fused with those by meaning; more where more results are wanted."""

Numbers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Request:
    """What a search is to give: `k` files, or segments, of some modalities that a filter lets through;
    copies folded into one. `min_confidence` None leaves it to the search to say that nothing matches."""

    k: int = 10
    modalities: tuple[Modality, ...] = MODALITIES
    filter: Filter = Filter()  # noqa: RUF009 - frozen
    per_file: bool = True
    fold: bool = True
    mode: Mode = "hybrid"
    min_confidence: float | None = None
    exact: bool = False
    """Whether no index may be used that now and then misses a near row."""


@dataclass(frozen=True, eq=False)
class Answering:
    """A query to the rows of `matrices` at `places` (ascending, None for all)."""

    store: Store
    roots: Roots
    asked: Asked
    request: Request
    matrices: Mapping[Modality, Matrix]
    places: Mapping[Modality, Numbers | None]
    judge: Judge
    kernel: Kernel

    def hits(self) -> Hits:
        """What matches, best first. Raises QueryError for words alone where there are none to look for."""
        if not self._rows:
            return Hits(
                note="There is nothing of this kind in the library, or the filter lets nothing through."
            )
        count = max(CANDIDATES, 4 * self.request.k)
        while True:
            near = rank(
                self.matrices, self.asked, self.judge, count, self.kernel, self.places, self.request.exact
            )
            chance = presence(best_levels(near))
            every = self._ordered(near)
            entries, note = self._matching(every, chance)
            found = folded(entries, self.store, self.matrices, self.request.k, self.request.fold)
            if len(found) >= self.request.k or count >= self._rows or len(entries) < len(every):
                return Hits(shown(found, self.store, self.roots, self.asked.words), note, chance)
            count *= 4  # copies, or more moments of the same files, took places

    @cached_property
    def _rows(self) -> int:
        """The rows that may be found, of the modality that has most."""
        sizes = (len(self.matrices[n]) if p is None else len(p) for n, p in self.places.items())
        return max(sizes, default=0)

    @cached_property
    def _words(self) -> list[WordHit]:
        """What has the words of the query, in the order of words."""
        request = self.request
        if request.mode == "meaning" or not self.asked.words:
            if request.mode == "words":
                raise QueryError("A search for words needs words: this query has none.")
            return []
        if request.mode == "hybrid" and "words" not in self.store.settings():
            return []  # made by an SQLite without full text
        scope = Scope.at(self.matrices, self.places)
        found = Words(self.store).match(self.asked.words, max(WORDS, 2 * request.k), scope, request.per_file)
        return found if request.mode == "words" else [hit for hit in found if lifts(hit)]

    def _key(self, row: Ranked) -> int:
        return row.file if self.request.per_file else row.segment

    def _ordered(self, near: Sequence[Ranked]) -> list[Entry]:
        """Each file (or segment) once: its row and the words found in it."""
        rows: dict[int, Ranked] = {}
        for row in self._settled(near):
            rows.setdefault(self._key(row), row)
        if not self._words:
            return [] if self.request.mode == "words" else [Entry(row) for row in rows.values()]
        meaning = [Placed(key, row.modality) for key, row in rows.items()]
        places = {placed.key: place for place, placed in enumerate(meaning)}
        words: dict[int, tuple[WordHit, Ranked]] = {}
        for hit, own, said in zip(self._words, *self._rows_of(rows), strict=True):
            if own is None or self._key(own) in words:
                continue
            key = self._key(own)
            rows.setdefault(key, own)
            earlier = said is not None and len(words) <= places.get(key, len(near))
            words[key] = hit, said if said is not None and earlier else rows[key]
        placed = [Placed(key, rows[key].modality, hit.is_name) for key, (hit, _) in words.items()]
        order = list(words) if self.request.mode == "words" else hybrid(meaning, placed)
        entries = {key: Entry(row, hit) for key, (hit, row) in words.items()}
        return [entries.get(key) or Entry(rows[key]) for key in order]

    def _rows_of(self, known: Mapping[int, Ranked]) -> tuple[list[Ranked | None], list[Ranked | None]]:
        """Of each hit of words the row of its file (or segment) that is nearest to the query, and the row
        where the words stand, if that is a part of its file."""
        per_file = self.request.per_file
        apart = [hit.segment is not None and not (per_file and hit.is_whole) for hit in self._words]
        said = self._at([hit.segment for hit, use in zip(self._words, apart, strict=True) if use])
        files = {
            hit.file
            for hit, use in zip(self._words, apart, strict=True)
            if not (per_file and hit.file in known) and (per_file or not use)
        }
        best = self._best(np.array(sorted(files), np.int64)) if files else {}
        stand = [
            said.get(hit.segment or -1) if use else None for hit, use in zip(self._words, apart, strict=True)
        ]
        if not per_file:
            return [row or best.get(hit.file) for hit, row in zip(self._words, stand, strict=True)], stand
        return [known.get(hit.file) or best.get(hit.file) for hit in self._words], stand

    def _at(self, segments: Sequence[int | None]) -> dict[int, Ranked]:
        """Segments judged, of those that may be found."""
        wanted = np.unique(np.array([number for number in segments if number is not None], np.int64))
        found: dict[int, Ranked] = {}
        for modality, matrix in self.matrices.items():
            places = np.flatnonzero(np.isin(matrix.segments, wanted))
            if len(places):
                found |= {row.segment: row for row in self.judge.rows(self.asked, modality, matrix, places)}
        return found

    def _best(self, files: Numbers) -> dict[int, Ranked]:
        """The best row of each file, by score, of those that may be found."""
        best: dict[int, Ranked] = {}
        for modality, matrix in self.matrices.items():
            places = best_rows(matrix, files, self.asked.vector, self.places[modality])
            for row in self.judge.rows(self.asked, modality, matrix, places) if len(places) else ():
                if row.file not in best or row.score > best[row.file].score:
                    best[row.file] = row
        return best

    def _settled(self, near: Sequence[Ranked]) -> list[Ranked]:
        """Rows of one score in the order of what they are: root, path, place in the file."""
        alike = [
            row
            for a, row in enumerate(near)
            for b in (a - 1, a + 1)
            if 0 <= b < len(near) and near[b].score == row.score
        ]
        if not alike:
            return list(near)
        stored = self.store.segments([row.segment for row in alike])
        names = {number: (found.root, found.path, found.ordinal) for number, found in stored.items()}
        return sorted(near, key=lambda row: (-row.score, names.get(row.segment, ("", "", 0))))

    def _matching(self, entries: list[Entry], chance: float) -> tuple[list[Entry], str | None]:
        """The entries that are worth showing, and what is to be said where there are none."""
        wanted = self.request.min_confidence
        if wanted is not None:
            sure = confidence(np.array([entry.row.level for entry in entries])) >= wanted
            has_all = [entry.found is not None and entry.found.has_all for entry in entries]
            kept = [entry for entry, ok, has in zip(entries, sure, has_all, strict=True) if ok or has]
            return kept, None if kept else f"Nothing matches with a confidence of {wanted:g} or more."
        if self.request.mode == "words":
            return entries, None if entries else "Nothing in the library has these words."
        least = bar({entry.row.modality for entry in entries})
        if self.asked.modality != "text" or chance >= least:
            return entries, None
        kept = [entry for entry in entries if entry.found is not None and entry.found.has_all]
        return kept, None if kept else (
            f"Nothing matches: the best is as unlike as to words at random ({chance:.2f} of at least"
            f" {least:.2f}). A least confidence of 0 shows the nearest all the same."
        )
