"""Vectors that were made elsewhere, by the same space, kept and found beside those of files.

They belong to a collection of the library, which has a name, and in it each row has an id. `Library.add`
knows nothing of them; they stay until they are replaced by rows of the same id or removed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from multimodal.errors import LibraryError, NoLibrary
from multimodal.library.incoming import Source, check_columns, check_space, checked, opened
from multimodal.library.opening import speaking
from multimodal.library.sqlite import SqliteStore
from multimodal.library.store import ImportedRow
from multimodal.types import Modality

if TYPE_CHECKING:
    from multimodal.library.library import Library

DEFAULT = "imported"


@dataclass(frozen=True)
class ImportReport:
    """What an import did: `rows` were stored, `replaced` had to go for them."""

    collection: str
    rows: int
    replaced: int


@dataclass(frozen=True)
class ImportedSegment:
    """What the library knows of an imported row."""

    collection: str
    id: str
    path: str
    modality: Modality
    start: float | None
    end: float | None
    text: str | None
    metadata: Mapping[str, Any]


def import_vectors(
    library: Library,
    source: Source,
    *,
    collection: str = DEFAULT,
    space: str | None = None,
    modality: Modality | None = None,
    normalize: bool = False,
) -> ImportReport:
    """Store the rows of a table, all or none, each in place of the row of the collection with its id.

    Columns are those of `multimodal.library.tables`. `vector` (dim floats, unit length) is needed, one of
    `id` and `path`, and `modality` unless all rows are of the `modality` given. A row without an id is
    named by its path: all that the collection had of that path goes. A path may be any address; where
    there is none, the id stands for it. Columns of other names are kept as metadata.

    `space` is the name or id of the space that made the vectors; a table that an export wrote says so
    itself. `normalize` brings vectors to unit length instead of refusing others.

    Raises WrongSpace, LibraryError for a table that is not as said, LibraryBusy.
    """
    if not collection.strip() or collection != " ".join(collection.split()):
        raise LibraryError(f"{collection!r} is no name of a collection.")
    reader = opened(source)
    made = _made(library)
    dim, name, space_id = (made["dim"], made["space"], made["space_id"]) if made else _of(library)
    check_space(reader.schema, space, name, space_id)
    check_columns(reader.schema, modality)
    return put(library, checked(reader, dim, modality, normalize), collection)


def put(library: Library, batches: Iterable[Sequence[ImportedRow]], collection: str) -> ImportReport:
    """Store rows made elsewhere: see `Store.put_imported`. Raises LibraryBusy, LibraryError."""
    with library._writing(None if _made(library) else library.space) as store:
        rows, replaced = store.put_imported(collection, batches)
    return ImportReport(collection, rows, replaced)


def remove_vectors(library: Library, ids: Sequence[str] | None = None, *, collection: str = DEFAULT) -> int:
    """Take imported rows out of the library, None for all of the collection; gives how many there were.

    Raises NoLibrary, LibraryBusy, LibraryError.
    """
    if isinstance(ids, str):
        raise LibraryError("remove_vectors takes a list of ids, not one text.")
    library._reading()
    with library._writing(None) as store:
        return store.delete_imported(collection, ids)


def imported(
    library: Library, ids: Sequence[str], *, collection: str = DEFAULT
) -> dict[str, ImportedSegment]:
    """What the library knows of rows by their ids; those it does not have are left out. Raises NoLibrary."""
    with speaking(library.path), library._reading().snapshot() as store:
        numbers = store.find_imported(collection, ids)
        found = _segments(store, list(numbers.values()))
    return {one.id: one for one in found.values()}


def imported_by_number(library: Library, numbers: Sequence[int]) -> dict[int, ImportedSegment]:
    """The imported ones among segments, by the `number` of hits. Raises NoLibrary."""
    with speaking(library.path), library._reading().snapshot() as store:
        return _segments(store, numbers)


def _segments(store: SqliteStore, numbers: Sequence[int]) -> dict[int, ImportedSegment]:
    about, stored = store.imported(numbers), store.segments(numbers)
    return {
        number: ImportedSegment(
            collection,
            name,
            stored[number].path,
            stored[number].modality,
            stored[number].start,
            stored[number].end,
            stored[number].text,
            json.loads(metadata),
        )
        for number, (collection, name, metadata) in about.items()
    }


def _made(library: Library) -> Mapping[str, Any] | None:
    """The settings of a library; None where there is none yet."""
    with suppress(NoLibrary):
        return library._reading().settings()
    return None


def _of(library: Library) -> tuple[int, str, str]:
    return library.space.dim, library.space.name, library.space.space_id
