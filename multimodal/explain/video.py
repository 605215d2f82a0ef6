"""Videos: their frames, how much each counts for its shot, and how much each looks like a query."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from multimodal.encoder import Encoder
from multimodal.explain.projected import beneath
from multimodal.explain.tokens import Place, Tokens, joined, made
from multimodal.towers.video import VideoTower, voting, without_bars
from multimodal.types import Clip, Segment

if TYPE_CHECKING:
    from PIL.Image import Image

Floats = NDArray[np.float32]
THUMB = 120
"""Pixels of the longer side of the frames that are kept to be shown."""


@dataclass(frozen=True, eq=False)
class Strip:
    """Small frames of a video, where its segments begin and end, in seconds, and their unit rows (dim,)."""

    frames: list[Image]
    cuts: list[tuple[float, float]]
    rows: list[Floats]


def tokens(encoder: Encoder, segments: Iterable[Segment]) -> tuple[Tokens, Strip]:
    """The frames of a video's segments, with their times, and small copies of them.

    Weights are those of the temporal attention within each segment, 0 for frames that do not vote because
    they are black or look like another; segments count the same.
    """
    tower, rows = beneath(encoder)
    parts: list[Tokens] = []
    strip = Strip([], [], [])
    for segment in segments:
        clip = segment.content
        assert isinstance(clip, Clip)
        ends = _ends(clip, segment.end)
        places = [Place(seconds=(float(a), b)) for a, b in zip(clip.times, ends, strict=True)]
        assert isinstance(tower, VideoTower)
        cropped = without_bars(clip.frames)
        vectors, voters = tower.image.encode(cropped), voting(cropped)
        since = (clip.times - clip.times[0]).astype(np.float32)
        weights = np.zeros(len(vectors), np.float32)
        weights[voters] = tower.pooler.weights(vectors[voters], since[voters])
        parts.append(made("video", rows(vectors), weights, places))
        strip.rows.append(rows((weights @ vectors)[None])[0])
        strip.cuts.append((float(clip.times[0]), ends[-1]))
        strip.frames.extend(_small(frame) for frame in clip.frames)
    return joined(parts), strip


def _ends(clip: Clip, end: float | None) -> list[float]:
    """When each frame ends: with the next one; the last with the segment, or after a usual step."""
    step = float(np.median(np.diff(clip.times))) if len(clip.times) > 1 else 0.5
    last = max(end or 0.0, float(clip.times[-1])) if end else float(clip.times[-1]) + step
    return [*map(float, clip.times[1:]), last]


def _small(frame: Image) -> Image:
    small = frame.convert("RGB")
    small.thumbnail((THUMB, THUMB))
    return small
