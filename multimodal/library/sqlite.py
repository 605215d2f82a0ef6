"""The store on a local disk: one SQLite file."""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from multimodal.library import migrations, opening, sqlite_rows
from multimodal.library.sqlite_rows import insert_segment, stored_path
from multimodal.library.store import (
    COLLECTION,
    FileEntry,
    FileState,
    ImportedRow,
    KeptFrames,
    Record,
    Root,
    SegmentRow,
    StoredSegment,
    VectorRows,
)
from multimodal.types import Facts, Modality, Role


class SqliteStore:
    """WAL, one writer, and `synchronous=FULL`, so that a committed batch outlives a power cut."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._depth = 0
        self._lock = threading.RLock()

    @classmethod
    def create(cls, folder: Path, space: str, space_id: str, dim: int) -> SqliteStore:
        """The library in `folder` for writing; made, or brought to the latest schema, where needed."""
        db = opening.for_writing(folder)
        store = cls(db)
        try:
            with store._transaction():
                fresh = migrations.version(db) == 0
                migrations.migrate(db)
                if fresh:
                    made = {"library": secrets.token_hex(8), "space": space, "space_id": space_id, "dim": dim}
                    rows = {**made, "generation": 0, "deletions": 0}.items()
                    db.executemany("INSERT INTO settings (name, value) VALUES (?, ?)", rows)
        except BaseException:
            db.close()
            raise
        return store

    @classmethod
    def open(cls, folder: Path) -> SqliteStore:
        """The library in `folder` for reading, also on read-only media. Raises NoLibrary, LibraryError."""
        return cls(opening.for_reading(folder))

    def close(self) -> None:
        self._db.close()

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the database, as far as no reader stands in the way."""
        with suppress(sqlite3.Error):
            patience = self._db.execute("PRAGMA busy_timeout").fetchone()[0]
            self._db.execute("PRAGMA busy_timeout = 0")  # a long export would hold up each run by 10 s
            try:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                self._db.execute(f"PRAGMA busy_timeout = {patience}")

    @contextmanager
    def snapshot(self) -> Iterator[SqliteStore]:
        with self._lock:
            self._depth += 1
            try:
                if self._depth == 1:
                    self._db.execute("BEGIN")
                yield self
            finally:
                self._depth -= 1
                if self._depth == 0 and self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk has already rolled it back
                    self._db.execute("ROLLBACK")
                raise

    def put_setting(self, name: str, value: str | int) -> None:
        """Set what says nothing of the rows themselves."""
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)", (name, value))

    def settings(self) -> dict[str, Any]:
        return dict(self._db.execute("SELECT name, value FROM settings").fetchall())

    def roots(self) -> list[Root]:
        rows = self._db.execute("SELECT id, path, device FROM roots ORDER BY id")
        found = [Root(number, os.fsdecode(path), device) for number, path, device in rows]
        return [root for root in found if not root.path.startswith(COLLECTION)]

    def put_root(self, path: str, device: int) -> Root:
        """The root of that path, made where it is new; its device is brought up to date."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO roots (path, device) VALUES (?, ?)"
                " ON CONFLICT (path) DO UPDATE SET device = excluded.device",
                (stored_path(path), device),
            )
        return next(root for root in self.roots() if root.path == path)

    def move_files(self, source: Root, target: Root, prefix: str) -> None:
        """Files of a root that now belongs to one above it: `prefix` is where it lies in there."""
        with self._transaction():
            for path, state in self.files(source).items():
                moved = f"{prefix}/{path}"
                self._db.execute(
                    "UPDATE files SET root = ?, path = ? WHERE id = ?",
                    (target.number, stored_path(moved), state.number),
                )
                rows = self._db.execute(
                    "SELECT modality, ordinal, encoder, number FROM segments WHERE file = ?", (state.number,)
                ).fetchall()
                self._db.executemany(
                    "UPDATE segments SET id = ? WHERE number = ?",
                    [(segment_id(target.path, moved, *key), number) for *key, number in rows],
                )
            self._db.execute("DELETE FROM roots WHERE id = ?", (source.number,))

    def files(self, root: Root) -> dict[str, FileState]:
        """Everything remembered below a root, by path relative to it."""
        rows = self._db.execute(f"SELECT path, {_STATE} FROM files WHERE root = ?", (root.number,))
        return {os.fsdecode(row[0]): _state(row[1:]) for row in rows}

    def file(self, root: Root, path: str) -> FileState | None:
        row = self._db.execute(
            f"SELECT {_STATE} FROM files WHERE root = ? AND path = ?", (root.number, stored_path(path))
        ).fetchone()
        return None if row is None else _state(row)

    def rows(self, file: int) -> list[SegmentRow]:
        """The segments of a file in their order."""
        found = self._db.execute(
            'SELECT modality, start, "end", text, encoder, vector, page, begin_char, end_char, role,'
            " times, vectors FROM segments LEFT JOIN vectors ON vectors.segment = number"
            " LEFT JOIN frames ON frames.segment = number WHERE file = ? ORDER BY ordinal",
            (file,),
        )
        rows = []
        for modality, start, end, text, encoder, vector, page, first, last, role, times, vectors in found:
            frames = None if times is None else (times, vectors)
            place = page, _chars(first, last), role, frames
            rows.append(SegmentRow(modality, start, end, text, encoder, vector, *place))
        return rows

    def frames(self, numbers: Sequence[int]) -> dict[int, KeptFrames]:
        """Times (f,) in seconds and unit vectors (f, dim) of the frames that segments keep."""
        return sqlite_rows.frames(self._db, numbers)

    def write(self, entries: Sequence[FileEntry]) -> None:
        """One transaction; what a file had before is replaced as a whole."""
        if not entries:
            return
        with self._transaction():
            deleted = sum(self._write(entry) for entry in entries)
            self._count(deleted > 0)

    def _write(self, entry: FileEntry) -> int:
        known = self.file(entry.root, entry.path)
        values: dict[str, Any] = {
            "root": entry.root.number,
            "path": stored_path(entry.path),
            "size": entry.size,
            "mtime_ns": entry.mtime_ns,
            "hash": entry.hash,
            "status": entry.status,
            "reason": entry.reason,
            "recipe": entry.recipe,
            "seconds": entry.seconds,
            "companions": entry.companions,
        }
        if entry.facts is not None:
            values.update(asdict(entry.facts))
        if entry.rows is not None:
            values["encoders"] = " ".join(sorted({row.encoder for row in entry.rows}))
            values["segments"] = sum(row.vector is not None for row in entry.rows)
        if known is None:
            names = ", ".join(values)
            marks = ", ".join("?" * len(values))
            cursor = self._db.execute(f"INSERT INTO files ({names}) VALUES ({marks})", (*values.values(),))
            file, deleted = int(cursor.lastrowid or 0), 0
        else:
            sets = ", ".join(f"{name} = ?" for name in values)
            self._db.execute(f"UPDATE files SET {sets} WHERE id = ?", (*values.values(), known.number))
            file, deleted = known.number, 0
            if entry.rows is not None:
                deleted = self._db.execute("DELETE FROM segments WHERE file = ?", (file,)).rowcount
        self._insert(file, entry)
        return deleted

    def _insert(self, file: int, entry: FileEntry) -> None:
        for ordinal, row in enumerate(entry.rows or ()):
            name = segment_id(entry.root.path, entry.path, row.modality, ordinal, row.encoder)
            insert_segment(self._db, file, name, ordinal, row)

    def delete(self, files: Sequence[int]) -> None:
        """Files and all their segments, in one transaction."""
        if not files:
            return
        with self._transaction():
            self._db.executemany("DELETE FROM files WHERE id = ?", [(file,) for file in files])
            self._count(True)

    def _count(self, deleted: bool) -> None:
        names = "('generation', 'deletions')" if deleted else "('generation')"
        self._db.execute(f"UPDATE settings SET value = value + 1 WHERE name IN {names}")

    def segments(self, numbers: Sequence[int]) -> dict[int, StoredSegment]:
        """Segments by their numbers; one that is gone is left out."""
        found: dict[int, StoredSegment] = {}
        for begin in range(0, len(numbers), 500):  # SQLite before 3.32 takes at most 999 parameters
            some = [int(number) for number in numbers[begin : begin + 500]]
            rows = self._db.execute(
                'SELECT number, roots.path, files.path, modality, ordinal, start, "end", text, page,'
                " begin_char, end_char, role, imported.name FROM segments"
                " JOIN files ON files.id = segments.file JOIN roots ON roots.id = files.root"
                " LEFT JOIN imported ON imported.segment = number"
                f" WHERE number IN ({', '.join('?' * len(some))})",
                some,
            )
            for number, root, path, modality, ordinal, start, end, text, page, first, last, *kind in rows:
                place = start, end, text, page, _chars(first, last), *kind
                found[number] = StoredSegment(os.fsdecode(root), os.fsdecode(path), modality, ordinal, *place)
        return found

    def vectors(self, modality: Modality, after: int) -> Iterator[VectorRows]:
        """The vectors of a modality in groups, by ascending segment number from `after` (exclusive)."""
        cursor = self._db.execute(
            "SELECT number, file, vector FROM segments JOIN vectors ON segment = number"
            " WHERE modality = ? AND number > ? ORDER BY number",
            (modality, after),
        )
        while rows := cursor.fetchmany(4096):
            yield rows

    def counts(self) -> tuple[int, dict[Modality, int]]:
        """Indexed files, and segments by modality."""
        files = self._db.execute("SELECT count(*) FROM files WHERE status = 'indexed'").fetchone()[0]
        total = dict(self._db.execute("SELECT modality, count(*) FROM segments GROUP BY modality"))
        blank = self._db.execute(
            "SELECT modality, count(*) FROM segments WHERE role = 'blank' GROUP BY modality"
        )
        for modality, count in blank:
            total[modality] -= count
        return files, {modality: count for modality, count in total.items() if count}

    def put_imported(self, collection: str, batches: Iterable[Sequence[ImportedRow]]) -> tuple[int, int]:
        with self._transaction():
            stored, replaced = sqlite_rows.put_imported(self._db, collection, batches)
            if stored:
                self._count(replaced > 0)
        return stored, replaced

    def delete_imported(self, collection: str, ids: Sequence[str] | None) -> int:
        with self._transaction():
            gone = sqlite_rows.delete_imported(self._db, collection, ids)
            if gone:
                self._count(True)
        return gone

    def imported(self, numbers: Sequence[int]) -> dict[int, tuple[str, str, str]]:
        return sqlite_rows.imported(self._db, numbers)

    def find_imported(self, collection: str, ids: Sequence[str]) -> dict[str, int]:
        return sqlite_rows.find_imported(self._db, collection, ids)

    def records(
        self, modalities: Sequence[Modality], roles: Sequence[Role], vectors: bool
    ) -> Iterator[list[Record]]:
        return sqlite_rows.records(self._db, modalities, roles, vectors)

    def select(
        self, sql: str, values: Sequence[Any] = (), seconds: float | None = None
    ) -> list[tuple[Any, ...]]:
        with self._lock:
            return sqlite_rows.select(self._db, sql, values, seconds)


_STATE = "id, size, mtime_ns, hash, status, reason, recipe, encoders, segments, companions,"
_STATE += " width, height, duration, taken"


_NO_FACTS, _NOTHING = Facts(), (None,) * 4  # shared by the many files that say nothing of themselves


def _state(row: Sequence[Any]) -> FileState:
    facts = _NO_FACTS if row[10:] == _NOTHING else Facts(*row[10:])
    return FileState._make((*row[:7], _encoders(row[7]), row[8], row[9], facts))


def _chars(begin: int | None, end: int | None) -> tuple[int, int] | None:
    return None if begin is None or end is None else (begin, end)


@lru_cache(maxsize=256)
def _encoders(names: str) -> frozenset[str]:
    """Few files differ in their encoders, so the sets are shared."""
    return frozenset(names.split())


def segment_id(root: str, path: str, modality: str, ordinal: int, encoder: str) -> bytes:
    """The 16 bytes that name a segment: the same file in the same place gets the same in every run."""
    parts = [os.fsencode(root), os.fsencode(path), modality.encode(), str(ordinal).encode(), encoder.encode()]
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).digest()
