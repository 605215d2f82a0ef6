"""A library written out for other tools: parquet, csv, npy or faiss, whole or not at all.

The rows are those of `multimodal.library.tables`, streamed, so that memory does not grow with the library.
Where vectors are written, segments that have none (silence, black) are left out.

    parquet  FILE   one table
    csv      FILE   the table without vectors, or with them as columns v0, v1, ...
    npy      FOLDER vectors.npy (n, dim) and rows.csv, which says row by row what they are
    faiss    FOLDER index.faiss, an exact float16 index whose ids are `number` in rows.parquet
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from multimodal.errors import LibraryError, QueryError
from multimodal.library import tables
from multimodal.types import Modality, Role

if TYPE_CHECKING:
    import pyarrow as pa

    from multimodal.library import Library

Format: TypeAlias = Literal["parquet", "csv", "npy", "faiss"]
ROW_GROUP = 8192
"""Rows of a parquet row group: what is held in memory at once (12 MB of 384 dimensions)."""
ABOUT = "about.json"
"""Says what a folder of vectors is: space, space_id, dim, rows."""


def export(
    library: Library,
    output: str | Path,
    to: Format | None = None,
    *,
    modality: Modality | Sequence[Modality] | None = None,
    role: Role | Sequence[Role] | None = None,
    where: str | None = None,
    vectors: bool | None = None,
    dtype: tables.Precision | None = None,
) -> int:
    """Write the segments of a library to `output`, in place of an export that is there; gives their number.

    `to` goes by the name of the output where it ends in .parquet or .csv. `modality`, `role` and `where`
    limit what is written, as in `tables.to_reader`. `vectors` False leaves them out of a parquet table, True
    puts them into a csv. `dtype` is float32, but float16 (as they are kept) in npy, unless said otherwise.
    Raises QueryError, NoLibrary, LibraryError.
    """
    target = Path(output)
    form = to or _by_name(target)
    if form not in _WRITERS:
        raise QueryError(f"A library is written as {', '.join(get_args(Format))}, not as {form!r}.")
    if form in ("npy", "faiss") and vectors is False:
        raise QueryError(f"{form} holds nothing but vectors.")
    _check(target, is_folder=form in ("npy", "faiss"))
    precision = dtype or ("float16" if form in ("npy", "faiss") else "float32")
    wanted = (form != "csv") if vectors is None else vectors
    reader = tables.to_reader(library, modality, role=role, where=where, vectors=wanted, dtype=precision)
    try:
        with _whole(target) as unfinished:
            return _WRITERS[form](reader, unfinished)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise QueryError(f"The export cannot be written to {target}: {reason}.") from error


def _by_name(target: Path) -> str:
    if target.suffix.lower() not in (".parquet", ".csv"):
        raise QueryError(f"Say with --to what {target.name!r} is to be: {', '.join(get_args(Format))}.")
    return target.suffix.lower()[1:]


def _check(target: Path, is_folder: bool) -> None:
    """Refuse to write over what is no export. Raises QueryError."""
    if not target.absolute().parent.is_dir():
        raise QueryError(f"There is no folder {target.parent} to write {target.name} into.")
    if is_folder and target.exists():
        if not target.is_dir() or (any(target.iterdir()) and not (target / ABOUT).is_file()):
            raise QueryError(f"{target} already exists and is not a folder that an export made.")
    elif target.is_dir():
        raise QueryError(f"{target} is a folder; name a file.")


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A path to write a file or a folder to, which takes the place of `target` when all went well."""
    target = target.absolute()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".multimodal-") as scratch:
        unfinished = Path(scratch) / target.name
        yield unfinished
        if unfinished.is_dir() and target.exists():
            os.replace(target, Path(scratch) / "former")
        os.replace(unfinished, target)


