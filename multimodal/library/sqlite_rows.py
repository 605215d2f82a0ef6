"""The SQL that gives segments out in bulk, and takes in those that were made elsewhere."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from multimodal.library.store import COLLECTION, ImportedRow, KeptFrames, Record, SegmentRow
from multimodal.towers.base import unit
from multimodal.types import Modality, Role

GROUP = 2048
"""Segments fetched at a time: with 512 dimensions and frames left out, 2 MB."""
PARAMETERS = 500
"""SQLite before 3.32 takes at most 999 parameters."""
STEPS = 10_000
"""Steps of SQLite's machine between two looks at the clock, about a millisecond."""
IMPORTED = "imported"
"""The encoder of rows made elsewhere."""


def insert_segment(db: sqlite3.Connection, file: int, name: bytes, ordinal: int, row: SegmentRow) -> int:
    """Store one segment with its vector and frames; gives its number."""
    cursor = db.execute(
        'INSERT INTO segments (id, file, modality, ordinal, start, "end", text, encoder, page,'
        " begin_char, end_char, role) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (name, file, row.modality, ordinal, row.start, row.end, row.text, row.encoder, row.page)
        + (row.chars or (None, None))
        + (row.role,),
    )
    number = int(cursor.lastrowid or 0)
    if row.vector is not None:
        db.execute("INSERT INTO vectors VALUES (?, ?)", (number, row.vector))
    if row.frames is not None:
        db.execute("INSERT INTO frames VALUES (?, ?, ?)", (number, *row.frames))
    return number


def frames(db: sqlite3.Connection, numbers: Sequence[int]) -> dict[int, KeptFrames]:
    """See `Store.frames`."""
    found: dict[int, KeptFrames] = {}
    for begin in range(0, len(numbers), PARAMETERS):
        some = numbers[begin : begin + PARAMETERS]
        marks = ", ".join("?" * len(some))
        sql = f"SELECT segment, times, vectors FROM frames WHERE segment IN ({marks})"
        for number, times, vectors in db.execute(sql, list(some)):
            seconds = np.frombuffer(times, "<f4")
            rows = np.frombuffer(vectors, "<f2").reshape(len(seconds), -1).astype(np.float32)
            found[number] = seconds, unit(rows)
    return found


def stored_path(path: str) -> str | bytes:
    """Text where the name is valid Unicode, else its bytes: both give the name back through `os.fsdecode`."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def put_imported(
    db: sqlite3.Connection, collection: str, batches: Iterable[Sequence[ImportedRow]]
) -> tuple[int, int]:
    """See `Store.put_imported`; the transaction is the caller's."""
    root = _collection(db, collection)
    if root is None:
        cursor = db.execute("INSERT INTO roots (path, device) VALUES (?, 0)", (COLLECTION + collection,))
        root = int(cursor.lastrowid or 0)
    touched: set[int] = set()
    by_path: dict[int, int] = {}  # rows that their path names, by the number of their file
    total = replaced = 0
    for batch in batches:
        named: set[str] = set()
        replaced += len(_drop(db, collection, [row.id for row in batch if row.id is not None], touched))
        for row in batch:
            file, id_ = _file(db, root, row), row.id
            touched.add(file)
            if id_ is None:
                if file not in by_path:
                    replaced += db.execute("DELETE FROM segments WHERE file = ?", (file,)).rowcount
                count = by_path.setdefault(file, 0)
                id_ = f"{row.path}#{count}" if count else row.path
                by_path[file] += 1
            if row.id is None or id_ in named:
                replaced += len(_drop(db, collection, [id_], touched))
            named.add(id_)
            name, inner = imported_id(collection, id_), replace(row.row, encoder=IMPORTED, frames=None)
            number = insert_segment(db, file, name, total, inner)
            db.execute("INSERT INTO imported VALUES (?, ?, ?)", (number, id_, row.metadata))
            total += 1
    _recount(db, touched)
    return total, replaced


def delete_imported(db: sqlite3.Connection, collection: str, ids: Sequence[str] | None) -> int:
    """See `Store.delete_imported`; the transaction is the caller's."""
    root = _collection(db, collection)
    if root is None:
        return 0
    if ids is None:
        count = db.execute(
            "SELECT count(*) FROM segments JOIN files ON files.id = file WHERE root = ?", (root,)
        ).fetchone()[0]
        db.execute("DELETE FROM roots WHERE id = ?", (root,))
        return int(count)
    touched: set[int] = set()
    gone = _drop(db, collection, ids, touched)
    _recount(db, touched)
    return len(gone)


def imported(db: sqlite3.Connection, numbers: Sequence[int]) -> dict[int, tuple[str, str, str]]:
    """See `Store.imported`."""
    sql = (
        "SELECT segment, roots.path, name, metadata FROM imported JOIN segments ON number = segment"
        " JOIN files ON files.id = file JOIN roots ON roots.id = root WHERE segment IN"
    )
    found = _selected(db, sql, [int(number) for number in numbers])
    return {number: (path[len(COLLECTION) :], name, about) for number, path, name, about in found}


