"""One process at a time writes to a library, and the others are told which."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from multimodal.errors import LibraryBusy
from multimodal.library.opening import make_folder, speaking, unusable
from multimodal.library.sqlite import SqliteStore
from multimodal.space import Space

LOCK_SECONDS = 2.0
"""How long another writer is waited for."""


@contextmanager
def writing(
    home: Path, space: Space | None, check: Callable[[Mapping[str, Any], Space], None]
) -> Iterator[SqliteStore]:
    """The store in `home` for writing, held by this process alone.

    With a `space` it is made where there is none, and `check(settings, space)` raises where it was made by
    another. Raises LibraryBusy, LibraryError, and what `check` does.
    """
    from filelock import FileLock, Timeout

    writer = home / "writer.pid"
    with speaking(home), ExitStack() as stack:
        make_folder(home)
        try:
            stack.enter_context(FileLock(home / "library.lock").acquire(timeout=LOCK_SECONDS))
        except Timeout:
            raise LibraryBusy(
                f"Another process{_pid(writer)} is writing to the library in {home}:"
                " try again when it is done."
            ) from None
        writer.write_text(str(os.getpid()), encoding="ascii")
        made = (space.name, space.space_id, space.dim) if space else ("", "", 0)
        store = stack.enter_context(closing(SqliteStore.create(home, *made)))
        held = stack.pop_all()
    with held:
        if space is not None:
            check(store.settings(), space)
        try:
            yield store
            store.checkpoint()
        except sqlite3.Error as error:
            raise unusable(home, error) from error
        finally:
            with suppress(OSError):
                writer.unlink()


def _pid(writer: Path) -> str:
    try:
        return f" (number {int(writer.read_text(encoding='ascii'))})"
    except (OSError, ValueError):
        return ""
