"""Batches of pairs, and negatives that a space takes for right answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal.measures import BLOCK
from multimodal.training.data import Data, Kind
from multimodal.types import Modality, Vectors

Ints = NDArray[np.int64]

POOL = 8
"""Nearest wrong answers that negatives are drawn from: the very nearest are often right and not said so."""
MOST = 20_000
"""Candidates that are looked at, drawn anew each epoch: 100,000 pairs against all of them take a minute."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Pairs of one kind: `pairs` (b,) are places in it, `number` is the kind's."""

    number: int
    pairs: Ints


def batches(data: Data, size: int, seed: int, epoch: int, count: int = 0) -> list[Batch]:
    """All training pairs once, shuffled, in batches of one kind each; a last one of fewer than two joins
    the one before. With a `count` about as many pairs instead, drawn by their weights with replacement."""
    rng = np.random.default_rng([seed, epoch])
    made: list[Batch] = []
    for number, kind in enumerate(data.kinds):
        pairs = _by_weight(data, kind, count, rng) if count else rng.permutation(kind.places("train"))
        cuts = list(range(size, len(pairs) - 1, size))
        made += [Batch(number, part) for part in np.split(pairs, cuts) if len(part) > 1]
    return [made[place] for place in rng.permutation(len(made))]


def _by_weight(data: Data, kind: Kind, count: int, rng: np.random.Generator) -> Ints:
    """Training pairs of a kind, of `count` among all kinds: as many in each epoch."""
    places = kind.places("train")
    weight = kind.weight[places].astype(np.float64)
    everything = sum(float(one.weight[one.places("train")].sum(dtype=np.float64)) for one in data.kinds)
    if not weight.sum():
        return places[:0]
    return rng.choice(places, round(count * weight.sum() / everything), p=weight / weight.sum())


def mine(data: Data, rows: Callable[[Modality], Vectors], seed: int, epoch: int) -> list[tuple[Ints, Ints]]:
    """Of each kind: for each pair the POOL pairs whose right side its left side is nearest to though it
    does not belong there, and the other way round; places of pairs (n, POOL), -1 where there are fewer."""
    rng = np.random.default_rng([seed, epoch, 1])
    found = []
    for kind in data.kinds:
        train = kind.places("train")
        among = train if len(train) <= MOST else np.sort(rng.choice(train, MOST, replace=False))
        left, right = rows(kind.modalities[0])[kind.left], rows(kind.modalities[1])[kind.right]
        found.append(
            (
                _nearest(kind, train, among, left, right, forward=True),
                _nearest(kind, train, among, right, left, forward=False),
            )
        )
    return found


def _nearest(
    kind: Kind, train: Ints, among: Ints, queries: Vectors, candidates: Vectors, forward: bool
) -> Ints:
    codes, count = kind.learned, min(POOL, len(among))
    pool = np.full((len(kind.left), POOL), -1, np.int64)
    step = max(1, BLOCK // len(among))
    for begin in range(0, len(train), step):
        part = train[begin : begin + step]
        cosines = queries[part] @ candidates[among].T
        if forward:
            mine = kind.belongs(codes, kind.left_group[part], kind.right_group[among])
        else:
            mine = kind.belongs(codes, kind.left_group[among], kind.right_group[part]).T
        cosines[mine] = -np.inf
        best = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        worse = np.take_along_axis(cosines, best, axis=1) == -np.inf
        pool[part, :count] = np.where(worse, -1, among[best])
    return pool


def drawn(pool: Ints, pairs: Ints, count: int, rng: np.random.Generator) -> Ints:
    """`count` different negatives of each pair from its pool, all together, each once."""
    columns = rng.permuted(np.tile(np.arange(POOL), (len(pairs), 1)), axis=1)[:, :count]
    chosen: Sequence[int] | Ints = np.unique(np.take_along_axis(pool[pairs], columns, axis=1))
    chosen = np.asarray(chosen, np.int64)
    return chosen[chosen >= 0]
