"""Subtitles: cues with their times, joined into passages that carry meaning."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from multimodal.errors import ReadError
from multimodal.readers.text import passages, read_text
from multimodal.types import Modality, ReadOptions, Segment

PASSAGE_SECONDS = 10.0
"""The most that joined cues may span: about the length of a shot, and of a breath of speech."""
PAUSE = 2.0
"""Seconds without a cue after which a new passage begins."""

_STAMP = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})(?:[,.](\d{1,3}))?"
_TIMING = re.compile(rf"^[ \t]*{_STAMP}[ \t]*-->[ \t]*{_STAMP}.*$", re.MULTILINE)
# <i>, </font>, <c.yellow>, <00:00:01.500>, and the {\an8} of editors.
_TAG = re.compile(r"</?[A-Za-z0-9][^<>]*>|\{\\[^{}]*\}|</>")


class Cue(NamedTuple):
    """What is said from `start` to `end`, in seconds."""

    start: float
    end: float
    text: str


class SubtitleReader:
    """srt and vtt: text segments with start and end.

    Consecutive cues are joined while together they span at most 10 s and hold at most
    `options.passage_chars` characters, and no pause of more than 2 s lies between them. Tags are
    stripped, a line that rolls on from the cue before is given once. A single cue that is too long is
    cut as a text is, its time shared by characters. Raises ReadError when the file holds no cue.
    """

    modality: Modality = "text"
    yields: tuple[Modality, ...] = ("text",)
    noun = "subtitles"
    extensions = (".srt", ".vtt")
    kinds = ("srt", "vtt")

    def read(self, path: Path, options: ReadOptions = ReadOptions()) -> Iterator[Segment]:  # noqa: B008
        found = False
        for cue in joined(cues(read_text(path)), options.passage_chars):
            yield Segment("text", cue.text, path, cue.start, cue.end)
            found = True
        if not found:
            raise ReadError("the file holds no subtitles")


def cues(text: str) -> list[Cue]:
    """The cues of an srt or vtt text in the order of their start, markup stripped, empty ones left out."""
    timings = list(_TIMING.finditer(text))
    found: list[Cue] = []
    for timing, following in zip(timings, [*timings, None][1:], strict=True):
        body = text[timing.end() : following.start() if following else len(text)]
        # The text of a cue ends at an empty line; what follows is the next cue's number or a note.
        body = re.split(r"(?:^|\n)[ \t]*\n", body.removeprefix("\n"), maxsplit=1)[0]
        start, end = _seconds(timing.groups()[:4]), _seconds(timing.groups()[4:])
        words = " ".join(html.unescape(_TAG.sub("", body)).split())
        if words:
            found.append(Cue(start, max(start, end), words))
    return sorted(found, key=lambda cue: cue.start)


def _seconds(parts: tuple[str | None, ...]) -> float:
    hours, minutes, whole, fraction = (part or "0" for part in parts)
    return int(hours) * 3600 + int(minutes) * 60 + int(whole) + float(f"0.{fraction}")


def joined(found: list[Cue], most: int) -> Iterator[Cue]:
    """Consecutive cues as passages, by the rule `SubtitleReader` states."""
    passage: Cue | None = None
    for cue in found:
        if passage is None:
            passage = cue
            continue
        end = max(passage.end, cue.end)
        text = _follow(passage.text, cue.text)
        fits = end - passage.start <= PASSAGE_SECONDS and len(text) <= most
        if fits and cue.start - passage.end <= PAUSE:
            passage = Cue(passage.start, end, text)
        else:
            yield from _split(passage, most)
            passage = cue
    if passage is not None:
        yield from _split(passage, most)


def _follow(before: str, after: str) -> str:
    """The two in one line; the words that end the one and begin the other, as in rolling captions, once."""
    words, new = before.split(), after.split()
    for count in range(min(len(words), len(new)), 2, -1):  # two words may well be said twice
        if words[-count:] == new[:count]:
            return " ".join(words + new[count:])
    return before if words == new else f"{before} {after}"


def _split(cue: Cue, most: int) -> Iterator[Cue]:
    total = len(cue.text)
    for begin, end in passages(cue.text, most):
        span = cue.end - cue.start
        start, stop = cue.start + span * begin / total, cue.start + span * end / total
        yield Cue(start, cue.end if end == total else stop, cue.text[begin:end])
