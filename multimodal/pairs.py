"""Files of pairs: two columns of things that belong together, each cell a text or the path of a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from multimodal import readers
from multimodal.errors import NoMediaFile, QueryError
from multimodal.types import Item

Kind: TypeAlias = Literal["text", "file", "either"]

TEXTS = frozenset({"text", "caption", "sentence", "description", "label", "title"})
FILES = frozenset(
    {"path", "file", "filename", "filepath", "media", "image", "picture", "photo"}
    | {"video", "clip", "film", "audio", "sound", "recording"}
)
"""Names of columns whose cells are always texts, or always files; in others, a cell is what it looks like."""
DELIMITERS = ",\t;"


@dataclass(frozen=True)
class Pairs:
    """Pairs of items, and what their columns are called."""

    columns: tuple[str, str]
    pairs: Sequence[tuple[Item, Item]]


def read_pairs(path: str | Path) -> Pairs:
    """The pairs of a file with a header and two columns, separated by commas, semicolons or tabs.

    Columns called caption, text and the like hold texts, those called image, video, audio, path and the
    like hold files; elsewhere a cell is a file where there is one of that name, or where it looks meant as
    one (the extension of a medium and no blanks). Relative paths start from the folder of the pairs, or else
    from the current one. A first row that names a file is no header. Raises NoMediaFile, QueryError.
    """
    source = Path(path)
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except (OSError, ValueError) as error:
        if not source.is_file():
            raise NoMediaFile(f"{source} does not exist or is not a file.") from None
        raise QueryError(f"{source} cannot be read as pairs: {error}.") from error
    rows = list(_rows(source, text))
    if not rows:
        raise QueryError(f"{source} holds no pairs.")
    first = rows[0][1]
    columns, kinds = (first[0], first[1]), (_kind(first[0]), _kind(first[1]))
    if any(isinstance(_cell(cell, "either", source.parent), Path) for cell in first):
        columns, kinds = ("left", "right"), ("either", "either")
    else:
        rows = rows[1:]
    pairs = [
        (_cell(left, kinds[0], source.parent), _cell(right, kinds[1], source.parent))
        for _, (left, right) in rows
    ]
    if not pairs:
        raise QueryError(f"{source} holds a header and no pairs.")
    return Pairs(columns, pairs)


def _rows(source: Path, text: str) -> Iterator[tuple[int, tuple[str, str]]]:
    delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if len(cells) != 2 or not all(cells):
                raise QueryError(
                    f"{source}, line {reader.line_num}: a pair is two filled cells, not {len(cells)}"
                    f" of which {sum(map(bool, cells))} are filled."
                )
            yield reader.line_num, (cells[0], cells[1])
    except csv.Error as error:
        raise QueryError(f"{source}, line {reader.line_num}: {error}.") from error


def _kind(name: str) -> Kind:
    word = name.lower().replace("_", " ").replace("-", " ").split()
    if word and word[-1] in TEXTS:
        return "text"
    return "file" if word and word[-1] in FILES else "either"


def _cell(cell: str, kind: Kind, folder: Path) -> str | Path:
    if kind == "text":
        return cell
    try:
        for place in (folder / Path(cell).expanduser(), Path(cell)):
            if place.is_file():
                return place
    except (OSError, ValueError, RuntimeError):  # too long for a name, or no name at all
        return cell if kind == "either" else Path(cell)
    looks_meant = Path(cell).suffix.lower() in readers.EXTENSIONS and not any(map(str.isspace, cell))
    return folder / cell if kind == "file" or looks_meant else cell
