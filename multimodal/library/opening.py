"""Opening the database of a library: for writing, for reading, on read-only media, of an older format."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from multimodal.errors import LibraryError, NoLibrary
from multimodal.library import migrations, word_index

DATABASE = "library.db"


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, such that a power cut does not take it away with what is put
    inside: SQLite syncs only what lies in there."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    if os.name != "nt":  # where a folder cannot be opened
        descriptor = os.open(folder.parent, os.O_RDONLY)
        try:
            with suppress(OSError):  # not every file system syncs folders
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def for_writing(folder: Path) -> sqlite3.Connection:
    """The database in `folder`, made where there is none: WAL, and on disk when a commit returns."""
    db = _connect(folder / DATABASE)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        word_index.register(db)
        _check_version(db, folder)
    except BaseException:
        db.close()
        raise
    return db


def for_reading(folder: Path) -> sqlite3.Connection:
    """The database in `folder`, also on read-only media, of the latest format.

    Raises NoLibrary, and LibraryError for a newer format or an older one that cannot be brought up to date.
    """
    path = folder / DATABASE
    missing = NoLibrary(f"There is no library in {folder}: index a folder first.")
    if not path.is_file():
        raise missing
    db = _connect_reading(path)
    try:
        _check_version(db, folder)
        if migrations.version(db) == 0:
            raise missing
        if migrations.version(db) < migrations.LATEST:
            db.close()
            db = _upgraded(folder)
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def speaking(folder: Path) -> Iterator[None]:
    """Turn what the disk or SQLite objects into one sentence. Raises LibraryError."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise unusable(folder, error) from error


def unusable(folder: Path, error: Exception) -> LibraryError:
    """What the disk or SQLite objects, in one sentence."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return LibraryError(f"The library in {folder} cannot be used: {reason.lower()}.")


def _connect(path: Path | str, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False, uri=uri)


def _connect_reading(path: Path) -> sqlite3.Connection:
    """Read-only; where even the log's index cannot be made (read-only media) the file counts as immutable."""
    address = path.resolve().as_uri()
    db = _connect(f"{address}?mode=ro", uri=True)
    try:
        migrations.version(db)
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return db
    except sqlite3.OperationalError:
        db.close()
        log = path.with_name(path.name + "-wal")
        if log.is_file() and log.stat().st_size and os.access(path.parent, os.W_OK):
            raise
    return _immutable(path, log)


def _immutable(path: Path, log: Path) -> sqlite3.Connection:
    """Of a library that was copied in mid-write, what is still in the log is folded in a copy in memory."""
    if not (log.is_file() and log.stat().st_size):
        return _connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    memory = _connect(":memory:")
    with tempfile.TemporaryDirectory(prefix="multimodal-") as folder:
        for source in (path, log):
            shutil.copyfile(source, Path(folder) / source.name)
        copy = _connect(Path(folder) / path.name)
        try:
            copy.backup(memory)
        finally:
            copy.close()
    return memory


def _upgraded(folder: Path) -> sqlite3.Connection:
    try:
        db = for_writing(folder)
        try:
            db.execute("BEGIN IMMEDIATE")
            migrations.migrate(db)
            db.execute("COMMIT")
        finally:
            db.close()
    except sqlite3.OperationalError as error:
        raise LibraryError(
            f"The library in {folder} is of an older format and cannot be brought up to date: {error}."
        ) from error
    return _connect_reading(folder / DATABASE)


def _check_version(db: sqlite3.Connection, folder: Path) -> None:
    found = migrations.version(db)
    if found > migrations.LATEST:
        raise LibraryError(
            f"The library in {folder} was written by a newer version of multimodal (format {found},"
            f" this one knows {migrations.LATEST}): update multimodal to open it."
        )
