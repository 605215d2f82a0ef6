"""Indexing where one process does the writing and others, here or on other nodes, all the rest."""

from __future__ import annotations

import pickle
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from multimodal.errors import QueryError, SpaceError
from multimodal.library import Library
from multimodal.library.indexing import BATCH_FILES, BATCH_SECONDS, Progress, Run
from multimodal.library.jobs import Job, Recipe, problems_in
from multimodal.library.opening import speaking
from multimodal.library.roots import Roots
from multimodal.library.scan import Found
from multimodal.library.store import FileEntry, FileState
from multimodal.library.vectors import Outrun
from multimodal.pipeline import EncodedFile
from multimodal.pipeline.wire import Limits
from multimodal.scale import shared
from multimodal.scale.sources import listed
from multimodal.scale.worker import FileWorker, Order, Outcome, Setting, version
from multimodal.space import Space, load_space
from multimodal.types import FileRecord, IndexReport

Engine: TypeAlias = Literal["local", "ray"]
ENGINES: tuple[Engine, ...] = ("local", "ray")
Work: TypeAlias = Callable[[Sequence[Order], Setting], Iterator[Outcome]]
"""Orders in, their outcomes out as they are finished; one may come twice, or (a worker died) not at all."""


def index(
    library: Library | str,
    source: str | Path | Iterable[str | Path],
    *,
    space: Space | None = None,
    engine: Engine = "local",
    address: str | None = None,
    workers: int | None = None,
    actors: int | None = None,
    exclude: Sequence[str] = (),
    limits: Limits | None = None,
    progress: Callable[[Progress], None] | None = None,
    on_record: Callable[[FileRecord], object] | None = None,
) -> IndexReport:
    """Bring a library up to date with sources (see `multimodal.scale.sources.listed`), as `Library.add` does
    with folders: by the same readers and encoders, with the same report. A `str` is the path or address of
    a shared library (`multimodal.scale.shared`), and `space` its space where it is new (the starter).

    `engine` "ray" shares the files out among actors of the cluster at `address` (default: one started on
    this machine), each with the space and `workers` decode processes, at most `actors` of them; "local"
    reads and embeds here. This process alone writes, by ids that depend on where a file is: whatever is
    tried again on the way, or when the call is repeated, is in the library once. Local paths must lead to
    the same files on every node. A file is hashed where it is read: one whose content the library has is
    not embedded again. Of equal files in one run each is embedded, and all but one are "reused".

    Raises QueryError (also where Ray is not installed), NoMediaFile, WrongSpace, SpaceError, LibraryBusy,
    LibraryError.
    """
    begun = time.monotonic()
    if engine not in ENGINES:
        raise QueryError(f"There is no engine {engine!r}: give one of {', '.join(ENGINES)}.")
    work: Work = _work_here
    if engine == "ray":
        from multimodal.scale.cluster import working

        work = working(address, workers, actors)
    given = [source] if isinstance(source, (str, Path)) else list(source)
    listings = [listing for one in given for listing in listed(one, exclude)]
    limited = limits or Limits()
    with ExitStack() as stack:
        if isinstance(library, str):
            made = stack.enter_context(shared.writing(library, space))
            space, roots, store = made.space, made.roots, made.store
        else:
            space, roots = library.space, Roots(library.path)
            store = stack.enter_context(library._writing(space))
            if library._storage is not None:
                store.put_setting("storage", library._storage)
        setting = Setting(
            packed(space),
            frozenset(space[name].encoder_id for name in space),
            version(),
            tuple(listing.store for listing in listings),
            limited,
            workers,
        )
        targets = [listing.target(replace(roots, exclude=tuple(exclude)), store) for listing in listings]
        places = {
            target.root.number: (place, listing.root_key(target))
            for place, (listing, target) in enumerate(zip(listings, targets, strict=True))
            if listing.store is not None
        }
        run = SharedRun(store, targets, Recipe.of(space, limited), _never, progress, on_record)
        run.places, run.setting, run.work = places, setting, work
        if isinstance(library, str):
            run.batch = shared.BATCH
        run.go()
    if not isinstance(library, str):
        with speaking(library.path), suppress(Outrun):  # then another process has shown even more
            library._searcher.prepare()
    return IndexReport(run.records, time.monotonic() - begun)


