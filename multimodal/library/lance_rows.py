"""Rows of the one table of a shared library, and what they stand for."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from multimodal.library.sqlite import segment_id
from multimodal.library.store import FileEntry, FileState, Record, Root, SegmentRow
from multimodal.types import Facts

if TYPE_CHECKING:
    import pyarrow as pa

GROUP = 4096
"""Rows given out at once, and numbers in one question."""
STATE = ["number", "root", "path", "size", "mtime_ns", "hash", "status", "reason", "recipe", "encoders"]
STATE += ["segments", "companions", "width", "height", "duration", "taken"]
SHOWN = ["number", "file", "modality", "ordinal", "start", "end", "text", "page", "begin_char", "end_char"]
SHOWN += ["role"]


def schema(made: Mapping[str, Any]) -> pa.Schema:
    """`id` names a row for good; `kind` is file, segment or root; `file` is the number of a segment's file,
    and a file's own; `vector` is float16 of the space's dim."""
    import pyarrow as pa

    text, whole, real, raw = pa.string(), pa.int64(), pa.float64(), pa.binary()
    kinds: dict[str, pa.DataType] = {
        **dict.fromkeys(["number", "file", "root", "device", "size", "mtime_ns", "segments"], whole),
        **dict.fromkeys(["path", "hash", "times", "frames"], raw),
        **dict.fromkeys(["status", "reason", "recipe", "encoders", "companions", "taken"], text),
        **dict.fromkeys(["modality", "text", "encoder", "role"], text),
        **dict.fromkeys(["ordinal", "page", "begin_char", "end_char", "width", "height"], whole),
        **dict.fromkeys(["seconds", "duration", "start", "end"], real),
        "vector": pa.list_(pa.float16(), int(made["dim"])),
    }
    key = pa.field("id", raw, nullable=False, metadata={"lance-schema:unenforced-primary-key": "true"})
    fields = [key, pa.field("kind", text, nullable=False), *(pa.field(name, kinds[name]) for name in kinds)]
    return pa.schema(fields, metadata={"multimodal": json.dumps(dict(made))})


def table(rows: Sequence[Mapping[str, Any]], kinds: pa.Schema) -> pa.Table:
    """Rows as the table takes them; what a row does not say is null."""
    import pyarrow as pa

    columns = []
    for field in kinds:
        values = [row.get(field.name) for row in rows]
        columns.append(
            _vectors(values, field.type) if field.name == "vector" else pa.array(values, field.type)
        )
    return pa.table(columns, schema=kinds)


def _vectors(values: Sequence[bytes | None], kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    width = 2 * kind.list_size
    data = b"".join(bytes(width) if value is None else value for value in values)
    flat = pa.Array.from_buffers(pa.float16(), len(data) // 2, [None, pa.py_buffer(data)])
    blank = pa.array([value is None for value in values], pa.bool_())
    return pa.FixedSizeListArray.from_arrays(flat, kind.list_size, mask=blank)


def vector_bytes(column: pa.Array) -> list[bytes | None]:
    """The bytes of float16 of each row of a column of vectors, None for a null."""
    width = 2 * column.type.list_size
    flat = column.values
    start = (flat.offset + column.offset * column.type.list_size) * 2
    data = memoryview(flat.buffers()[1])[start:] if len(column) else memoryview(b"")
    there = column.is_valid().to_pylist()
    return [bytes(data[at * width : (at + 1) * width]) if valid else None for at, valid in enumerate(there)]


def of_root(root: Root) -> dict[str, Any]:
    name = hashlib.blake2b(b"root\0" + os.fsencode(root.path), digest_size=16).digest()
    path = os.fsencode(root.path)
    return {"id": name, "kind": "root", "number": root.number, "path": path, "device": root.device}


def of_file(entry: FileEntry, before: FileState | None, number: int) -> dict[str, Any]:
    """The row of a file; what the entry leaves as it was comes from `before`."""
    facts = entry.facts if entry.facts is not None else before.facts if before else Facts()
    if entry.rows is None:
        encoders = " ".join(sorted(before.encoders)) if before else ""
        segments = before.segments if before else 0
    else:
        encoders = " ".join(sorted({row.encoder for row in entry.rows}))
        segments = sum(row.vector is not None for row in entry.rows)
    names = "size", "mtime_ns", "hash", "status", "reason", "recipe", "seconds", "companions"
    return {
        "id": place_id(entry.root.number, entry.path),
        "kind": "file",
        "number": number,
        "file": number,
        "root": entry.root.number,
        "path": os.fsencode(entry.path),
        **{name: getattr(entry, name) for name in names},
        **asdict(facts),
        "encoders": encoders,
        "segments": segments,
    }


def of_segment(entry: FileEntry, file: int, ordinal: int, row: SegmentRow, number: int) -> dict[str, Any]:
    times, frames = row.frames or (None, None)
    first, last = row.chars or (None, None)
    names = "modality", "start", "end", "text", "encoder", "vector", "page", "role"
    return {
        "id": segment_id(entry.root.path, entry.path, row.modality, ordinal, row.encoder),
        "kind": "segment",
        "number": number,
        "file": file,
        "ordinal": ordinal,
        **{name: getattr(row, name) for name in names},
        "begin_char": first,
        "end_char": last,
        "times": times,
        "frames": frames,
    }


def state(row: Mapping[str, Any]) -> FileState:
    facts = Facts(row["width"], row["height"], row["duration"], row["taken"])
    names = "number", "size", "mtime_ns", "hash", "status", "reason", "recipe"
    encoders = frozenset(row["encoders"].split())
    told = [row[name] for name in names]
    return FileState._make((*told, encoders, row["segments"], row["companions"], facts))


def segment(row: Mapping[str, Any]) -> SegmentRow:
    frames = None if row["times"] is None else (row["times"], row["frames"])
    names = "modality", "start", "end", "text", "encoder", "vector", "page", "role"
    told: dict[str, Any] = {name: row[name] for name in names}
    return SegmentRow(**told, chars=chars(row), frames=frames)


def record(
    row: Mapping[str, Any], file: Mapping[str, Any], roots: Mapping[int, str], vector: bytes | None
) -> Record:
    place = row["number"], roots[file["root"]], os.fsdecode(file["path"]), None
    names = "modality", "role", "page", "start", "end", "text", "begin_char", "end_char"
    facts = "width", "height", "duration", "taken", "size", "mtime_ns"
    told = [*(row[name] for name in names), *(file[name] for name in facts)]
    return Record._make((*place, *told, None, vector))


def chars(row: Mapping[str, Any]) -> tuple[int, int] | None:
    return None if row["begin_char"] is None else (row["begin_char"], row["end_char"])


def place_id(root: int, path: str) -> bytes:
    """The 16 bytes that name a file."""
    return hashlib.blake2b(b"file\0%d\0" % root + os.fsencode(path), digest_size=16).digest()


def among(column: str, numbers: Sequence[int]) -> str:
    """A condition that holds for those numbers; for none of them never."""
    return f"{column} IN ({', '.join(str(int(number)) for number in numbers)})" if numbers else "false"


def quoted(value: bytes | str) -> str:
    """A value as SQL."""
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    return "'" + value.replace("'", "''") + "'"
