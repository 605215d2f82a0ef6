"""What other tools read: vectors of files as a table, the report of a run as lines of JSON."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multimodal.errors import QueryError
from multimodal.types import FileRecord, IndexReport

if TYPE_CHECKING:
    from multimodal.space import Space

ROW_GROUP = 8192
"""Vectors per row group: what is held in memory at once."""


@contextmanager
def report_lines(path: Path | None) -> Iterator[Callable[[FileRecord], None] | None]:
    """A function that writes each record as a line of JSON: path, status, segments, seconds, reason.

    None where there is no path to write to. Raises QueryError where it cannot be written.
    """
    if path is None:
        yield None
        return
    with _writing("report", path):
        file = path.open("w", encoding="utf-8", buffering=1)

    def note(record: FileRecord) -> None:
        shown = {**asdict(record), "path": shown_path(record.path), "seconds": round(record.seconds, 4)}
        with _writing("report", path):
            file.write(json.dumps(shown, ensure_ascii=False) + "\n")

    try:
        yield note
    finally:
        with suppress(OSError):  # what a full disk did not take has been told of
            file.close()


@contextmanager
def _writing(what: str, path: Path) -> Iterator[None]:
    """Raises QueryError where the disk is full or the place cannot be written to."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise QueryError(f"The {what} cannot be written to {path}: {reason}.") from error


def shown_path(path: Path) -> str:
    """A path as text; bytes of a name that are no UTF-8 as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def write_parquet(
    files: Sequence[Path], output: Path, space: Space, *, workers: int | None = None
) -> IndexReport:
    """Embed files and write one row per segment: path, modality, role, page, start, end, text, vector
    (float32, dim). What is blank has no row.

    The table's metadata names the space (`space`, `space_id`). The file appears whole or not at all.
    Files that cannot be read are in the report, not in the table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from multimodal.pipeline import EncodedFile, encode_files

    schema = pa.schema(
        [
            ("path", pa.string()),
            ("modality", pa.string()),
            ("role", pa.string()),
            ("page", pa.int32()),
            ("start", pa.float64()),
            ("end", pa.float64()),
            ("text", pa.string()),
            ("vector", pa.list_(pa.float32(), space.dim)),
        ],
        metadata={"space": space.name, "space_id": space.space_id},
    )

    def table(done: list[EncodedFile]) -> pa.Table:
        rows = [(file.path, row) for file in done for row in file.rows if row.vector is not None]
        vectors = [row.vector for _, row in rows if row.vector is not None]
        flat = np.concatenate(vectors) if vectors else np.zeros(0, np.float32)
        return pa.table(
            {
                "path": [shown_path(path) for path, _ in rows],
                **{
                    name: [getattr(row, name) for _, row in rows]
                    for name in ("modality", "role", "page", "start", "end", "text")
                },
                "vector": pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float32()), space.dim),
            },
            schema=schema,
        )

    started, records, held = time.monotonic(), [], list[EncodedFile]()
    with (
        _writing("table", output),
        tempfile.TemporaryDirectory(dir=output.parent, prefix=".multimodal-") as scratch,
    ):
        unfinished = Path(scratch) / output.name
        with pq.ParquetWriter(str(unfinished), schema) as writer:
            for file in encode_files(files, space, workers=workers):
                records.append(FileRecord(file.path, file.status, len(file.rows), file.seconds, file.reason))
                held.append(file)
                if sum(len(one.rows) for one in held) >= ROW_GROUP:
                    writer.write_table(table(held))
                    held.clear()
            writer.write_table(table(held))
        os.replace(unfinished, output)
    return IndexReport(records, time.monotonic() - started)
