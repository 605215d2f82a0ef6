"""The library: add folders, search them with anything, know what is in there."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import NoLibrary, QueryError, WrongSpace
from multimodal.library import finding
from multimodal.library.answering import MODES, Mode, Request
from multimodal.library.asking import asked, rows_of
from multimodal.library.codes import STORAGES, Storage
from multimodal.library.duplicates import THRESHOLD, Duplicates, find_duplicates
from multimodal.library.filters import Filter
from multimodal.library.indexing import Progress, Run
from multimodal.library.jobs import Recipe
from multimodal.library.opening import speaking
from multimodal.library.roots import Roots, existing, named, outermost
from multimodal.library.searcher import Searcher
from multimodal.library.sqlite import SqliteStore
from multimodal.library.store import SegmentRow
from multimodal.library.vectors import Outrun
from multimodal.library.writing import writing
from multimodal.pipeline.wire import Limits
from multimodal.query import Embedded, Query
from multimodal.space import Space, load_space
from multimodal.types import MODALITIES, FileRecord, Hits, IndexReport, Item, LibraryStats, Modality, Role

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from multimodal.library.imports import ImportReport
    from multimodal.pipeline import EncodedFile, Task
    from multimodal.pipeline import Progress as Working


class Library:
    """Segments of files with their vectors, in a folder of its own (`photos/.multimodal`).

    Nothing is created before the first `add`. One process may add while others search. A folder that
    contains the library is stored relative to it, so both can move together.
    """

    def __init__(self, path: str | Path, space: Space | None = None, storage: Storage | None = None) -> None:
        """`space` None stands for the one the library was made by, or for the starter. `storage` says what
        searches scan, from the next `add` on: "float16" (the rows themselves, exactly; above a million of
        them codes that find candidates), or "int8" and "binary", which take a half and a fourteenth of the
        memory and score candidates by the rows. Raises QueryError for another."""
        if storage is not None and storage not in STORAGES:
            raise QueryError(f"Vectors are stored as {', '.join(STORAGES)}, not as {storage!r}.")
        self._storage = storage
        self.path = Path(os.path.realpath(Path(path).expanduser()))
        self._roots = Roots(self.path)
        self._given = space
        self._checked: Space | None = None
        self._store: SqliteStore | None = None
        self._searcher = Searcher(self.path, self._roots, self._reading, lambda: self.space)
        self._lock = threading.RLock()

    @staticmethod
    def find(start: str | Path | None = None, space: str | None = None) -> Path:
        """The library's folder in `start` (default: the current folder) or the nearest folder above.

        Of several libraries of a folder `space` names one, by its space. Raises NoLibrary.
        """
        return finding.find(start, space)

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
            self._searcher.forget()

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
                " use that space, or keep a library of each with `--space NAME --alongside`."
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
        exceed `limits`; with other limits those are tried again. What has been told to `progress` or
        `on_record` (each record of the report, as it is made) survives a crash and a power cut.

        Raises NoMediaFile (no such path), WrongSpace, LibraryBusy, LibraryError.
        """
        begun = time.monotonic()
        given = [paths] if isinstance(paths, (str, Path)) else list(paths)
        starts = outermost([existing(Path(path)) for path in given])
        space = self.space
        limited = limits or Limits()
        recipe = Recipe.of(space, limited)

        def encode(files: Iterable[Task], listen: Callable[[Working], object]) -> Iterator[EncodedFile]:
            from multimodal.pipeline import encode_files

            return encode_files(files, space, workers=workers, limits=limited, on_progress=listen)

        with self._writing(space) as store:
            if self._storage is not None:
                store.put_setting("storage", self._storage)
            roots = replace(self._roots, exclude=tuple(exclude))
            targets = [roots.target(store, start) for start in starts]
            run = Run(store, targets, recipe, encode, progress, on_record)
            run.go()
        with speaking(self.path), suppress(Outrun):  # then another process has shown even more
            self._searcher.prepare()
        return IndexReport(run.records, time.monotonic() - begun)

    def remove(self, path: str | Path) -> int:
        """Take a file, or everything below a folder or an address such as `s3://bucket/folder`, out of the
        library; gives the number of files.

        The files themselves stay, and come back with the next `add` of their folder.
        Raises NoLibrary, LibraryBusy, LibraryError.
        """
        self._reading()
        with self._writing(None) as store:
            files = set().union(*(self._roots.inside(store, place) for place in named(path)))
            store.delete(sorted(files))
        return len(files)

    def search(
        self,
        query: Query | Item | Embedded,
        k: int = 10,
        modality: Modality | Sequence[Modality] | None = None,
        all_segments: bool = False,
        *,
        where: str | None = None,
        filter: Filter | None = None,
        duplicates: bool = False,
        mode: Mode = "hybrid",
        min_confidence: float | None = None,
        exact: bool = False,
    ) -> Hits:
        """The `k` best files for a query, best first, each with its best moment.

        A `str` is always text; a Path, PIL image, Audio, Clip or Segment is media, a path counting as
        the mean of its segments; `space.query(...)` makes sums and moments of them. `modality` limits
        what is found, `where` by SQL over `library.COLUMNS` ("megapixels > 2 AND folder = 'best'"),
        `filter` by patterns of paths, dates, lengths and more. `all_segments` gives the best segments
        instead, several of a file if need be. Copies of a result are named in it, and given on their own
        with `duplicates`.

        `mode` "meaning" compares vectors, "words" looks for the query's words in names, captions, subtitles
        and documents, "hybrid" fuses both orders (`library.fusion`). Where a text has no match, by either,
        the list is empty and its `note` says so; `min_confidence` in [0, 1] gives hits of that confidence
        or more instead, and those that have all the words: 0 gives `k` hits whatever they are. `exact`
        forbids the index of very large libraries, which misses a near row in some hundred.

        Raises NoLibrary, QueryError, ReadError, WrongSpace, NoEncoder, LibraryError.
        """
        wanted = _modalities(modality)
        if k < 1:
            raise QueryError(f"k is the number of results, at least 1, not {k}.")
        if mode not in MODES:
            raise QueryError(f"There is no mode {mode!r} of searching: give one of {', '.join(MODES)}.")
        if min_confidence is not None and not 0 <= min_confidence <= 1:
            raise QueryError(f"The least confidence is a probability from 0 to 1, not {min_confidence:g}.")
        self._reading()
        vector = asked(query, self.space, self._known_rows, self._centre)
        allowed = replace(filter or Filter(), where=where) if where is not None else filter or Filter()
        request = Request(k, wanted, allowed, not all_segments, not duplicates, mode, min_confidence, exact)
        with speaking(self.path), self._lock:
            return self._searcher.search(vector, request)

    def duplicates(
        self,
        folder: str | Path | None = None,
        modality: Modality | Sequence[Modality] | None = None,
        threshold: float = THRESHOLD,
    ) -> list[Duplicates]:
        """Groups of files that show or say the same, the largest of each first, below `folder` or anywhere.

        `threshold` is the least cosine of a copy with the largest of its group. Raises NoLibrary,
        QueryError, LibraryError.
        """
        if not 0 < threshold <= 1:
            raise QueryError(
                f"The threshold of duplicates is a cosine above 0, at most 1, not {threshold:g}."
            )
        wanted = _modalities(modality)
        with speaking(self.path), self._lock:
            place = None if folder is None else existing(Path(folder))
            return list(
                find_duplicates(self._reading(), self._searcher, self._roots, place, wanted, threshold)
            )

    def summary(
        self,
        path: str | Path | None = None,
        k: int = 9,
        modality: Modality | Sequence[Modality] | None = None,
    ) -> Hits:
        """The `k` moments, pictures or passages that stand for a file or folder; see `library.summary`."""
        from multimodal.library.summary import summary

        return summary(self, path, k, modality)

    def to_arrow(self, modality: Modality | None = None, vectors: bool = True, **how: Any) -> pa.Table:
        """The segments as a pyarrow table; see `library.tables.to_arrow`."""
        from multimodal.library import tables

        return tables.to_arrow(self, modality, vectors, **how)

    def to_pandas(self, modality: Modality | None = None, vectors: bool = True, **how: Any) -> pd.DataFrame:
        """The segments as a pandas frame; see `library.tables.to_pandas`."""
        from multimodal.library import tables

        return tables.to_pandas(self, modality, vectors, **how)

    def embeddings(
        self, modality: Modality | None = None, role: Role | None = None
    ) -> tuple[NDArray[np.floating], pa.Table]:
        """Vectors (n, dim) and the table of what they are, row by row; see `library.tables.embeddings`."""
        from multimodal.library import tables

        return tables.embeddings(self, modality, role)

    def import_vectors(self, source: Any, **how: Any) -> ImportReport:
        """Take in vectors made elsewhere; see `library.imports.import_vectors`."""
        from multimodal.library import imports

        return imports.import_vectors(self, source, **how)

    def stats(self) -> LibraryStats:
        """Counts of the library. Raises NoLibrary, LibraryError."""
        with speaking(self.path), self._lock:
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

    def _known_rows(self, path: Path) -> list[SegmentRow]:
        """What the library has of a file that has not changed: no model need run for it."""
        with self._lock, speaking(self.path), self._reading().snapshot() as store:
            return rows_of(path, store, self._roots, Recipe.of(self.space))

    def _centre(self, modality: Modality) -> NDArray[np.float32] | None:
        with self._lock, speaking(self.path):
            return self._searcher.centre(modality)

    def _reading(self) -> SqliteStore:
        """The store for reading. Raises NoLibrary, LibraryError."""
        with self._lock, speaking(self.path):
            if self._store is None:
                self._store = SqliteStore.open(self.path)
            return self._store

    def _writing(self, space: Space | None) -> AbstractContextManager[SqliteStore]:
        return writing(self.path, space, self._check)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:  # another process has just let go of its log
        return 0


def _modalities(wanted: Modality | Sequence[Modality] | None) -> tuple[Modality, ...]:
    if wanted is None:
        return MODALITIES
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    for name in names:
        if name not in MODALITIES:
            raise QueryError(f"There is no modality {name!r}: give one of {', '.join(MODALITIES)}.")
    return tuple(name for name in MODALITIES if name in names)
