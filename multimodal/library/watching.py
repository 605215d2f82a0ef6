"""Keeping a library up to date with a folder while it changes.

The system tells what changes (watchfiles); what it does not tell (network disks, queues that ran over) a
look at the whole folder finds every ten minutes. A disk that is unplugged is waited for, not taken for an
emptied folder.
"""

from __future__ import annotations

import importlib.util
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from multimodal.errors import LibraryBusy, LibraryError, NoMediaFile, WrongSpace
from multimodal.library.opening import DATABASE
from multimodal.library.roots import Roots, existing, outermost, relative
from multimodal.library.scan import IGNORE, JUNK, ignored_in, said
from multimodal.types import IndexReport

if TYPE_CHECKING:
    from multimodal.library.indexing import Progress
    from multimodal.library.library import Library

TICK = 0.2
"""Seconds between looks at whether to stop, and whether the folder is still there."""
LONGEST = 60.0
"""Seconds after which a folder that never comes to rest is looked at all the same."""
RETRY = (2.0, 60.0)
"""Seconds until a run that failed is tried again: at first, and, doubling, at most."""
POLL_MS = 2000


def watch(
    library: Library,
    folder: str | Path,
    *,
    stop_event: threading.Event | None = None,
    debounce: float = 2.0,
    rescan: float = 600.0,
    polling: bool | None = None,
    on_problem: Callable[[str], object] | None = None,
    progress: Callable[[Progress], None] | None = None,
    exclude: Sequence[str] = (),
    **adding: Any,
) -> Iterator[IndexReport]:
    """Bring a library up to date with a folder, then again whenever something in it has changed.

    Yields the report of the first run, and one for each change after the folder has come to rest for
    `debounce` seconds. Hidden and ignored files and the library itself are no changes. Every `rescan` seconds
    the whole folder is looked at (0: never), which yields a report where it found something. `polling` looks
    at the files instead of waiting to be told: for network disks. `exclude`, `progress` and `adding` are
    those of `Library.add`.

    While another process writes to the library, or the folder or its disk is away, it waits and tries
    again; `on_problem` gets one sentence when that begins. Ends when `stop_event` is set, in the middle of
    a run too: what is done is kept.

    Raises NoMediaFile, LibraryError (also without watchfiles: the extra `watch`), WrongSpace.
    """
    if importlib.util.find_spec("watchfiles") is None:
        raise LibraryError("Watching needs an extra: pip install 'multimodal[watch]'.")
    place = existing(Path(folder))
    if not place.is_dir():
        raise NoMediaFile(f"{folder} is no folder: only folders are watched.")
    stop, options = stop_event or threading.Event(), {**adding, "exclude": exclude}
    watcher = _Watcher(library, place, stop, debounce, rescan, polling, on_problem, progress, options)
    return watcher.reports()


