"""From what a person asks to a vector: terms that the library knows are not embedded again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import QueryError
from multimodal.library.jobs import Recipe
from multimodal.library.roots import Roots, relative
from multimodal.library.store import FileState, SegmentRow, Store
from multimodal.query import Embedded, Query, Term, combined
from multimodal.space import Space, modality_of
from multimodal.towers.base import unit
from multimodal.types import Item, Modality

Vector = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Asked:
    """A query's unit vector (dim,), its modality (None for a sum of terms), and its words."""

    modality: Modality | None
    vector: Vector
    words: str = ""


def asked(
    query: Query | Item | Embedded,
    space: Space,
    known: Callable[[Path], list[SegmentRow]],
    centre: Callable[[Modality], Vector | None],
) -> Asked:
    """`known` gives the embedded rows that the library has of a file, as it is now; none for others.

    Raises QueryError (an empty text, an object of no known kind, a moment that is not in its file),
    ReadError, NoEncoder.
    """
    whole = Query.of(query)
    modality, vector = combined(whole, partial(_embedded, space, known), centre)
    return Asked(modality, vector, whole.words)


def _embedded(space: Space, known: Callable[[Path], list[SegmentRow]], term: Term) -> tuple[Modality, Vector]:
    if isinstance(term.item, Embedded):
        return term.item.modality, unit(term.item.vector)
    if not isinstance(term.item, Path):
        modality, _ = modality_of(term.item)
        return modality, space.embed(term.item)[0]
    rows = known(term.item)
    if term.at is not None:
        return _moment(space, term.item, term.at, rows)
    if not rows:
        return space.embed_file(term.item)
    first = rows[0].modality
    vectors = [vector_of(row) for row in rows if row.modality == first]
    return first, unit(np.stack(vectors).mean(axis=0, dtype=np.float64))


def _moment(space: Space, path: Path, at: float, rows: list[SegmentRow]) -> tuple[Modality, Vector]:
    """The first segment of a file that is shown or heard at `at` seconds."""
    for row in rows:
        if row.start is not None and row.end is not None and row.start <= at < row.end:
            return row.modality, vector_of(row)
    if not rows:
        for segment in space.read(path):
            timed = segment.start is not None and segment.end is not None and segment.role != "blank"
            if timed and segment.start <= at < segment.end:  # type: ignore[operator]
                return segment.modality, space.embed(segment)[0]
    raise QueryError(f"{path} has nothing to compare with at {at:g} s.")


def vector_of(row: SegmentRow) -> Vector:
    """The vector (dim,) of an embedded row."""
    assert row.vector is not None
    return np.frombuffer(row.vector, "<f2").astype(np.float32)


def rows_of(path: Path, store: Store, roots: Roots, recipe: Recipe) -> list[SegmentRow]:
    """The embedded rows of a file of the library that has not changed since; none for any other."""
    for state in _states(path, store, roots):
        if state.segments and _is_as_stored(path, state) and recipe.is_current(state):
            return [row for row in store.rows(state.number) if row.vector is not None]
    return []


def _states(path: Path, store: Store, roots: Roots) -> Iterator[FileState]:
    places = {Path(os.path.abspath(path)), Path(os.path.realpath(path))}
    for place, root in product(places, store.roots()):
        name = relative(place, roots.folder(root.path))
        state = store.file(root, name) if name else None
        if state is not None:
            yield state


def _is_as_stored(path: Path, state: FileState) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (state.size, state.mtime_ns)
