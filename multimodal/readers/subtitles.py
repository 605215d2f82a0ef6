"""Subtitles: cues with their times, joined into passages that carry meaning.

pysubs2 was tried for the parsing and left out: it keeps entities, notes and style blocks of WebVTT as
words, raises for a whole ASS file at one bad stamp, drops cues with stamps as editors write them by hand
(0:0:1,5), and takes time quadratic in the length of a broken tag (0.5 s for 40 kB).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from multimodal.readers.documents import text_kind
from multimodal.readers.text import passages, read_text, told
from multimodal.types import Modality, ReadOptions, Segment

PASSAGE_SECONDS = 10.0
"""The most that joined cues may span: about the length of a shot, and of a breath of speech."""
PAUSE = 2.0
"""Seconds without a cue after which a new passage begins."""
MAX_BYTES = 16 * 2**20
"""A film has 0.1 MB of subtitles, in ASS with drawings up to 10."""
MAX_HOURS = 1000
"""A stamp beyond is damage."""

Kind = Literal["srt", "vtt", "ass"]

# Hours may have any number of digits: stamps that no clock shows must be seen to be left out.
_STAMP = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})(?:[,.](\d{1,3})\d*)?"
_TIMING = re.compile(rf"^[ \t]*{_STAMP}[ \t]*-->[ \t]*{_STAMP}.*$", re.MULTILINE)
_ASS_STAMP = re.compile(rf"[ \t]*{_STAMP}[ \t]*")
# <i>, </font>, <c.yellow>, <00:00:01.500>, and the {\an8} of editors.
_TAG = re.compile(r"</?[A-Za-z0-9][^<>]*>|\{\\[^{}]*\}|</>")
_OVERRIDE = re.compile(r"\{([^{}]*)\}")
_DRAWING = re.compile(r"\\p(\d)")
_BREAK = re.compile(r"\\[Nnh]")


class Cue(NamedTuple):
    """What is said from `start` to `end`, in seconds."""

    start: float
    end: float
    text: str


class SubtitleReader:
    """srt, vtt, ass and ssa: text segments with start and end, their role "subtitles".

    Consecutive cues are joined while together they span at most 10 s and hold at most
    `options.passage_chars` characters, and no pause of more than 2 s lies between them. Tags are
    stripped, a line that rolls on from the cue before is given once. A single cue that is too long is
    cut as a text is, its time shared by characters. Raises ReadError when the file holds no cue.
    """

    modality: Modality = "text"
    yields: tuple[Modality, ...] = ("text",)
    noun = "subtitles"
    extensions = (".srt", ".vtt", ".ass", ".ssa")
    kinds = ("srt", "vtt", "ass")

    def read(self, path: Path, options: ReadOptions = ReadOptions()) -> Iterator[Segment]:  # noqa: B008
        found = cues(read_text(path, MAX_BYTES))
        yield from told(subtitle_segments(found, path, options), "the file holds no subtitles")


def subtitle_segments(found: Sequence[Cue], path: Path, options: ReadOptions) -> Iterator[Segment]:
    """Cues, in the order of their start, as joined text segments of `path`; none where texts are unwanted."""
    if "text" in options.modalities:
        for cue in joined(found, options.passage_chars):
            yield Segment("text", cue.text, path, cue.start, cue.end, role="subtitles")


def cues(text: str, kind: Kind | None = None) -> list[Cue]:
    """The cues of a text in the order of their start, markup stripped, empty ones left out.

    `kind` is srt, vtt or ass (which ssa is too); without one the text's beginning tells. Cues that would
    start after 1,000 hours are left out, one that ends before it starts lasts no time.
    """
    kind = kind or ("ass" if text_kind(text) == "ass" else "srt")
    found = _ass_cues(text) if kind == "ass" else _timed_cues(text)
    return sorted(found, key=lambda cue: cue.start)


def _timed_cues(text: str) -> Iterator[Cue]:
    """Those of srt and vtt."""
    timings = list(_TIMING.finditer(text))
    for timing, following in zip(timings, [*timings, None][1:], strict=True):
        body = text[timing.end() : following.start() if following else len(text)]
        # The text of a cue ends at an empty line; what follows is the next cue's number or a note.
        body = re.split(r"(?:^|\n)[ \t]*\n", body.removeprefix("\n"), maxsplit=1)[0]
        yield from _cue(timing.groups()[:4], timing.groups()[4:], html.unescape(_TAG.sub("", body)))


def _ass_cues(text: str) -> Iterator[Cue]:
    """Those of the dialogue lines of ass and ssa, whose fields the Format line before them names."""
    names = ["start" if at == 1 else "end" if at == 2 else "" for at in range(10)]  # of ass and ssa alike
    events = False
    for line in text.split("\n"):
        if line.lstrip().startswith("["):
            events = line.strip().casefold() == "[events]"
        head, colon, body = line.partition(":")
        head = head.strip().casefold()
        if not (events and colon):
            continue
        if head == "format":
            names = [name.strip().casefold() for name in body.split(",")]
        elif head == "dialogue" and "start" in names and "end" in names:
            fields = body.split(",", len(names) - 1)
            if len(fields) == len(names):
                start = _ASS_STAMP.fullmatch(fields[names.index("start")])
                end = _ASS_STAMP.fullmatch(fields[names.index("end")])
                if start and end:
                    yield from _cue(start.groups(), end.groups(), spoken(fields[-1]))


def spoken(text: str) -> str:
    r"""The words of the text field of an ASS line: without override tags such as {\an8}, drawings
    (from {\p1} to {\p0}) and HTML tags, its breaks as spaces."""
    drawing, parts = False, []
    for number, part in enumerate(_OVERRIDE.split(text)):
        if number % 2:
            mode = _DRAWING.search(part)
            drawing = drawing if mode is None else mode[1] != "0"
        elif not drawing:
            parts.append(part)
    return " ".join(_TAG.sub("", _BREAK.sub(" ", "".join(parts))).split())


def _cue(first: tuple[str | None, ...], last: tuple[str | None, ...], text: str) -> Iterator[Cue]:
    start, end = _seconds(first), _seconds(last)
    words = " ".join(text.split())
    if words and start is not None:
        yield Cue(start, start if end is None else max(start, end), words)


def _seconds(parts: tuple[str | None, ...]) -> float | None:
    hours, minutes, whole, fraction = (part or "0" for part in parts)
    if len(hours.lstrip("0")) > 4 or int(hours) > MAX_HOURS:
        return None
    return int(hours) * 3600 + int(minutes) * 60 + int(whole) + float(f"0.{fraction}")


def joined(found: Sequence[Cue], most: int) -> Iterator[Cue]:
    """Consecutive cues as passages of at most `most` characters, by the rule `SubtitleReader` states."""
    passage: Cue | None = None
    for cue in found:
        if passage is None:
            passage = cue
            continue
        end = max(passage.end, cue.end)
        near = end - passage.start <= PASSAGE_SECONDS and cue.start - passage.end <= PAUSE
        # Lengths are looked at before words: to find where one long text rolls on in another is slow.
        text = (
            _follow(passage.text, cue.text)
            if near and max(map(len, (passage.text, cue.text))) <= most
            else ""
        )
        if text and len(text) <= most:
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
