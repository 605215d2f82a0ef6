"""What a worker does, wherever it runs: fetch files, read and embed them, say what became of each."""

from __future__ import annotations

import pickle
import shutil
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from multimodal import readers
from multimodal.errors import MultimodalError, ReadError
from multimodal.library.jobs import content_hash
from multimodal.library.scan import said
from multimodal.pipeline.wire import Limits, Task
from multimodal.types import Facts

if TYPE_CHECKING:
    import pyarrow as pa

    from multimodal.pipeline import EncodedFile, Row
    from multimodal.space import Space

AHEAD = 8
"""Objects fetched at once, and waiting to be read, for each worker."""

Verdict: TypeAlias = Literal["added", "skipped", "failed", "known", "broken"]
Stat: TypeAlias = "tuple[int, int]"
"""Bytes and modification in nanoseconds."""


class Order(NamedTuple):
    """A file to work on. `store` is the place of its file system in Setting.stores, None for a local path;
    `places` are the file and its companions, each a local path or a key of that file system, `stats` what
    they were when they were listed. `known` are hashes of content that need not be embedded again."""

    number: int
    store: int | None
    places: tuple[str, ...]
    stats: tuple[Stat, ...]
    known: frozenset[bytes] = frozenset()


class Outcome(NamedTuple):
    """What became of the file of an Order. "known": its content is among those; "broken": no file can be
    worked on, for `reason`. `hash` is None where the file could not be hashed or changed while it was read;
    `problems` are names of companions that could not be read, with the reason."""

    number: int
    status: Verdict
    hash: bytes | None = None
    rows: Sequence[Row] = ()
    reason: str | None = None
    seconds: float = 0.0
    problems: tuple[tuple[str, str], ...] = ()
    facts: Facts = Facts()
    counts: tuple[int, int, int] = (0, 0, 0)
    """Of a shard: rows, files that gave vectors, files that failed."""


@dataclass(frozen=True)
class Setting:
    """What every worker is given: a pickled space and the encoders it must turn out to have, the version of
    the readers, file systems (pyarrow), limits of a file, decode processes at most. `output` is the key of
    what workers write themselves."""

    space: bytes
    encoders: frozenset[str]
    version: str
    stores: tuple[Any, ...]
    limits: Limits
    processes: int | None
    output: str = ""


def version() -> str:
    """The readers decide the rows: workers of another version than the driver's would mix two kinds."""
    return f"readers {readers.VERSION}"


class _Here(NamedTuple):
    """The files of an order on this machine; `folder` is to be deleted afterwards."""

    paths: tuple[Path, ...]
    folder: Path | None


