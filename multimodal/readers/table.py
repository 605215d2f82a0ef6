"""Tables of captions: csv, tsv and JSON lines, row by row, so that a table of any length can be read."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from multimodal.errors import ReadError, UnsupportedFile
from multimodal.readers.captions import captions_in, is_caption_name, is_prose, is_text, tidy
from multimodal.readers.rows import MAX_RECORD, Line, delimiter_of, opened_lines, records
from multimodal.readers.text import passages
from multimodal.types import Modality, ReadOptions, Segment

SAMPLE = 200
"""Rows that are looked at to find the columns of captions, where none has the name of one."""
MAX_LINE = 1 << 20
"""Characters of a line of JSON; longer ones hold data."""
NO_CAPTIONS = "the table has no column of captions"


class TableReader:
    """csv, tsv, jsonl and ndjson: each caption of each row is a segment.

    Captions stand in the columns or under the keys that are named for them (caption, text, title,
    description, alt, sentence ...; lists of them too), else in the columns whose values mostly read as
    prose in the first rows. `chars` is where the caption stands in the decoded text of the file, None
    where quotes or escapes make it stand otherwise there. Captions above `options.passage_chars` are cut
    as a text is. Rows that cannot be read are passed over.

    Raises UnsupportedFile for a table without captions, which is data and no text to search; ReadError
    where it cannot be read at all.
    """

    modality: Modality = "text"
    yields: tuple[Modality, ...] = ("text",)
    noun = "a table"
    extensions = (".csv", ".tsv", ".jsonl", ".ndjson")
    kinds: tuple[str, ...] = ()

    def read(self, path: Path, options: ReadOptions = ReadOptions()) -> Iterator[Segment]:  # noqa: B008
        if "text" not in options.modalities:
            return
        suffix = path.suffix.lower()
        rows = _csv_captions if suffix in (".csv", ".tsv") else _json_captions
        found = False
        with opened_lines(path, MAX_RECORD if rows is _csv_captions else MAX_LINE) as lines:
            for caption in rows(lines, "\t" if suffix == ".tsv" else None):
                for begin, end in passages(caption.text, options.passage_chars):
                    chars = None if caption.at is None else (caption.at + begin, caption.at + end)
                    yield Segment("text", caption.text[begin:end], path, chars=chars)
                    found = True
        if not found:
            raise UnsupportedFile(NO_CAPTIONS)


class Caption(NamedTuple):
    """A caption, and the offset of its first character in the file; None where it is written otherwise."""

    text: str
    at: int | None


def _csv_captions(lines: Iterator[Line], delimiter: str | None) -> Iterator[Caption]:
    first = list(islice(lines, SAMPLE))
    delimiter = delimiter or delimiter_of(first[:50], is_caption_name)
    rows = records(chain(first, lines), delimiter)
    sample = list(islice(rows, SAMPLE))
    if not sample:
        raise ReadError("the table has no rows")
    header = sample[0].cells
    columns = [number for number, name in enumerate(header) if is_caption_name(name)]
    named = bool(columns)
    if not named:
        columns = _prose_columns([row.cells for row in sample])
        named = not all(is_prose(header[number]) for number in columns if number < len(header))
    for row in islice(chain(sample, rows), int(named), None):
        cells = _fitted(row.cells, len(header), delimiter)
        at = 0
        for number, cell in enumerate(cells):
            at, place = _place(row.raw, cell, at)
            if number in columns:
                yield from _cell_captions(cell, None if place is None else row.at + place)


def _fitted(cells: list[str], width: int, delimiter: str) -> list[str]:
    """A row that is too long has a delimiter in the text of its last column, as captions have commas."""
    return cells if len(cells) <= width else [*cells[: width - 1], delimiter.join(cells[width - 1 :])]


def _prose_columns(rows: list[list[str]]) -> list[int]:
    """The columns in which at least half of the values there are read as prose."""
    columns = []
    for number in range(max(map(len, rows))):
        values = [row[number] for row in rows if number < len(row) and row[number].strip()]
        if values and sum(map(is_prose, values)) * 2 >= len(values):
            columns.append(number)
    return columns


def _place(raw: str, cell: str, start: int) -> tuple[int, int | None]:
    """Where the next cell may begin at the earliest, and where this one stands; None if not as it is."""
    written = cell if '"' not in cell or raw.startswith(cell, start) else cell.replace('"', '""')
    place = raw.find(written, start)
    if place < 0:
        return start, None
    return place + len(written), place if written == cell else None


def _cell_captions(cell: str, at: int | None) -> Iterator[Caption]:
    if cell.startswith("[") and cell.rstrip().endswith("]") and (items := _listed(cell)):
        for item in items:
            place = cell.find(item)
            yield Caption(item, None if at is None or place < 0 else at + place)
    elif is_text(cell) and (text := tidy(cell)):
        place = cell.find(text)
        yield Caption(text, None if at is None or place < 0 else at + place)


def _listed(cell: str) -> list[str]:
    """The strings of a list as JSON or Python writes it."""
    for parse in (json.loads, ast.literal_eval):
        try:
            items = parse(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return [tidy(item) for item in items if is_text(item)] if isinstance(items, list) else []
    return []


def _json_captions(lines: Iterator[Line], _: str | None) -> Iterator[Caption]:
    rows = _parsed(lines)
    sample: list[tuple[Line, Any]] = []
    while len(sample) < SAMPLE and sum(len(line.text) for line, _ in sample) < 4 * MAX_LINE:
        row = next(rows, None)
        if row is None:
            break
        sample.append(row)
    if not sample:
        raise ReadError("no line of it is JSON")
    keys: list[str] | None = None
    if not any(isinstance(value, str) or any(captions_in(value)) for _, value in sample):
        keys = _prose_keys([value for _, value in sample])
    for line, value in chain(sample, rows):
        for text in _row_captions(value, keys):
            written = json.dumps(text, ensure_ascii=False)[1:-1]
            place = line.text.find(f'"{text}"') + 1 if written == text else 0
            yield Caption(text, line.at + place if place else None)


def _row_captions(value: Any, keys: list[str] | None) -> Iterable[str]:
    if isinstance(value, str):
        return [tidy(value)] if is_text(value) else []
    if keys is None:
        return captions_in(value)
    fields = _fields(value)
    return [tidy(fields[key]) for key in keys if is_text(fields.get(key))]


def _parsed(lines: Iterator[Line]) -> Iterator[tuple[Line, Any]]:
    for line in lines:
        if line.text.strip():
            try:
                yield line, json.loads(line.text)
            except (ValueError, RecursionError):
                continue


def _prose_keys(values: list[Any]) -> list[str]:
    """The keys, or places in a list, under which at least half of the values there are read as prose."""
    counts: dict[str, list[bool]] = {}
    for value in values:
        for key, inner in _fields(value).items():
            counts.setdefault(key, []).append(is_prose(inner))
    return [key for key, prose in counts.items() if sum(prose) * 2 >= len(prose)]


def _fields(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        return {str(number): item for number, item in enumerate(value)}
    return value if isinstance(value, dict) else {}
