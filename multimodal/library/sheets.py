"""A contact sheet: hits as one picture, for those who look at it outside a notebook."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal import readers
from multimodal.errors import QueryError, ReadError, plain
from multimodal.moments import frame_at, sound_at
from multimodal.types import Audio, Hit, ReadOptions

if TYPE_CHECKING:
    from PIL.Image import Image

PAPER, CARD, INK, DIM, WAVE = "#ffffff", "#f2f2f0", "#1a1a1a", "#6a6a6a", "#2b6ca3"
GAP = 12
"""Pixels between cards."""
FONTS = ("DejaVuSans.ttf", "Arial Unicode.ttf", "arial.ttf")
"""Those that systems have and that know more letters than the one inside Pillow."""


def contact_sheet(hits: Sequence[Hit], columns: int | None = None, width: int = 260) -> Image:
    """One RGB picture of hits in rows, each a card `width` pixels wide with its name and time or page below.

    Pictures and moments of videos show themselves, sounds their waveform, passages their words; what
    cannot be read any more, why. `columns` is by itself what makes about a square. Raises QueryError where
    there are no hits, or no column or width of 100 pixels to put them in.
    """
    from PIL import Image, ImageDraw

    if not hits:
        raise QueryError("There are no hits to make a contact sheet of.")
    if width < 100 or (columns is not None and columns < 1):
        raise QueryError("A contact sheet has at least one column, of at least 100 pixels.")
    across = min(len(hits), columns or math.ceil(math.sqrt(len(hits))))
    down = math.ceil(len(hits) / across)
    size, font = (width, width * 3 // 4), _font(max(11, width // 20))
    line = math.ceil(font.size * 1.3)
    cell = size[0] + GAP, size[1] + 2 * line + GAP
    sheet = Image.new("RGB", (across * cell[0] + GAP, down * cell[1] + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, hit in enumerate(hits):
        left, top = GAP + number % across * cell[0], GAP + number // across * cell[1]
        sheet.paste(_card(hit, size, font), (left, top))
        draw.text((left, top + size[1] + 2), _cut(_name(hit.path), font, width), fill=INK, font=font)
        draw.text((left, top + size[1] + line + 1), _cut(_place(hit), font, width), fill=DIM, font=font)
    return sheet


def _card(hit: Hit, size: tuple[int, int], font: Any) -> Image:
    """What there is of a hit to see, `size` pixels wide and high."""
    try:
        if hit.modality == "text":
            return _words(hit.text or "", size, font, INK)
        if hit.modality == "audio":
            return _waveform(sound_at(hit.path, hit.start or 0.0, hit.end), size)
        return _fitted(_picture(hit, size), size)
    except ReadError as error:
        return _words(str(error), size, font, DIM)
    except OSError as error:  # the file went away while it was read
        return _words((error.strerror or str(error)).lower(), size, font, DIM)


def _picture(hit: Hit, size: tuple[int, int]) -> Image:
    """Raises ReadError."""
    if hit.modality == "video":
        return frame_at(hit.path, hit.start or 0.0, hit.end)
    options = ReadOptions(modalities=("image",), min_side=max(size))
    for segment in readers.read(hit.path, options):
        right = segment.page == hit.page or hit.page is None
        if segment.modality == "image" and segment.role == "content" and right:
            return segment.content  # type: ignore[return-value]  # of an image segment
    raise ReadError("that picture is not in the file any more")


def _fitted(picture: Image, size: tuple[int, int]) -> Image:
    """The whole picture in the middle of a card; what it shows through is white."""
    from PIL import Image

    small = picture.convert("RGBA") if picture.has_transparency_data else picture.convert("RGB")
    small.thumbnail(size)
    card = Image.new("RGB", size, CARD if small.mode == "RGB" else PAPER)
    corner = (size[0] - small.width) // 2, (size[1] - small.height) // 2
    card.paste(small, corner, small if small.mode == "RGBA" else None)
    return card


def _waveform(sound: Audio, size: tuple[int, int]) -> Image:
    """The lowest and highest sample of each column, the loudest of all filling the card."""
    from PIL import Image, ImageDraw

    card = Image.new("RGB", size, CARD)
    draw = ImageDraw.Draw(card)
    middle, reach = size[1] / 2, size[1] * 0.45
    loudest = max(float(np.abs(sound.samples).max()), 1e-6)
    for column, part in enumerate(np.array_split(sound.samples, size[0])):
        if len(part):
            low, high = float(part.min()) / loudest, float(part.max()) / loudest
            draw.line((column, middle - high * reach, column, middle - low * reach + 1), fill=WAVE)
    return card


def _words(text: str, size: tuple[int, int], font: Any, colour: str) -> Image:
    """A text broken into lines, as much of it as a card holds."""
    from PIL import Image, ImageDraw

    card = Image.new("RGB", size, CARD)
    margin, line = 8, math.ceil(font.size * 1.3)
    room = max(1, (size[1] - 2 * margin) // line)
    lines = _lines(plain(" ".join(text.split())), font, size[0] - 2 * margin, room + 1)
    if len(lines) > room:
        lines = [*lines[: room - 1], _cut(lines[room - 1] + " " + lines[room], font, size[0] - 2 * margin)]
    draw = ImageDraw.Draw(card)
    for number, words in enumerate(lines):
        draw.text((margin, margin + number * line), words, fill=colour, font=font)
    return card


def _lines(text: str, font: Any, width: int, most: int) -> list[str]:
    """The first `most` lines of at most `width` pixels; broken at spaces, and within a word that is wider."""
    lines: list[str] = []
    while text and len(lines) < most:
        end = _fitting(text, font, width)
        if end < len(text):
            space = text.rfind(" ", 0, end + 1)
            end = space if space > 0 else end
        lines.append(text[:end])
        text = text[end:].lstrip()
    return lines


def _cut(text: str, font: Any, width: int) -> str:
    """A text in one line, its end replaced by dots where it is too wide."""
    if font.getlength(text) <= width:
        return text
    return text[: _fitting(text, font, width - math.ceil(font.getlength("…")))].rstrip() + "…"


def _fitting(text: str, font: Any, width: int) -> int:
    """How many characters fit, at least 1."""
    low, high = 1, min(len(text), 1 + width)  # a character has a pixel at least
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if font.getlength(text[:middle]) <= width else (low, middle - 1)
    return low


def _font(size: int) -> Any:
    from PIL import ImageFont

    for name in FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def _name(path: Path) -> str:
    return plain(path.name or str(path))


def _place(hit: Hit) -> str:
    """The page and the time, as far as there are any."""
    parts = [f"page {hit.page}"] if hit.page is not None else []
    if hit.start is not None:
        parts.append(_clock(hit.start) + ("" if hit.end is None else f"–{_clock(hit.end)}"))
    return ", ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


__all__ = ["contact_sheet"]
