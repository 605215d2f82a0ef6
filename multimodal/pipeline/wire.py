"""What a decode worker and its parent say to each other, and how it goes through a pipe.

A frame is a pickle (protocol 5) whose arrays travel behind it as raw bytes: they are written from and
read into their own memory, never copied through the pickle. The parent sends Setup once, then one Task
after the other; the worker answers Ready once, then for each task Begun, any number of Pieces and of
Alive, and Ended.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, TypeAlias

from multimodal.towers.base import Prepared, Preprocess
from multimodal.types import Facts, Modality, ReadOptions, Role, Segment

Read: TypeAlias = Callable[[Path, ReadOptions], Iterator[Segment]]
ReadCompanion: TypeAlias = Callable[[Path, Path, ReadOptions], Iterator[Segment]]
Outcome: TypeAlias = Literal["read", "skipped", "failed"]

_HEAD = struct.Struct("<QI")  # bytes of the pickle, number of buffers behind it
_SIZE = struct.Struct("<Q")


@dataclass(frozen=True)
class Limits:
    """What one file may take before it is given up as failed.

    `seconds_without_progress`: a decoder that gives nothing for this long, and gets on with no further
    part of a sound or video, is ended. There is no limit on the whole time: ten hours of sound may take
    as long as they need.
    `worker_memory`: bytes of memory one decode worker may ask for (Linux; other systems have no limit
    of this kind per process, and there it does nothing). None: no limit.
    """

    seconds_without_progress: float = 60.0
    worker_memory: int | None = 2 << 30

    def __post_init__(self) -> None:
        if self.seconds_without_progress <= 0:
            raise ValueError(f"seconds_without_progress must be above 0, not {self.seconds_without_progress}")
        if self.worker_memory is not None and self.worker_memory <= 0:
            raise ValueError(f"worker_memory is a number of bytes or None, not {self.worker_memory}")


class Setup(NamedTuple):
    """How every file is read and prepared. Pickled by reference where it holds functions and classes."""

    read: Read
    options: ReadOptions
    preprocess: Mapping[Modality, Preprocess | None]
    """One entry for each modality the space has; texts go through as they are (None)."""
    limits: Limits
    read_companion: ReadCompanion
    """(companion, the file it belongs to, options) -> what it says about that file."""


class Task(NamedTuple):
    path: Path
    companions: tuple[Path, ...] = ()


class Ready(NamedTuple):
    """The worker has read its Setup; `problem` says why it cannot work with it."""

    problem: str | None = None


class Begun(NamedTuple):
    """From here on a death of the worker is this file's doing."""


class Alive(NamedTuple):
    """The file is being got on with, though there is no segment yet."""


class Piece(NamedTuple):
    """One segment, prepared: the array a tower takes, or the passage of a text ("" for a blank one)."""

    modality: Modality
    start: float | None
    end: float | None
    prepared: Prepared | str
    page: int | None = None
    chars: tuple[int, int] | None = None
    role: Role = "content"


class Ended(NamedTuple):
    """The file is over. `lacking` is the modality of a file of which the space can embed nothing;
    `problems` are companions that could not be read, with the reason."""

    outcome: Outcome
    reason: str | None = None
    seconds: float = 0.0
    lacking: Modality | None = None
    problems: tuple[tuple[Path, str], ...] = ()
    facts: Facts = Facts()


Message: TypeAlias = "Setup | Task | Ready | Begun | Alive | Piece | Ended"


def send(stream: IO[bytes], message: Message) -> None:
    """Write one frame and flush. Raises OSError when the other side is gone."""
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    views = [buffer.raw() for buffer in buffers]
    sizes = b"".join(_SIZE.pack(view.nbytes) for view in views)
    stream.write(_HEAD.pack(len(body), len(views)) + sizes + body)
    for view in views:
        stream.write(view)
    stream.flush()


def pack(message: Message) -> bytes:
    """A frame as bytes, to be sent many times. Raises what pickle raises."""
    body = pickle.dumps(message, protocol=5)
    return _HEAD.pack(len(body), 0) + body


def receive(stream: IO[bytes]) -> tuple[Any, int]:
    """The next message and its size in bytes. Raises EOFError when the other side is gone."""
    length, count = _HEAD.unpack(_exactly(stream, _HEAD.size))
    sizes = [_SIZE.unpack(_exactly(stream, _SIZE.size))[0] for _ in range(count)]
    body = _exactly(stream, length)
    buffers = [_exactly(stream, size) for size in sizes]
    return pickle.loads(body, buffers=buffers), length + sum(sizes)


def _exactly(stream: IO[bytes], size: int) -> bytearray:
    data = bytearray(size)
    view, filled = memoryview(data), 0
    while filled < size:
        got = stream.readinto(view[filled:])  # type: ignore[attr-defined]
        if not got:
            raise EOFError
        filled += got
    return data
