"""One run over folders: what changed is read and encoded, what is known is reused, what is gone goes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from multimodal.library.jobs import Feed, Job, Recipe, content_hash, is_as_remembered, problems_in, written
from multimodal.library.roots import Target, is_below
from multimodal.library.scan import Found, said
from multimodal.library.store import FileEntry, FileState, Kept, SegmentRow, Store
from multimodal.types import Facts, FileRecord, FileStatus

if TYPE_CHECKING:
    from multimodal.pipeline import EncodedFile, Row, Task
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
class Run:
    """The state of one run. `encode` is the pipeline: paths in, encoded files out."""

    store: Store
    targets: Sequence[Target]
    recipe: Recipe
    encode: Callable[[Iterable[Task], Callable[[Working], object]], Iterator[EncodedFile]]
    progress: Callable[[Progress], None] | None = None
    on_record: Callable[[FileRecord], object] | None = None
    records: list[FileRecord] = field(default_factory=list)
    _waiting: list[tuple[FileEntry, FileRecord, Found]] = field(default_factory=list)
    _again: list[Job] = field(default_factory=list)
    _told: set[Path] = field(default_factory=set)
    _committed: float = field(default_factory=time.monotonic)
    _total: int = 0
    _segments: int = 0

    def go(self) -> None:
        """Everything, in this order: unchanged, reused, encoded, gone."""
        jobs, gone = self._compare()
        self._encode(self._reuse(jobs))
        self._remove(gone)

    def _compare(self) -> tuple[list[Job], list[tuple[int, FileRecord | None]]]:
        jobs: list[Job] = []
        gone: list[tuple[int, FileRecord | None]] = []
        for target in self.targets:
            known = self.store.files(target.root)
            walk, beside = target.walk, set[str]()
            for found in walk.files:
                state = known.pop(found.path, None)
                path = target.folder / found.path
                beside.update(one.path for one in found.companions)
                if state is not None and is_as_remembered(found, state) and self.recipe.is_current(state):
                    status: FileStatus = "unchanged" if state.status == "indexed" else state.status
                    record = FileRecord(path, status, state.segments, 0.0, state.reason)
                    self._record(record, found, problems_in(state.companions))
                else:
                    jobs.append(Job(target.root, path, found, state))
            for passed in walk.passed:
                self._note(FileRecord(target.folder / passed.path, "skipped", reason=passed.reason))
            for closed in walk.closed:
                self._note(FileRecord(target.folder / closed.path, "failed", reason=closed.reason))
            for path_, state in known.items():
                if path_ in beside:  # what stood for itself belongs to another now
                    gone.append((state.number, None))
                elif is_below(path_, target.prefix) and not walk.is_closed(path_):
                    gone.append((state.number, FileRecord(target.folder / path_, "removed", state.segments)))
        coming = {companion for job in jobs for companion in job.companions} - self._told
        self._total = len(self.records) + len(jobs) + len(coming)
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
                    job.hash = content_hash(job.path, job.companions)
                except OSError as error:
                    self._refuse(job, "failed", said(error))
                    continue
            state = holders.get(job.content) if job.hash else None
            if job.known is not None and self._is_only_touched(job, job.known):
                problems = problems_in(job.known.companions)
                self._keep(job, None, "unchanged", job.known.segments, problems=problems)
            elif state is not None:
                self._reuse_rows(job, state)
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
        again, self._again = self._again, []
        self._encode(again)

    def _finish(self, job: Job, result: EncodedFile) -> None:
        if not _is_unchanged(job):
            job.hash = None  # its rows may not be those of its bytes: nobody may reuse them
        self._take(job, result)

    def _take(self, job: Job, result: EncodedFile) -> None:
        if result.status != "added":
            self._refuse(job, result.status, result.reason or "no reason given", result.seconds)
            return
        encoders = {modality: self.recipe.space[modality].encoder_id for modality in self.recipe.space}
        rows = [_stored(row, encoders[row.modality]) for row in result.rows]
        count = sum(row.vector is not None for row in rows)
        problems = {path.name: reason for path, reason in result.problems}
        self._keep(job, rows, "added", count, result.seconds, problems, result.facts)

    def _reuse_rows(self, job: Job, state: FileState) -> None:
        """Give a file the rows of one with the same content, whose companions are the same by their kinds."""
        wrong = problems_in(state.companions)
        problems = {}
        if wrong:
            names = [entry[0] for entry in json.loads(state.companions)]
            now = [companion.name for companion in job.companions]
            problems = {mine: wrong[its] for mine, its in zip(now, names, strict=True) if its in wrong}
        rows = self.store.rows(state.number)
        self._keep(job, rows, "reused", state.segments, problems=problems, facts=state.facts)

    def _settle(self, feed: Feed, finished: dict[Path, bool]) -> None:
        """Store what the feed has put aside: refusals, and copies of files that are finished by now."""
        while feed.refused:
            self._refuse(*feed.refused.popleft())
        for _ in range(len(feed.copies)):
            job, first = feed.copies.popleft()
            if first.path not in finished:
                feed.copies.append((job, first))
                continue
            if first.hash is None:  # it changed meanwhile: what became of it says nothing of its copy
                self._again.append(job)
                continue
            self._commit()
            state = self.store.file(first.root, first.found.path)
            assert state is not None
            if state.status == "indexed":
                self._reuse_rows(job, state)
            else:
                self._refuse(job, state.status, state.reason or "")

    def _keep(
        self,
        job: Job,
        rows: list[SegmentRow] | None,
        status: FileStatus,
        segments: int,
        seconds: float = 0.0,
        problems: Mapping[str, str] = MappingProxyType({}),
        facts: Facts | None = None,
    ) -> None:
        entry = replace(self._entry(job, seconds), facts=facts)
        entry = replace(entry, rows=rows, recipe=self.recipe.reading, companions=written(job.found, problems))
        self._put(entry, FileRecord(job.path, status, segments, seconds), job.found)

    def _refuse(self, job: Job, status: FileStatus, reason: str, seconds: float = 0.0) -> None:
        entry = self._entry(job, seconds)
        kept: Kept = "skipped" if status == "skipped" else "failed"
        entry = replace(entry, status=kept, reason=reason, recipe=self.recipe.refusing)
        self._put(entry, FileRecord(job.path, status, 0, seconds, reason), job.found)

    def _entry(self, job: Job, seconds: float) -> FileEntry:
        found = job.found
        beside = written(found, {})
        return FileEntry(
            job.root,
            found.path,
            found.size,
            found.mtime_ns,
            job.hash,
            "indexed",
            None,
            "",
            seconds,
            (),
            beside,
        )

    def _put(self, entry: FileEntry, record: FileRecord, found: Found) -> None:
        self._waiting.append((entry, record, found))
        late = time.monotonic() - self._committed >= BATCH_SECONDS
        if late or len(self._waiting) >= BATCH_FILES:
            self._commit()

    def _commit(self) -> None:
        waiting, self._waiting = self._waiting, []
        self.store.write([entry for entry, _, _ in waiting])
        self._committed = time.monotonic()
        for entry, record, found in waiting:
            self._record(record, found, problems_in(entry.companions))
            self._segments += record.segments if record.status in ("added", "reused") else 0
            self._tell(record)

    def _record(self, record: FileRecord, found: Found, problems: Mapping[str, str]) -> None:
        """Note what became of a file, and of its companions unless another told of them before."""
        self._note(record)
        for one in found.companions:
            path = record.path.with_name(Path(one.path).name)
            if path in self._told:
                continue
            self._told.add(path)
            if record.status in ("skipped", "failed"):
                reason = f"it belongs to {record.path.name}, which was not read"
                self._note(FileRecord(path, "skipped", reason=reason))
            elif path.name in problems:
                self._note(FileRecord(path, "failed", reason=problems[path.name]))
            else:
                reason = f"read with {record.path.name}"
                self._note(FileRecord(path, record.status, reason=reason))

    def _remove(self, gone: list[tuple[int, FileRecord | None]]) -> None:
        self.store.delete([number for number, _ in gone])
        for _, record in gone:
            if record is not None:
                self._note(record)

    def _note(self, record: FileRecord) -> None:
        self.records.append(record)
        if self.on_record is not None:
            self.on_record(record)

    def _work(self, working: Working) -> None:
        if self._waiting and time.monotonic() - self._committed >= BATCH_SECONDS:
            self._commit()  # what is done need not wait for a file of many hours
        if self.progress is not None:
            done = len(self.records)
            self.progress(
                Progress(done, self._total, self._segments, None, working.current, working.position)
            )

    def _tell(self, record: FileRecord | None = None) -> None:
        if self.progress is not None:
            self.progress(Progress(len(self.records), self._total, self._segments, record))


def _is_unchanged(job: Job) -> bool:
    """Whether a file and its companions are as they were when the folder was looked at."""
    paths = zip((job.path, *job.companions), (job.found, *job.found.companions), strict=True)
    try:
        return all(
            (status.st_size, status.st_mtime_ns) == (found.size, found.mtime_ns)
            for status, found in ((path.stat(), found) for path, found in paths)
        )
    except OSError:
        return False


def _stored(row: Row, encoder: str) -> SegmentRow:
    """A row as it is kept: vectors as little-endian float16, the times of frames as float32."""
    frames = row.frames
    return SegmentRow(
        row.modality,
        row.start,
        row.end,
        row.text,
        encoder,
        None if row.vector is None else row.vector.astype("<f2").tobytes(),
        row.page,
        row.chars,
        row.role,
        None
        if frames is None
        else (frames.times.astype("<f4").tobytes(), frames.vectors.astype("<f2").tobytes()),
    )
