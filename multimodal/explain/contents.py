"""What of an item is looked at: its segments of one modality, a stretch of a long file if asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multimodal import readers
from multimodal.errors import QueryError, ReadError
from multimodal.types import Audio, Clip, Modality, Segment

if TYPE_CHECKING:
    from multimodal.space import Space

MOST_SECONDS = 600.0
"""A longer file is looked at in stretches: an hour of sound has 180,000 patches (280 MB of embeddings)."""
SOUND_SECONDS = 10.0
"""A sound in memory is looked at in pieces of this length at most."""


def segments(
    space: Space, item: Path | Segment, start: float | None = None, end: float | None = None
) -> tuple[Modality, Iterator[Segment]]:
    """The modality of an item and its segments, of a file those that touch the seconds `start` to `end`.

    A file gives what it mostly is, as `Space.embed_file` takes it; its videos come frame after frame, never
    whole. Raises ReadError, NoEncoder, and QueryError for an empty stretch, a stretch of what has no time
    or, while iterating, a file too long without one.
    """
    if start is not None and end is not None and not start < end:
        raise QueryError(f"A stretch ends after it starts, not from {start:g} to {end:g} s.")
    if isinstance(item, Segment):
        if start is not None or end is not None:
            raise QueryError("Only a file has stretches: give a Path with `start` and `end`.")
        space[item.modality]
        return item.modality, _pieces(item)
    shown = (segment for segment in space.read(item) if segment.role != "blank")
    first = next(shown, None)
    if first is None:
        raise ReadError(f"{item} holds nothing to look at")
    space[first.modality]
    if first.start is None and (start is not None or end is not None):
        raise QueryError(f"{item.name} has no times: leave `start` and `end` out.")
    if first.modality == "image":  # boxes are in pixels of the picture as it is, not of a fraction of it
        whole = readers.read(item, replace(space.read_options, min_side=None))
        return "image", (s for s in whole if s.modality == "image" and s.role == "content")
    found = _stretch(_same(chain([first], shown), first.modality), item.name, start, end)
    one = next(found, None)
    if one is None:
        raise QueryError(f"{item.name} has nothing to look at from {start or 0:g} s on.")
    return first.modality, chain([one], found)


def _same(found: Iterator[Segment], modality: Modality) -> Iterator[Segment]:
    for segment in found:
        if modality == "video" and segment.modality == "audio":  # the sound track begins
            return
        if segment.modality == modality and segment.role in ("content", "subtitles"):
            yield segment


def _stretch(
    found: Iterator[Segment], name: str, start: float | None, end: float | None
) -> Iterator[Segment]:
    """The segments that touch a stretch. Raises QueryError where more than MOST_SECONDS are left."""
    low, high = start or 0.0, np.inf if end is None else end
    for segment in found:
        if segment.start is not None and segment.end is not None:
            if segment.end <= low:
                continue
            if segment.start >= high:
                return
            if min(segment.end, high) - low > MOST_SECONDS:
                raise QueryError(
                    f"More than {MOST_SECONDS / 60:.0f} minutes of {name} are asked for: give `start` and"
                    " `end`, the seconds to look at."
                )
            segment = _within(segment, low, high)
        yield segment


def _within(segment: Segment, low: float, high: float) -> Segment:
    """A segment of a video without the frames outside the stretch; where none is inside, it stays whole."""
    clip = segment.content
    if not isinstance(clip, Clip):
        return segment
    kept = np.flatnonzero((clip.times >= low) & (clip.times < high)).tolist()
    if len(kept) in (0, len(clip.times)):
        return segment
    return replace(segment, content=Clip([clip.frames[n] for n in kept], clip.times[kept]))


def _pieces(segment: Segment) -> Iterator[Segment]:
    """A segment; a sound in memory in even pieces of at most SOUND_SECONDS."""
    sound = segment.content
    if not isinstance(sound, Audio) or sound.seconds <= SOUND_SECONDS:
        yield segment
        return
    first = segment.start or 0.0
    cuts = np.linspace(0, len(sound.samples), 1 + int(np.ceil(sound.seconds / SOUND_SECONDS))).astype(int)
    for begin, stop in pairwise(cuts.tolist()):
        piece = Audio(sound.samples[begin:stop], sound.rate)
        yield Segment("audio", piece, start=first + begin / sound.rate, end=first + stop / sound.rate)
