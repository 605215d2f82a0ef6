"""How well a space does on the pairs it learns from, and how much of what it knew it keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal.measures import BLOCK, judge
from multimodal.training.data import Data, Kind
from multimodal.types import Modality, Vectors

Bools = NDArray[np.bool_]
Rows = Callable[[Modality], Vectors]
"""All rows of a modality of the data, as they are now."""


@dataclass(frozen=True, eq=False)
class Score:
    """Of the queries of one direction: ranks (n,) from 1 of the best right answer of each."""

    query: Modality
    target: Modality
    candidates: int
    rank: NDArray[np.int64]


def scored(data: Data, rows: Rows, *splits: str) -> list[Score]:
    """Both directions of each kind of pairs, of the items in `splits`: the last one's are the queries, all
    of theirs the candidates."""
    found = []
    for kind in data.kinds:
        asked = kind.places(splits[-1])
        if not len(asked):
            continue
        among = kind.places(*splits)
        found += [_direction(kind, rows, asked, among, forward) for forward in (True, False)]
    return found


def _direction(
    kind: Kind, rows: Rows, asked: NDArray[np.int64], among: NDArray[np.int64], forward: bool
) -> Score:
    sides = [
        (kind.left, kind.left_group, kind.modalities[0]),
        (kind.right, kind.right_group, kind.modalities[1]),
    ]
    (here, here_group, query), (there, there_group, target) = sides if forward else sides[::-1]
    asked = asked[np.unique(here_group[asked], return_index=True)[1]]
    among = among[np.unique(there[among], return_index=True)[1]]
    queries, candidates = rows(query)[here[asked]], rows(target)[there[among]]
    codes = kind.codes(kind.places("train", "validation", "test"))
    ranks = []
    step = max(1, BLOCK // len(candidates))
    for begin in range(0, len(asked), step):
        part = asked[begin : begin + step]
        if forward:
            right = kind.belongs(codes, here_group[part], there_group[among])
        else:
            right = kind.belongs(codes, there_group[among], here_group[part]).T
        ranks.append(judge(queries[begin : begin + step] @ candidates.T, right).rank)
    return Score(query, target, len(candidates), np.concatenate(ranks))


def recall(scores: list[Score], k: int = 10) -> float:
    """The mean over directions of the share of queries with a right answer among the first k, in [0, 1]."""
    return float(np.mean([(score.rank <= k).mean() for score in scores])) if scores else 0.0


def reciprocal(scores: list[Score]) -> float:
    """The mean over directions of 1 / rank, in [0, 1]."""
    return float(np.mean([(1 / score.rank).mean() for score in scores])) if scores else 0.0


def of_first(values: Sequence[float]) -> float:
    """The last as a share of the first; 1 where that is 0."""
    return values[-1] / values[0] if values[0] else 1.0


NEAR = 3
"""Of the hundred pictures that ship with the starter, about as near as ten of some hundreds."""
REHEARSED, JUDGED = slice(0, None, 2), slice(1, None, 2)
"""Of generic rows: those that training holds still, and those that tell whether others stay where they were.
(Told by rehearsed rows, sounds that had learned from films kept .997 and lost 7 points of R@10 elsewhere.)"""


def kept(before: Mapping[Modality, Vectors], after: Mapping[Modality, Vectors]) -> float:
    """The share of generic rows whose nearest of another modality before is among the NEAR nearest after.

    Both hold the same rows (n, dim) by modality; the JUDGED are asked for, among all. Means over the ordered
    pairs of different modalities of which one has moved, with more than NEAR rows each, in [0, 1]; 1 where
    there are none. A modality alone is looked for in itself: the nearest other row.
    """
    moved = {modality: not np.array_equal(rows, after[modality]) for modality, rows in before.items()}
    large = [modality for modality, rows in before.items() if len(rows) > NEAR]
    pairs = [(query, target) for query in before for target in large if query != target or len(before) == 1]
    shares = []
    for query, target in pairs:
        if moved[query] or moved[target]:
            then, now = (rows[query][JUDGED] @ rows[target].T for rows in (before, after))
            if query == target:
                own = np.arange(len(before[query]))[JUDGED]
                then[np.arange(len(own)), own] = now[np.arange(len(own)), own] = -2.0
            right = np.arange(len(before[target]))[None, :] == then.argmax(axis=1)[:, None]
            shares.append((judge(now, right).rank <= NEAR).mean())
    return float(np.mean(shares)) if shares else 1.0
