"""How well a space finds the one thing by the other, measured on pairs that belong together.

    >>> print(evaluate(load_space(), "pairs.csv").directions[0].measures["recall@10"])

Each direction of modalities that the pairs have is measured: captions that look for pictures, pictures
that look for captions. Every item is one query and one candidate, however many pairs it is in; all its
partners are right answers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import QueryError
from multimodal.evaluation.items import embedded, item_key
from multimodal.evaluation.measure import Measure, measured
from multimodal.matching import probabilities
from multimodal.measures import BLOCK, DRAWS, Judged, averages, calibration_errors, judge, medians
from multimodal.pairs import Pairs, read_pairs
from multimodal.types import FileRecord, Item, Modality, Vectors

if TYPE_CHECKING:
    from multimodal.space import Space

RANKS = (1, 5, 10)


@dataclass(frozen=True)
class Direction:
    """Things of one modality that looked for those of another: `queries` among `candidates`.

    `columns` are those of the pairs they came from. `measures` are recall@1, recall@5 and recall@10 (the
    share of queries with at least one right answer that far up), median rank (of the best right answer,
    from 1), ndcg@10 and map, and ece: the expected calibration error of the first candidate's probability,
    by the space's own logit scale (see `multimodal.measures`, `multimodal.matching.probabilities`).
    `per_query` holds what recall@1, @5, @10, ndcg@10 and map are the means of, (queries,) each, and
    `names` the queries, for `compare`.
    """

    query: Modality
    target: Modality
    columns: tuple[str, str]
    queries: int
    candidates: int
    measures: Mapping[str, Measure]
    per_query: Mapping[str, NDArray[np.float64]] = field(default_factory=dict, repr=False, compare=False)
    names: Sequence[object] = field(default=(), repr=False, compare=False)


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
        shown = [replace(one, per_query={}, names=()) for one in self.directions]
        found = asdict(replace(self, directions=shown))
        for one in found["directions"]:
            del one["per_query"], one["names"]
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
    known, left_out = embedded(space, pairs, workers, progress)
    sides: dict[tuple[Modality, Modality], tuple[_Side, _Side]] = {}
    right: dict[tuple[Modality, Modality], set[tuple[int, int]]] = {}
    used = 0
    for left_item, right_item in pairs.pairs:
        left_key, right_key = item_key(left_item), item_key(right_item)
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
        forward = right[first, second]
        back = {(there, here) for here, there in forward}
        columns = pairs.columns
        directions.append(_direction(space, (first, second), columns, one, other, forward, draws, seed))
        directions.append(_direction(space, (second, first), columns[::-1], other, one, back, draws, seed))
    return Evaluation(space.name, space.space_id, used, directions, left_out)


def _direction(
    space: Space,
    way: tuple[Modality, Modality],
    columns: tuple[str, str],
    asked: _Side,
    among: _Side,
    right: Iterable[tuple[int, int]],
    draws: int,
    seed: int,
) -> Direction:
    found, sure = _judged(space, way, asked, among, right)
    rank = found.pop("rank")
    measures = {name: measured(values, averages, seed, draws) for name, values in found.items()}
    measures["median rank"] = measured(rank, medians, seed, draws)
    measures["ece"] = measured(sure, calibration_errors, seed, draws)
    names = list(asked.places)
    return Direction(*way, columns, len(asked.vectors), len(among.vectors), measures, found, names)


def _judged(
    space: Space,
    way: tuple[Modality, Modality],
    asked: _Side,
    among: _Side,
    right: Iterable[tuple[int, int]],
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    """Of each query its measures and rank, and (queries, 2) how sure its first answer is, and if right."""
    queries, candidates = np.stack(asked.vectors), np.stack(among.vectors)
    answers: dict[int, list[int]] = {}
    for here, there in right:
        answers.setdefault(here, []).append(there)
    judged: list[Judged] = []
    sure = np.zeros((len(queries), 2))
    step = max(1, BLOCK // len(candidates))
    for begin in range(0, len(queries), step):
        part: Vectors = queries[begin : begin + step]
        marks = np.zeros((len(part), len(candidates)), bool)
        for place in range(len(part)):
            marks[place, answers[begin + place]] = True
        cosines = part @ candidates.T
        judged.append(judge(cosines, marks))
        lines, best = np.arange(len(part)), cosines.argmax(axis=1)
        sure[begin : begin + step, 0] = probabilities(space, cosines, space.scale(*way))[lines, best]
        sure[begin : begin + step, 1] = marks[lines, best]
    rank = np.concatenate([one.rank for one in judged]).astype(np.float64)
    found = {f"recall@{k}": (rank <= k).astype(np.float64) for k in RANKS}
    found["ndcg@10"] = np.concatenate([one.ndcg for one in judged])
    found["map"] = np.concatenate([one.precision for one in judged])
    return {**found, "rank": rank}, sure