class FileWorker:
    """Works on orders; the space stays loaded between them. A callable class, as Ray Data's actors are."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._space: Space | None = None
        self._problem: str | None = None
        try:
            self._space = self._unpacked()
        except Exception as error:  # told with the first order: an actor that cannot start is tried for ever
            self._problem = f"{type(error).__name__}: {error}"

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Pickled orders in (column `order`), as many pickled outcomes out (`outcome`)."""
        import pyarrow as pa

        orders = [pickle.loads(value.as_py()) for value in batch["order"]]
        done = [pickle.dumps(outcome, protocol=5) for outcome in self.outcomes(orders)]
        return pa.table({"outcome": pa.array(done, pa.large_binary())})

    def outcomes(self, orders: Iterable[Order]) -> Iterator[Outcome]:
        """One outcome for each order, as they are finished. Nothing a file does raises."""
        if self._space is None:
            yield from (Outcome(order.number, "broken", reason=self._problem) for order in orders)
            return
        waiting = {order.number: order for order in orders}
        try:
            for outcome in self._worked(list(waiting.values()), self._space):
                del waiting[outcome.number]
                yield outcome
        except MultimodalError as error:  # no decoder starts, no model loads: that is no file's doing
            yield from (Outcome(number, "broken", reason=str(error)) for number in waiting)
        except Exception as error:
            if len(waiting) > 1:
                for order in waiting.values():
                    yield from self.outcomes([order])
            for order in waiting.values() if len(waiting) == 1 else ():
                reason = f"it cannot be worked on: {type(error).__name__}: {error}"
                yield Outcome(order.number, "failed", reason=reason)

    def _unpacked(self) -> Space:
        if self._setting.version != version():
            raise RuntimeError(
                f"this node has {version()}, the driver {self._setting.version}:"
                " install the same version of multimodal on both"
            )
        space: Space = pickle.loads(self._setting.space)
        if (here := {space[name].encoder_id for name in space}) != self._setting.encoders:
            raise RuntimeError(f"the encoders of this node ({', '.join(sorted(here))}) are not the driver's")
        return space

    def _worked(self, orders: Sequence[Order], space: Space) -> Iterator[Outcome]:
        from multimodal.pipeline import encode_files

        early: deque[Outcome] = deque()
        open_: dict[Path, tuple[Order, _Here, bytes | None]] = {}

        def tasks() -> Iterator[Task]:
            for order, here in self._fetched(orders):
                outcome = here if isinstance(here, Outcome) else None
                digest = None
                if isinstance(here, _Here):
                    outcome, digest = _checked(order, here)
                if outcome is None and isinstance(here, _Here):
                    open_[here.paths[0]] = order, here, digest
                    yield Task(here.paths[0], here.paths[1:])
                elif outcome is not None:
                    early.append(outcome)
                    _forget(here)

        setting = self._setting
        try:
            for file in encode_files(tasks(), space, workers=setting.processes, limits=setting.limits):
                yield from _drained(early)
                order, here, digest = open_.pop(file.path)
                _forget(here)
                yield self._outcome(order, digest, file)
            yield from _drained(early)
        finally:
            for _, here, _ in open_.values():
                _forget(here)

    def _outcome(self, order: Order, digest: bytes | None, file: EncodedFile) -> Outcome:
        if self._stats(order) != order.stats:
            digest = None
        problems = tuple((path.name, reason) for path, reason in file.problems)
        found = file.rows, file.reason, file.seconds, problems, file.facts
        return Outcome(order.number, file.status, digest, *found)

    def _stats(self, order: Order) -> tuple[Stat, ...]:
        """What the files of an order are now; nothing where one is gone."""
        try:
            if order.store is None:
                found = [Path(place).stat() for place in order.places]
                return tuple((status.st_size, status.st_mtime_ns) for status in found)
            infos = self._setting.stores[order.store].get_file_info(list(order.places))
            return tuple((info.size or 0, info.mtime_ns or 0) for info in infos)
        except Exception:  # whatever a store raises: it cannot be said that they are the same
            return ()

    def _fetched(self, orders: Sequence[Order]) -> Iterator[tuple[Order, _Here | Outcome]]:
        """The orders with their files on this machine, AHEAD of them fetched while others are read."""
        with ThreadPoolExecutor(AHEAD, "fetch") as fetchers:
            coming: deque[tuple[Order, Future[_Here | Outcome]]] = deque()
            waiting = iter(orders)
            try:
                while True:
                    while len(coming) < AHEAD and (order := next(waiting, None)) is not None:
                        coming.append((order, fetchers.submit(self._fetch, order)))
                    if not coming:
                        return
                    order, future = coming.popleft()
                    yield order, future.result()
            finally:
                for _, future in coming:
                    if not future.cancel():
                        with suppress(Exception):
                            _forget(future.result())

    def _fetch(self, order: Order) -> _Here | Outcome:
        if order.store is None:
            return _Here(tuple(Path(place) for place in order.places), None)
        folder = Path(tempfile.mkdtemp(prefix="multimodal-"))
        paths = tuple(folder / PurePosixPath(place).name for place in order.places)
        try:
            self._download(order.store, order.places[0], paths[0])
            for place, path in zip(order.places[1:], paths[1:], strict=True):
                with suppress(Exception):  # a companion that is missing is told of by whoever reads it
                    self._download(order.store, place, path)
        except Exception as error:  # stores raise what they like
            shutil.rmtree(folder, ignore_errors=True)
            why = said(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
            return Outcome(order.number, "failed", reason=f"it cannot be fetched: {why}")
        return _Here(paths, folder)

    def _download(self, store: int, place: str, path: Path) -> None:
        with self._setting.stores[store].open_input_stream(place) as source, path.open("wb") as target:
            for part in iter(partial(source.read, 1 << 20), b""):
                target.write(part)


def _checked(order: Order, here: _Here) -> tuple[Outcome | None, bytes | None]:
    """The outcome of a file that need not be embedded, and the hash of the others."""
    path = here.paths[0]
    try:
        if path.suffix.lower() not in readers.EXTENSIONS:
            readers.reader_for(path)
        digest = content_hash(path, here.paths[1:])
    except ReadError as error:
        return Outcome(order.number, "skipped", reason=str(error)), None
    except OSError as error:
        return Outcome(order.number, "failed", reason=said(error)), None
    if digest is not None and digest in order.known:
        return Outcome(order.number, "known", digest), digest
    return None, digest


def _drained(outcomes: deque[Outcome]) -> Iterator[Outcome]:
    while outcomes:
        yield outcomes.popleft()


def _forget(here: _Here | Outcome) -> None:
    if isinstance(here, _Here) and here.folder is not None:
        shutil.rmtree(here.folder, ignore_errors=True)
