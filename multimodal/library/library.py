"""The library: add folders, search them with anything, know what is in there."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal.errors import LibraryBusy, LibraryError, NoLibrary, QueryError, WrongSpace
from multimodal.library import search as searching
from multimodal.library.indexing import Progress, Run
from multimodal.library.jobs import Recipe
from multimodal.library.opening import DATABASE
from multimodal.library.roots import FOLDER, Roots, existing, outermost, relative
from multimodal.library.sqlite import SqliteStore
from multimodal.library.store import FileState, StoredSegment
from multimodal.library.vectors import Kernel, Matrix, Outrun, VectorFiles
from multimodal.space import Item, Space, load_space
from multimodal.types import MODALITIES, FileRecord, Hit, IndexReport, LibraryStats, Modality

if TYPE_CHECKING:
    from multimodal.pipeline import EncodedFile, Limits, Task
    from multimodal.pipeline import Progress as Working

LOCK_SECONDS = 2.0


class Library:
    """Segments of files with their vectors, in a folder of its own (`photos/.multimodal`).

    Nothing is created before the first `add`. One process may add while others search. A folder that
    contains the library is stored relative to it, so both can move together.
    """

    def __init__(self, path: str | Path, space: Space | None = None) -> None:
        """`space` None stands for the one the library was made by, or for the starter."""
        self.path = Path(os.path.realpath(Path(path).expanduser()))
        self._roots = Roots(self.path)
        self._given = space
        self._checked: Space | None = None
        self._store: SqliteStore | None = None
        self._files = VectorFiles(self.path / "vectors")
        self._matrices: dict[Modality, Matrix] = {}
        self._shown: tuple[object, ...] | None = None
        self._kernel = Kernel()
        self._lock = threading.RLock()

    @staticmethod
    def find(start: str | Path | None = None) -> Path:
        """The library's folder in `start` (default: the current folder) or the nearest folder above.

        Raises NoLibrary.
        """
        folder = Path.cwd() if start is None else Path(os.path.abspath(start))
        for place in (folder, *folder.parents):
            if (place / FOLDER / DATABASE).is_file():
                return place / FOLDER
        raise NoLibrary(f"There is no library in {folder} or any folder above it: index a folder first.")

    def __repr__(self) -> str:
        return f"Library({str(self.path)!r})"

    def __enter__(self) -> Library:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files; the next call opens them again."""
        with self._lock:
            if self._store is not None:
                self._store.close()
            self._store, self._checked = None, None
            self._matrices, self._shown = {}, None
            self._kernel.forget()

    @property
    def space(self) -> Space:
        """The space of the library, loaded on demand. Raises WrongSpace, SpaceError."""
        if self._checked is None:
            recorded: dict[str, Any] = {}
            with suppress(NoLibrary):
                recorded = self._reading().settings()
            space = self._given or load_space(str(recorded.get("space", "starter")))
            if recorded:
                self._check(recorded, space)
            self._checked = space
        return self._checked

    def _check(self, recorded: Mapping[str, Any], space: Space) -> None:
        if recorded["space_id"] != space.space_id:
            raise WrongSpace(
                f"The library in {self.path} was made by the space {recorded['space']!r}"
                f" ({recorded['space_id']}), not by {space.name!r} ({space.space_id}):"
                " use that space, or index into a new library."
            )

    def add(
        self,
        paths: str | Path | Iterable[str | Path],
        *,
        workers: int | None = None,
        exclude: Sequence[str] = (),
        limits: Limits | None = None,
        progress: Callable[[Progress], None] | None = None,
        on_record: Callable[[FileRecord], object] | None = None,
    ) -> IndexReport:
        """Bring the library up to date with folders or files; only what is new or changed is read.

        Files gone from those folders go from the library. Files whose content is known, from whatever
        place, reuse its vectors. A caption or subtitles in a file beside a picture, video or sound is
        read with it. Hidden files, the junk that systems leave behind, and what a pattern of `exclude`
        names (as in .gitignore; `.multimodalignore` in the folder keeps such patterns) are passed over in
        silence; everything else is in the report. Unreadable files never stop a run, nor do those that
        exceed `limits`. What has been told to `progress` or `on_record` (each record of the report, as it
        is made) survives a crash and a power cut.

        Raises NoMediaFile (no such path), WrongSpace, LibraryBusy, LibraryError.
        """
        begun = time.monotonic()
        given = [paths] if isinstance(paths, (str, Path)) else list(paths)
        starts = outermost([existing(Path(path)) for path in given])
        space = self.space
        recipe = Recipe.of(space)

        def encode(files: Iterable[Task], listen: Callable[[Working], object]) -> Iterator[EncodedFile]:
            from multimodal.pipeline import Limits, encode_files

            return encode_files(files, space, workers=workers, limits=limits or Limits(), on_progress=listen)

        with self._writing(space) as store:
            roots = replace(self._roots, exclude=tuple(exclude))
            targets = [roots.target(store, start) for start in starts]
            run = Run(store, targets, recipe, encode, progress, on_record)
            run.go()
        with _speaking(self.path), suppress(Outrun):  # then another process has shown even more
            self._show()
        return IndexReport(run.records, time.monotonic() - begun)

    def remove(self, path: str | Path) -> int:
        """Take a file, or everything below a folder, out of the library; gives the number of files.

        The files themselves stay, and come back with the next `add` of their folder.
        Raises NoLibrary, LibraryBusy, LibraryError.
        """
        self._reading()
        wanted = Path(path).expanduser()
        with self._writing(None) as store:
            places = {Path(os.path.abspath(wanted)), Path(os.path.realpath(wanted))}
            files = set().union(*(self._roots.inside(store, place) for place in places))
            store.delete(sorted(files))
        return len(files)

    def search(
        self,
        query: Item,
        k: int = 10,
        modality: Modality | Sequence[Modality] | None = None,
        all_segments: bool = False,
    ) -> list[Hit]:
        """The `k` best files for a query, best first, each with its best moment.

        A `str` is always text; a Path, PIL image, Audio, Clip or Segment is media, a path counting as
        the mean of its segments. `modality` limits what is found. `all_segments` gives the best
        segments instead, several of a file if need be. Scores compare across modalities: standard
        deviations above what the query scores against unrelated rows (`search.backgrounds`).

        Raises NoLibrary, QueryError, ReadError, WrongSpace, NoEncoder, LibraryError.
        """
        wanted = _modalities(modality)
        if k < 1:
            raise QueryError(f"k is the number of results, at least 1, not {k}.")
        self._reading()
        asked = self._query(query)
        with _speaking(self.path), self._lock:
            for _ in range(3):
                with suppress(Outrun), self._reading().snapshot():
                    return self._search(asked, k, wanted, not all_segments, patient=True)
            with self._reading().snapshot():
                return self._search(asked, k, wanted, not all_segments, patient=False)

    def stats(self) -> LibraryStats:
        """Counts of the library. Raises NoLibrary, LibraryError."""
        with _speaking(self.path), self._lock:
            store = self._reading()
            with store.snapshot():
                settings = store.settings()
                files, segments = store.counts()
            size = sum(_size(path) for path in self.path.rglob("*"))
        return LibraryStats(
            files,
            {name: segments[name] for name in MODALITIES if name in segments},
            settings["space"],
            settings["space_id"],
            settings["dim"],
            size,
        )

    def _search(
        self, query: searching.Query, k: int, wanted: Sequence[Modality], per_file: bool, patient: bool
    ) -> list[Hit]:
        shown = self._show(patient)
        matrices = {name: shown[name] for name in wanted if name in shown}
        against = searching.backgrounds(query, matrices, self.space.background)
        ranked = searching.rank(matrices, query, against, k, per_file, self._kernel)
        stored = self._reading().segments([row.segment for row in ranked])
        ranked = [row for row in ranked if row.segment in stored]
        ranked.sort(key=lambda row: (-row.score, *_place(stored[row.segment])))
        hits: list[Hit] = []
        files: set[int] = set()
        for row in ranked:
            if len(hits) == k:
                break
            if per_file and row.file in files:
                continue
            files.add(row.file)
            found = stored[row.segment]
            path = self._roots.folder(found.root) / found.path
            cosine = min(1.0, max(-1.0, row.cosine))
            place = found.start, found.end, found.text, found.page, found.chars, found.role
            hits.append(Hit(path, row.modality, row.score, cosine, *place))
        return hits

    def _query(self, query: Item) -> searching.Query:
        if isinstance(query, Path):
            known = self._known_query(query)
            if known is not None:
                return known
        return searching.embed_query(self.space, query)

    def _known_query(self, path: Path) -> searching.Query | None:
        """The query that a file of the library makes by the rows it has: no model need run."""
        places = {Path(os.path.abspath(path)), Path(os.path.realpath(path))}
        with self._lock, _speaking(self.path), self._reading().snapshot() as store:
            for place, root in product(places, store.roots()):
                name = relative(place, self._roots.folder(root.path))
                state = store.file(root, name) if name else None
                if state is None or not state.segments or not _is_as_stored(place, state):
                    continue
                if Recipe.of(self.space).is_current(state):
                    rows = [row for row in store.rows(state.number) if row.vector is not None]
                    first = rows[0].modality
                    vectors = [np.frombuffer(row.vector, "<f2") for row in rows if row.modality == first]  # type: ignore[arg-type]
                    return searching.mean_query(first, np.stack(vectors))
        return None

    def _show(self, patient: bool = True) -> dict[Modality, Matrix]:
        """The matrices as the store is now, mapped again only when it has changed."""
        store = self._reading()
        settings = store.settings()
        state = (settings["library"], settings["generation"])
        if state != self._shown:
            self._kernel.forget()
            self._shown = None
            with store.snapshot():
                self._matrices = self._files.load(store, patient)
                settings = store.settings()
            self._shown = (settings["library"], settings["generation"])
        return self._matrices

    def _reading(self) -> SqliteStore:
        """The store for reading. Raises NoLibrary, LibraryError."""
        with self._lock, _speaking(self.path):
            if self._store is None:
                self._store = SqliteStore.open(self.path)
            return self._store

    @contextmanager
    def _writing(self, space: Space | None) -> Iterator[SqliteStore]:
        """The store for writing, held by this process alone; `space` makes a library where there is none."""
        from filelock import FileLock, Timeout

        writer = self.path / "writer.pid"
        with _speaking(self.path), ExitStack() as stack:
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(FileLock(self.path / "library.lock").acquire(timeout=LOCK_SECONDS))
            except Timeout:
                raise LibraryBusy(
                    f"Another process{_pid(writer)} is writing to the library in {self.path}:"
                    " try again when it is done."
                ) from None
            writer.write_text(str(os.getpid()), encoding="ascii")
            made = (space.name, space.space_id, space.dim) if space else ("", "", 0)
            store = stack.enter_context(closing(SqliteStore.create(self.path, *made)))
            held = stack.pop_all()
        with held:
            if space is not None:
                self._check(store.settings(), space)
            try:
                yield store
                store.checkpoint()
            except sqlite3.Error as error:
                raise _unusable(self.path, error) from error
            finally:
                with suppress(OSError):
                    writer.unlink()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:  # another process has just let go of its log
        return 0


def _place(found: StoredSegment) -> tuple[str, str, int]:
    return (found.root, found.path, found.ordinal)


def _is_as_stored(path: Path, state: FileState) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (state.size, state.mtime_ns)


def _modalities(wanted: Modality | Sequence[Modality] | None) -> tuple[Modality, ...]:
    if wanted is None:
        return MODALITIES
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    for name in names:
        if name not in MODALITIES:
            raise QueryError(f"There is no modality {name!r}: give one of {', '.join(MODALITIES)}.")
    return tuple(name for name in MODALITIES if name in names)


def _pid(writer: Path) -> str:
    try:
        return f" (number {int(writer.read_text(encoding='ascii'))})"
    except (OSError, ValueError):
        return ""


@contextmanager
def _speaking(folder: Path) -> Iterator[None]:
    """Turn what the disk or SQLite objects into one sentence. Raises LibraryError."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise _unusable(folder, error) from error


def _unusable(folder: Path, error: Exception) -> LibraryError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return LibraryError(f"The library in {folder} cannot be used: {reason.lower()}.")
