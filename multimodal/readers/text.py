"""Texts: passages cut where sense ends, each with its place in the text it is from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from multimodal.errors import ReadError
from multimodal.readers.base import open_file, readable
from multimodal.readers.encodings import decode
from multimodal.types import Modality, ReadOptions, Role, Segment

MAX_BYTES = 64 * 2**20
"""Larger files of text are logs or data, not something to read; each 64 MB would be 100,000 passages."""

_PARAGRAPH_END = re.compile(r"\n[ \t]*\n\s*")
# After . ! ? and their like, quotes and brackets included, when a space follows; at once after CJK ones.
# A run of stops is looked at from its beginning alone: from each of a million dots would take hours.
_SENTENCE_END = re.compile(r"(?:(?<![.!?…])[.!?…]+[\"'”’)\]]*(?=\s)|[。！？]+[」』”’）]*)\s*")
_CLOSING = ".!?…。！？\"'”’」』"
_LINE_END = re.compile(r"\n\s*")
_WORD_END = re.compile(r"\s+")
_SIGN_END = re.compile(r"[^\w\s]+")
_ENDS = (_SENTENCE_END, _LINE_END, _WORD_END, _SIGN_END)


class TextReader:
    """txt and md: one segment for each passage, of at most `options.passage_chars` characters.

    A paragraph is a passage; a heading (short, no full stop at its end) goes with what follows. Longer
    ones are cut after sentences, what is still too long after lines, then between words, after signs, and
    only a word that is too long by itself is cut. Encodings are told by
    `multimodal.readers.encodings.decode`; of markdown the words alone are the text.

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
            from multimodal.readers.markdown import plain_markdown

            text = plain_markdown(text)
        yield from told(passage_segments(text, path, options))


def read_text(path: Path, most: int = MAX_BYTES) -> str:
    """The text of a file of at most `most` bytes, lines ended by \\n, without byte order mark.

    Raises ReadError.
    """
    text = decode(read_bytes(path, most))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_bytes(path: Path, most: int = MAX_BYTES) -> bytes:
    """A file of at most `most` bytes. Raises ReadError where it is larger, empty or cannot be opened."""
    with readable(), open_file(path) as file:
        data = file.read(most + 1)  # whatever its size is said to be: it may grow
    if len(data) > most:
        raise ReadError(f"the text is longer than {most // 2**20} MB")
    if not data:
        raise ReadError("the file is empty")
    return data


def passage_segments(
    text: str, path: Path, options: ReadOptions, role: Role = "content", page: int | None = None
) -> Iterator[Segment]:
    """The passages of a text as segments with their `chars`, none where texts are not wanted."""
    if "text" in options.modalities:
        for begin, end in passages(text, options.passage_chars):
            yield Segment("text", text[begin:end], path, page=page, chars=(begin, end), role=role)


def told(segments: Iterator[Segment], reason: str = "the file holds no text") -> Iterator[Segment]:
    """The same segments. Raises ReadError with the reason where there is none."""
    first = next(segments, None)
    if first is None:
        raise ReadError(reason)
    yield first
    yield from segments


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
    for first, last in _small_pieces(text, begin, end, most, _ENDS):
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
    for match in boundary.finditer(text, begin, end):
        if match.end() < end:
            yield from _stripped(text, begin, match.end())
            begin = match.end()
    yield from _stripped(text, begin, end)


def _stripped(text: str, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Without the space around it, if anything is left; nothing is copied, as a text may be one piece."""
    while first < last and text[last - 1].isspace():
        last -= 1
    while first < last and text[first].isspace():
        first += 1
    if first < last:
        yield first, last
