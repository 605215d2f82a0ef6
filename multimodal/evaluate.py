"""How well a space finds the one thing by the other, measured on pairs that belong together.

    >>> print(evaluate(load_space(), "pairs.csv").directions[0].measures["recall@10"])

Each direction of modalities that the pairs have is measured: captions that look for pictures, pictures
that look for captions. Every item is one query and one candidate, however many pairs it is in; all its
partners are right answers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import QueryError
from multimodal.measures import BLOCK, DRAWS, Judged, averages, interval, judge, medians
from multimodal.pairs import Pairs, read_pairs
from multimodal.towers.base import unit
from multimodal.types import FileRecord, Item, Modality, Vectors

if TYPE_CHECKING:
    from multimodal.pipeline import EncodedFile
    from multimodal.space import Space

RANKS = (1, 5, 10)


@dataclass(frozen=True)
class Measure:
    """A measured value and the bounds of its 95 % interval, by bootstrap over the queries."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Direction:
    """Things of one modality that looked for those of another: `queries` among `candidates`.

    `columns` are those of the pairs they came from. `measures` are recall@1, recall@5 and recall@10 (the
    share of queries with at least one right answer that far up), median rank (of the best right answer,
    from 1), ndcg@10 and map (see `multimodal.measures`).
    """

    query: Modality
    target: Modality
    columns: tuple[str, str]
    queries: int
    candidates: int
    measures: Mapping[str, Measure]


@dataclass(frozen=True)
class Evaluation:
    """All directions that some pairs allow. `left_out` are files that could not be embedded, with the
    reason; their pairs were not counted in `pairs`."""

    space: str
    space_id: str
    pairs: int
    directions: Sequence[Direction]
    left_out: Sequence[FileRecord] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        found = asdict(self)
        found["left_out"] = [
            {"path": os.fsencode(one.path).decode("utf-8", "backslashreplace"), "reason": one.reason}
            for one in self.left_out
        ]
        return found


@dataclass
class _Side:
    """The items of one modality in one column: their keys, each once, in the order of the pairs."""

    places: dict[object, int] = field(default_factory=dict)
    vectors: list[NDArray[np.float32]] = field(default_factory=list)

    def place(self, key: object, vector: NDArray[np.float32]) -> int:
        if key not in self.places:
            self.places[key] = len(self.vectors)
            self.vectors.append(vector)
        return self.places[key]