@dataclass
class _Watcher:
    """The state of one watch. `_todo` are folders to look at, `_first` and `_last` when that was learned."""

    library: Library
    folder: Path
    stop: threading.Event
    debounce: float
    rescan: float
    polling: bool | None
    on_problem: Callable[[str], object] | None
    progress: Callable[[Progress], None] | None
    adding: dict[str, Any]
    _todo: set[Path] = field(default_factory=set)
    _first: float = 0.0
    _last: float = 0.0
    _told: str | None = None
    _begun: bool = False

    def reports(self) -> Iterator[IndexReport]:
        known = _identity(self.folder)
        while not self.stop.is_set():
            identity = _identity(self.folder)
            if identity is None or (identity != known and not self._holds_its_library()):
                self._tell(f"{self.folder} is not there, or is not the folder that it was: waiting for it.")
                self.stop.wait(RETRY[0] / 2)
                continue
            known = identity
            with _Listener(self.folder, self.polling) as listener:
                self._todo = {self.folder}  # whatever happened while nobody listened
                yield from self._while_there(listener, identity)
                if listener.failure is not None and _identity(self.folder) == identity:
                    self._tell(
                        f"The system does not tell of changes in {self.folder} ({listener.failure}):"
                        " the files are looked at every few seconds instead."
                    )
                    self.polling = True
                    self.stop.wait(RETRY[0])

    def _holds_its_library(self) -> bool:
        """Whether a library in the folder is there, or is kept elsewhere. One is never made anew in what
        may be the empty place of a disk that is away."""
        inside = relative(self.library.path, self.folder) is not None
        return not inside or not self._begun or (self.library.path / DATABASE).is_file()

    def _while_there(self, listener: _Listener, identity: tuple[int, int]) -> Iterator[IndexReport]:
        """Until the folder goes away, the listener fails, or it is to stop."""
        again, wait, scanned, quiet = 0.0, RETRY[0], time.monotonic(), False
        while not self.stop.is_set() and listener.failure is None and _identity(self.folder) == identity:
            now = time.monotonic()
            if self.rescan and now - scanned >= self.rescan and not self._todo:
                self._todo, quiet = {self.folder}, True
            rested = now - self._last >= self.debounce or now - self._first >= LONGEST
            if self._todo and rested and now >= again:
                try:
                    report = self._run()
                except _Later as later:
                    self._tell(str(later))
                    again, wait = time.monotonic() + wait, min(2 * wait, RETRY[1])
                    continue
                if report is None:
                    return
                again, wait, self._told = 0.0, RETRY[0], None
                scanned = time.monotonic()
                if not quiet or any(report.count(what) for what in ("added", "reused", "removed")):
                    yield report
                quiet = False
            self._note(listener.changes(TICK))

    def _run(self) -> IndexReport | None:
        """Look at what is to do; None where it was told to stop. Raises _Later for what may pass."""
        todo = sorted({self._inside(_standing(path)) for path in self._todo})
        self._todo = set()
        try:
            report = self.library.add(outermost(todo), progress=self._listen, **self.adding)
        except _Stopped:
            return None
        except WrongSpace:
            raise
        except (LibraryError, NoMediaFile, OSError) as error:
            self._todo |= {self.folder}
            if not self._begun and not isinstance(error, LibraryBusy):
                raise
            reason = said(error) if isinstance(error, OSError) else str(error)
            raise _Later(reason) from error
        self._begun = True
        return report

    def _listen(self, progress: Progress) -> None:
        if self.stop.is_set():
            raise _Stopped
        if self.progress is not None:
            self.progress(progress)

    def _note(self, changed: set[str]) -> None:
        """Folders to look at for some changed paths, those passed over left out."""
        now = time.monotonic()
        found = self._places(changed) if changed else set()
        if found:
            self._first = self._first if self._todo else now
            self._last = now
            self._todo |= found

    def _places(self, changed: set[str]) -> set[Path]:
        root = self._root()
        try:
            ignored = ignored_in(root, self.adding["exclude"])
        except LibraryError:  # no patterns: the run will say so
            return {self.folder}
        found: set[Path] = set()
        for name in changed:
            path = Path(name)
            if path == root / IGNORE:
                return {self.folder}
            inner = relative(path, root)
            if inner is None or relative(path, self.library.path) is not None:
                continue
            if any(part.startswith(".") or part.lower() in JUNK for part in inner.split("/") if part):
                continue
            is_folder = path.is_dir()
            if inner and ignored is not None and ignored.match_file(f"{inner}/" if is_folder else inner):
                continue
            # the folder of a file, not the file alone: it may belong to another beside it
            found.add(self._inside(path if is_folder else _standing(path.parent)))
        return found

    def _inside(self, path: Path) -> Path:
        """Nothing above the folder is ever looked at."""
        return self.folder if relative(path, self.folder) is None else path

    def _root(self) -> Path:
        """The root that the folder belongs to: its patterns count."""
        roots = Roots(self.library.path)
        try:
            folders = [roots.folder(root.path) for root in self.library._reading().roots()]
        except LibraryError:
            return self.folder
        return next((one for one in folders if relative(self.folder, one) is not None), self.folder)

    def _tell(self, problem: str) -> None:
        if problem != self._told and self.on_problem is not None:
            self.on_problem(problem)
        self._told = problem


class _Later(Exception):
    """A run could not be done now, and may be later."""


class _Stopped(Exception):
    """A run was told to stop."""


class _Listener:
    """Gathers what the system tells of a folder, in a thread: signals stay with the main one, and what
    happens during a run is there after it."""

    def __init__(self, folder: Path, polling: bool | None) -> None:
        self.failure: Exception | None = None
        self._folder, self._polling = folder, polling
        self._stop, self._ready = threading.Event(), threading.Event()
        self._changed: SimpleQueue[set[str]] = SimpleQueue()
        self._thread = threading.Thread(target=self._listen, name="multimodal-watch", daemon=True)

    def __enter__(self) -> _Listener:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def changes(self, seconds: float) -> set[str]:
        """The paths that changed since the last call; waits for the first of them as long as that."""
        found: set[str] = set()
        try:
            found |= self._changed.get(timeout=seconds)
            while True:
                found |= self._changed.get_nowait()
        except Empty:
            return found

    def _listen(self) -> None:
        import watchfiles

        try:
            changes = watchfiles.watch(
                self._folder,
                watch_filter=None,
                stop_event=self._stop,
                rust_timeout=int(TICK * 1000),
                yield_on_timeout=True,
                force_polling=self._polling,
                poll_delay_ms=POLL_MS,
                ignore_permission_denied=True,
            )
            for some in changes:
                self._ready.set()
                if some:
                    self._changed.put({path for _, path in some})
        except Exception as error:  # of whatever kind: the watch goes on without being told
            self.failure = error
        finally:
            self._ready.set()


def _standing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next((one for one in (folder, *folder.parents) if one.is_dir()), folder)


def _identity(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from another in its place; None where there is none."""
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino
