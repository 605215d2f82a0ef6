"""Containers through PyAV: open, find the streams, decode one of them past damaged packets, tell the time."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from multimodal.errors import ReadError
from multimodal.readers.base import alive, open_file, readable
from multimodal.readers.sniff import HEAD_BYTES, sniff

DECODE_THREADS = min(4, os.cpu_count() or 1)
"""Each more holds a few decoded frames: at 4K, 12 MB each."""

MAX_PIXELS = 8192 * 8192
"""Twice an 8K frame. The decoder allocates no larger one, whatever a header states."""

LONGEST_GAP = 600.0
"""Seconds. A time stamp that leaps further than this is damage, unless it stays within the stated duration
of the file: then a slide was shown for that long. It bounds what one frame can ask for: a damaged header
of a 45 kB file with 50 frames stated 21 million seconds."""

PLAIN_GAP = 10.0
"""Seconds. A leap of up to this much needs no proof."""

LONGEST = 48 * 3600.0
"""Seconds. Leaps of more than PLAIN_GAP do not lead beyond this: two frames could ask for any number of
segments else. Files may well be longer, where their frames are no further apart."""

TICK = 0.002
"""Seconds of slack in sampling: containers round time stamps to milliseconds."""

PART_BYTES, MOST_PARTS = 1 << 16, 1 << 14
"""A file is got on with by parts of this many bytes or more. 64 kB hold a minute of black pictures."""

DISCARD_ALL = 48
"""FFmpeg's AVDISCARD_ALL."""


@contextmanager
def open_media(path: Path) -> Iterator[Any]:
    """An `av.container.InputContainer` on the open file; raises ReadError when it is no such file.

    The file object, not its name, goes to FFmpeg: it can then open nothing else that a playlist inside
    names, and any file name works.
    """
    import av
    import av.stream

    with readable():
        file = open_file(path)
    with file:
        try:
            # Before PyAV 18, options for streams that show only later, as in MPEG, crash the process.
            options = {"max_pixels": str(MAX_PIXELS)} if hasattr(av.stream.Stream, "discard") else {}
            container = av.open(_Source(file), "r", options=options, metadata_errors="replace")
        except (av.FFmpegError, ValueError) as error:
            raise ReadError(_why_closed(file)) from error
        except OSError:
            with readable():
                raise
        with container:
            yield container


class _Source:
    """A file for FFmpeg to read: a seek to an impossible place, as damage asks for, is refused in silence,
    where PyAV prints what a file object raises."""

    def __init__(self, file: BinaryIO) -> None:
        self.name, self.read, self.tell, self._seek = file.name, file.read, file.tell, file.seek

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -errno.EINVAL


@contextmanager
def ffmpeg_errors(reason: str) -> Iterator[None]:
    """Turns what FFmpeg, or PyAV for it, says about a frame into a ReadError for that reason."""
    import av

    try:
        yield
    except (av.FFmpegError, ValueError, OverflowError) as error:
        raise ReadError(reason) from error


def _why_closed(file: BinaryIO) -> str:
    with readable():
        file.seek(0)
        if sniff(file.read(HEAD_BYTES)) != "mp4":
            return "the file is damaged, or not of a kind FFmpeg can read"
        if not _has_index(file):  # it often stands at the end, lost with it
            return "the file is incomplete: its index (moov) is missing"
        return "the file is damaged or incomplete: its index (moov) cannot be read"


def _has_index(file: BinaryIO) -> bool:
    """Whether an mp4 has a box "moov" (ISO 14496-12 8.2.1) among its first 1,000 boxes."""
    place, end = 0, os.fstat(file.fileno()).st_size
    for _ in range(1000):
        if place >= end:
            break
        file.seek(place)
        head = file.read(16)
        size = int.from_bytes(head[:4], "big")
        if head[4:8] == b"moov":
            return True
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size < 8:
            break
        place += size
    return False


def read_only(container: Any, streams: Sequence[Any]) -> None:
    """Lets the demuxer pass over what is in no stream of `streams`, unread where the format allows it."""
    for stream in container.streams:
        if stream not in streams and hasattr(stream, "discard"):  # since PyAV 18
            stream.discard = DISCARD_ALL


def picture_stream(container: Any) -> Any | None:
    """The video stream a player would show, None where there is only cover art or none at all."""
    from av.stream import Disposition

    still = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [s for s in container.streams.video if s.codec_context and not s.disposition & still]
    return max(streams, key=_rank, default=None)


