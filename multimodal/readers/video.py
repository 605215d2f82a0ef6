"""Videos through PyAV: every frame is decoded once, in order, and few are kept."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal.errors import ReadError
from multimodal.readers.audio import sound_segments
from multimodal.readers.container import (
    DECODE_THREADS,
    LONGEST_GAP,
    decoded,
    open_media,
    picture_stream,
    plausible,
    seconds,
    sound_stream,
    zero,
)
from multimodal.types import Modality, ReadOptions, Segment

if TYPE_CHECKING:
    from PIL.Image import Image

    from multimodal.readers.clips import Look

MARGIN = 1.15
"""Frames come with a shorter side of this times `min_side`, so that an encoder's own resize still shrinks."""


class VideoReader:
    """Moving pictures, and the sound that goes with them.

    Yields the shots as video segments while decoding, then the sound track as audio segments. Times are
    presentation times from what a player shows as 0:00, whatever the frame rate does. Rotation and
    non-square pixels are undone. Of a damaged file, what decodes is given; ReadError when nothing does.
    """

    modality: Modality = "video"
    yields: tuple[Modality, ...] = ("video", "audio", "text")
    noun = "a video"
    extensions = (".mp4", ".m4v", ".mkv", ".webm", ".mov", ".avi")
    kinds = ("video",)

    def read(self, path: Path, options: ReadOptions = ReadOptions()) -> Iterator[Segment]:  # noqa: B008
        from multimodal.readers.clips import segments

        with open_media(path) as container:
            stream = picture_stream(container)
            has_sound = sound_stream(container) is not None
            found = 0
            if stream is not None:
                for segment in segments(_looks(container, stream, options.min_side), path, options):
                    yield segment
                    found += 1
        if has_sound:
            for segment in sound_segments(path, options):
                yield segment
                found += 1
        if not found:
            raise ReadError("no picture of the video can be decoded")


def _looks(container: Any, stream: Any, min_side: int | None) -> Iterator[Look]:
    """Every frame of the stream with its time made ascending, its thumbnail, and its picture on demand."""
    from av.video.reformatter import VideoReformatter

    from multimodal.readers.clips import Look, shrink

    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = DECODE_THREADS
    # One reformatter for each size: they keep their scaler from frame to frame.
    thumbs, pictures = VideoReformatter(), VideoReformatter()
    aspect = float(stream.sample_aspect_ratio or 1) or 1.0
    origin = zero(container)
    step = plausible(float(1 / stream.average_rate), 0.04) if stream.average_rate else 0.04
    last: float | None = None
    for frame in decoded(container, stream):
        time = seconds(frame, origin)
        if last is None:
            time = min(max(0.0, time or 0.0), LONGEST_GAP)
        elif time is None or not last < time <= last + LONGEST_GAP:
            time = last + step
        shown = plausible(float((frame.duration or 0) * (frame.time_base or 0)), step)
        # Point samples within 64 x 64 cells, averaged 4 x 4: a third of what an area filter costs.
        small = thumbs.reformat(frame, 64, 64, "yuv444p", interpolation="FAST_BILINEAR")
        yield Look(
            time,
            shown,
            shrink(np.asarray(small.to_ndarray(), np.uint8)),
            _picture(pictures, frame, aspect, min_side),
        )
        last = time


def _picture(reformatter: Any, frame: Any, aspect: float, min_side: int | None) -> Any:
    def convert() -> Image:
        width, height = _size(frame.width, frame.height, aspect, min_side)
        image = reformatter.reformat(frame, width, height, "rgb24", interpolation="BICUBIC").to_image()
        return _turned(image, frame.rotation)

    return convert


def _size(width: int, height: int, aspect: float, min_side: int | None) -> tuple[int, int]:
    """The size of a frame in square pixels, its shorter side brought down to MARGIN times `min_side`."""
    wide, high = width * aspect, float(height)
    scale = min(1.0, math.ceil(min_side * MARGIN) / min(wide, high)) if min_side else 1.0
    return max(1, round(wide * scale)), max(1, round(high * scale))


def _turned(image: Image, degrees: int) -> Image:
    """The picture turned counterclockwise, as the display matrix asks, by the nearest quarter."""
    from PIL.Image import Transpose

    turn = {90: Transpose.ROTATE_90, 180: Transpose.ROTATE_180, 270: Transpose.ROTATE_270}
    quarter = turn.get(round(degrees / 90) * 90 % 360)
    return image if quarter is None else image.transpose(quarter)
