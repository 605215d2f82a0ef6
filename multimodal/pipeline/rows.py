"""What the pipeline gives, and what it holds while it works: files on their way, batches being filled."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from multimodal.pipeline.wire import Ended, Piece
from multimodal.types import Facts, Frames, Modality, Role

BATCH = 32
"""Most segments in a batch."""
BATCH_BYTES = 5_000_000
"""A batch is full with this many bytes of prepared arrays too: 32 pictures or 2 shots of 224 pixels."""
WORTH = 0.25
"""Of a full batch: so much is embedded when nothing else is to be done. On CPUs it costs no more a picture
than a full one, and neither the first decoders nor the last batch are waited for."""

Status: TypeAlias = Literal["added", "skipped", "failed"]


@dataclass(frozen=True, eq=False)
class Row:
    """One segment of a file, embedded. `vector` is (dim,) float32 of length 1, `text` its passage.

    A blank segment has no vector. `frames` are some of a video segment's, embedded one by one, with
    their times in the file.
    """

    modality: Modality
    start: float | None
    end: float | None
    text: str | None
    vector: NDArray[np.float32] | None
    page: int | None = None
    chars: tuple[int, int] | None = None
    role: Role = "content"
    frames: Frames | None = None

    @classmethod
    def of(cls, piece: Piece, vector: NDArray[np.float32] | None, frames: Frames | None = None) -> Row:
        """The row of a piece and what its encoder made of it."""
        text = piece.prepared if isinstance(piece.prepared, str) and piece.prepared else None
        modality, start, end, _, page, chars, role = piece
        if frames is not None:
            frames = Frames(frames.times + (start or 0.0), frames.vectors)
        return cls(modality, start, end, text, vector, page, chars, role, frames)


@dataclass(frozen=True, eq=False)
class EncodedFile:
    """What became of one file: its rows in the order of its segments, none unless it was added.

    `seconds` of work went into it: decoding and preparing in a worker, and its share of the batches.
    `problems` are companions of it that could not be read, with the reason.
    """

    path: Path
    rows: list[Row]
    seconds: float
    status: Status
    reason: str | None = None
    problems: tuple[tuple[Path, str], ...] = ()
    facts: Facts = Facts()  # noqa: RUF009 - frozen


@dataclass(frozen=True)
class Progress:
    """How far a run is. `current` is the file a segment last came from, `position` where in it (seconds)."""

    files_done: int
    files_seen: int
    rows: int
    current: Path | None = None
    position: float | None = None


@dataclass(eq=False)
class OpenFile:
    """A file on its way: a slot for each segment, filled when its batch is embedded."""

    task: int
    path: Path
    rows: list[Row | None] = field(default_factory=list)
    missing: int = 0
    seconds: float = 0.0
    ended: Ended | None = None
    problem: str | None = None

    @property
    def dropped(self) -> bool:
        """Whether its segments are not wanted any more."""
        return self.problem is not None or (self.ended is not None and self.ended.outcome != "read")


class Slot(NamedTuple):
    """A segment that waits for its batch: it becomes `file.rows[place]`."""

    file: OpenFile
    place: int
    piece: Piece


@dataclass(eq=False)
class Batch:
    """Segments of one modality that will be embedded together."""

    slots: list[Slot] = field(default_factory=list)
    bytes: int = 0
    since: float = field(default_factory=time.monotonic)

    def add(self, slot: Slot) -> None:
        self.slots.append(slot)
        self.bytes += size(slot.piece.prepared)

    @property
    def full(self) -> bool:
        return len(self.slots) >= BATCH or self.bytes >= BATCH_BYTES

    @property
    def worth_it(self) -> bool:
        """Whether it is large enough for a consumer that has nothing better to do."""
        return len(self.slots) >= WORTH * BATCH or self.bytes >= WORTH * BATCH_BYTES


def size(prepared: Any) -> int:
    """Bytes of a prepared content; a text's are of no account."""
    parts = prepared if isinstance(prepared, tuple) else (prepared,)
    return sum(getattr(part, "nbytes", 0) for part in parts)
