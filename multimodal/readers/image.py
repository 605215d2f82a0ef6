"""Pictures of every kind: upright, RGB, on white; pages one by one; animated ones as video."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from multimodal.errors import ReadError, UnwantedModality
from multimodal.readers.base import open_file, readable
from multimodal.readers.colour import to_srgb
from multimodal.readers.extras import EXTRAS, require
from multimodal.readers.metadata import caption, joined
from multimodal.readers.openers import PLUGINS, check_size, decoder_errors, open_picture, quiet
from multimodal.readers.orientation import orientation, turned
from multimodal.readers.sniff import RAW_EXTENSIONS, content_kind
from multimodal.readers.tiff import pages
from multimodal.types import Modality, ReadOptions, Segment

if TYPE_CHECKING:
    from PIL.Image import Image

    from multimodal.readers.clips import Look

SHORTEST_FRAME, DEFAULT_FRAME = 0.011, 0.1
"""Seconds. Browsers show a frame of an animation that asks for less than the first for the second."""
MAX_FRAMES, MAX_ANIMATION = 100_000, 8_000_000_000
"""Most frames of an animation, and pixels of all of them: two minutes of full HD, half a minute of work."""

_ANIMATED = ("gif", "webp", "png", "avif")
_BLIND = ("ico", "cur", "jxl", "psd")
"""Kinds whose header tells nothing in words, or that are decoded when they are opened."""
_UPRIGHT = ("heic", "jxl")
"""Kinds whose decoders turn the picture themselves and leave an Exif orientation that no longer holds."""


class ImageReader:
    """Still pictures, and animated gif, webp, png and avif, which become video segments.

    A still gives one segment without times: an 8-bit sRGB picture, fully loaded, turned as its Exif
    orientation says, transparency flattened on white, colours by its ICC profile (see `colour.to_srgb`).
    A TIFF gives one for each page, numbered from 1 where there are several; smaller copies are no pages.
    Of an MPO the first view is read, of an icon the largest picture, of a HEIC the primary one; a Photoshop
    file comes flattened, a drawing (svg) rendered with its longer side 1024 pixels, a raw file as its
    camera's preview where that is large enough, else developed.

    What is written about the picture inside it (XMP, IPTC, Exif, PNG chunks, the title of a drawing)
    follows as one text segment of role "caption". With `options.min_side` the picture may come smaller, its
    shorter side at least 1.9 times that, by a whole factor: a JPEG or JPEG 2000 is then decoded at a fraction
    of its size, which is several times faster.

    Raises ReadError for a picture that is truncated, damaged, too large, or none at all; damaged pages are
    left out, and an animation ends before damage, unless nothing is left. Raises UnwantedModality where
    nothing of it is asked for.
    """

    modality: Modality = "image"
    yields: tuple[Modality, ...] = ("image", "video", "text")
    noun = "a picture"
    extensions = (
        ".jpg", ".jpeg", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif",
        ".hif", ".avif", ".jxl", ".jp2", ".j2k", ".psd", ".svg", ".ico", ".cur", *RAW_EXTENSIONS,
    )  # fmt: skip
    kinds = (*PLUGINS, "raw", "svg")

    def read(self, path: Path, options: ReadOptions = ReadOptions()) -> Iterator[Segment]:  # noqa: B008
        kind = content_kind(path)
        if kind not in self.kinds:
            looks = f"looks like {kind}" if kind else "is of no known kind"
            raise ReadError(f"not a picture: its content {looks}")
        if kind in EXTRAS:
            require(kind)
        ways = {"raw": _raw, "svg": _drawing, "tiff": _pages}
        found = False
        with readable(), open_file(path) as file, decoder_errors():
            for segment in ways.get(kind, partial(_picture, kind))(file, path, options):
                yield segment
                found = True
        if not found:
            raise UnwantedModality("image")


def _picture(kind: str, file: BinaryIO, path: Path, options: ReadOptions) -> Iterator[Segment]:
    """A still or an animation through Pillow and its plugins."""
    if kind in _BLIND and "image" not in options.modalities:
        yield from _words(caption(kind, file, {}), path, options)
        return
    image = open_picture(kind, file, options.min_side)
    moves = kind in _ANIMATED and getattr(image, "n_frames", 1) > 1
    if moves and "video" in options.modalities:
        yield from _animation(image, path, options)
    elif not moves and "image" in options.modalities:
        image.load()
        check_size(image.size)  # some headers state less than there is
        stated = orientation(image) if kind not in _UPRIGHT or _transcoded(image) else None
        yield Segment("image", turned(to_srgb(image, options.min_side), stated), path)
    words = list(_words(caption(kind, file, image.info), path, options))
    yield from words
    if moves and not words and "video" not in options.modalities:
        raise UnwantedModality("video")


def _transcoded(image: Any) -> bool:
    """Whether a JPEG XL is a JPEG in other clothes, which comes out as the JPEG it was."""
    return bool(getattr(image, "jpeg", False))


def _pages(file: BinaryIO, path: Path, options: ReadOptions) -> Iterator[Segment]:
    """The pages of a TIFF but those that are damaged, unless all are."""
    if "image" in options.modalities:
        numbers = pages(file)
        image = open_picture("tiff", file, options.min_side)
        given, problem = False, None
        for page, number in enumerate(numbers, 1):
            try:
                picture = _page(image, number, options.min_side)
            except MemoryError:
                raise
            except Exception as error:
                problem = problem or error
                continue
            given = True
            yield Segment("image", picture, path, page=page if len(numbers) > 1 else None)
        if problem is not None and not given:
            raise problem
    yield from _words(caption("tiff", file, {}), path, options)


def _page(image: Any, number: int, min_side: int | None) -> Image:
    with quiet():
        image.seek(number)
        check_size(image.size)
        image.load()
    return turned(to_srgb(image, min_side), orientation(image))


def _raw(file: BinaryIO, path: Path, options: ReadOptions) -> Iterator[Segment]:
    from multimodal.readers.raw import develop

    if "image" in options.modalities:
        yield Segment("image", develop(file, options.min_side), path)
    yield from _words(caption("raw", file, {}), path, options)


def _drawing(file: BinaryIO, path: Path, options: ReadOptions) -> Iterator[Segment]:
    from multimodal.readers.svg import read_drawing, render

    drawing = read_drawing(file)
    if "image" in options.modalities:
        yield Segment("image", render(drawing, options.min_side), path)
    yield from _words(joined(drawing.captions), path, options)


def _words(said: str | None, path: Path, options: ReadOptions) -> Iterator[Segment]:
    if said and "text" in options.modalities:
        yield Segment("text", said, path, chars=(0, len(said)), role="caption")


def _animation(image: Any, path: Path, options: ReadOptions) -> Iterator[Segment]:
    from multimodal.readers.clips import segments

    if image.n_frames > MAX_FRAMES or image.n_frames * image.width * image.height > MAX_ANIMATION:
        raise ReadError(
            f"the animation is too long to decode safely: {image.n_frames} frames"
            f" of {image.width} x {image.height} pixels"
        )
    yield from segments(_looks(image, options.min_side), path, options)


def _looks(image: Any, min_side: int | None) -> Iterator[Look]:
    """The frames of an animation with their times; ends early where the file does, after its first frame."""
    from multimodal.readers.clips import Look, shrink

    time = 0.0
    stated = orientation(image)
    # An APNG may begin with a still for programs that know no animation: no part of it.
    first = 1 if getattr(image, "default_image", False) else 0
    for index in range(first, image.n_frames):
        try:
            image.seek(index)
            image.load()
            picture = turned(to_srgb(image, min_side), stated)
        except (OSError, EOFError, SyntaxError, ValueError):
            if index == first:
                raise
            return
        duration = float(image.info.get("duration", 0)) / 1000
        duration = duration if duration >= SHORTEST_FRAME else DEFAULT_FRAME
        planes = np.asarray(picture.resize((64, 64), 2).convert("YCbCr")).transpose(2, 0, 1)
        yield Look(time, duration, shrink(np.ascontiguousarray(planes)), partial(_same, picture))
        time += duration


def _same(picture: Image) -> Image:
    return picture
