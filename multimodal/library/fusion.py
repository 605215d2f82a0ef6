"""One order from two: what means the query, and what has its words.

The order by meaning is already fair to every kind: its scores are calibrated. Words are not: only texts,
captions and names have any, so that plain fusion lets ten texts which share a word with the query stand
before the picture that shows it. Therefore:

1.  Inside a kind (text, image, video, audio) the two orders are fused by reciprocal ranks (Cormack, Clarke
    and Büttcher 2009): a file has 1 / (60 + its place) from each order of its kind that it is in.
2.  Between kinds, the n-th of a kind stands where the n-th of that kind stands in the order by meaning or in
    the order by words, whichever is earlier. So words may at most double a place: among the first 2 n
    results are as many of each kind as there are among the first n by meaning, and as by words.
3.  Of those that would stand at one place, a file whose name is the query goes first, then the one with more
    of 1, then what words have found. Inside its kind a file whose name is the query goes first too.

A word lifts and never removes: what has no words of the query keeps its order among its kind. Hits whose
words are everywhere, or are less than two fifths of what the query's words tell, do not lift.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from multimodal.library.filters import Numbers, flags
from multimodal.library.vectors import Matrix
from multimodal.library.words import WordHit

Key = TypeVar("Key", bound=Hashable)

K = 60
"""The constant of Cormack et al.: how much the first places weigh more than those behind them."""
LEAST = 0.4
"""Share of what the query's words tell that a hit must have to be lifted: one word of two does, one of three
does not unless it is the rarest."""


@dataclass(frozen=True)
class Placed(Generic[Key]):
    """A hit by meaning or by words: `key` names its file or segment in both orders, `kind` its modality."""

    key: Key
    kind: str
    is_name: bool = False


def lifts(hit: WordHit) -> bool:
    """Whether the words of a hit say enough of the query to count beside its meaning."""
    return hit.tells and (hit.is_name or hit.share >= LEAST)


def fuse(
    rankings: Mapping[str, Sequence[Key]], k: float = K, weights: Mapping[str, float] | None = None
) -> list[tuple[Key, float]]:
    """Reciprocal rank fusion: keys with their sums of weight / (k + place), the largest first.

    Each ranking is best first, and a key counts once in it, at its best place. Weights not given are 1.
    Keys with equal sums keep the order in which they come up, ranking by ranking.
    """
    sums: dict[Key, float] = {}
    for name, ranking in rankings.items():
        weight = 1.0 if weights is None else weights.get(name, 1.0)
        for place, key in enumerate(dict.fromkeys(ranking), 1):
            sums[key] = sums.get(key, 0.0) + weight / (k + place)
    return sorted(sums.items(), key=lambda pair: -pair[1])


def hybrid(meaning: Sequence[Placed[Key]], words: Sequence[Placed[Key]], k: float = K) -> list[Key]:
    """Keys by meaning and words together, best first; both orders are best first, a key once in each.

    A key has one kind: that of `meaning` where both have it. What `words` has beyond `meaning` is told in
    full by its own place, so `meaning` may end after the first few hundred.
    """
    kinds = {hit.key: hit.kind for hit in (*words, *meaning)}
    named = {hit.key for hit in words if hit.is_name}
    orders = {"words": [hit.key for hit in words], "meaning": [hit.key for hit in meaning]}
    behind = len(meaning) + len(words) + 1
    placed: list[tuple[int, bool, float, int, Key]] = []
    for kind in dict.fromkeys(kinds.values()):
        own = {name: [key for key in order if kinds[key] == kind] for name, order in orders.items()}
        fused = sorted(fuse(own, k), key=lambda pair: pair[0] not in named)
        places = [_places(order, kinds, kind, len(fused), behind) for order in orders.values()]
        for (key, score), *stands in zip(fused, *places, strict=True):
            placed.append((min(stands), key not in named, -score, len(placed), key))
    return [key for *_, key in sorted(placed, key=lambda entry: entry[:4])]


def _places(order: Sequence[Key], kinds: Mapping[Key, str], kind: str, count: int, behind: int) -> list[int]:
    """Where in an order, from 1, stand `count` of a kind; those it does not have stand from `behind` on."""
    found = [place for place, key in enumerate(order, 1) if kinds[key] == kind]
    return [*found, *range(behind, behind + count - len(found))]


def best_rows(
    matrix: Matrix, files: Numbers, query: NDArray[np.float32], allowed: Numbers | None = None
) -> Numbers:
    """The places of those rows of `matrix` that are nearest to `query` (dim,) in each of `files`, for files
    that words have found and meaning has not. `allowed` are the places that may be found, ascending."""
    rows = np.flatnonzero(flags(files, matrix.files))
    if allowed is not None:
        rows = np.intersect1d(rows, allowed, assume_unique=True)
    order = np.lexsort((-matrix.cosines(rows, query), matrix.files[rows]))
    _, first = np.unique(matrix.files[rows][order], return_index=True)
    return rows[order[first]]
