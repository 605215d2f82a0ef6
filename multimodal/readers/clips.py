"""Frames into clips: hard cuts found between frames, shots cut into parts, frames sampled by time.

Every frame is looked at as a thumbnail of 16 x 16 in luma and chroma. Its score is the mean absolute
difference to the frame before, summed over the three planes (0 to about 500; noise and compression stay
below 3). A frame begins a new shot when its score stands out from its neighbourhood in time, the idea of
PySceneDetect's adaptive detector, and when none of the frames shortly before shows again shortly after:
that is a flash. Fades and dissolves have no single frame to cut at and are left whole.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from multimodal.readers.container import TICK
from multimodal.types import Clip, ReadOptions, Segment

THUMB = 16
CELLS = 64
"""A thumbnail is made of point samples, this many along each side, averaged 4 x 4."""
FLOOR = 6.0
"""The least score of a cut among frames close in time: a fifth of the picture changing by 30 levels."""
LONE_FLOOR = 12.0
"""The same for a frame with no neighbour within PAST and FUTURE: seconds pass between frames."""
PAST, FUTURE = 0.5, 0.25
"""Seconds before and after a frame that its score is held against."""
FLASH = 0.15
"""Seconds. What comes back within this time was hidden by a flash, not cut."""
MOST_AHEAD = 4
"""Frames held back to see what follows: bounds memory whatever the frame rate."""
BLACK_LUMA = 32
"""The brightest that black gets. Video black is 16 and white 235: grey up to 7 % of the signal, 0.2 % of the
light of white on a screen. Noise of the camera's or the encoder's is averaged away in the thumbnail."""
BLACK_CHROMA = 12
"""How far the chroma of black is from the grey of 128; a navy blue of luma 28 has 56."""


@dataclass(eq=False)
class Look:
    """A frame passing by: seconds, seconds it is shown, thumbnail (3, 16, 16) int16 YUV, and its picture."""

    time: float
    duration: float
    thumb: NDArray[np.int16]
    picture: Callable[[], Image]
    """Gives the RGB picture; called at most once, while no more than MOST_AHEAD later frames were taken."""
    score: float = 0.0
    joins: bool = False
    """It follows frames that were left out, as nothing was cut among them or at it."""


def segments(looks: Iterable[Look], path: Path, options: ReadOptions) -> Iterator[Segment]:
    """Video segments of frames in ascending time, while they come; no segment spans a hard cut.

    A shot longer than `options.video_seconds` is cut into parts: while it runs, a full-length part goes
    out whenever twice that length is there (which bounds memory); what is left at its end is halved if
    it is still too long. So a part lasts at most `video_seconds`, and at least half of it unless the
    shot itself is shorter. Segments join: each ends where the next starts, the last with its last frame.
    Taken are the first frame of each shot and the first at or after each multiple of 1 / `options.frame_rate`
    seconds, but for one that comes within half of that after the first of the shot.

    A black shot, and a black stretch of at least `options.video_min_seconds` within one (a long fade),
    is a segment of its own with the role "blank"; those that follow each other are one, however long.
    A shorter one stays in its shot. No part of a shot is shorter than `video_min_seconds`, which counts
    up to half of `video_seconds`: the greater bound goes first, as it is what bounds memory.

    Raises ValueError when `video_seconds` or `frame_rate` is not above 0.
    """
    cutter = _Cutter(path, options)
    for look, cut in mark_cuts(looks):
        yield from cutter.add(look, cut)
    yield from cutter.finish()


def is_black(thumb: NDArray[np.int16]) -> bool:
    """Whether nothing is seen on a frame: no cell of its thumbnail is brighter or more coloured than black.

    Black alone and no other flat colour: a screen of one bright colour is something that a person sees
    and may look for, and fog, snow and sky come near it. A cell that holds a star or a letter is brighter.
    """
    return bool(thumb[0].max() <= BLACK_LUMA and np.abs(thumb[1:] - 128).max() <= BLACK_CHROMA)


class _Cutter:
    """Shots into segments, black apart. At any time there is a running shot or a running blank stretch."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        if not (options.video_seconds > 0 and 0 < options.frame_rate < math.inf):
            raise ValueError("video_seconds and frame_rate must be above 0")
        self.path, self.options = path, options
        self.least = max(0.0, min(options.video_min_seconds, options.video_seconds / 2))
        self.shot: _Shot | None = None
        self.dark: float | None = None  # since when the running shot is black
        self.blank: float | None = None  # where the running blank stretch begins
        self.end = 0.0

    def add(self, look: Look, cut: bool) -> Iterator[Segment]:
        black = is_black(look.thumb)
        yield from self._darken(look.time, over=cut)
        self.end = look.time + look.duration
        if self.blank is not None:
            if black:
                return
            yield self._blank(look.time)
        if cut and self.shot is not None:
            yield from self.shot.finish(look.time)
            self.shot = self.dark = None
        if self.shot is None:
            self.shot = _Shot(look.time, self.path, self.options)
        if not black:
            self.dark = None
        elif self.dark is None:
            self.dark = look.time
        yield from self.shot.add(look)

    def finish(self) -> Iterator[Segment]:
        yield from self._darken(self.end, over=True)
        if self.blank is not None:
            yield self._blank(self.end)
        elif self.shot is not None:
            yield from self.shot.finish(self.end)

    def _darken(self, time: float, over: bool) -> Iterator[Segment]:
        """Turn the shot's black end into a blank stretch if it is long, or all there was of the shot.

        The shot's parts so far end before it: they go out `video_seconds` behind the last frame at least.
        """
        if self.shot is None or self.dark is None:
            return
        if time - self.dark >= self.least or (over and self.dark == self.shot.first):
            yield from self.shot.finish(self.dark)
            self.blank, self.shot, self.dark = self.dark, None, None

    def _blank(self, end: float) -> Segment:
        segment = Segment("video", "", self.path, self.blank, end, role="blank")
        self.blank = None
        return segment


