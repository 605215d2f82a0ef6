"""The library as a table, for notebooks and other tools: one row for each segment, by ascending number.

    number    int64      names the segment in this library; another one after its file was read again
    path      string     absolute; for an imported row what it came with
    id        string     of an imported row; null for what was read from a file
    modality  string     text, image, video, audio
    role      string     content, caption, subtitles, blank
    page      int32      from 1
    start     float64    seconds
    end       float64    seconds
    text      string     the passage or caption
    begin_char, end_char  int32  where a passage stands in the visible text of its file or page
    width     int32      pixels, upright
    height    int32
    duration  float64    seconds, of the file
    taken     string     ISO 8601
    size      int64      bytes of the file
    modified  timestamp  UTC
    metadata  string     JSON object of an imported row
    vector    float32[dim], unit length; null for a blank segment

pyarrow and pandas are imported when a table is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import LibraryError, QueryError
from multimodal.library.filters import Filter
from multimodal.library.opening import speaking
from multimodal.library.roots import Roots
from multimodal.library.sqlite import SqliteStore
from multimodal.library.store import COLLECTION, Record
from multimodal.library.vectors import Matrix, Outrun, VectorFiles
from multimodal.types import MODALITIES, Modality, Role

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from multimodal.library.library import Library

Precision: TypeAlias = Literal["float32", "float16"]
"""Vectors are kept as float16; float32 is what most tools expect."""


def schema(
    dim: int, space: str, space_id: str, vectors: bool = True, dtype: Precision = "float32"
) -> pa.Schema:
    """The columns of a table of vectors (dim,); its metadata names the space (`space`, `space_id`)."""
    import pyarrow as pa

    fields: list[tuple[str, Any]] = [
        ("number", pa.int64()),
        ("path", pa.string()),
        ("id", pa.string()),
        ("modality", pa.string()),
        ("role", pa.string()),
        ("page", pa.int32()),
        ("start", pa.float64()),
        ("end", pa.float64()),
        ("text", pa.string()),
        ("begin_char", pa.int32()),
        ("end_char", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("duration", pa.float64()),
        ("taken", pa.string()),
        ("size", pa.int64()),
        ("modified", pa.timestamp("ns", "UTC")),
        ("metadata", pa.string()),
    ]
    if vectors:
        fields.append(("vector", pa.list_(pa.from_numpy_dtype(np.dtype(dtype)), dim)))
    return pa.schema(fields, metadata={"space": space, "space_id": space_id})


def to_reader(
    library: Library,
    modality: Modality | Sequence[Modality] | None = None,
    *,
    role: Role | Sequence[Role] | None = None,
    where: str | None = None,
    vectors: bool = True,
    dtype: Precision = "float32",
) -> pa.RecordBatchReader:
    """The segments as a stream of record batches: one state of the library, however long it is read, and
    some megabytes of it in memory at a time.

    `modality` and `role` limit what is given, and `where`, an SQL expression over
    `multimodal.library.filters.COLUMNS`, which lets no blank segments through. Raises NoLibrary, QueryError,
    LibraryError.
    """
    import pyarrow as pa

    wanted, roles = one_of(modality, MODALITIES, "modality"), one_of(role, get_args(Role), "role")
    if dtype not in get_args(Precision):
        raise QueryError(f"Vectors are given as {' or '.join(get_args(Precision))}, not {dtype!r}.")
    with speaking(library.path):
        store = SqliteStore.open(library.path)
    made = store.settings()
    columns = schema(made["dim"], made["space"], made["space_id"], vectors, dtype)
    groups = _batches(store, library.path, wanted, roles, where, columns)
    return pa.RecordBatchReader.from_batches(columns, groups)


def to_arrow(
    library: Library,
    modality: Modality | Sequence[Modality] | None = None,
    vectors: bool = True,
    *,
    role: Role | Sequence[Role] | None = None,
    where: str | None = None,
    dtype: Precision = "float32",
) -> pa.Table:
    """The whole of `to_reader` as one table in memory."""
    return to_reader(library, modality, role=role, where=where, vectors=vectors, dtype=dtype).read_all()


def to_pandas(
    library: Library,
    modality: Modality | Sequence[Modality] | None = None,
    vectors: bool = True,
    *,
    role: Role | Sequence[Role] | None = None,
    where: str | None = None,
) -> pd.DataFrame:
    """`to_arrow` as a data frame; a vector is an array (dim,) float32. Raises LibraryError without pandas."""
    try:
        import pandas  # noqa: F401 - pyarrow needs it, and would only say so after all was read
    except ImportError:
        raise LibraryError("A data frame needs pandas: pip install pandas.") from None
    return to_arrow(library, modality, vectors, role=role, where=where).to_pandas()


def embeddings(
    library: Library,
    modality: Modality | Sequence[Modality] | None = None,
    role: Role | Sequence[Role] | None = None,
    *,
    dtype: Precision = "float32",
) -> tuple[NDArray[Any], pa.Table]:
    """Vectors (n, dim), unit length, and the table of what they are, row by row (without `vector`).

    As float16, all roles of one modality are a read-only view of the file on disk, which costs no memory;
    anything else is a copy. Blank segments have no vector and are left out. Raises NoLibrary, QueryError,
    LibraryError.
    """
    wanted, roles = one_of(modality, MODALITIES, "modality"), one_of(role, get_args(Role), "role")
    if dtype not in get_args(Precision):
        raise QueryError(f"Vectors are given as {' or '.join(get_args(Precision))}, not {dtype!r}.")
    with shown_state(library) as (store, matrices):
        table = _table(store, library.path, wanted, roles)
        dim = int(store.settings()["dim"])
    kept = [matrices[name] for name in wanted if name in matrices]
    return _aligned(kept, table, dim, np.dtype(dtype))


def vectors_of(library: Library, numbers: Sequence[int]) -> dict[int, NDArray[np.float32]]:
    """Vectors (dim,) of segments by their numbers, as hits and tables have them; those without are left out.

    Raises NoLibrary, LibraryError.
    """
    found: dict[int, NDArray[np.float32]] = {}
    wanted = np.unique(np.array(numbers, np.int64))
    with shown_state(library) as (_, matrices):
        for matrix in matrices.values():
            inside = wanted[np.isin(wanted, matrix.segments, assume_unique=True)]
            rows = matrix.vectors[np.searchsorted(matrix.segments, inside)].astype(np.float32)
            found.update(zip(inside.tolist(), rows, strict=True))
    return found


@contextmanager
def shown_state(library: Library) -> Iterator[tuple[SqliteStore, dict[Modality, Matrix]]]:
    """One state of the store and the vectors that show it."""
    files = VectorFiles(library.path / "vectors")
    with speaking(library.path), closing(SqliteStore.open(library.path)) as store, ExitStack() as stack:
        for patient in (True, True, True, False):
            with suppress(Outrun), ExitStack() as attempt:
                attempt.enter_context(store.snapshot())
                matrices = files.load(store, patient)
                stack.push(attempt.pop_all())
                break
        yield store, matrices


def _table(store: SqliteStore, library: Path, wanted: Sequence[Modality], roles: Sequence[Role]) -> pa.Table:
    import pyarrow as pa

    made = store.settings()
    columns = schema(made["dim"], made["space"], made["space_id"], vectors=False)
    groups, place = store.records(wanted, roles, vectors=False), _places(library)
    return pa.Table.from_batches([_batch(group, columns, place) for group in groups], columns)


def _aligned(
    kept: Sequence[Matrix], table: pa.Table, dim: int, dtype: np.dtype[Any]
) -> tuple[NDArray[Any], pa.Table]:
    """The rows of some matrices in the order of a table, and of that the rows that have a vector."""
    import pyarrow as pa

    numbers = table["number"].to_numpy()
    if not kept:
        return np.zeros((0, dim), dtype), table.slice(0, 0)
    known = np.concatenate([matrix.segments for matrix in kept])
    order = np.argsort(known, kind="stable")
    embedded = np.isin(numbers, known, assume_unique=True)
    table = table if embedded.all() else table.filter(pa.array(embedded))
    places = order[np.searchsorted(known, numbers[embedded], sorter=order)]
    if len(kept) == 1 and np.array_equal(places, np.arange(len(known))):
        return kept[0].vectors.astype(dtype, copy=False), table
    vectors = np.empty((len(places), dim), dtype)
    begin = 0
    for matrix in kept:
        mine = np.flatnonzero((places >= begin) & (places < begin + len(matrix)))
        vectors[mine] = matrix.vectors[places[mine] - begin]
        begin += len(matrix)
    return vectors, table


def one_of(wanted: Any, names: Sequence[Any], kind: str) -> tuple[Any, ...]:
    """One name, several, or None for all, in the order of `names`. Raises QueryError."""
    given = list(names) if wanted is None else [wanted] if isinstance(wanted, str) else list(wanted)
    for name in given:
        if name not in names:
            raise QueryError(f"There is no {kind} {name!r}: give one of {', '.join(names)}.")
    return tuple(name for name in names if name in given)


def _batches(
    store: SqliteStore,
    library: Path,
    wanted: Sequence[Modality],
    roles: Sequence[Role],
    where: str | None,
    columns: pa.Schema,
) -> Iterator[pa.RecordBatch]:
    place = _places(library)
    try:
        with speaking(library), store.snapshot():
            chosen = None if where is None else Filter(where=where).segments(store)
            for group in store.records(wanted, roles, "vector" in columns.names):
                if chosen is not None:
                    kept = np.isin([record.number for record in group], chosen, assume_unique=True)
                    group = [record for record, is_kept in zip(group, kept, strict=True) if is_kept]
                if group:
                    yield _batch(group, columns, place)
    finally:
        store.close()


def _batch(records: Sequence[Record], columns: pa.Schema, place: Callable[[str, str], str]) -> pa.RecordBatch:
    import pyarrow as pa

    found = dict(zip(Record._fields, zip(*records, strict=True), strict=True))
    values: dict[str, Any] = {
        **found,
        "path": list(map(place, found["root"], found["path"])),
        "size": _unless_unsaid(found["size"], found["id"]),
        "modified": _unless_unsaid(found["mtime_ns"], found["id"]),
    }
    arrays = [pa.array(values[field.name], field.type) for field in columns if field.name != "vector"]
    if "vector" in columns.names:
        arrays.append(_vectors(found["vector"], columns.field("vector").type))
    return pa.record_batch(arrays, schema=columns)


def _unless_unsaid(values: Sequence[int], ids: Sequence[str | None]) -> list[int | None]:
    """Null for the 0 of an imported row, which says that nothing was told."""
    return [
        None if not value and name is not None else value for value, name in zip(values, ids, strict=True)
    ]


def _vectors(found: Sequence[bytes | None], kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    nothing = bytes(2 * kind.list_size)
    rows = np.frombuffer(b"".join(nothing if one is None else one for one in found), "<f2")
    values = pa.array(rows.astype(kind.value_type.to_pandas_dtype()), kind.value_type)
    blank = np.array([one is None for one in found], bool)
    return pa.FixedSizeListArray.from_arrays(values, kind.list_size, mask=pa.array(blank))


def _places(library: Path) -> Callable[[str, str], str]:
    """From the stored path of a root and a path in it to the text of the path."""
    roots, folders = Roots(library), dict[str, str]()

    def place(root: str, path: str) -> str:
        if root.startswith(COLLECTION):
            return _text(path)
        if root not in folders:
            folders[root] = str(roots.folder(root))
        return _text(os.path.join(folders[root], os.path.normpath(path)))

    return place


def _text(path: str) -> str:
    """A path as text; bytes of a name that are no UTF-8 as escapes."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    return path


__all__ = [
    "Precision",
    "embeddings",
    "one_of",
    "schema",
    "shown_state",
    "to_arrow",
    "to_pandas",
    "to_reader",
    "vectors_of",
]
