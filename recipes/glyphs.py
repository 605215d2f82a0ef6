"""Drawings of letters, digits and signs from free fonts, so that the space can read a single character.

The sentence encoder does not tell `A` from `a`; captions name the case all the same.
"""

from __future__ import annotations

import io
import random
import string
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from recipes.fetch import apt

FONTS = (
    "fonts-dejavu-core", "fonts-liberation", "fonts-comic-neue", "fonts-lato", "fonts-open-sans",
    "fonts-quicksand", "fonts-cantarell", "fonts-crosextra-carlito", "fonts-roboto-unhinted",
)  # fmt: skip
LOOKS = 14
"""Drawings of each character, in fonts, colours and outlines drawn by chance."""
SIDE = 288

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_SIGNS = {
    "+": ("Plus.", "a plus sign"),
    "\u2212": ("Minus.", "a minus sign"),
    "\u00d7": ("Times.", "a multiplication sign"),
    "÷": ("Divided by.", "a division sign"),
    "=": ("Equals.", "an equals sign"),
    "<": ("Less than.", "a less than sign"),
    ">": ("Greater than.", "a greater than sign"),
    "≤": ("Less than or equal to.", "a less than or equal sign"),
    "≥": ("Greater than or equal to.", "a greater than or equal sign"),
    "≠": ("Not equal to.", "a not equal sign"),
    "?": ("A question mark.", "question mark"),
    "!": ("An exclamation mark.", "exclamation point"),
    "&": ("An ampersand.", "the and sign"),
    "%": ("A percent sign.", "percent"),
    "#": ("A number sign.", "a hash sign"),
    "@": ("An at sign.", "at"),
    "$": ("Dollar sign.", "a dollar"),
    "€": ("Euro sign.", "a euro"),
    "£": ("Pound sign.", "a pound sterling"),
    "¥": ("Yen sign.", "a Japanese yen sign"),
    "¢": ("Cent sign.", "a cent"),
    "*": ("An asterisk.", "a star sign"),
    "→": ("An arrow to the right.", "right arrow"),
    "←": ("An arrow to the left.", "left arrow"),
    "↑": ("An arrow that points up.", "up arrow"),
    "↓": ("An arrow that points down.", "down arrow"),
    "♪": ("An eighth note.", "a musical note"),
    "♩": ("A quarter note.", "a musical note"),
    "♫": ("Two eighth notes.", "musical notes"),
    "♯": ("Sharp.", "a sharp in music"),
    "♭": ("Flat.", "a flat in music"),
    "♮": ("Natural.", "a natural in music"),
    "♔": ("A chess king.", "king"),
    "♕": ("A chess queen.", "queen"),
    "♖": ("A chess rook.", "rook, castle"),
    "♗": ("A chess bishop.", "bishop"),
    "♘": ("A chess knight.", "knight, horse"),
    "♙": ("A chess pawn.", "pawn"),
    "♥": ("A heart.", "hearts, a suit of cards"),
    "♦": ("A diamond.", "diamonds, a suit of cards"),
    "♣": ("A club.", "clubs, a suit of cards"),
    "♠": ("A spade.", "spades, a suit of cards"),
    "★": ("A star.", "star shape"),
    "●": ("A circle.", "circle shape"),
    "■": ("A square.", "square shape"),
    "▲": ("A triangle.", "triangle shape"),
    "∞": ("Infinity.", "the infinity sign"),
    "√": ("A root sign.", "root"),
    "π": ("The Greek letter pi.", "pi"),
    "©": ("A copyright sign.", "copyright"),
    "✓": ("A check mark.", "tick"),
}
_ACCENTS = {
    "äöüÄÖÜ": "with an umlaut",
    "ñÑ": "with a tilde",
    "éáíóúÉÁ": "with an acute accent",
    "èàùÈÀ": "with a grave accent",
    "âêîôûÂÊ": "with a circumflex",
    "çÇ": "with a cedilla",
}


def characters() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each character with its captions."""
    for letter in string.ascii_letters:
        case = "capital" if letter.isupper() else "small"
        said = f"a drawing of the letter {letter}"
        yield letter, (said, f"a {case} letter {letter}", f"{letter}, a letter")
    for number, word in enumerate(_NUMBERS):
        yield str(number), (f"the digit {number}", f"the number {number}", f"the number {word}, {number}")
    for letters, accent in _ACCENTS.items():
        for letter in letters:
            plain = _plain(letter)
            yield letter, (f"a drawing of the letter {plain} {accent}", f"{letter}, {plain} {accent}")
    yield "ß", ("The German letter sz or sharp s.", "German sharp s")
    yield from _SIGNS.items()


def _plain(letter: str) -> str:
    import unicodedata

    return unicodedata.normalize("NFD", letter)[0]


def drawings() -> Iterator[tuple[str, tuple[str, ...], partial[bytes]]]:
    """Key, captions and a maker of PNG bytes for every character in every look."""
    fonts = [p for name in FONTS for p in sorted(apt(name).rglob("*.ttf")) + sorted(apt(name).rglob("*.otf"))]
    for character, captions in characters():
        rng = random.Random(character)
        able = [f for f in fonts if _has(f, character)]
        for look in range(LOOKS if able else 0):
            key = f"{ord(character[0]):04x}-{character}-{look}"
            yield key, captions, partial(_draw, character, rng.choice(able), rng.random())


def _has(font: Path, character: str) -> bool:
    """Whether the font draws it: a missing character looks like one that no font has."""
    if character.isascii():
        return True
    face = _face(str(font), 40)
    return face.getmask(character).getbbox() is not None and bytes(face.getmask(character)) != bytes(
        face.getmask("\U0010fff0")
    )


def _face(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


def _draw(character: str, font: Path, seed: float) -> bytes:
    rng = random.Random(seed)
    face = _face(str(font), 150 if len(character) > 1 else 210)
    canvas = Image.new("RGBA", (SIDE * 2, SIDE * 2), (255, 255, 255, 0))
    dark = tuple(rng.randrange(0, 200) for _ in range(3)) if rng.random() < 0.5 else (0, 0, 0)
    outlined = rng.random() < 0.45
    fill = (255, 255, 255) if outlined else dark
    stroke = rng.randrange(3, 9) if outlined else rng.choice((0, 0, 0, 4))
    pen = ImageDraw.Draw(canvas)
    pen.text((SIDE, SIDE), character, fill, face, "mm", stroke_width=stroke, stroke_fill=dark)
    box = canvas.getbbox() or (0, 0, SIDE, SIDE)
    margin = rng.randrange(0, 30)
    canvas = canvas.crop((box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin))
    out = io.BytesIO()
    canvas.save(out, "PNG")
    return out.getvalue()
