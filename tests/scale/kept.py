"""What libraries hold, so that two of them can be compared."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

SEGMENTS = (
    'SELECT hex(segments.id), roots.path, files.path, modality, ordinal, start, "end", text, encoder, page,'
    " begin_char, end_char, role, vector FROM segments JOIN files ON files.id = file"
    " JOIN roots ON roots.id = root LEFT JOIN vectors ON vectors.segment = number ORDER BY 1"
)
FILES = (
    "SELECT CAST(roots.path AS TEXT), CAST(files.path AS TEXT), size, hex(hash), status, reason, recipe,"
    " encoders, segments, width, height, duration, taken FROM files JOIN roots ON roots.id = root"
    " ORDER BY 1, 2"
)


def segments(home: Path) -> list[tuple[Any, ...]]:
    """All segments by their ids; the last column is the vector, None for a blank one."""
    with closing(sqlite3.connect(home / "library.db")) as db:
        rows = db.execute(SEGMENTS).fetchall()
    return [(*row[:-1], None if row[-1] is None else np.frombuffer(row[-1], "<f2")) for row in rows]


def files(home: Path) -> list[tuple[Any, ...]]:
    """All files by their paths, with what became of each."""
    with closing(sqlite3.connect(home / "library.db")) as db:
        return db.execute(FILES).fetchall()


def assert_equal(one: Path, other: Path, *, but: str = "") -> None:
    """That two libraries are the same row for row, vectors to 1e-3; `but` is a path that does not count."""
    ours = [row for row in segments(one) if row[2] != but]
    theirs = [row for row in segments(other) if row[2] != but]
    assert ours and [row[:-1] for row in ours] == [row[:-1] for row in theirs]
    for mine, its in zip(ours, theirs, strict=True):
        assert (mine[-1] is None) == (its[-1] is None)
        if mine[-1] is not None:
            np.testing.assert_allclose(mine[-1].astype(float), its[-1].astype(float), atol=1e-3)
    assert [row for row in files(one) if row[1] != but] == [row for row in files(other) if row[1] != but]