@dataclass
class SharedRun(Run):
    """A run whose files are read, hashed and embedded by workers. `places` are, of roots in object stores
    by their numbers, the file system in the setting and the key of the root in it; `batch` is after how many
    files, or seconds, what is finished is committed."""

    places: Mapping[int, tuple[int, str]] = field(default_factory=dict)
    setting: Setting | None = None
    work: Work | None = None
    batch: tuple[int, float] = BATCH_FILES, BATCH_SECONDS

    def _put(self, entry: FileEntry, record: FileRecord, found: Found) -> None:
        self._waiting.append((entry, record, found))
        files, seconds = self.batch
        if len(self._waiting) >= files or time.monotonic() - self._committed >= seconds:
            self._commit()

    def _reuse(self, jobs: list[Job]) -> list[Job]:
        return jobs  # what is known shows when a worker has hashed it: this process reads no file

    def _encode(self, jobs: list[Job]) -> None:
        if not jobs:
            return
        assert self.setting is not None and self.work is not None
        holders = self._holders({job.known.number for job in jobs if job.known is not None})
        by_size: dict[tuple[int, str], set[bytes]] = defaultdict(set)
        for (digest, suffix), state in holders.items():
            if digest is not None:
                by_size[state.size, suffix].add(digest)
        orders = [self._order(number, job, by_size) for number, job in enumerate(jobs)]
        left = dict(enumerate(jobs))
        first: dict[tuple[bytes | None, str], Job] = {}
        try:
            with closing(self.work(orders, self.setting)) as outcomes:  # type: ignore[type-var]
                for outcome in outcomes:
                    job = left.pop(outcome.number, None)
                    if job is not None:  # else a retry has brought it again
                        self._settle_outcome(job, outcome, holders, first)
            for job in left.values():
                self._refuse(job, "failed", "the process that worked on it died each time it was tried")
        finally:  # also when interrupted: what is done is kept
            self._commit()

    def _order(self, number: int, job: Job, by_size: Mapping[tuple[int, str], set[bytes]]) -> Order:
        found = job.found
        stats = tuple((one.size, one.mtime_ns) for one in (found, *found.companions))
        known = frozenset(by_size.get((found.size, job.path.suffix.lower()), ()))
        if job.known is not None and job.known.hash is not None and self._is_current(job.known):
            known |= {job.known.hash}
        if job.root.number in self.places:
            store, key = self.places[job.root.number]
            paths = [one.path for one in (found, *found.companions)]
            return Order(number, store, tuple(f"{key}/{path}" for path in paths), stats, known)
        return Order(number, None, tuple(str(path) for path in (job.path, *job.companions)), stats, known)

    def _is_current(self, state: FileState) -> bool:
        return state.status == "indexed" and self.recipe.is_current(state)

    def _settle_outcome(
        self,
        job: Job,
        outcome: Outcome,
        holders: Mapping[tuple[bytes | None, str], FileState],
        first: dict[tuple[bytes | None, str], Job],
    ) -> None:
        if outcome.status == "broken":
            raise SpaceError(f"A worker cannot work on any file: {outcome.reason}.")
        job.hash = outcome.hash
        if outcome.status == "known":
            if job.known is not None and self._is_only_touched(job, job.known):
                problems = problems_in(job.known.companions)
                self._keep(job, None, "unchanged", job.known.segments, problems=problems)
            else:
                self._reuse_rows(job, holders[job.content])
            return
        if outcome.status == "added" and job.hash is not None:
            before = first.setdefault(job.content, job)
            if before is not job:
                self._commit()
                state = self.store.file(before.root, before.found.path)
                assert state is not None
                self._reuse_rows(job, state)
                return
        wrong = tuple((job.path.with_name(name), reason) for name, reason in outcome.problems)
        found = list(outcome.rows), outcome.seconds, outcome.status, outcome.reason, wrong, outcome.facts
        self._take(job, EncodedFile(job.path, *found))


def packed(space: Space) -> bytes:
    """A space for workers, pickled. One that can be loaded by its name travels unloaded: weights that sit on
    a device of this machine may have none over there."""
    try:
        named, same = load_space(space.name), load_space(space.name)
    except SpaceError:
        return pickle.dumps(space)
    equal = list(same) == list(space) and all(same[m].encoder_id == space[m].encoder_id for m in space)
    return pickle.dumps(named if equal else space)


def _work_here(orders: Sequence[Order], setting: Setting) -> Iterator[Outcome]:
    return FileWorker(setting).outcomes(orders)


def _never(*_: object) -> Iterator[EncodedFile]:
    raise AssertionError("the files of a shared run are encoded by its workers")
