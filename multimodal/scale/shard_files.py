"""The files that vectors of shards go into: parquet, or WebDataset again.

A parquet file has the columns that `multimodal.scale.shards` names. A .tar holds two files for each sample,
under its own key, so that it can be read beside the shard it was made from:

    KEY.json    shard, key, and rows: a list of objects with the other columns, where `vector` is a row of
                KEY.npy, null where the row has none
    KEY.npy     float16 (n, dim), unit length
"""

from __future__ import annotations

import io
import json
import os
import secrets
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from multimodal.errors import QueryError

if TYPE_CHECKING:
    import pyarrow as pa

Form: TypeAlias = Literal["parquet", "tar"]
FORMS: tuple[Form, ...] = ("parquet", "tar")
"""What shards may become; also the endings of those files."""


def write(table: pa.Table, stream: Any, form: Form) -> None:
    """Write the rows of a shard to a binary stream."""
    if form == "tar":
        with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            _put_samples(archive, table)
        return
    from pyarrow import parquet

    parquet.write_table(table, stream)


def joined(parts: Sequence[Path], target: Path, form: Form) -> None:
    """One file of several, in their order, in place of what `target` was, whole or not at all."""
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}.unfinished")
    try:
        with unfinished.open("wb") as stream:
            _join(parts, stream, form)
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)


def _join(parts: Sequence[Path], stream: IO[bytes], form: Form) -> None:
    if form == "tar":
        with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for part in parts:
                with tarfile.open(part) as former:
                    for member in former:
                        archive.addfile(member, former.extractfile(member))
        return
    from pyarrow import parquet

    with parquet.ParquetWriter(stream, parquet.read_schema(parts[0])) as writer:
        for part in parts:
            with parquet.ParquetFile(part) as former:
                for batch in former.iter_batches():
                    writer.write_batch(batch)


def form_of(name: str) -> Form | None:
    """What the ending of a file's name says; None for a folder. Raises QueryError for another ending."""
    suffix = PurePosixPath(name).suffix.lower()[1:]
    if suffix in FORMS:
        return suffix
    if suffix and "://" not in name and not Path(name).is_dir():
        raise QueryError(f"Vectors of shards go into a folder, a .parquet or a .tar file, not {name!r}.")
    return None


def _put_samples(archive: tarfile.TarFile, table: pa.Table) -> None:
    samples: dict[str, list[int]] = {}
    for row, key in enumerate(table["key"].to_pylist()):
        samples.setdefault(key, []).append(row)
    width = table.schema.field("vector").type.list_size
    for key, places in samples.items():
        rows = table.take(places)
        told = rows.drop_columns(["vector", "shard", "key"]).to_pylist()
        vectors = rows["vector"].combine_chunks()
        there = vectors.is_valid().to_pylist()
        numbers = np.cumsum(there) - 1
        for one, valid, number in zip(told, there, numbers.tolist(), strict=True):
            one["vector"] = number if valid else None
        matrix = np.asarray(vectors.drop_null().flatten()).reshape(-1, width)
        about = {"shard": rows["shard"][0].as_py(), "key": key, "rows": told}
        array = io.BytesIO()
        np.save(array, matrix, allow_pickle=False)
        name = _inside(key)
        _put(archive, f"{name}.json", json.dumps(about, ensure_ascii=False).encode())
        _put(archive, f"{name}.npy", array.getvalue())


def _inside(key: str) -> str:
    """A key as a path that leads nowhere else: shards may hold names such as `../../key`."""
    return "/".join(part for part in key.split("/") if part not in ("", ".", "..")) or "_"


def _put(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    about = tarfile.TarInfo(name)
    about.size = len(data)
    archive.addfile(about, io.BytesIO(data))


def as_table(rows: Iterable[dict[str, Any]], dim: int, about: dict[str, str]) -> pa.Table:
    """Rows as a table of the columns that `multimodal.scale.shards` names, with `about` as its metadata."""
    import pyarrow as pa

    rows = list(rows)
    text = pa.string()
    kinds = {"shard": text, "key": text, "name": text, "modality": text, "role": text, "page": pa.int32()}
    kinds |= {"start": pa.float64(), "end": pa.float64(), "text": text, "error": text}
    columns = {name: pa.array([row.get(name) for row in rows], kind) for name, kind in kinds.items()}
    vectors = [row.get("vector") for row in rows]
    blank = pa.array([vector is None for vector in vectors], pa.bool_())
    zero = np.zeros(dim, np.float16)
    flat = [zero if vector is None else vector.astype(np.float16) for vector in vectors]
    values = pa.array(np.concatenate(flat) if flat else zero[:0], pa.float16())
    columns["vector"] = pa.FixedSizeListArray.from_arrays(values, dim, mask=blank)
    return pa.table(columns).replace_schema_metadata(about)
