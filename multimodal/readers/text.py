"""Texts: the encoding told from the bytes, markdown reduced to its words, passages cut where sense ends."""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from multimodal.errors import ReadError
from multimodal.readers.base import readable
from multimodal.types import Modality, ReadOptions, Segment

MAX_BYTES = 64 * 2**20
"""Larger files of text are logs or data, not something to read; each 64 MB would be 100,000 passages."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16: its mark begins with that one's
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_PARAGRAPH_END = re.compile(r"\n[ \t]*\n\s*")
# After . ! ? and their like, quotes and brackets included, when a space follows; at once after CJK ones.
_SENTENCE_END = re.compile(r"(?:[.!?…]+[\"'”’)\]]*(?=\s)|[。！？]+[」』”’）]*)\s*")
_CLOSING = ".!?…。！？\"'”’」』"
_LINE_END = re.compile(r"\n\s*")
_WORD_END = re.compile(r"\s+")


class TextReader:
    """txt and md: one segment for each passage, of at most `options.passage_chars` characters.

    A paragraph is a passage; a heading (short, no full stop at its end) goes with what follows. Longer
    ones are cut after sentences, what is still too long after lines, then between words. Encodings:
    what a byte order mark says, else UTF-8, else UTF-16 by its zeros, else Windows-1252.

    Raises ReadError for a file without text, of other content than text, or above 64 MB.
    """

    modality: Modality = "text"
    yields: tuple[Modality, ...] = ("text",)
    noun = "a text"
    extensions = (".txt", ".md")
    kinds = ("text",)

    def read(self, path: Path, options: ReadOptions = ReadOptions()) -> Iterator[Segment]:  # noqa: B008
        text = read_text(path)
        if path.suffix.lower() == ".md":
            text = plain_markdown(text)
        found = False
        for begin, end in passages(text, options.passage_chars):
            yield Segment("text", text[begin:end], path)
            found = True
        if not found:
            raise ReadError("the file holds no text")


def read_text(path: Path) -> str:
    """The text of a file, lines ended by \\n, without byte order mark. Raises ReadError."""
    with readable():
        if path.stat().st_size > MAX_BYTES:
            raise ReadError(f"the text is longer than {MAX_BYTES // 2**20} MB")
        data = path.read_bytes()
    if not data:
        raise ReadError("the file is empty")
    text = decode(data)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def decode(data: bytes) -> str:
    """Bytes of unknown encoding as text. Raises ReadError when they are no text."""
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _checked(data[len(mark) :].decode(encoding, "replace"))
    try:
        return _checked(data.decode("utf-8"))
    except UnicodeDecodeError:
        pass
    if wide := _without_mark(data):
        return _checked(data.decode(wide, "replace"))
    loose = data.decode("utf-8", "replace")
    lost = loose.count("\ufffd")
    if sum(ord(char) > 127 for char in loose) - lost > 4 * lost:
        return _checked(loose)  # UTF-8 with a few damaged or missing bytes
    try:
        return _checked(data.decode("cp1252"))
    except UnicodeDecodeError:
        return _checked(data.decode("latin-1"))


def _without_mark(data: bytes) -> str | None:
    """UTF-16 without its mark: every other byte of a mostly Latin text is zero."""
    even, odd = data[0:2000:2], data[1:2000:2]
    for encoding, zeros, others in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if zeros.count(0) > 0.4 * len(zeros) and not others.count(0):
            return encoding
    return None


def _checked(text: str) -> str:
    controls = len(_CONTROLS.findall(text))
    damaged = text.count("\ufffd")
    if "\0" in text or controls > len(text) // 200 or damaged > len(text) // 20:
        raise ReadError("not a text: its content is binary")
    return text


def passages(text: str, most: int) -> Iterator[tuple[int, int]]:
    """The passages of a text as character offsets (begin, end), in order, none longer than `most`.

    They neither overlap nor hold space at their ends; together they hold every word.
    """
    begin = end = 0  # the passage being gathered; empty while end == begin
    for first, last in _pieces(text, 0, len(text), _PARAGRAPH_END):
        heading = 0 < end - begin < most // 8 and text[end - 1] not in _CLOSING
        if heading and last - begin <= most:
            end = last
            continue
        if begin < end:
            yield from _fit(text, begin, end, most)
        begin, end = first, last
    if begin < end:
        yield from _fit(text, begin, end, most)


def _fit(text: str, begin: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """One paragraph in as few pieces as sentences allow, sentences in as few as words allow."""
    if end - begin <= most:
        yield begin, end
        return
    start = stop = begin
    for first, last in _small_pieces(text, begin, end, most, (_SENTENCE_END, _LINE_END, _WORD_END)):
        if last - start > most and stop > start:
            yield start, stop
            start = first
        stop = last
    yield start, stop


def _small_pieces(
    text: str, begin: int, end: int, most: int, ends: Sequence[re.Pattern[str]]
) -> Iterator[tuple[int, int]]:
    """Pieces of at most `most` characters: cut at the first of `ends`, what is too long at the next."""
    if not ends:  # one word, or a script without spaces
        for cut in range(begin, end, most):
            yield cut, min(cut + most, end)
        return
    for first, last in _pieces(text, begin, end, ends[0]):
        if last - first <= most:
            yield first, last
        else:
            yield from _small_pieces(text, first, last, most, ends[1:])


def _pieces(text: str, begin: int, end: int, boundary: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """text[begin:end] cut after each match of `boundary`, space at the ends left out."""
    cuts = [match.end() for match in boundary.finditer(text, begin, end)]
    for first, last in zip([begin, *cuts], [*cuts, end], strict=True):
        piece = text[first:last]
        if words := piece.strip():
            first += len(piece) - len(piece.lstrip())
            yield first, first + len(words)


_MARKDOWN: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.MULTILINE), new)
    for pattern, new in (
        (r"\A---[ \t]*\n(?:.*\n)*?(?:---|\.\.\.)[ \t]*(?:\n|\Z)", ""),  # front matter
        (r"<!--[\s\S]*?-->", ""),
        (r"^[ \t]*(?:```|~~~).*$", ""),  # the fences of code, not the code
        (r"^[ \t]{0,3}\[[^\]\n]+\]:[ \t]*\S.*$", ""),  # link definitions
        (r"^[ \t]*(?:[-*_][ \t]*){3,}$|^[ \t]*=+[ \t]*$|^[ \t]*-+[ \t]*$", ""),  # rules, underlines
        (r"^[ \t]*\|?(?:[ \t]*:?-+:?[ \t]*\|)+(?:[ \t]*:?-+:?[ \t]*)?$", ""),  # the rule of a table
        (r"^(?:[ \t]*>)+[ \t]?", ""),
        (r"^[ \t]{0,3}(#{1,6})[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$", r"\2\n"),  # a heading ends its paragraph
        (r"^[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+(?:\[[ xX]\][ \t]+)?", ""),
        (r"!?\[((?:[^\[\]]|\[[^\[\]]*\])*)\](?:\([^()\n]*(?:\([^()\n]*\)[^()\n]*)*\)|\[[^\]\n]*\])", r"\1"),
        (r"!?\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\([^()\n]*\)", r"\1"),  # a link around what was a picture
        (r"<((?:https?|mailto):[^>\s]+)>", r"\1"),
        (r"</?[A-Za-z][^<>]*>", ""),
        (r"(`+)(.+?)\1", r"\2"),
        (r"(?<![\\\w*])(\*{1,3})(?=\S)(.+?)(?<=\S)\1(?![\w*])", r"\2"),
        (r"(?<![\\\w_])(_{1,3})(?=\S)(.+?)(?<=\S)\1(?![\w_])", r"\2"),
        (r"~~(?=\S)(.+?)(?<=\S)~~", r"\1"),
        (r"^[ \t]*\|(.*)\|[ \t]*$", r"\1"),
        (r"(?<!\\)[ \t]+\|[ \t]+", "  "),
        (r"\\([!-/:-@\[-`{-~])", r"\1"),
    )
)


def plain_markdown(text: str) -> str:
    """Markdown without its marks: the words of headings, lists, links, alternative texts, tables and code."""
    for pattern, new in _MARKDOWN:
        text = pattern.sub(new, text)
    return html.unescape(text)
