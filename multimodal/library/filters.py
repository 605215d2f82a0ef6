"""What may be found: conditions on files and their segments, answered by SQL in terms of `COLUMNS`.

    Filter(globs=("2024/**", "!*.gif"), min_width=1000, where="megapixels > 2 OR folder = 'best'")

Conditions on files and on segments are asked apart: a library has far fewer files than segments, and what
is allowed of the files is looked up in the numbers that every matrix of vectors has in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import QueryError
from multimodal.library.expressions import columns_of, refused
from multimodal.library.globs import matching
from multimodal.library.periods import Moment, is_backward, modified_between, taken_between
from multimodal.library.roots import Roots
from multimodal.library.store import Store
from multimodal.library.vectors import Matrix
from multimodal.types import MODALITIES, Modality, Role

Numbers: TypeAlias = NDArray[np.int64]
SECONDS = 10.0
"""How long the SQL of one filter may take."""

FILE_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "file": "number of the file",
        "path": "path relative to the folder that was indexed, with slashes",
        "name": "last part of the path",
        "folder": "the path without it, empty for a file right in that folder",
        "suffix": "extension in lower case with its dot, empty for none",
        "size": "bytes",
        "modified": "last change, ISO 8601 in local time: 2024-05-03T17:20:00",
        "taken": "what the file says of when it was made, as `modified`",
        "date": "`taken`, or `modified` where the file does not say",
        "width": "pixels of the upright picture",
        "height": "pixels",
        "megapixels": "width x height / 1,000,000",
        "duration": "seconds of the whole recording",
        "collection": "name of the collection of rows made elsewhere, else NULL",
    }
)
SEGMENT_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "number": "number of the segment",
        "modality": "text, image, video, audio",
        "role": "content, caption, subtitles",
        "start": "seconds from the beginning of the recording, NULL for what has no time",
        "end": 'seconds; write "end", which is a word of SQL',
        "length": "seconds from start to end",
        "page": "page, from 1",
        "text": "the passage, the caption, the subtitle",
        "id": "id of a row made elsewhere, else NULL",
        "metadata": "JSON of a row made elsewhere: json_extract(metadata, '$.year')",
    }
)
COLUMNS: Mapping[str, str] = MappingProxyType({**SEGMENT_COLUMNS, **FILE_COLUMNS})
"""What `where` may speak of: the columns of the view `items`, which has a row for each embedded segment."""


@dataclass(frozen=True, eq=False)
class Allowed:
    """What a filter lets through, by ascending numbers; None where it says nothing of them."""

    files: Numbers | None = None
    segments: Numbers | None = None

    def positions(self, matrix: Matrix) -> Numbers:
        """The places (m,) of the rows of `matrix` that are let through, ascending."""
        places: Numbers | None = None
        if self.segments is not None:
            places = _places(matrix.segments, self.segments)
        if self.files is not None:
            files = matrix.files if places is None else matrix.files[places]
            inside = np.flatnonzero(flags(self.files, files))
            places = inside if places is None else places[inside]
        return np.arange(len(matrix)) if places is None else places


def flags(numbers: Numbers, of: Numbers) -> NDArray[np.bool_]:
    """Which of the numbers `of` (n,), none negative, are among `numbers`: a table of bits, 2 ms a million."""
    table = np.zeros(int(max(of.max(initial=0), numbers.max(initial=0))) + 1, np.bool_)
    table[numbers] = True
    found: NDArray[np.bool_] = table[of]
    return found


def _places(rows: Numbers, wanted: Numbers) -> Numbers:
    """Where `wanted` stand in `rows`; both ascend."""
    if len(wanted) > len(rows) // 20:
        return np.flatnonzero(flags(wanted, rows))
    found = np.searchsorted(rows, wanted)
    inside = found < len(rows)
    found, wanted = found[inside], wanted[inside]
    return found[rows[found] == wanted]


@dataclass(frozen=True, eq=False)
class Scope:
    """What may be found, among the matrices searched: `positions` in each, None for all of its rows, and
    tables of bits by the numbers of segments and files."""

    positions: Mapping[Modality, Numbers | None]
    segments: NDArray[np.bool_]
    files: NDArray[np.bool_]

    @classmethod
    def of(cls, matrices: Mapping[Modality, Matrix], allowed: Allowed | None = None) -> Scope:
        """The rows of `matrices` that are let through; 5 ms a million."""
        return cls.at(
            matrices, {name: allowed.positions(m) if allowed else None for name, m in matrices.items()}
        )

    @classmethod
    def at(cls, matrices: Mapping[Modality, Matrix], positions: Mapping[Modality, Numbers | None]) -> Scope:
        """The rows of `matrices` at `positions` (ascending), None for all of a modality."""
        chosen = [(matrix, positions[name]) for name, matrix in matrices.items()]
        segments = [m.segments if places is None else m.segments[places] for m, places in chosen]
        files = [m.files if places is None else m.files[places] for m, places in chosen]
        return cls(positions, _table(segments), _table(files))

    def has_segments(self, numbers: Numbers) -> NDArray[np.bool_]:
        """Which of the segments (n,) may be found."""
        return _looked_up(self.segments, numbers)

    def has_files(self, numbers: Numbers) -> NDArray[np.bool_]:
        """Which of the files (n,) have a segment that may be found."""
        return _looked_up(self.files, numbers)


def _table(parts: Sequence[Numbers]) -> NDArray[np.bool_]:
    table = np.zeros(max((int(part.max(initial=-1)) for part in parts), default=-1) + 1, np.bool_)
    for part in parts:
        table[part] = True
    return table


def _looked_up(table: NDArray[np.bool_], numbers: Numbers) -> NDArray[np.bool_]:
    found = np.zeros(len(numbers), np.bool_)
    inside = numbers < len(table)
    found[inside] = table[numbers[inside]]
    return found


@dataclass(frozen=True)
class Filter:
    """Conditions that all must hold; those left out hold for everything. None leaves a range open.

    Raises QueryError for what makes no sense.
    """

    modalities: tuple[Modality, ...] = ()
    roles: tuple[Role, ...] = ()
    globs: tuple[str, ...] = ()
    """Patterns as in .gitignore, of the path below the indexed folder or of the whole path: one of them
    must match, none of those that begin with "!". The case of letters does not count."""
    between: tuple[float | None, float | None] | None = None
    """Seconds; what lies in them or overlaps them, and nothing that has no time."""
    duration: tuple[float | None, float | None] | None = None
    """Seconds of the whole file, both ends included, as in all that follow."""
    min_width: int | None = None
    min_height: int | None = None
    size: tuple[int | None, int | None] | None = None
    """Bytes."""
    taken: tuple[Moment | None, Moment | None] | None = None
    modified: tuple[Moment | None, Moment | None] | None = None
    date: tuple[Moment | None, Moment | None] | None = None
    """When it was taken, or last changed where it does not say. "2024-05" as an end is all of May."""
    where: str | None = None
    """An SQL expression over `COLUMNS`."""

    def __post_init__(self) -> None:
        for name in ("modalities", "roles", "globs"):
            given = getattr(self, name)
            object.__setattr__(self, name, (given,) if isinstance(given, str) else tuple(given))
        _check_names(self.modalities, MODALITIES, "modality")
        _check_names(self.roles, get_args(Role), "role")
        for name in ("between", "duration", "size"):
            low, high = getattr(self, name) or (None, None)
            if low is not None and high is not None and not low <= high:
                raise QueryError(f"The range of {name} ends before it begins: {low:g} to {high:g}.")
        for name in ("taken", "modified", "date"):
            if is_backward(*(getattr(self, name) or (None, None))):
                raise QueryError(f"The range of {name} ends before it begins.")
        if self.where is not None:
            columns_of(self.where, tuple(COLUMNS))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to ask the store: no condition, or one on modalities alone."""
        return all(
            getattr(self, field.name) in (None, ()) for field in fields(self) if field.name != "modalities"
        )

    def allowed(self, store: Store, roots: Roots | None = None) -> Allowed | None:
        """What the filter lets through, modalities left aside (choose among the matrices); None for all.

        `roots` gives patterns of whole paths their meaning. Raises QueryError for an expression that fails
        on some row, and where the answer takes longer than 10 s.
        """
        if self.is_empty:
            return None
        on_files = self.where is not None and columns_of(self.where, tuple(COLUMNS)) <= FILE_COLUMNS.keys()
        with store.snapshot() as at:
            files = self._files(at, roots, self.where if on_files else None)
            segments = self._segments(at, None if on_files else self.where)
        return Allowed(files, segments)

    def segments(self, store: Store, roots: Roots | None = None) -> Numbers | None:
        """Ascending numbers of the segments that are let through, None for all. Raises as `allowed`."""
        with store.snapshot() as at:
            allowed = self.allowed(at, roots) or Allowed()
            if allowed.files is None and not self.modalities:
                return allowed.segments
            tests = _Tests().isin("modality", self.modalities)
            if allowed.files is not None:
                listed = ",".join(map(str, allowed.files.tolist()))
                tests.add("file IN (SELECT value FROM json_each(?))", [f"[{listed}]"])
            numbers = _asked(at, "number", "segments", tests.add("role <> 'blank'"), None)
        if allowed.segments is None:
            return numbers
        return np.intersect1d(numbers, allowed.segments, assume_unique=True)

    def _files(self, store: Store, roots: Roots | None, where: str | None) -> Numbers | None:
        tests = _Tests()
        tests.between("duration", self.duration).between("size", self.size)
        tests.between("width", (self.min_width, None)).between("height", (self.min_height, None))
        if self.taken is not None:
            tests.add(*taken_between(*self.taken))
        if self.modified is not None:
            tests.add(*modified_between(*self.modified))
        if self.date is not None:
            (taken, first), (changed, second) = taken_between(*self.date), modified_between(*self.date)
            tests.add(f"({taken} OR taken IS NULL AND {changed})", [*first, *second])
        if where is not None:
            tests.add(f"(\n{where}\n)")
        if self.globs:
            with refused(where, tuple(COLUMNS), SECONDS):
                found = matching(self.globs, store, roots, tests.sql, tests.values, SECONDS)
            return np.sort(np.array(found, np.int64))
        return _asked(store, "file", "item_files AS items", tests, where) if tests.terms else None

    def _segments(self, store: Store, where: str | None) -> Numbers | None:
        tests = _Tests().isin("role", self.roles)
        low, high = self.between or (None, None)
        if self.between is not None:
            tests.add("start IS NOT NULL")
        if low is not None:
            tests.add('"end" > ?', [low])
        if high is not None:
            tests.add("start <= ?" if high == low else "start < ?", [high])
        if where is None and not tests.terms:
            return None
        if where is None:
            return _asked(store, "number", "segments", tests.add("role <> 'blank'"), None)
        tests.isin("modality", self.modalities).add(f"(\n{where}\n)")
        return _asked(store, "number", "items", tests, where)