def _parquet(reader: pa.RecordBatchReader, path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # half of the bits of widened float16 are zero: the streams of such bytes pack to nothing
    split = ["vector.list.element"] if _width(reader.schema) else []
    plain = [name for name in reader.schema.names if name != "vector"]
    rows = 0
    with pq.ParquetWriter(
        str(path), reader.schema, compression="zstd", use_dictionary=plain, use_byte_stream_split=split
    ) as writer:
        for group in _grouped(_embedded(reader), ROW_GROUP):
            writer.write_table(pa.Table.from_batches(group, reader.schema), row_group_size=ROW_GROUP)
            rows += sum(batch.num_rows for batch in group)
    return rows


def _csv(reader: pa.RecordBatchReader, path: Path) -> int:
    import pyarrow.csv

    writer, rows = None, 0
    try:
        for batch in _embedded(reader):
            flat = _flat(batch)
            writer = writer or pyarrow.csv.CSVWriter(str(path), flat.schema)
            writer.write_batch(flat)
            rows += batch.num_rows
        if writer is None:
            writer = pyarrow.csv.CSVWriter(str(path), _flat(_nothing(reader.schema)).schema)
    finally:
        if writer is not None:
            writer.close()
    return rows


def _npy(reader: pa.RecordBatchReader, folder: Path) -> int:
    """The rows go through a first file: the header of an array states how many there are."""
    import pyarrow.csv

    folder.mkdir()
    kind = reader.schema.field("vector").type
    dtype = np.dtype(kind.value_type.to_pandas_dtype()).newbyteorder("<")
    raw, rows = folder / "vectors.raw", 0
    told = _flat(_nothing(reader.schema).drop_columns(["vector"])).schema
    with raw.open("wb") as file, pyarrow.csv.CSVWriter(str(folder / "rows.csv"), told) as table:
        for batch in _embedded(reader):
            file.write(_matrix(batch).astype(dtype, copy=False).tobytes())
            table.write_batch(_flat(batch.drop_columns(["vector"])))
            rows += batch.num_rows
    header = {"descr": dtype.str, "fortran_order": False, "shape": (rows, kind.list_size)}
    with (folder / "vectors.npy").open("wb") as file, raw.open("rb") as source:
        np.lib.format.write_array_header_1_0(file, header)
        shutil.copyfileobj(source, file, 1 << 20)
    raw.unlink()
    _write_about(folder, reader.schema, rows)
    return rows


def _faiss(reader: pa.RecordBatchReader, folder: Path) -> int:
    """The index is written from a mapped file of vectors, so that it is never in memory as a whole."""
    import faiss
    import pyarrow.parquet as pq

    from multimodal.library.vectors import faiss_index

    folder.mkdir()
    dim, raw = _width(reader.schema), folder / "vectors.raw"
    numbers: list[np.ndarray[Any, np.dtype[np.int64]]] = [np.zeros(0, np.int64)]
    told = _nothing(reader.schema).drop_columns(["vector"]).schema
    with raw.open("wb") as file, pq.ParquetWriter(str(folder / "rows.parquet"), told) as table:
        for group in _grouped(_embedded(reader), ROW_GROUP):
            for batch in group:
                file.write(_matrix(batch).astype("<f2", copy=False).tobytes())
                table.write_batch(batch.drop_columns(["vector"]))
                numbers.append(batch["number"].to_numpy())
    ids = np.concatenate(numbers)
    empty = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    named = faiss.IndexIDMap(empty)
    if len(ids):
        rows = np.memmap(raw, np.dtype("<f2"), "r", shape=(len(ids), dim))
        full = faiss_index(np.asarray(rows))
        named.index, named.ntotal = full, len(ids)  # the constructor takes only an empty one
        faiss.copy_array_to_vector(ids, named.id_map)
    try:
        faiss.write_index(named, str(folder / "index.faiss"))
    except RuntimeError as error:  # what faiss makes of a full disk
        raise LibraryError(f"The index cannot be written: {error}") from error
    if len(ids):
        del named, full, rows  # Windows keeps a mapped file
    raw.unlink()
    _write_about(folder, reader.schema, len(ids))
    return len(ids)


def _write_about(folder: Path, columns: pa.Schema, rows: int) -> None:
    made = {key.decode(): value.decode() for key, value in columns.metadata.items()}
    about = {**made, "dim": _width(columns), "rows": rows}
    (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def _width(columns: pa.Schema) -> int:
    """The dimension of the vectors; 0 for a table without."""
    return int(columns.field("vector").type.list_size) if "vector" in columns.names else 0


def _nothing(columns: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.record_batch([pa.array([], field.type) for field in columns], schema=columns)


def _embedded(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """The batches, of a table with vectors without the segments that have none: many readers of parquet
    do not know a list of fixed size that is null."""
    for batch in reader:
        is_blank = "vector" in batch.schema.names and batch["vector"].null_count
        yield batch.filter(batch["vector"].is_valid()) if is_blank else batch


def _matrix(batch: pa.RecordBatch) -> np.ndarray[Any, Any]:
    """The vectors (n, dim) of a batch without nulls."""
    column = batch["vector"]
    return column.flatten().to_numpy().reshape(len(column), column.type.list_size)


def _flat(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch as a csv holds it: a column for each number of the vectors."""
    import pyarrow as pa

    found: dict[str, Any] = {}
    for name in batch.schema.names:
        if name == "vector":
            places = range(batch[name].type.list_size)
            found.update({f"v{place}": _part(batch[name], place).cast(pa.float32()) for place in places})
        else:
            found[name] = batch[name]
    return pa.record_batch(found)


def _part(column: pa.Array, place: int) -> pa.Array:
    import pyarrow.compute as pc

    return pc.list_element(column, place)


def _grouped(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[list[pa.RecordBatch]]:
    """Batches in lists of about that many rows."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(one.num_rows for one in held) >= rows:
            yield held
            held = []
    if held:
        yield held


_WRITERS: dict[str, Callable[[pa.RecordBatchReader, Path], int]] = {
    "parquet": _parquet,
    "csv": _csv,
    "npy": _npy,
    "faiss": _faiss,
}
