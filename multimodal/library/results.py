"""From ordered rows to hits: copies folded into one, what is stored of each, the words found in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multimodal.library.calibration import confidence
from multimodal.library.roots import Roots
from multimodal.library.search import Ranked
from multimodal.library.snippets import Snippet, snippets
from multimodal.library.store import Store, StoredSegment
from multimodal.library.vectors import Matrix
from multimodal.library.words import WordHit
from multimodal.types import Hit, Modality

FOLD = 0.985
"""Cosine from which two results are shown as one: higher than that of `duplicates`, whose groups a person
looks through. Recompressed and halved photos of the starter's space have 0.98 to 0.99 as their median."""
WIDTH = 72
"""Characters of the part of a text that is shown around the words found."""
AT_A_TIME = 64
"""Rows looked up in the store at once."""


@dataclass(frozen=True)
class Entry:
    """A row in the order of a search, and what words found in its file."""

    row: Ranked
    found: WordHit | None = None


@dataclass
class Result:
    """A hit in the making: its entry, what is stored of it, and the copies folded into it."""

    entry: Entry
    stored: StoredSegment
    copies: list[StoredSegment] = field(default_factory=list)


def folded(
    entries: Sequence[Entry], store: Store, matrices: Mapping[Modality, Matrix], k: int, fold: bool
) -> list[Result]:
    """The first `k` entries in their order, copies folded into the first of them where that is wanted."""
    found: list[Result] = []
    vectors: list[NDArray[np.float32]] = []
    for begin in range(0, len(entries), AT_A_TIME):
        if len(found) >= k:
            break
        some = entries[begin : begin + AT_A_TIME]
        stored = store.segments([entry.row.segment for entry in some])
        there = [entry for entry in some if entry.row.segment in stored]
        rows = [matrices[e.row.modality].vectors[e.row.place].astype(np.float32) for e in there]
        alike = np.stack(rows) @ np.stack([*vectors, *rows]).T >= FOLD if there else np.zeros((0, 0), bool)
        places: list[int] = [*range(len(found))]
        for place, entry in enumerate(there):
            one = Result(entry, stored[entry.row.segment])
            near = (found[n] for n, column in enumerate(places) if alike[place, column])
            first = next((other for other in near if _same_kind(one, other)), None) if fold else None
            if first is None:
                places.append(len(vectors) + place)
                found.append(one)
            elif entry.row.file != first.entry.row.file:
                first.copies.append(one.stored)
        vectors = [*vectors, *(rows[column - len(vectors)] for column in places[len(vectors) :])]
    return found[:k]


def _same_kind(one: Result, other: Result) -> bool:
    same_modality = one.entry.row.modality == other.entry.row.modality
    return same_modality and one.stored.role == other.stored.role


def shown(found: Sequence[Result], store: Store, roots: Roots, words: str) -> list[Hit]:
    """Results as hits; those with words of the query have the part of their text where these stand."""
    worded = [one.entry.row.segment for one in found if one.entry.found is not None and one.stored.text]
    parts = snippets(store, words, worded, WIDTH) if worded else {}
    return [_hit(one, roots, parts.get(one.entry.row.segment)) for one in found]


def _hit(found: Result, roots: Roots, part: Snippet | None) -> Hit:
    row, stored = found.entry.row, found.stored
    copies = (_path(copy, roots) for copy in found.copies)
    return Hit(
        path=_path(stored, roots),
        modality=row.modality,
        score=row.score,
        cosine=min(1.0, max(-1.0, row.cosine)),
        start=stored.start,
        end=stored.end,
        text=stored.text,
        page=stored.page,
        chars=stored.chars,
        role=stored.role,
        number=row.segment,
        id=stored.id,
        duplicates=tuple(dict.fromkeys(copies)),
        confidence=float(confidence(row.level)),
        frames=row.frames,
        snippet=part.text if part and part.marks else None,
        marks=part.marks if part else (),
    )


def _path(stored: StoredSegment, roots: Roots) -> Path:
    return roots.folder(stored.root) / stored.path