class _Shot:
    """The running shot: the frames taken since its last part went out."""

    def __init__(self, begin: float, path: Path, options: ReadOptions) -> None:
        self.first = self.begin = begin
        self.path, self.options = path, options
        self.frames: list[tuple[float, Image]] = []
        self.shown: Image | None = None
        self.next_time = begin

    def add(self, look: Look) -> Iterator[Segment]:
        limit = self.options.video_seconds
        while look.time - self.begin >= 2 * limit:
            yield self._part(self.begin + limit)
        if look.time >= self.next_time - TICK:
            self.frames.append((look.time, look.picture()))
            rate = self.options.frame_rate
            self.next_time = (math.floor((look.time + TICK) * rate) + 1) / rate
            if look.time == self.first and self.next_time < self.first + 0.5 / rate:
                self.next_time += 1 / rate

    def finish(self, end: float) -> Iterator[Segment]:
        """The parts up to `end`; frames from there on are left out."""
        if end <= self.begin:
            return
        parts = max(1, math.ceil((end - self.begin) / self.options.video_seconds - 1e-6))
        edges = np.linspace(self.begin, end, parts + 1)[1:]
        for edge in edges:
            yield self._part(float(edge))

    def _part(self, end: float) -> Segment:
        inside = [frame for frame in self.frames if frame[0] < end]
        self.frames = self.frames[len(inside) :]
        if not inside and self.shown is not None:
            inside = [(self.begin, self.shown)]  # one frame stands on the screen for longer than a part
        self.shown = inside[-1][1]
        times = np.array([time for time, _ in inside], dtype=np.float64)
        clip = Clip([image for _, image in inside], times)
        segment = Segment("video", clip, self.path, self.begin, end)
        self.begin = end
        return segment


def mark_cuts(looks: Iterable[Look]) -> Iterator[tuple[Look, bool]]:
    """Each frame, and whether it begins a new shot; runs at most MOST_AHEAD frames behind its input."""
    before: deque[Look] = deque()  # the last frames of this shot, as far back as PAST
    ahead: deque[Look] = deque()
    previous: Look | None = None
    for look in looks:
        look.score = 0.0 if previous is None or look.joins else difference(look.thumb, previous.thumb)
        previous = look
        ahead.append(look)
        while len(ahead) > MOST_AHEAD or ahead[-1].time - ahead[0].time > FUTURE:
            yield _decide(before, ahead)
    while ahead:
        yield _decide(before, ahead)


def _decide(before: deque[Look], ahead: deque[Look]) -> tuple[Look, bool]:
    look = ahead.popleft()
    cut = bool(before) and _is_cut(look, before, ahead)
    if cut:
        before.clear()
        look.score = 0.0  # the jump itself says nothing about how lively the new shot is
    # Without its picture: that holds a decoded frame, and there may be 60 of them of 12 MB each.
    before.append(Look(look.time, look.duration, look.thumb, _passed, look.score))
    while len(before) > 1 and look.time - before[0].time > PAST:
        before.popleft()
    return look, cut


def _passed() -> Image:
    raise LookupError("the frame has passed by")


def _is_cut(look: Look, before: deque[Look], ahead: deque[Look]) -> bool:
    if look.score < FLOOR:
        return False
    past = [other.score for other in before if look.time - other.time <= PAST]
    future = [other.score for other in ahead if other.time - look.time <= FUTURE]
    if not past and not future:
        return look.score >= LONE_FLOOR
    # A frame shown twice scores 0 and must not make its successor stand out.
    lively = [score for score in past + future if score > 0.5]
    usual = sum(lively) / len(lively) if lively else 0.0
    if look.score < max(FLOOR, 3.0 * usual, 1.5 * max(past, default=0.0)):
        return False
    earlier = [other for other in before if look.time - other.time <= FLASH] or [before[-1]]
    later = [look, *(other for other in ahead if other.time - look.time <= FLASH)]
    back = min(difference(a.thumb, b.thumb) for a in earlier for b in later)
    return back >= 0.35 * look.score


def difference(a: NDArray[np.int16], b: NDArray[np.int16]) -> float:
    """The mean absolute difference of two thumbnails, summed over luma and the two chroma planes."""
    return float(np.abs(a - b).sum()) / (THUMB * THUMB)


def shrink(planes: NDArray[np.uint8]) -> NDArray[np.int16]:
    """(3, 64, 64) uint8 planes into the thumbnail (3, 16, 16): means of 4 x 4, in steps of a level."""
    side = CELLS // THUMB
    blocks = planes.reshape(3, THUMB, side, THUMB, side).sum(axis=(2, 4), dtype=np.int32)
    thumb: NDArray[np.int16] = (blocks // (side * side)).astype(np.int16)
    return thumb
