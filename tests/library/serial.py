"""The pipeline's contract in this process, one file after the other: tests of the library need no workers."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import ReadError, UnsupportedFile
from multimodal.pipeline.wire import Limits, Task
from multimodal.readers import facts
from multimodal.readers.companions import read_companion
from multimodal.space import Space
from multimodal.types import Facts, Frames, Segment


@dataclass(frozen=True)
class Row:
    modality: str
    start: float | None
    end: float | None
    text: str | None
    vector: NDArray[np.float32] | None
    page: int | None = None
    chars: tuple[int, int] | None = None
    role: str = "content"
    frames: Any = None


@dataclass(frozen=True)
class EncodedFile:
    path: Path
    rows: list[Row]
    seconds: float
    status: str
    reason: str | None = None
    problems: tuple[tuple[Path, str], ...] = ()
    facts: Facts = Facts()  # noqa: RUF009 - frozen


def _row(segment: Segment, space: Space) -> Row:
    text = segment.content if isinstance(segment.content, str) and segment.content else None
    place = segment.page, segment.chars, segment.role
    if segment.role == "blank":
        return Row(segment.modality, segment.start, segment.end, text, None, *place)
    encoder = space[segment.modality]
    [vector], [frames] = encoder.embed_kept([encoder.tower.preprocess(segment.content)])
    if frames is not None:
        frames = Frames(frames.times + (segment.start or 0.0), frames.vectors)
    return Row(segment.modality, segment.start, segment.end, text, vector, *place, frames)


@dataclass
class Serial:
    """`seen` are the paths it was asked to encode; `before` runs before each."""

    before: Callable[[Path], None] = lambda path: None
    seen: list[Path] = field(default_factory=list)

    def encode_files(
        self, paths: Iterable[Task], space: Space, *, on_progress: Any = None, **options: Any
    ) -> Iterator[EncodedFile]:
        for task in paths:
            self.seen.append(task.path)
            self.before(task.path)
            begun = time.perf_counter()
            rows, status, reason, problems = [], "added", None, []
            try:
                rows = [_row(segment, space) for segment in space.read(task.path)]
                for companion in task.companions:
                    try:
                        told = read_companion(companion, task.path, space.read_options)
                        rows += [_row(segment, space) for segment in told]
                    except ReadError as error:
                        problems.append((companion, str(error)))
            except UnsupportedFile as error:
                rows, status, reason = [], "skipped", str(error)
            except ReadError as error:
                rows, status, reason = [], "failed", str(error)
            seconds = time.perf_counter() - begun
            told = facts(task.path) if status == "added" else Facts()
            yield EncodedFile(task.path, rows, seconds, status, reason, tuple(problems), told)

    def module(self) -> ModuleType:
        """What stands in for `multimodal.pipeline`."""
        module = ModuleType("multimodal.pipeline")
        module.encode_files = self.encode_files  # type: ignore[attr-defined]
        module.Limits = Limits  # type: ignore[attr-defined]
        return module

    def install(self) -> None:
        sys.modules["multimodal.pipeline"] = self.module()
