"""One run over folders: what changed is read and encoded, what is known is reused, what is gone goes."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from multimodal import readers
from multimodal.errors import ReadError
from multimodal.library.roots import Target, is_below
from multimodal.library.scan import Found, said
from multimodal.library.store import FileEntry, FileState, Kept, Root, SegmentRow, Store
from multimodal.space import Space
from multimodal.towers.base import identity
from multimodal.types import FileRecord, FileStatus

if TYPE_CHECKING:
    from multimodal.pipeline import EncodedFile
    from multimodal.pipeline import Progress as Working

BATCH_FILES = 64
BATCH_SECONDS = 1.0
"""Finished files are committed when they are this many, or when the last commit is this long ago."""


@dataclass(frozen=True)
class Progress:
    """How far a run is: `done` of `total` files, `segments` stored by it, and the record just made.

    A record is told of after it is safe on disk; files that had not changed are told of all at once,
    without one. In between, `current` is the file that is being read, `position` where in it (seconds).
    """

    done: int
    total: int
    segments: int
    record: FileRecord | None = None
    current: Path | None = None
    position: float | None = None


@dataclass
class Job:
    """A file that is new or changed."""

    root: Root
    path: Path
    found: Found
    known: FileState | None
    hash: bytes | None = None

    @property
    def content(self) -> tuple[bytes | None, str]:
        """What decides the rows of a file: its bytes, and its extension, by which a reader may go."""
        return self.hash, self.path.suffix.lower()


@dataclass(frozen=True)
class Recipe:
    """What rows depend on besides the file; those of another recipe or encoder are stale."""

    space: Space
    encoders: frozenset[str]
    reading: str
    refusing: str

    @classmethod
    def of(cls, space: Space) -> Recipe:
        encoders = {str(modality): space[modality].encoder_id for modality in space}
        reading = identity("read", asdict(space.read_options), str(readers.VERSION))
        refusing = identity(reading, ",".join(sorted(readers.EXTENSIONS)), encoders)
        return cls(space, frozenset(encoders.values()), reading, refusing)

    def is_current(self, state: FileState) -> bool:
        if state.status == "indexed":
            return state.recipe == self.reading and state.encoders <= self.encoders
        if state.status == "failed" and state.hash is None:
            return False  # it could not be opened: that may have changed without the file changing
        return state.recipe == self.refusing


class Feed:
    """Files on their way to the encoders, hashed as they are taken (from whichever thread takes them).

    `refused` fills with files that are none to encode, `copies` with those whose content went before.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = jobs
        self.refused: deque[tuple[Job, FileStatus, str]] = deque()
        self.copies: deque[tuple[Job, Job]] = deque()

    def __iter__(self) -> Iterator[Path]:
        first: dict[tuple[bytes | None, str], Job] = {}
        for job in self._jobs:
            try:
                if job.path.suffix.lower() not in readers.EXTENSIONS:
                    readers.reader_for(job.path)
                job.hash = job.hash or content_hash(job.path)
            except ReadError as error:
                self.refused.append((job, "skipped", str(error)))
            except OSError as error:
                self.refused.append((job, "failed", said(error)))
            else:
                before = first.setdefault(job.content, job)
                if before is job:
                    yield job.path
                else:
                    self.copies.append((job, before))


