"""Videos through PyAV: frames are decoded in order, as few as show the cuts, and fewer are kept."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import ReadError, UnwantedModality
from multimodal.readers.audio import sound_segments
from multimodal.readers.container import (
    DECODE_THREADS,
    MAX_PIXELS,
    Clock,
    ffmpeg_errors,
    open_media,
    picture_stream,
    plausible,
    read_only,
    seconds,
    sound_stream,
    stated,
    zero,
)
from multimodal.readers.tracks import subtitle_segments, text_streams
from multimodal.types import Modality, ReadOptions, Segment

if TYPE_CHECKING:
    from PIL.Image import Image

    from multimodal.readers.clips import Look

MARGIN = 1.15
"""Frames come with a shorter side of this times `min_side`, so that an encoder's own resize still shrinks."""

JPEG_RANGE = 2
"""FFmpeg's AVCOL_RANGE_JPEG: levels from 0 to 255, not 16 to 235."""

LARGE_PIXELS = 4096 * 2304
"""Larger frames are decoded by one thread: at 8K each further one would hold 50 MB more."""


class VideoReader:
    """Moving pictures, the sound that goes with them, and the subtitles inside the file.

    Yields the shots as video segments while decoding (black as such, see `multimodal.readers.clips`), then
    the sound track, then what the text tracks say; what is not in `options.modalities` is not decoded.
    Of several sound tracks the one that is marked as the default is read, also where it is silent: the
    file is not decoded once more to look for another. Times are presentation times from what a player
    shows as 0:00, whatever the frame rate does. Rotation and non-square pixels are undone. Of a damaged
    file, what decodes is given; ReadError when nothing does, UnwantedModality when it holds nothing of
    what is asked for.
    """

    modality: Modality = "video"
    yields: tuple[Modality, ...] = ("video", "audio", "text")
    noun = "a video"
    extensions = (
        ".mp4", ".m4v", ".mkv", ".webm", ".mov", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg",
        ".wmv", ".flv", ".3gp", ".ogv", ".mxf",
    )  # fmt: skip
    kinds = ("video",)

    def read(self, path: Path, options: ReadOptions = ReadOptions()) -> Iterator[Segment]:  # noqa: B008
        from multimodal.readers.clips import segments

        wanted, held, found = options.modalities, set[Modality](), 0
        with open_media(path) as container:
            stream = picture_stream(container)
            if sound_stream(container) is not None:
                held.add("audio")
            if text_streams(container):
                held.add("text")
            if stream is not None and "video" in wanted:
                for segment in segments(_looks(container, stream, options), path, options):
                    yield segment
                    found += 1
        if "audio" in held.intersection(wanted):
            for segment in sound_segments(path, options):
                yield segment
                found += 1
        if "text" in held.intersection(wanted):
            for segment in subtitle_segments(path, options):
                yield segment
                found += 1
        if not found:
            if "video" not in wanted and held.isdisjoint(wanted):
                raise UnwantedModality(self.modality)
            raise ReadError(f"no {'picture' if 'video' in wanted else 'sound'} of the video can be decoded")


def _looks(container: Any, stream: Any, options: ReadOptions) -> Iterator[Look]:
    """The frames that count, with their times made ascending, thumbnails, and pictures on demand."""
    from av.video.reformatter import VideoReformatter

    from multimodal.readers.clips import CELLS, Look, difference, shrink
    from multimodal.readers.sparse import frames

    context = stream.codec_context
    if context.width * context.height > MAX_PIXELS:
        raise ReadError(f"its pictures are too large to decode safely: {context.width} x {context.height}")
    context.options = {**context.options, "max_pixels": str(MAX_PIXELS)}
    stream.thread_type = "AUTO"
    context.thread_count = 1 if context.width * context.height > LARGE_PIXELS else DECODE_THREADS
    read_only(container, [stream])
    # One reformatter for each size: they keep their scaler from frame to frame.
    thumbs, pictures = VideoReformatter(), VideoReformatter()
    aspect = float(stream.sample_aspect_ratio or 1) or 1.0
    origin = zero(container)
    step = plausible(float(1 / stream.average_rate), 0.04) if stream.average_rate else 0.04
    clock = Clock(stated(container), step)

    def thumb(frame: Any) -> NDArray[np.int16]:
        planes = sampled(frame)
        if planes is None:
            with ffmpeg_errors("the pictures have a form FFmpeg cannot convert"):
                small = thumbs.reformat(frame, CELLS, CELLS, "yuv444p", interpolation="FAST_BILINEAR")
            planes = np.asarray(small.to_ndarray(), np.uint8)
        return shrink(planes)

    for frame, joins in frames(container, stream, options.frame_rate, origin, thumb, difference):
        time = clock.ascending(seconds(frame, origin))
        shown = plausible(float((frame.duration or 0) * (frame.time_base or 0)), step)
        picture = _picture(pictures, frame, aspect, options.min_side)
        yield Look(time, shown, thumb(frame), picture, joins=joins)


def sampled(frame: Any) -> NDArray[np.uint8] | None:
    """Point samples (3, CELLS, CELLS) of a frame's planes, for the usual form of 8 bits in video range; None
    for any other. A hundredth of what a scaler costs that reads every row: it did a quarter of all work."""
    from multimodal.readers.clips import CELLS

    if frame.format.name not in ("yuv420p", "yuv422p", "yuv444p") or frame.color_range == JPEG_RANGE:
        return None
    made = np.empty((3, CELLS, CELLS), np.uint8)
    middles = (np.arange(CELLS) + 0.5) / CELLS
    for number, plane in enumerate(frame.planes):
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        down, across = (middles * plane.height).astype(np.intp), (middles * plane.width).astype(np.intp)
        made[number] = rows[down][:, across]
    return made


def _picture(reformatter: Any, frame: Any, aspect: float, min_side: int | None) -> Any:
    def convert() -> Image:
        width, height = _size(frame.width, frame.height, aspect, min_side)
        with ffmpeg_errors("the pictures have a form FFmpeg cannot convert"):
            image = reformatter.reformat(frame, width, height, "rgb24", interpolation="BICUBIC").to_image()
        return _turned(image, frame.rotation)

    return convert


def _size(width: int, height: int, aspect: float, min_side: int | None) -> tuple[int, int]:
    """The size of a frame in square pixels, its shorter side brought down to MARGIN times `min_side`."""
    wide, high = width * aspect, float(height)
    if not 1 <= wide <= MAX_PIXELS / high:  # no header can ask for more than the largest picture
        wide = float(width)
    scale = min(1.0, math.ceil(min_side * MARGIN) / min(wide, high)) if min_side else 1.0
    return max(1, round(wide * scale)), max(1, round(high * scale))


def _turned(image: Image, degrees: int) -> Image:
    """The picture turned counterclockwise, as the display matrix asks, by the nearest quarter."""
    from PIL.Image import Transpose

    turn = {90: Transpose.ROTATE_90, 180: Transpose.ROTATE_180, 270: Transpose.ROTATE_270}
    quarter = turn.get(round(degrees / 90) * 90 % 360)
    return image if quarter is None else image.transpose(quarter)
