"""Tables from elsewhere: opened, checked row by row, and brought into the form that the store keeps."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import LibraryError, WrongSpace
from multimodal.library.store import ImportedRow, SegmentRow
from multimodal.types import MODALITIES, Facts, Modality, Role

if TYPE_CHECKING:
    import pyarrow as pa

Source: TypeAlias = "str | Path | pa.Table | pa.RecordBatchReader | Any"
"""A parquet file, or what gives itself out as an Arrow stream: a table, a reader, a data frame."""

BATCH = 2048
"""Rows that are checked and stored at a time."""
OFF = 1e-3
"""How far from 1 a length may be: a vector rounded to float16 is off by less than 2^-11."""
TINY = 1e-12
"""A vector shorter than this has no direction."""
KNOWN = (
    *("number", "id", "path", "modality", "role", "page", "start", "end", "text", "chars", "begin_char"),
    *("end_char", "width", "height", "duration", "taken", "size", "modified", "metadata", "vector"),
)


def opened(source: Source) -> pa.RecordBatchReader:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if isinstance(source, (str, Path)):
        try:
            file = pq.ParquetFile(source)
        except (OSError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0].lower()
            raise LibraryError(f"{source} cannot be read as parquet: {reason}") from error
        return pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches(BATCH))
    if isinstance(source, pa.Table):
        return source.to_reader(max_chunksize=BATCH)
    if hasattr(source, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(source)
    raise LibraryError(
        f"{type(source).__name__} is no table: give a parquet file, an Arrow table or a data frame."
    )


def check_space(columns: pa.Schema, told: str | None, name: str, space_id: str) -> None:
    written = {key.decode(): value.decode() for key, value in (columns.metadata or {}).items()}
    stated = [one for one in (told, written.get("space_id") or written.get("space")) if one]
    if not stated:
        raise LibraryError("Say which space made the vectors: its name or its id.")
    for one in stated:
        if one not in (name, space_id):
            raise WrongSpace(
                f"The vectors were made by the space {written.get('space', one)!r} ({one}), those of the"
                f" library by {name!r} ({space_id}): they cannot be compared."
            )


def check_columns(columns: pa.Schema, modality: Modality | None) -> None:
    import pyarrow as pa

    if "vector" not in columns.names:
        raise LibraryError("The table has no column 'vector'.")
    kind = columns.field("vector").type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not (is_list and pa.types.is_floating(kind.value_type)):
        raise LibraryError(f"The column 'vector' holds {kind}, not lists of floats.")
    if "id" not in columns.names and "path" not in columns.names:
        raise LibraryError("The table has neither a column 'id' nor 'path'.")
    if modality is None and "modality" not in columns.names:
        raise LibraryError("The table has no column 'modality', and none is said for all.")


def checked(
    reader: pa.RecordBatchReader, dim: int, modality: Modality | None, normalize: bool
) -> Iterator[list[ImportedRow]]:
    """The rows of a table in batches. Raises LibraryError, which names the first row that is wrong."""
    import pyarrow as pa

    check = _Check(dim, normalize)
    try:
        for batch in reader:
            for begin in range(0, batch.num_rows, BATCH):  # a stream may come in batches of any size
                part = batch.slice(begin, BATCH)
                yield check.rows(part, check.vectors(part["vector"]), modality)
                check.first += part.num_rows
    except (OSError, pa.ArrowException) as error:
        raise LibraryError(f"The table cannot be read: {str(error).splitlines()[0].lower()}") from error


@dataclass
class _Check:
    """What rows must be; `first` is the number of the first row of the batch that is looked at, from 0."""

    dim: int
    normalize: bool
    first: int = 0

    def vectors(self, column: pa.Array) -> list[bytes | None]:
        """Unit rows as the store keeps them, None for null. Raises LibraryError."""
        import pyarrow as pa
        import pyarrow.compute as pc

        there = column.is_valid().to_numpy(zero_copy_only=False)
        widths = pc.list_value_length(column).fill_null(self.dim).to_numpy(zero_copy_only=False)
        self._refuse(widths != self.dim, lambda place: f"a vector of {widths[place]} numbers, not {self.dim}")
        flat = column.drop_null().flatten().cast(pa.float64())
        rows = flat.to_numpy(zero_copy_only=False).reshape(-1, self.dim)  # null becomes nan
        lengths = np.ones(len(column))
        lengths[there] = np.linalg.norm(rows, axis=1)
        self._refuse(~np.isfinite(lengths), lambda _: "a vector with a number that is none")
        self._refuse(lengths < TINY, lambda _: "a vector of zeros")
        if not self.normalize:
            off = np.abs(lengths - 1) > OFF
            self._refuse(off, lambda place: f"a vector of length {lengths[place]:.4g}, not 1")
        packed = iter(half(rows / lengths[there][:, None]))
        return [next(packed) if is_there else None for is_there in there]

    def rows(
        self, batch: pa.RecordBatch, vectors: Sequence[bytes | None], modality: Modality | None
    ) -> list[ImportedRow]:
        """The rows of a batch. Raises LibraryError."""
        import pyarrow as pa

        names = [name for name in batch.schema.names if name not in ("vector", "number")]
        columns = {}
        for name in names:
            column = batch[name]
            if name == "modified" and pa.types.is_timestamp(column.type):
                column = column.cast(pa.timestamp("ns", column.type.tz), safe=False).cast(pa.int64())
            columns[name] = column.to_pylist()
        found = []
        for place, vector in enumerate(vectors):
            values = {name: column[place] for name, column in columns.items()}
            try:
                found.append(_row(values, vector, modality))
            except (TypeError, ValueError) as error:
                raise self._error(place, str(error)) from None
        return found

    def _refuse(self, wrong: NDArray[np.bool_], why: Callable[[int], str]) -> None:
        if wrong.any():
            place = int(np.argmax(wrong))
            raise self._error(place, why(place))

    def _error(self, place: int, reason: str) -> LibraryError:
        return LibraryError(f"The table cannot be imported: row {self.first + place} has {reason}.")


def _row(values: Mapping[str, Any], vector: bytes | None, modality: Modality | None) -> ImportedRow:
    """Raises ValueError or TypeError with what the row has that it must not have."""
    given = {name: value for name, value in values.items() if value is not None}
    path, id_ = given.get("path"), given.get("id")
    if path is None and id_ is None:
        raise ValueError("neither an id nor a path")
    kind, role = given.get("modality", modality), given.get("role", "content")
    if kind not in MODALITIES:
        raise ValueError(f"the modality {kind!r}")
    if role not in get_args(Role):
        raise ValueError(f"the role {role!r}")
    if (vector is None) != (role == "blank"):
        raise ValueError("no vector" if vector is None else "a vector though it is blank")
    start, end, duration = (_number(given, name) for name in ("start", "end", "duration"))
    chars = given.get("chars", (given.get("begin_char"), given.get("end_char")))
    text, taken = (None if given.get(name) is None else str(given[name]) for name in ("text", "taken"))
    page, width, height = (_whole(given, name) for name in ("page", "width", "height"))
    place = None if None in chars else (int(chars[0]), int(chars[1]))
    return ImportedRow(
        None if id_ is None else str(id_),
        str(id_ if path is None else path),
        SegmentRow(kind, start, end, text, "", vector, page, place, role),
        Facts(width, height, duration, taken),
        _whole(given, "size") or 0,
        _whole(given, "modified") or 0,
        _metadata(given),
    )


def _number(given: Mapping[str, Any], name: str) -> float | None:
    value = None if given.get(name) is None else float(given[name])
    if value is not None and not math.isfinite(value):
        raise ValueError(f"{name} {value}")
    return value


def _whole(given: Mapping[str, Any], name: str) -> int | None:
    if given.get(name) is None:
        return None
    value = int(given[name])
    if value != given[name] or not 0 <= value < 2**63:
        raise ValueError(f"{name} {given[name]!r}")
    return value


def _metadata(given: Mapping[str, Any]) -> str:
    about = given.get("metadata", {})
    about = json.loads(about) if isinstance(about, str) else dict(about)
    if not isinstance(about, dict):
        raise ValueError("metadata that is no JSON object")
    about |= {name: value for name, value in given.items() if name not in KNOWN}
    return metadata_text(about)


def metadata_text(about: Mapping[str, Any]) -> str:
    """Metadata as the store keeps it; what JSON has no form for becomes text. Raises ValueError for numbers
    that are none."""
    return json.dumps(about, ensure_ascii=False, allow_nan=False, default=str)


def half(vectors: NDArray[np.floating]) -> list[bytes]:
    """Rows (n, dim) as the store keeps them."""
    rows = np.ascontiguousarray(vectors.astype("<f2"))
    return [row.tobytes() for row in rows]