def evaluate(
    space: Space,
    pairs: str | Path | Pairs | Sequence[tuple[Item, Item]],
    *,
    workers: int | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> Evaluation:
    """Measure a space on pairs: a file of them (see `multimodal.pairs`), or items as `Space.embed` takes.

    A file counts as the mean of its segments, as in `Space.embed`; files are read by `workers` processes.
    `draws` and `seed` are the bootstrap's. `progress` is told of how many files, of how many, are embedded.
    Raises NoMediaFile, QueryError (no pair can be used), NoEncoder, SpaceError.
    """
    if isinstance(pairs, (str, Path)):
        pairs = read_pairs(pairs)
    elif not isinstance(pairs, Pairs):
        pairs = Pairs(("left", "right"), list(pairs))
    known, left_out = _embedded(space, pairs, workers, progress)
    sides: dict[tuple[Modality, Modality], tuple[_Side, _Side]] = {}
    right: dict[tuple[Modality, Modality], set[tuple[int, int]]] = {}
    used = 0
    for left_item, right_item in pairs.pairs:
        left_key, right_key = _key(left_item), _key(right_item)
        if left_key not in known or right_key not in known:
            continue
        used += 1
        (first, a), (second, b) = known[left_key], known[right_key]
        one, other = sides.setdefault((first, second), (_Side(), _Side()))
        places = one.place(left_key, a), other.place(right_key, b)
        right.setdefault((first, second), set()).add(places)
    if not used:
        raise QueryError("None of the pairs can be used: every one has a file that could not be embedded.")
    directions: list[Direction] = []
    for (first, second), (one, other) in sides.items():
        a, b = np.stack(one.vectors), np.stack(other.vectors)
        forward = right[first, second]
        back = {(there, here) for here, there in forward}
        columns = pairs.columns
        directions.append(_direction(first, second, columns, a, b, forward, draws, seed))
        directions.append(_direction(second, first, columns[::-1], b, a, back, draws, seed))
    return Evaluation(space.name, space.space_id, used, directions, left_out)


def _embedded(
    space: Space, pairs: Pairs, workers: int | None, progress: Callable[[int, int], object] | None
) -> tuple[dict[object, tuple[Modality, NDArray[np.float32]]], list[FileRecord]]:
    """Modality and vector of every item by its key, and what could not be embedded."""
    from multimodal.pipeline import encode_files
    from multimodal.space import modality_of

    items = {_key(item): item for pair in pairs.pairs for item in pair}
    files = [item for item in items.values() if isinstance(item, Path)]
    known: dict[object, tuple[Modality, NDArray[np.float32]]] = {}
    texts = {key: item for key, item in items.items() if isinstance(item, str)}
    if texts:
        rows = space.embed(list(texts.values()))
        known.update((key, ("text", row)) for key, row in zip(texts, rows, strict=True))
    for key, item in items.items():
        if not isinstance(item, (str, Path)):
            known[key] = modality_of(item)[0], space.embed(item)[0]
    missing = [path for path in files if not path.is_file()]
    left_out = [FileRecord(path, "failed", reason="there is no such file") for path in missing]
    there = [path for path in files if path.is_file()]
    if there:
        with closing(encode_files(there, space, workers=workers)) as encoded:  # type: ignore[type-var]
            for done, file in enumerate(encoded, 1):
                found = _mean(file)
                if found is None:
                    reason = file.reason or "it holds nothing to embed"
                    left_out.append(FileRecord(file.path, "failed", reason=reason))
                else:
                    known[_key(file.path)] = found
                if progress is not None:
                    progress(done, len(there))
    return known, left_out


def _mean(file: EncodedFile) -> tuple[Modality, NDArray[np.float32]] | None:
    """What a file mostly is, and the unit mean of its segments of that modality."""
    rows = [
        (row.modality, row.vector) for row in file.rows if row.role == "content" and row.vector is not None
    ]
    if not rows:
        return None
    first = rows[0][0]
    return first, unit(np.mean([vector for modality, vector in rows if modality == first], axis=0))


def _key(item: Item) -> object:
    """Equal for items that are the same query: the same text, the same file, the same object."""
    if isinstance(item, str):
        return "text", item.strip()
    if isinstance(item, Path):
        return "file", os.path.abspath(item)
    return "object", id(item)


def _direction(
    query: Modality,
    target: Modality,
    columns: tuple[str, str],
    queries: Vectors,
    candidates: Vectors,
    right: Iterable[tuple[int, int]],
    draws: int,
    seed: int,
) -> Direction:
    answers: dict[int, list[int]] = {}
    for here, there in right:
        answers.setdefault(here, []).append(there)
    judged: list[Judged] = []
    step = max(1, BLOCK // len(candidates))
    for begin in range(0, len(queries), step):
        part = queries[begin : begin + step]
        marks = np.zeros((len(part), len(candidates)), bool)
        for place in range(len(part)):
            marks[place, answers[begin + place]] = True
        judged.append(judge(part @ candidates.T, marks))
    rank = np.concatenate([one.rank for one in judged]).astype(np.float64)
    found = {f"recall@{k}": (rank <= k).astype(np.float64) for k in RANKS}
    found["ndcg@10"] = np.concatenate([one.ndcg for one in judged])
    found["map"] = np.concatenate([one.precision for one in judged])
    measures = {
        name: Measure(float(values.mean()), *interval(values, seed, averages, draws))
        for name, values in found.items()
    }
    median = Measure(float(np.median(rank)), *interval(rank, seed, medians, draws))
    measures = {**measures, "median rank": median}
    return Direction(query, target, columns, len(queries), len(candidates), measures)