class _Tests:
    """SQL terms that must all hold, with the values of their parameters."""

    def __init__(self) -> None:
        self.terms: list[str] = []
        self.values: list[Any] = []

    @property
    def sql(self) -> str:
        return " AND ".join(self.terms) or "1"

    def add(self, term: str, values: Sequence[Any] = ()) -> _Tests:
        self.terms.append(term)
        self.values += values
        return self

    def between(self, column: str, ends: tuple[float | None, float | None] | None) -> _Tests:
        for end, sign in zip(ends or (), (">=", "<="), strict=False):
            if end is not None:
                self.add(f"{column} {sign} ?", [end])
        return self

    def isin(self, column: str, values: Sequence[str]) -> _Tests:
        return self.add(f"{column} IN ({', '.join('?' * len(values))})", values) if values else self


def _asked(store: Store, column: str, table: str, tests: _Tests, where: str | None) -> Numbers:
    """The numbers in `column` for which the tests hold. As one string they come twice as fast as in rows."""
    sql = f"SELECT group_concat({column}) FROM {table} WHERE {tests.sql}"
    with refused(where, tuple(COLUMNS), SECONDS):
        listed = store.select(sql, tests.values, SECONDS)[0][0]
    found = np.fromstring(listed, np.int64, sep=",") if listed else np.zeros(0, np.int64)
    return np.sort(found)


def _check_names(names: Sequence[str], known: Sequence[str], what: str) -> None:
    for name in names:
        if name not in known:
            raise QueryError(f"There is no {what} {name!r}: give some of {', '.join(known)}.")
