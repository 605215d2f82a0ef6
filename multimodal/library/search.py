"""From a query's vector to ranked rows: the background it is judged against, the order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from multimodal.library.asking import Asked
from multimodal.library.vectors import HALF, Kernel, Matrix
from multimodal.types import Modality

SAMPLE = 4096
"""Rows that stand for a modality when its background is measured: its deviation is then known to 1%."""
FEW = 8
"""Rows below which a mean and a deviation say nothing."""
FLAT = 1e-3
"""Least deviation in cosine: rows that are all alike must not divide by nothing."""

Background = tuple[float, float]
"""Mean and standard deviation of the cosine against unrelated rows."""


@dataclass(frozen=True)
class Ranked:
    """A row in the order of a search; `segment` and `file` are the store's numbers."""

    segment: int
    file: int
    modality: Modality
    cosine: float
    score: float


def backgrounds(
    query: Asked,
    matrices: Mapping[Modality, Matrix],
    known: Callable[[Modality, Modality], Background | None],
) -> dict[Modality, Background]:
    """What each row modality's cosines are judged against.

    The space's own figures where it has them; else the mean and deviation of this query's cosines over
    the library's rows of that modality, or, where those are fewer than 8, over rows of all modalities;
    with fewer than 8 in all, scores are plain cosines.
    """
    found: dict[Modality, Background] = {}
    measured: dict[Modality, NDArray[np.float64]] = {}
    for modality, matrix in matrices.items():
        given = known(query.modality, modality) if query.modality else None
        if given is not None:
            found[modality] = (given[0], max(given[1], FLAT))
        else:
            measured[modality] = _sample(matrix, query)
    pooled = np.concatenate([*measured.values(), np.zeros(0)])
    for modality, cosines in measured.items():
        enough = cosines if len(cosines) >= FEW else pooled
        usable = len(enough) >= FEW
        found[modality] = (float(enough.mean()), max(float(enough.std()), FLAT)) if usable else (0.0, 1.0)
    return found


def _sample(matrix: Matrix, query: Asked) -> NDArray[np.float64]:
    count = min(len(matrix), SAMPLE)
    places = np.linspace(0, len(matrix) - 1, count).astype(np.int64)
    return matrix.cosines(places, query.vector)


def rank(
    matrices: Mapping[Modality, Matrix],
    query: Asked,
    against: Mapping[Modality, Background],
    k: int,
    per_file: bool,
    kernel: Kernel,
    allowed: Mapping[Modality, NDArray[np.int64]] = MappingProxyType({}),
) -> list[Ranked]:
    """The best rows by score, at least those that `k` files (or segments) need, all ties included.

    A row scores (cosine - mean) / deviation against the background of its modality. Rows that tie with
    the last one wanted come along, so that the caller can break ties by what the rows are. `allowed` are
    the places that may be found, of a modality whose rows are limited.
    """
    count = max(4 * k, 64)
    while True:
        found: list[Ranked] = []
        bound = -np.inf
        for modality, matrix in matrices.items():
            mean, deviation = against[modality]
            places, below = kernel.top(matrix, query.vector, count, allowed.get(modality))
            cosines = matrix.cosines(places, query.vector)
            # kernels take rounded rows as they are, so a row below their bound may truly lie as much above
            bound = max(bound, (below + HALF - mean) / deviation)
            found += [
                Ranked(int(segment), int(file), modality, float(cosine), float(cosine - mean) / deviation)
                for segment, file, cosine in zip(
                    matrix.segments[places], matrix.files[places], cosines, strict=True
                )
            ]
        found.sort(key=lambda row: -row.score)
        last = _last_needed(found, k, per_file)
        if bound == -np.inf or (last is not None and last > bound):
            return found if last is None else [row for row in found if row.score >= last]
        count *= 4


def _last_needed(found: list[Ranked], k: int, per_file: bool) -> float | None:
    """The score of the k-th file (or segment) from the top; None where there are fewer."""
    seen: set[int] = set()
    for row in found:
        seen.add(row.file if per_file else row.segment)
        if len(seen) == k:
            return row.score
    return None