def _rank(stream: Any) -> tuple[bool, int, int]:
    from av.stream import Disposition

    context = stream.codec_context
    return bool(stream.disposition & Disposition.default), context.width * context.height, -stream.index


def sound_stream(container: Any) -> Any | None:
    """The sound stream a player would play, None where there is none."""
    from av.stream import Disposition

    streams = [s for s in container.streams.audio if s.codec_context]
    return max(streams, key=lambda s: (bool(s.disposition & Disposition.default), -s.index), default=None)


def holds_pictures(path: Path) -> bool:
    """True for moving pictures (with or without sound), False for sound alone; ReadError for neither."""
    with open_media(path) as container:
        if picture_stream(container) is not None:
            return True
        if sound_stream(container) is None:
            raise ReadError("the file holds neither pictures nor sound")
        return False


def packets(container: Any, streams: Sequence[Any]) -> Iterator[Any]:
    """The packets of the streams in the order of the file, up to where it breaks off.

    Says that it is `alive` whenever they come from a part of the file that none came from before.
    Raises ReadError where it is the disk that fails.
    """
    import av

    part, parts = max(PART_BYTES, (container.size or 0) // MOST_PARTS), set[int]()
    found = container.demux(*streams)
    while True:
        try:
            packet = next(found, None)
        except (av.FFmpegError, IndexError):  # PyAV gives the latter at the end, where a stream was added
            return
        except OSError:
            with readable():
                raise
        if packet is None:
            return
        if packet.size and packet.pos is not None and packet.pos // part not in parts:
            parts.add(packet.pos // part)
            alive()
        yield packet


def decoded(container: Any, stream: Any) -> Iterator[Any]:
    """The frames of one stream, in the order they are shown.

    A packet that does not decode is left out; where the file breaks off, the frames before it are given.
    """
    import av

    flushed = False
    for packet in chain(packets(container, [stream]), [None]):
        if packet is None and flushed:
            return
        flushed = packet is not None and not packet.size  # a regular end of file drains the decoder so
        try:
            frames = stream.codec_context.decode(None) if packet is None else packet.decode()
        except (av.FFmpegError, ValueError, ArithmeticError):
            continue
        yield from frames


def zero(container: Any) -> float:
    """The container's time of its first moment, in seconds: what a player shows as 0:00."""
    return max(0.0, (container.start_time or 0) / 1_000_000)


def stated(container: Any) -> float:
    """The duration in seconds that the container's header states, 0 where it does not; at most LONGEST."""
    return min(max(0.0, (container.duration or 0) / 1_000_000), LONGEST)


def may_follow(time: float, last: float, duration: float) -> bool:
    """Whether what is presented at `time` can follow what is presented at `last`, by LONGEST_GAP."""
    gap = time - last
    if gap <= PLAIN_GAP:
        return gap > 0
    return time <= LONGEST and (gap <= LONGEST_GAP or time <= duration)


class Clock:
    """Makes the presentation times of a stream's frames ascend.

    Times that `may_follow` are taken as they are. A frame without one, or with one that falls back by
    less than a second, follows the frame before by `step`. After a greater leap, as where two recordings
    of a broadcast were joined, so do all after it: they keep their distances.
    """

    def __init__(self, duration: float, step: float) -> None:
        self.duration, self.step = duration, step
        self.last: float | None = None
        self.shift = 0.0

    def ascending(self, time: float | None) -> float:
        """The time of the next frame: seconds from 0:00, above all before."""
        if self.last is None:
            time = time or 0.0
            near = -1.0 < time <= 0.0 or may_follow(time, 0.0, self.duration)
            self.last = max(0.0, time) if near else 0.0
            self.shift = 0.0 if near else time
            return self.last
        after = self.last + self.step
        if time is not None:
            if may_follow(time - self.shift, self.last, self.duration):
                after = time - self.shift
            elif not self.last - 1.0 < time - self.shift <= self.last:
                self.shift = time - after
        self.last = after
        return after


def seconds(frame: Any, origin: float) -> float | None:
    """When a frame is presented, in seconds from `origin`, None where the file does not say."""
    if frame.pts is None or frame.time_base is None:
        return None
    return float(frame.pts * frame.time_base) - origin


def plausible(duration: float, otherwise: float) -> float:
    """A frame's duration in seconds where it can be true, `otherwise` where it is damage or missing."""
    return duration if 0 < duration <= LONGEST_GAP else otherwise
