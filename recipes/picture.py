"""A picture with captions, as the sources hand it over."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

RENDER = 320
"""Pixels of the longer side of rendered drawings: above the 260 the tower looks at."""
MAX_PIXELS = 40_000_000
LARGEST_SVG = 4_000_000


@dataclass(frozen=True)
class Picture:
    """One picture and what is said about it.

    `captions` come best first; empty for an unlabelled photo. `held_out` marks stamps that no training
    may see, `drawn` is False for those that exist as SVG alone, which the tests leave out.
    """

    source: str
    key: str
    captions: tuple[str, ...]
    read: Callable[[], bytes]
    held_out: bool = False
    drawn: bool = True

    def open(self) -> Image.Image:
        """The picture as RGBA, its longer side at most 640 pixels (RENDER for drawings)."""
        data = self.read()
        if data.lstrip()[:1] == b"<":
            data = _render(data)
        file = Image.open(io.BytesIO(data))
        if file.width * file.height > MAX_PIXELS:
            file.draft("RGB", (2000, 2000))
        picture = file.convert("RGBA")
        picture.thumbnail((640, 640), Image.Resampling.BICUBIC)
        return picture


def _render(svg: bytes) -> bytes:
    import resvg_py

    if len(svg) > LARGEST_SVG:
        raise ValueError(f"a drawing of {len(svg)} bytes")
    text = svg.decode("utf-8", errors="replace")
    return bytes(resvg_py.svg_to_bytes(svg_string=text, width=RENDER, skip_system_fonts=True))


def as_it_is(data: bytes) -> bytes:
    """For pictures whose bytes are at hand when they are listed."""
    return data


_FILE_WORDS = re.compile(r"\b(architetto|francesco|rollandin|archite|svg|clip ?art|icon|\d+)\b", re.I)


def tidy(text: str) -> str:
    """A file or metadata title as words: `Blue_truck-02` becomes `blue truck`."""
    text = re.sub(r"\([^)]*\)", " ", text)
    text = re.sub(r"[_/|\-]+", " ", text)
    text = _FILE_WORDS.sub(" ", text)
    text = re.sub(r"(?<=[a-z])\d+\b|[^\w\s',&]", " ", text)
    return " ".join(text.lower().split()).strip(" ,'")
