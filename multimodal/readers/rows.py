"""Rows of large tables, one by one: lines with their places, records of csv, whatever is wrong in between."""

from __future__ import annotations

import csv
import io
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple

from multimodal.errors import ReadError
from multimodal.readers.base import open_file, readable
from multimodal.readers.encodings import encoding_of

HEAD_BYTES = 1 << 20
"""What the encoding is told from."""
MAX_RECORD = 100_000
"""Characters of a csv record; a quote that is not closed within them never is."""
MOST_UNCLOSED = 100
"""Quotes that may be left open before quotes are taken for characters as any other: to look for the end of
each could take time quadratic in the length of the file."""

_DELIMITERS = (",", ";", "\t", "|")
_NONE = "\x1f"  # the unit separator of ASCII: no text has it


class Line(NamedTuple):
    """A line with its break, and the offset of its first character in the text of the file."""

    text: str
    at: int


class Record(NamedTuple):
    """A row of csv: its fields, and the lines it was read from with their offset."""

    cells: list[str]
    raw: str
    at: int


@contextmanager
def opened_lines(path: Path, most: int) -> Iterator[Iterator[Line]]:
    """The lines of a text file of any size, their breaks \\n; those above `most` characters are left out.

    The encoding is told from the first megabyte; bytes that do not fit it are U+FFFD. Raises ReadError where
    the file cannot be read or is binary.
    """
    with readable(), open_file(path) as file:
        head = file.read(HEAD_BYTES)
        if not head:
            raise ReadError("the file is empty")
        whole = head if len(head) < HEAD_BYTES else head[: head.rfind(b"\n") + 1] or head[:-3]
        encoding, mark = encoding_of(whole)
        file.seek(mark)
        with io.TextIOWrapper(file, encoding=encoding, errors="replace", newline=None) as text:
            yield _lines(text, most)


def _lines(text: IO[str], most: int) -> Iterator[Line]:
    at, beginning = 0, True
    while True:
        line = text.readline(most + 1)
        if not line:
            return
        if "\0" in line:
            raise ReadError("not a text: its content is binary")
        ends = line.endswith("\n")
        if beginning and len(line) <= most:
            yield Line(line, at)
        at, beginning = at + len(line), ends


def records(lines: Iterable[Line], delimiter: str) -> Iterator[Record]:
    """The rows of csv as RFC 4180 and those who do not know it write them; empty ones are left out.

    A quote that is never closed makes its line a row without quotes, and takes nothing from the lines after.
    """
    waiting = deque[Line]()
    source = iter(lines)
    unclosed = 0
    while True:
        line = waiting.popleft() if waiting else next(source, None)
        if line is None:
            return
        if not line.text.strip():
            continue
        if '"' not in line.text or unclosed > MOST_UNCLOSED:
            yield Record(line.text.rstrip("\n").split(delimiter), line.text, line.at)
            continue
        taken = _Taken(line, waiting, source)
        try:
            cells = next(csv.reader(taken, delimiter=delimiter))
        except (csv.Error, StopIteration):
            cells = None
        if cells is None or taken.unclosed:
            unclosed += 1
            waiting.extendleft(reversed(taken.lines[1:]))
            cells = line.text.rstrip("\n").split(delimiter)
            yield Record([cell.strip('" ') for cell in cells], line.text, line.at)
        else:
            yield Record(cells, "".join(one.text for one in taken.lines), line.at)


class _Taken:
    """Gives a csv reader the lines of one record, and remembers them."""

    def __init__(self, line: Line, waiting: deque[Line], source: Iterator[Line]) -> None:
        self.lines: list[Line] = []
        self.unclosed = False
        self._size = 0
        self._next: Line | None = line
        self._waiting, self._source = waiting, source

    def __iter__(self) -> _Taken:
        return self

    def __next__(self) -> str:
        line, self._next = self._next, None
        if line is None:  # asked for more: a quote is open
            line = self._waiting.popleft() if self._waiting else next(self._source, None)
        if line is not None:
            self.lines.append(line)
            self._size += len(line.text)
        if line is None or (self._size > MAX_RECORD and len(self.lines) > 1):
            self.unclosed = True
            raise StopIteration
        return line.text


def delimiter_of(lines: Sequence[Line], is_name: Callable[[str], bool]) -> str:
    """The delimiter of a table from its first lines: the one that parts off a named column, else that which
    gives four in five rows the same number of columns, more than one; else one that never occurs."""
    best, most = _NONE, (0, 0)
    for delimiter in _DELIMITERS:
        rows = [record.cells for record in islice(records(lines, delimiter), 50)]
        if not rows or len(rows[0]) < 2:
            continue
        named = sum(map(is_name, rows[0]))
        width, count = Counter(map(len, rows)).most_common(1)[0]
        if (named or (width > 1 and count * 5 >= len(rows) * 4)) and (named, width) > most:
            best, most = delimiter, (named, width)
    return best
