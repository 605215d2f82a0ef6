"""The part of a text in which the words of a query were found."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from multimodal.library.store import Store
from multimodal.library.word_query import Atom, parsed

Span: TypeAlias = tuple[int, int]

OPEN, CLOSE = "\ue000", "\ue001"
"""Around words found: of Unicode's private use, so that texts hardly have them."""
AT_A_TIME = 500
"""SQLite before 3.32 takes at most 999 parameters."""


@dataclass(frozen=True)
class Snippet:
    """A part of a text around the words found; `marks` are their places in it, (begin, end)."""

    text: str
    marks: tuple[Span, ...]


def snippets(store: Store, query: str, segments: Sequence[int], width: int = 160) -> dict[int, Snippet]:
    """The parts of segments' texts, of about `width` characters, with most of the words of a query.

    A text without any of them gives its beginning; a segment without text gives nothing.
    """
    atoms = parsed(query).atoms
    atoms = tuple(atom for atom in atoms if not atom.is_stop) or atoms
    found: dict[int, Snippet] = {}
    with store.snapshot() as at:
        for begin in range(0, len(segments), AT_A_TIME):
            some = [int(number) for number in segments[begin : begin + AT_A_TIME]]
            for number, text, marks in _marked(at, atoms, some):
                found[number] = cropped(text, marks, width)
    return found


def cropped(text: str, marks: Sequence[Span], width: int) -> Snippet:
    """The part of `text` of about `width` characters that has most of the marks, cut between words."""
    begin = 0
    if len(text) > width and marks:
        counts = [sum(first <= a and b <= first + width for a, b in marks) for first, _ in marks]
        first = marks[counts.index(max(counts))][0]
        last = max([b for a, b in marks if first <= a and b <= first + width], default=first)
        begin = max(0, min(first - (width - (last - first)) // 3, len(text) - width))
    end = min(len(text), begin + width)
    held = [(a, b) for a, b in marks if begin <= a and b <= end]
    if begin > 0:
        space = text.find(" ", begin, held[0][0] if held else end)
        begin = space + 1 if space >= 0 else begin
    if end < len(text):
        space = text.rfind(" ", held[-1][1] if held else begin, end)
        end = space if space > begin else end
    lead, tail = "…" * (begin > 0), "…" * (end < len(text))
    shift = len(lead) - begin
    return Snippet(lead + text[begin:end] + tail, tuple((a + shift, b + shift) for a, b in held))


def _marked(
    store: Store, atoms: Sequence[Atom], segments: Sequence[int]
) -> Iterator[tuple[int, str, list[Span]]]:
    """The texts of segments with the places where words of the query stand, ascending."""
    marks = ", ".join("?" * len(segments))
    rows = store.select(f"SELECT number, text FROM wordings WHERE number IN ({marks})", segments)
    words = " OR ".join(atom.in_texts for atom in atoms if not atom.unspaced)
    highlighted: dict[int, str] = {}
    if words and rows:
        sql = f"SELECT rowid, highlight(words, 0, ?, ?) FROM words WHERE words MATCH ? AND rowid IN ({marks})"
        highlighted = dict(store.select(sql, [OPEN, CLOSE, words, *segments]))
    for number, text in rows:
        spans = _spans(highlighted.get(number, "")) if OPEN not in text and CLOSE not in text else []
        for atom in atoms if not spans or any(atom.unspaced for atom in atoms) else ():
            spans += [found.span() for found in re.finditer(re.escape(atom.text), text, re.IGNORECASE)]
        yield number, text, _merged(spans)


def _spans(highlighted: str) -> list[Span]:
    spans, begin, length = [], 0, 0
    for letter in highlighted:
        if letter == OPEN:
            begin = length
        elif letter == CLOSE:
            spans.append((begin, length))
        else:
            length += 1
    return spans


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for begin, end in sorted(spans):
        if merged and begin < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged
