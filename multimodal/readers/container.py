"""Containers through PyAV: open, find the streams, decode one of them past damaged packets, tell the time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from multimodal.errors import ReadError
from multimodal.readers.base import readable
from multimodal.readers.sniff import HEAD_BYTES, sniff

DECODE_THREADS = min(4, os.cpu_count() or 1)
"""Each more holds a few decoded frames: at 4K, 12 MB each."""

LONGEST_GAP = 600.0
"""Seconds. A time stamp that leaps further than this is damage. It bounds what one frame can ask for: a
damaged header of a 45 kB file with 50 frames stated 21 million seconds."""


@contextmanager
def open_media(path: Path) -> Iterator[Any]:
    """An `av.container.InputContainer` on the open file; raises ReadError when it is no such file.

    The file object, not its name, goes to FFmpeg: it can then open nothing else that a playlist inside
    names, and any file name works.
    """
    import av

    with readable():
        file = path.open("rb")
    with file:
        try:
            container = av.open(file, "r", metadata_errors="replace")
        except (av.FFmpegError, ValueError) as error:
            file.seek(0)
            if sniff(file.read(HEAD_BYTES)) == "mp4":  # its index often stands at the end, lost with it
                raise ReadError("the file is damaged or incomplete: its index cannot be read") from error
            raise ReadError("the file is damaged, or not of a kind FFmpeg can read") from error
        with container:
            yield container


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


def decoded(container: Any, stream: Any) -> Iterator[Any]:
    """The frames of one stream, in the order they are shown.

    A packet that does not decode is left out; where the file breaks off, the frames before it are given.
    """
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError):
            packet = None
        try:
            # None drains the decoder; a regular end of file has done so with its empty last packet.
            frames = stream.codec_context.decode(None) if packet is None else packet.decode()
        except av.FFmpegError:
            frames = []
        yield from frames
        if packet is None:
            return


def zero(container: Any) -> float:
    """The container's time of its first moment, in seconds: what a player shows as 0:00."""
    return max(0.0, (container.start_time or 0) / 1_000_000)


def seconds(frame: Any, origin: float) -> float | None:
    """When a frame is presented, in seconds from `origin`, None where the file does not say."""
    if frame.pts is None or frame.time_base is None:
        return None
    return float(frame.pts * frame.time_base) - origin


def plausible(duration: float, otherwise: float) -> float:
    """A frame's duration in seconds where it can be true, `otherwise` where it is damage or missing."""
    return duration if 0 < duration <= LONGEST_GAP else otherwise
