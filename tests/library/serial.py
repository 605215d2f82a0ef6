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
from multimodal.space import Space


@dataclass(frozen=True)
class Row:
    modality: str
    start: float | None
    end: float | None
    text: str | None
    vector: NDArray[np.float32]


@dataclass(frozen=True)
class EncodedFile:
    path: Path
    rows: list[Row]
    seconds: float
    status: str
    reason: str | None = None


@dataclass
class Serial:
    """`seen` are the paths it was asked to encode; `before` runs before each."""

    before: Callable[[Path], None] = lambda path: None
    seen: list[Path] = field(default_factory=list)

    def encode_files(
        self, paths: Iterable[Path], space: Space, *, workers: int | None = None, on_progress: Any = None
    ) -> Iterator[EncodedFile]:
        for path in paths:
            self.seen.append(path)
            self.before(path)
            begun = time.perf_counter()
            rows, status, reason = [], "added", None
            try:
                for segment in space.read(path):
                    text = segment.content if isinstance(segment.content, str) else None
                    vector = space[segment.modality].encode([segment.content])[0]
                    rows.append(Row(segment.modality, segment.start, segment.end, text, vector))
            except UnsupportedFile as error:
                rows, status, reason = [], "skipped", str(error)
            except ReadError as error:
                rows, status, reason = [], "failed", str(error)
            yield EncodedFile(path, rows, time.perf_counter() - begun, status, reason)

    def module(self) -> ModuleType:
        """What stands in for `multimodal.pipeline`."""
        module = ModuleType("multimodal.pipeline")
        module.encode_files = self.encode_files  # type: ignore[attr-defined]
        return module

    def install(self) -> None:
        sys.modules["multimodal.pipeline"] = self.module()