def find_imported(db: sqlite3.Connection, collection: str, ids: Sequence[str]) -> dict[str, int]:
    """See `Store.find_imported`."""
    names = {imported_id(collection, one): one for one in ids}
    found = _selected(db, "SELECT id, number FROM segments WHERE id IN", list(names))
    return {names[name]: number for name, number in found}


def imported_id(collection: str, name: str) -> bytes:
    """The 16 bytes that stand for a row made elsewhere in `segments.id`."""
    parts = COLLECTION.encode(), collection.encode(), name.encode()
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).digest()


def records(
    db: sqlite3.Connection, modalities: Sequence[Modality], roles: Sequence[Role], vectors: bool
) -> Iterator[list[Record]]:
    """See `Store.records`."""
    # the plus keeps the index of modalities out of a query for several: its order is not the numbers'
    modality = "modality" if len(modalities) == 1 else "+modality"
    cursor = db.execute(
        "SELECT number, roots.path, files.path, imported.name, modality, role, page, start,"
        ' "end", text, begin_char, end_char, width, height, duration, taken, size, mtime_ns, metadata,'
        f" {'vector' if vectors else 'NULL'} FROM segments CROSS JOIN files ON files.id = segments.file"
        " CROSS JOIN roots ON roots.id = files.root LEFT JOIN imported ON imported.segment = number"
        f" {'LEFT JOIN vectors ON vectors.segment = number' if vectors else ''}"
        f" WHERE {modality} IN ({_marks(modalities)}) AND role IN ({_marks(roles)}) ORDER BY number",
        (*modalities, *roles),
    )
    while rows := cursor.fetchmany(GROUP):
        yield [Record(row[0], os.fsdecode(row[1]), os.fsdecode(row[2]), *row[3:]) for row in rows]


def select(
    db: sqlite3.Connection, sql: str, values: Sequence[Any] = (), seconds: float | None = None
) -> list[tuple[Any, ...]]:
    """See `Store.select`."""
    if seconds is None:
        return db.execute(sql, values).fetchall()
    end = time.monotonic() + seconds
    late = False

    def is_late() -> bool:
        nonlocal late
        late = time.monotonic() > end
        return late

    db.set_progress_handler(is_late, STEPS)
    try:
        return db.execute(sql, values).fetchall()
    except sqlite3.OperationalError as error:
        if late:
            raise TimeoutError(f"the query took longer than {seconds:g} s") from error
        raise
    finally:
        db.set_progress_handler(None, 0)


def _collection(db: sqlite3.Connection, collection: str) -> int | None:
    row = db.execute("SELECT id FROM roots WHERE path = ?", (COLLECTION + collection,)).fetchone()
    return None if row is None else int(row[0])


def _drop(db: sqlite3.Connection, collection: str, ids: Sequence[str], files: set[int]) -> list[int]:
    """Delete the segments of those ids; the numbers of their files go into `files`."""
    names = [imported_id(collection, one) for one in ids]
    found = list(_selected(db, "SELECT number, file FROM segments WHERE id IN", names))
    db.executemany("DELETE FROM segments WHERE number = ?", [(number,) for number, _ in found])
    files.update(file for _, file in found)
    return [number for number, _ in found]


def _file(db: sqlite3.Connection, root: int, row: ImportedRow) -> int:
    """The number of the file that stands for what a row is a part of, made where it is new."""
    path = stored_path(row.path)
    known = db.execute("SELECT id FROM files WHERE root = ? AND path = ?", (root, path)).fetchone()
    facts = {name: value for name, value in vars(row.facts).items() if value is not None}
    if row.size or row.mtime_ns:
        facts.update(size=row.size, mtime_ns=row.mtime_ns)
    if known is not None:
        if facts:
            sets = ", ".join(f"{name} = ?" for name in facts)
            db.execute(f"UPDATE files SET {sets} WHERE id = ?", (*facts.values(), known[0]))
        return int(known[0])
    values = {"size": 0, "mtime_ns": 0, **facts, "root": root, "path": path, "status": "indexed"}
    values |= {"recipe": IMPORTED, "encoders": IMPORTED, "segments": 0, "seconds": 0.0}
    sql = f"INSERT INTO files ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})"
    return int(db.execute(sql, (*values.values(),)).lastrowid or 0)


def _recount(db: sqlite3.Connection, files: Iterable[int]) -> None:
    """Bring the counts of files up to date; those without segments go."""
    numbers = [(file,) for file in files]
    db.executemany(
        "UPDATE files SET segments = (SELECT count(*) FROM segments JOIN vectors ON segment = number"
        " WHERE file = files.id) WHERE id = ?",
        numbers,
    )
    db.executemany(
        "DELETE FROM files WHERE id = ? AND NOT EXISTS (SELECT 1 FROM segments WHERE file = files.id)",
        numbers,
    )


def _selected(db: sqlite3.Connection, sql: str, keys: Sequence[int | bytes]) -> Iterator[Any]:
    """The rows of `sql` for many keys, some hundred at a time."""
    for begin in range(0, len(keys), PARAMETERS):
        some = keys[begin : begin + PARAMETERS]
        yield from db.execute(f"{sql} ({_marks(some)})", some).fetchall()


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