@dataclass
class Run:
    """The state of one run. `encode` is the pipeline: paths in, encoded files out."""

    store: Store
    targets: Sequence[Target]
    recipe: Recipe
    encode: Callable[[Iterable[Path], Callable[[Working], object]], Iterator[EncodedFile]]
    progress: Callable[[Progress], None] | None = None
    records: list[FileRecord] = field(default_factory=list)
    _waiting: list[tuple[FileEntry, FileRecord]] = field(default_factory=list)
    _committed: float = field(default_factory=time.monotonic)
    _total: int = 0
    _segments: int = 0

    def go(self) -> None:
        """Everything, in this order: unchanged, reused, encoded, gone."""
        jobs, gone = self._compare()
        self._encode(self._reuse(jobs))
        self._remove(gone)

    def _compare(self) -> tuple[list[Job], list[tuple[int, FileRecord]]]:
        jobs: list[Job] = []
        gone: list[tuple[int, FileRecord]] = []
        for target in self.targets:
            known = self.store.files(target.root)
            walk = target.walk
            for found in walk.files:
                state = known.pop(found.path, None)
                path = target.folder / found.path
                same = state is not None and (state.size, state.mtime_ns) == (found.size, found.mtime_ns)
                if state is not None and same and self.recipe.is_current(state):
                    status: FileStatus = "unchanged" if state.status == "indexed" else state.status
                    self.records.append(FileRecord(path, status, state.segments, 0.0, state.reason))
                else:
                    jobs.append(Job(target.root, path, found, state))
            for passed in walk.passed:
                self.records.append(FileRecord(target.folder / passed.path, "skipped", reason=passed.reason))
            for closed in walk.closed:
                self.records.append(FileRecord(target.folder / closed.path, "failed", reason=closed.reason))
            for path_, state in known.items():
                if is_below(path_, target.prefix) and not walk.is_closed(path_):
                    record = FileRecord(target.folder / path_, "removed", state.segments)
                    gone.append((state.number, record))
        self._total = len(self.records) + len(jobs)
        self._tell()
        return jobs, gone

    def _reuse(self, jobs: list[Job]) -> list[Job]:
        """Give files whose content is in the library the rows it has there; return the others.

        Only files of a size that the library knows are hashed for it: most new files are of a new size.
        """
        if not jobs:
            return jobs
        holders = self._holders({job.known.number for job in jobs if job.known is not None})
        sizes = {state.size for state in holders.values()}
        others: list[Job] = []
        for job in jobs:
            if job.found.size in sizes or (job.known is not None and job.known.size == job.found.size):
                try:
                    job.hash = content_hash(job.path)
                except OSError as error:
                    self._refuse(job, "failed", said(error))
                    continue
            state = holders.get(job.content) if job.hash else None
            if job.known is not None and self._is_only_touched(job, job.known):
                self._keep(job, None, "unchanged", job.known.segments)
            elif state is not None:
                rows = self.store.rows(state.number)
                self._keep(job, rows, "reused", len(rows))
            else:
                others.append(job)
        self._commit()
        return others

    def _is_only_touched(self, job: Job, known: FileState) -> bool:
        current = known.status == "indexed" and self.recipe.is_current(known)
        return current and job.hash is not None and known.hash == job.hash

    def _holders(self, changing: set[int]) -> dict[tuple[bytes | None, str], FileState]:
        """Files with current rows by their content, without those that this run may give other rows."""
        holders: dict[tuple[bytes | None, str], FileState] = {}
        for root in self.store.roots():
            for path, state in self.store.files(root).items():
                usable = state.status == "indexed" and state.hash and state.number not in changing
                if usable and self.recipe.is_current(state):
                    holders[state.hash, Path(path).suffix.lower()] = state
        return holders

    def _encode(self, jobs: list[Job]) -> None:
        if not jobs:
            return
        feed = Feed(jobs)
        by_path = {job.path: job for job in jobs}
        finished: dict[Path, bool] = {}
        try:
            with closing(self.encode(feed, self._work)) as results:  # type: ignore[type-var]
                for result in results:
                    self._finish(by_path[result.path], result)
                    finished[result.path] = True
                    self._settle(feed, finished)
        finally:  # also when interrupted: what is done is kept
            self._commit()
        self._settle(feed, finished)
        for job, _ in feed.copies:
            self._refuse(job, "failed", "the file with the same content was not finished")
        self._commit()

    def _finish(self, job: Job, result: EncodedFile) -> None:
        if result.status != "added":
            self._refuse(job, result.status, result.reason or "no reason given", result.seconds)
            return
        if not self._is_unchanged(job):
            job.hash = None  # its rows may not be those of its bytes: nobody may reuse them
        encoders = {modality: self.recipe.space[modality].encoder_id for modality in self.recipe.space}
        rows = [
            SegmentRow(
                row.modality,
                row.start,
                row.end,
                row.text,
                encoders[row.modality],
                row.vector.astype("<f2").tobytes(),
            )
            for row in result.rows
        ]
        self._keep(job, rows, "added", len(rows), result.seconds)

    def _is_unchanged(self, job: Job) -> bool:
        try:
            status = job.path.stat()
        except OSError:
            return False
        return (status.st_size, status.st_mtime_ns) == (job.found.size, job.found.mtime_ns)

    def _settle(self, feed: Feed, finished: dict[Path, bool]) -> None:
        """Store what the feed has put aside: refusals, and copies of files that are finished by now."""
        while feed.refused:
            self._refuse(*feed.refused.popleft())
        for _ in range(len(feed.copies)):
            job, first = feed.copies.popleft()
            if first.path not in finished:
                feed.copies.append((job, first))
                continue
            self._commit()
            state = self.store.file(first.root, first.found.path)
            assert state is not None
            if state.status == "indexed":
                rows = self.store.rows(state.number)
                self._keep(job, rows, "reused", len(rows))
            else:
                self._refuse(job, state.status, state.reason or "")

    def _keep(
        self, job: Job, rows: list[SegmentRow] | None, status: FileStatus, segments: int, seconds: float = 0.0
    ) -> None:
        entry = replace(self._entry(job, seconds), rows=rows, recipe=self.recipe.reading)
        self._put(entry, FileRecord(job.path, status, segments, seconds))

    def _refuse(self, job: Job, status: FileStatus, reason: str, seconds: float = 0.0) -> None:
        entry = self._entry(job, seconds)
        kept: Kept = "skipped" if status == "skipped" else "failed"
        entry = replace(entry, status=kept, reason=reason, recipe=self.recipe.refusing)
        self._put(entry, FileRecord(job.path, status, 0, seconds, reason))

    def _entry(self, job: Job, seconds: float) -> FileEntry:
        found = job.found
        return FileEntry(
            job.root, found.path, found.size, found.mtime_ns, job.hash, "indexed", None, "", seconds
        )

    def _put(self, entry: FileEntry, record: FileRecord) -> None:
        self._waiting.append((entry, record))
        late = time.monotonic() - self._committed >= BATCH_SECONDS
        if late or len(self._waiting) >= BATCH_FILES:
            self._commit()

    def _commit(self) -> None:
        waiting, self._waiting = self._waiting, []
        self.store.write([entry for entry, _ in waiting])
        self._committed = time.monotonic()
        for _, record in waiting:
            self.records.append(record)
            self._segments += record.segments if record.status in ("added", "reused") else 0
            self._tell(record)

    def _remove(self, gone: list[tuple[int, FileRecord]]) -> None:
        self.store.delete([number for number, _ in gone])
        self.records += [record for _, record in gone]

    def _work(self, working: Working) -> None:
        if self.progress is not None:
            done = len(self.records)
            self.progress(
                Progress(done, self._total, self._segments, None, working.current, working.position)
            )

    def _tell(self, record: FileRecord | None = None) -> None:
        if self.progress is not None:
            self.progress(Progress(len(self.records), self._total, self._segments, record))


def content_hash(path: Path) -> bytes:
    """blake2b-128 of a file's bytes. Raises OSError."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb", buffering=0) as file:
        buffer = bytearray(1 << 20)
        view = memoryview(buffer)
        while count := file.readinto(buffer):
            digest.update(view[:count])
    return digest.digest()
