"""Vectors of files as a table for other tools."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multimodal.types import FileRecord, IndexReport

if TYPE_CHECKING:
    from multimodal.space import Space

ROW_GROUP = 8192
"""Vectors per row group: what is held in memory at once."""


def write_parquet(
    files: Sequence[Path], output: Path, space: Space, *, workers: int | None = None
) -> IndexReport:
    """Embed files and write one row per segment: path, modality, start, end, text, vector (float32, dim).

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
            ("start", pa.float64()),
            ("end", pa.float64()),
            ("text", pa.string()),
            ("vector", pa.list_(pa.float32(), space.dim)),
        ],
        metadata={"space": space.name, "space_id": space.space_id},
    )

    def table(done: list[EncodedFile]) -> pa.Table:
        rows = [(file.path, row) for file in done for row in file.rows]
        flat = np.concatenate([row.vector for _, row in rows]) if rows else np.zeros(0, np.float32)
        return pa.table(
            {
                "path": [os.fsencode(path).decode("utf-8", "backslashreplace") for path, _ in rows],
                **{
                    name: [getattr(row, name) for _, row in rows]
                    for name in ("modality", "start", "end", "text")
                },
                "vector": pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float32()), space.dim),
            },
            schema=schema,
        )

    started, records, held = time.monotonic(), [], list[EncodedFile]()
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".multimodal-") as scratch:
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
