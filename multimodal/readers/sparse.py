"""Few frames of a video without decoding the others: those a sampler will ask for, and what they stand on.

Packets are held back to the next key frame. Of such a group the decoder gets what leads to the last frame
that is wanted in it; the tail after it is left out where the next key frame, decoded by itself, still shows
nearly what was seen last, or what the pace of the group so far would make of it: then nothing was cut in
between. Else the tail is decoded too, and the cut is found to the frame. Frames on which no other stands
(most B-frames) are decoded where they are wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.readers.container import MAX_PIXELS, TICK, decoded, packets

MOST_PACKETS, MOST_BYTES = 1000, 32 << 20
"""A group longer than this is decoded as it comes: what is held back stays small."""
DENSE = 4
"""Fewer frames than this for each that is wanted: there is nothing to leave out."""
CODECS = frozenset({"h264", "hevc", "mpeg2video", "mpeg4"})
"""Those whose frames without dependents FFmpeg passes over by `skip_frame`."""
SHORT = 3
"""A tail of fewer packets is decoded: peeking costs as much."""
STILL, CALM, LIVELY = 6.0, 12.0, 30.0
"""Changes of a thumbnail over a tail. Below STILL nothing was cut in it; from there on a change that the pace
of the group does not explain may be a cut, from LIVELY on any may be. Cuts between filmed scenes that this
was tried on changed 58 to 80, between drawings on white 13 to 60, a moving camera 4 to 25 a second."""
STRIDE = 0.2
"""Seconds between the frames of a group by which its pace is told."""
FASTER = 2.0
"""Times the pace of the group that a tail may go on with before a cut is looked for."""
LARGE = 0.4
"""Share of its key frame's bytes from which a packet may begin a new scene: little of it can be told from
what was shown before. Under a moving camera packets had up to 0.3."""

Thumb = Callable[[Any], NDArray[np.int16]]
Change = Callable[[NDArray[np.int16], NDArray[np.int16]], float]


def frames(
    container: Any, stream: Any, rate: float, origin: float, thumb: Thumb, change: Change
) -> Iterator[Any]:
    """Frames of a stream in the order they are shown, among them the first at or after each multiple of
    1 / `rate` seconds from `origin`; all of them where that is hardly fewer, or where the file is odd.

    `thumb` shrinks a frame and `change` tells how far two such are apart.
    """
    average = float(stream.average_rate or 0)
    if stream.codec_context.name not in CODECS or not average >= DENSE * rate:
        yield from ((frame, False) for frame in decoded(container, stream))
        return
    yield from _Sampler(container, stream, rate, origin, thumb, change).frames()


class _Sampler:
    def __init__(
        self, container: Any, stream: Any, rate: float, origin: float, thumb: Thumb, change: Change
    ) -> None:
        self.container, self.stream, self.context = container, stream, stream.codec_context
        self.rate, self.origin = rate, origin
        self.thumb, self.change = thumb, change
        self.base = float(stream.time_base)
        self.stride = max(1, round(STRIDE / self.base))
        self.seen: Any = None  # the last frame that was given
        self.begins = 0  # time stamp of the group's key frame
        self.trail: list[tuple[int, NDArray[np.int16]]] = []  # thumbnails of the group, STRIDE apart
        self.pace = 0.0  # change a time stamp of the last group of which more than one was seen
        self.key = _KeyDecoder(stream)
        self.joins = False  # the next frame comes after some that were left out
        self.longest = 0  # packets of a group so far: a key frame that comes earlier marks a new scene
        self.ready: Any = None  # the key frame of the next group, where the tail before it was left out
        self.fresh = True  # the decoder holds nothing that later packets may stand on
        self.floor = -np.inf  # of a group that begins fresh, what is shown before its key frame is lost

    def frames(self) -> Iterator[tuple[Any, bool]]:
        group: list[Any] = []
        size, held = 0, True
        for packet in packets(self.container, [self.stream]):
            if not packet.size:
                break
            if packet.is_keyframe and group:
                yield from self._group(group, packet if held else None)
                self.longest = max(self.longest, len(group))
                group, size, held = [], 0, True
            group.append(packet)
            size += packet.size
            if len(group) >= MOST_PACKETS or size >= MOST_BYTES:
                yield from self._send(group)
                group, size, held = [], 0, False
        yield from self._send(group)
        yield from self._drain()

    def _group(self, group: list[Any], following: Any) -> Iterator[tuple[Any, bool]]:
        """Decode a key frame and what follows it, up to the packet `following`, a key frame again."""
        count = self._needed(group, following)
        if count is None or len(group) - count < SHORT:
            self.ready = None
            yield from self._send(group)
            return
        self.begins, self.trail = group[0].pts, []
        if count == 1 and self.ready is not None:  # its key frame is all that is wanted, and there already
            yield from self._given([self.ready])
        else:
            yield from self._send(group[:count])
        alone, self.ready = count == 1 and self.ready is not None, None
        peeked = self.key.decode(following)
        if peeked is None or self.seen is None or self._cuts(group, count, peeked):
            yield from self._rest(group, count, alone)
            self._judge_pace()
            return
        yield from self._drain()
        self.context.flush_buffers()
        self.ready, self.fresh, self.joins = peeked, True, True

    def _rest(self, group: list[Any], count: int, alone: bool) -> Iterator[tuple[Any, bool]]:
        """The tail of a group. Where its key frame was not the decoder's, that has to be decoded for it."""
        if not alone:
            yield from self._send(group[count:])
            return
        shown = self.seen.pts
        for frame, joins in self._send(group):
            if frame.pts is None or frame.pts > shown:
                yield frame, joins

    def _cuts(self, group: list[Any], count: int, peeked: Any) -> bool:
        """Whether something may have been cut in the tail of a group, or at the key frame after it."""
        change = self.change(self.thumb(peeked), self.thumb(self.seen))
        if change < STILL or change >= LIVELY:
            return change >= LIVELY
        self._judge_pace()
        if change > FASTER * self.pace * (peeked.pts - self.seen.pts):
            return True
        early = len(group) < self.longest
        large = any(packet.size >= LARGE * group[0].size for packet in group[count:])
        return change >= CALM and (early or large)

    def _judge_pace(self) -> None:
        """The lower median over the frames seen of this group: a cut among them does not count."""
        steps = sorted(
            self.change(after, before) / (then - at) for (at, before), (then, after) in pairwise(self.trail)
        )
        if steps:
            self.pace = steps[(len(steps) - 1) // 2]

    def _needed(self, group: list[Any], following: Any) -> int | None:
        """How many packets lead to the last wanted frame of a group; None where its times do not tell."""
        times = [packet.pts for packet in group]
        if following is None or following.pts is None or not group[0].is_keyframe or None in times:
            return None
        if any(time >= following.pts for time in times):
            return None
        last = self._tick(following.pts)
        after = [(time, place) for place, time in enumerate(times) if self._seconds(time) >= last - TICK]
        return min(after)[1] + 1 if after else 1

    def _tick(self, pts: int) -> float:
        """The last wanted time before a time stamp, in seconds."""
        ahead = np.ceil(self._seconds(pts) * self.rate - TICK * self.rate) - 1
        return float(ahead / self.rate)

    def _seconds(self, pts: int) -> float:
        return pts * self.base - self.origin

    def _send(self, group: list[Any]) -> Iterator[tuple[Any, bool]]:
        import av

        for packet in group:
            if self.fresh and packet.is_keyframe and packet.pts is not None:
                self.floor, self.fresh = packet.pts, False
            if packet.pts is not None and packet.pts < self.floor:
                continue  # it stands on the tail that was left out
            self.context.skip_frame = "DEFAULT" if self._wanted(packet) else "NONREF"
            try:
                found = packet.decode()
            except (av.FFmpegError, ValueError, ArithmeticError):
                continue
            yield from self._given(found)

    def _wanted(self, packet: Any) -> bool:
        """Whether a wanted time lies within one frame of a packet: it is the first shown from then on."""
        if packet.pts is None:
            return True
        step = (packet.duration or 0) * self.base or 1 / float(self.stream.average_rate)
        at = self._seconds(packet.pts) + TICK
        return bool(np.floor(at * self.rate) > np.floor((at - step) * self.rate))

    def _given(self, found: list[Any]) -> Iterator[tuple[Any, bool]]:
        for frame in found:
            self.seen, joins, self.joins = frame, self.joins, False
            if frame.pts is not None and frame.pts >= (
                self.trail[-1][0] + self.stride if self.trail else self.begins
            ):
                self.trail.append((frame.pts, self.thumb(frame)))
            yield frame, joins

    def _drain(self) -> Iterator[tuple[Any, bool]]:
        import av

        try:
            found = self.context.decode(None)
        except (av.FFmpegError, ValueError, ArithmeticError):
            return
        for frame in found:
            frame.time_base = self.stream.time_base  # which PyAV knows from packets alone
        yield from self._given(found)


class _KeyDecoder:
    """Key frames by themselves, beside the stream's own decoder."""

    def __init__(self, stream: Any) -> None:
        from av.codec import CodecContext

        self.context: Any = CodecContext.create(stream.codec_context.codec.name, "r")
        self.context.extradata = stream.codec_context.extradata
        self.context.options = {"max_pixels": str(MAX_PIXELS)}
        self.context.thread_count = 1

    def decode(self, packet: Any) -> Any | None:
        """The frame of a packet, None where it gives none."""
        import av

        try:
            found = [*self.context.decode(packet), *self.context.decode(None)]
            self.context.flush_buffers()
        except (av.FFmpegError, ValueError, ArithmeticError):
            return None
        if not found:
            return None
        found[0].time_base = packet.time_base
        return found[0]
