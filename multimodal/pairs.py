"""Files of pairs: two columns of things that belong together, each cell a text or the path of a file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
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
WEIGHT, SPLIT = "weight", "split"
SPLITS = {"": "train", "train": "train", "training": "train", "test": "test"} | dict.fromkeys(
    ("validation", "valid", "val", "dev"), "validation"
)


@dataclass(frozen=True)
class Pairs:
    """Pairs of items, and what their columns are called."""

    columns: tuple[str, str]
    pairs: Sequence[tuple[Item, Item]]
    weights: Sequence[float] | None = None
    """How much each pair counts, above 0, where a column says so."""
    splits: Sequence[str] | None = None
    """What each pair is for, where a column says so: train, validation, test."""


def read_pairs(path: str | Path) -> Pairs:
    """The pairs of a file with a header and two columns, separated by commas, semicolons or tabs.

    Beside them there may be columns called `weight` (a number above 0; empty is 1) and `split` (train,
    validation or test; empty is train).

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
    rows, extra = _rows(source, text)
    if not rows:
        raise QueryError(f"{source} holds no pairs.")
    first = rows[0][1]
    columns, kinds = (first[0], first[1]), (_kind(first[0]), _kind(first[1]))
    if not extra and any(isinstance(_cell(cell, "either", source.parent), Path) for cell in first):
        columns, kinds = ("left", "right"), ("either", "either")
    else:
        rows = rows[1:]
    pairs = [
        (_cell(left, kinds[0], source.parent), _cell(right, kinds[1], source.parent))
        for _, (left, right) in rows
    ]
    if not pairs:
        raise QueryError(f"{source} holds a header and no pairs.")
    numbers = [number for number, _ in rows]
    return Pairs(
        columns,
        pairs,
        _weights(source, numbers, extra[WEIGHT]) if WEIGHT in extra else None,
        _splits(source, numbers, extra[SPLIT]) if SPLIT in extra else None,
    )


def _rows(source: Path, text: str) -> tuple[list[tuple[int, tuple[str, str]]], dict[str, list[str]]]:
    """Line numbers and both cells of each row, the header first; cells of WEIGHT and SPLIT, without it."""
    delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[tuple[int, tuple[str, str]]] = []
    extra: dict[str, list[str]] = {}
    places: dict[str, int] = {}
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if not rows and len(cells) > 2:
                names = [cell.lower() for cell in cells]
                places = {name: names.index(name) for name in (WEIGHT, SPLIT) if name in names}
                extra = {name: [] for name in places}
            else:
                for name, place in places.items():
                    extra[name].append(cells[place] if place < len(cells) else "")
            cells = [cell for place, cell in enumerate(cells) if place not in places.values()]
            if len(cells) != 2 or not all(cells):
                raise QueryError(
                    f"{source}, line {reader.line_num}: a pair is two filled cells, not {len(cells)}"
                    f" of which {sum(map(bool, cells))} are filled."
                )
            rows.append((reader.line_num, (cells[0], cells[1])))
    except csv.Error as error:
        raise QueryError(f"{source}, line {reader.line_num}: {error}.") from error
    return rows, extra


def _weights(source: Path, lines: Sequence[int], cells: Sequence[str]) -> list[float]:
    found = []
    for line, cell in zip(lines, cells, strict=True):
        try:
            weight = float(cell or 1)
        except ValueError:
            weight = math.nan
        if not 0 < weight < math.inf:
            raise QueryError(f"{source}, line {line}: a weight is a number above 0, not {cell!r}.")
        found.append(weight)
    return found


def _splits(source: Path, lines: Sequence[int], cells: Sequence[str]) -> list[str]:
    found = []
    for line, cell in zip(lines, cells, strict=True):
        if cell.lower() not in SPLITS:
            raise QueryError(f"{source}, line {line}: a split is train, validation or test, not {cell!r}.")
        found.append(SPLITS[cell.lower()])
    return found


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
