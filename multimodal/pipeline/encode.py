"""Files to vectors: workers decode and prepare, this process embeds batches filled across files."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from multimodal import readers
from multimodal.errors import MultimodalError
from multimodal.pipeline.pool import DecodePool, Event
from multimodal.pipeline.rows import Batch, EncodedFile, OpenFile, Progress, Row, Slot, Status
from multimodal.pipeline.wire import Limits, Piece, Setup, Task
from multimodal.readers.companions import read_companion
from multimodal.space import Space
from multimodal.types import Frames, Modality, Vectors

PATIENCE = 0.25
"""Seconds that a small batch may wait to be filled while the workers give nothing."""


def encode_files(
    paths: Iterable[Path | Task],
    space: Space,
    *,
    workers: int | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    on_progress: Callable[[Progress], object] | None = None,
) -> Iterator[EncodedFile]:
    """Yields exactly one EncodedFile for each path, as they are finished.

    A path may come as a Task, with the companions that hold its captions or subtitles. `paths` is
    consumed as the work goes on, in the thread that iterates; so is `on_progress` called, after each
    batch and each file, and every PATIENCE seconds while nothing comes. `workers` decode processes at
    most (default: one for each core); they start as the files call for them. Closing the iterator, or an
    exception such as KeyboardInterrupt inside it, ends them at once.

    A file no reader takes, or of which the space can embed nothing, is "skipped"; one that cannot be
    read, or whose decoder crashes or exceeds `limits`, is "failed". Raises SpaceError when the space
    cannot be loaded, MultimodalError when no worker can be started, ValueError for `workers` below 1.
    """
    most = default_workers() if workers is None else workers
    if most < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    return _encode_files(iter(paths), space, most, limits, on_progress)


def _encode_files(
    paths: Iterator[Path | Task],
    space: Space,
    workers: int,
    limits: Limits,
    on_progress: Callable[[Progress], object] | None,
) -> Iterator[EncodedFile]:
    first = list(islice(paths, 1))
    if not first:
        return
    pool = DecodePool(partial(setup_for, space, limits), workers, limits)
    try:
        yield from _Run(space, pool, on_progress).through(chain(first, paths))
    finally:
        pool.close()


def setup_for(space: Space, limits: Limits) -> Setup:
    """What a worker needs to prepare files for `space`. Texts stay texts: a tokenizer may need torch."""
    preprocess = {name: None if name == "text" else space[name].tower.preprocess for name in space}
    return Setup(readers.read, space.read_options, preprocess, limits, read_companion)


def default_workers() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


class _Run:
    """One pass over files: takes the pool's events, fills batches, embeds them, finishes files."""

    def __init__(
        self, space: Space, pool: DecodePool, on_progress: Callable[[Progress], object] | None
    ) -> None:
        self._space = space
        self._pool = pool
        self._on_progress = on_progress
        self._open: dict[int, OpenFile] = {}
        self._decoding = 0
        self._batches: dict[Modality, Batch] = {}
        self._loaded: set[Modality] = set()
        self._finished: deque[EncodedFile] = deque()
        self._seen = self._done = self._rows = 0
        self._at: tuple[Path | None, float | None] = None, None

    def through(self, paths: Iterator[Path | Task]) -> Iterator[EncodedFile]:
        exhausted = False
        while self._open or not exhausted:
            event = None
            if not exhausted and self._pool.wants_more:
                path = next(paths, None)
                exhausted = path is None
                if path is not None:
                    self._submit(path if isinstance(path, Task) else Task(Path(path)))
                event = self._pool.get(0)
            else:
                event = self._pool.get(self._wait())
            if event is not None:
                self._take(event)
            elif not self._batches:
                self._report()
            for modality in self._due(idle=event is None):
                self._embed(modality)
            while self._finished:
                self._done += 1
                self._report()
                yield self._finished.popleft()

    def _submit(self, task: Task) -> None:
        self._open[self._seen] = OpenFile(self._seen, task.path)
        beside = tuple(path.absolute() for path in task.companions)
        self._pool.submit(self._seen, Task(task.path.absolute(), beside))
        self._seen += 1
        self._decoding += 1

    def _report(self) -> None:
        if self._on_progress is not None:
            self._on_progress(Progress(self._done, self._seen, self._rows, *self._at))

    def _take(self, event: Event) -> None:
        file, message = self._open[event.task], event.message
        if isinstance(message, Piece):
            if not file.dropped:
                self._add(file, message)
            return
        file.ended = message
        file.seconds += message.seconds
        self._decoding -= 1
        self._settle(file)

    def _add(self, file: OpenFile, piece: Piece) -> None:
        self._at = file.path, piece.end
        if piece.role == "blank":
            file.rows.append(Row.of(piece, None))
            return
        batch = self._batches.setdefault(piece.modality, Batch())
        batch.add(Slot(file, len(file.rows), piece))
        file.rows.append(None)
        file.missing += 1

    def _due(self, idle: bool) -> list[Modality]:
        """The batches to embed now: full ones, and when nothing comes in the largest worth it, or the one
        that waited long enough.

        The first of a modality does not wait, so that its tower loads while the workers are busy.
        """
        due = [modality for modality, batch in self._batches.items() if batch.full]
        if due or not idle or not self._batches:
            return due
        ready = [modality for modality, batch in self._batches.items() if batch.worth_it]
        if ready:
            return [max(ready, key=lambda modality: self._batches[modality].bytes)]
        oldest = min(self._batches, key=lambda modality: self._batches[modality].since)
        waited = time.monotonic() - self._batches[oldest].since >= PATIENCE
        if waited or oldest not in self._loaded or not self._decoding:
            return [oldest]
        return []

    def _wait(self) -> float:
        """Seconds to wait for the workers before something else is to be done."""
        if not self._batches:
            return PATIENCE
        if not self._decoding or not self._loaded.issuperset(self._batches):
            return 0.0
        if any(batch.worth_it for batch in self._batches.values()):
            return 0.0
        oldest = min(batch.since for batch in self._batches.values())
        return max(0.0, oldest + PATIENCE - time.monotonic())

    def _embed(self, modality: Modality) -> None:
        slots = [slot for slot in self._batches.pop(modality).slots if not slot.file.dropped]
        if not slots:
            return
        began = time.perf_counter()
        embedded = self._embedded(modality, slots)
        share = (time.perf_counter() - began) / len(slots)
        self._loaded.add(modality)
        for (file, place, piece), vector_and_frames in zip(slots, embedded, strict=True):
            file.seconds += share
            file.missing -= 1
            if vector_and_frames is not None:
                file.rows[place] = Row.of(piece, *vector_and_frames)
                self._rows += 1
        for file in {slot.file.task: slot.file for slot in slots}.values():
            self._settle(file)
        self._report()

    def _embedded(self, modality: Modality, slots: list[Slot]) -> list[tuple[Vectors, Frames | None] | None]:
        """Vector (dim,) and frames of each slot; None, with its file's `problem` set, where there is none."""
        encoder = self._space[modality]
        prepared = encoder.tower.preprocess if modality == "text" else _as_it_is
        try:
            rows, frames = encoder.embed_kept([prepared(slot.piece.prepared) for slot in slots])
        except MultimodalError:
            raise
        except Exception as error:  # whatever a tower raises at one odd segment fails its file alone
            if len(slots) > 1:
                return [one for slot in slots for one in self._embedded(modality, [slot])]
            slots[0].file.problem = f"it cannot be embedded: {type(error).__name__}: {error}"
            return [None]
        embedded: list[tuple[Vectors, Frames | None] | None] = []
        for slot, row, kept in zip(slots, rows, frames, strict=True):
            if abs(float(row @ row) - 1) < 1e-3:  # false for nan
                embedded.append((row.copy(), kept))
            else:
                slot.file.problem = f"the {modality} encoder gives it no direction"
                embedded.append(None)
        return embedded

    def _settle(self, file: OpenFile) -> None:
        """Finish a file that has ended and whose segments are all embedded or not wanted."""
        if file.ended is None or file.task not in self._open or (file.missing and not file.dropped):
            return
        del self._open[file.task]
        rows = [] if file.dropped else [row for row in file.rows if row is not None]
        status, reason = self._verdict(file, bool(rows))
        more = file.ended.problems, file.ended.facts
        self._finished.append(EncodedFile(file.path, rows, file.seconds, status, reason, *more))

    def _verdict(self, file: OpenFile, has_rows: bool) -> tuple[Status, str | None]:
        assert file.ended is not None
        outcome, reason, lacking = file.ended.outcome, file.ended.reason, file.ended.lacking
        if outcome != "read" and lacking is None:
            return outcome, reason
        if file.problem is not None:
            return "failed", file.problem
        if has_rows:
            return "added", None
        if lacking is not None:
            return "skipped", f"the space {self._space.name} has no {lacking} encoder"
        return "failed", "it holds nothing to embed"


def _as_it_is(prepared: Any) -> Any:
    return prepared
