"""From a query's vector to ranked rows: the nearest of each modality, judged against the same background."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from multimodal.library.asking import Asked
from multimodal.library.bank import Bank, Floats
from multimodal.library.calibration import CANDIDATES, Reference, judge
from multimodal.library.references import FramesOf
from multimodal.library.store import KeptFrames
from multimodal.library.vectors import Kernel, Matrix
from multimodal.types import Modality

ATTENDED = 100
"""Moments, the nearest, that are judged by their frames."""

Numbers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Ranked:
    """A row in the order of a search; `segment` and `file` are the store's numbers, `place` its row.

    `score` orders, `level` is what `calibration.confidence` takes; `frames` are times in seconds and weights
    (f, 2) of the moments that the query looked at.
    """

    segment: int
    file: int
    modality: Modality
    place: int
    cosine: float
    score: float
    level: float
    frames: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, eq=False)
class Judge:
    """What a query's cosines are worth in one library; see `multimodal.library.calibration`."""

    bank: Bank
    reference: Callable[[Modality], Reference]
    frames: FramesOf

    def rows(self, asked: Asked, modality: Modality, matrix: Matrix, places: Numbers) -> list[Ranked]:
        """The rows at `places` of a modality judged, in that order."""
        cosines = matrix.cosines(places, asked.vector)
        segments = matrix.segments[places].tolist()
        kept = self._kept(segments, cosines) if modality == "video" else {}
        frames = [kept[number][1] if number in kept else None for number in segments]
        judged = judge(
            self.bank,
            self.reference(modality),
            asked.modality,
            asked.vector,
            modality,
            matrix.vectors[places].astype(np.float32),
            frames,
        )
        files = matrix.files[places].tolist()
        return [
            Ranked(
                segments[n],
                files[n],
                modality,
                int(places[n]),
                float(cosines[n]),
                float(judged.scores[n]),
                float(judged.levels[n]),
                _weighed(kept, segments[n], judged.weights[n]),
            )
            for n in range(len(places))
        ]

    def _kept(self, segments: Sequence[int], cosines: NDArray[np.float64]) -> Mapping[int, KeptFrames]:
        nearest = np.argsort(-cosines, kind="stable")[:ATTENDED]
        return self.frames([segments[place] for place in nearest])


def _weighed(
    kept: Mapping[int, KeptFrames], number: int, weights: Floats | None
) -> tuple[tuple[float, float], ...]:
    if weights is None:
        return ()
    times = [round(time, 3) for time in kept[number][0].tolist()]
    return tuple(zip(times, weights.tolist(), strict=True))


def rank(
    matrices: Mapping[Modality, Matrix],
    asked: Asked,
    judge: Judge,
    count: int,
    kernel: Kernel,
    allowed: Mapping[Modality, Numbers | None],
    exact: bool = False,
) -> list[Ranked]:
    """At least `count` rows of each modality that has them, the nearest to the query, best score first.

    `allowed` are the places that may be found, ascending, None for all. Rows further down than the nearest
    are not judged: with `CANDIDATES` of them the best ten are the best of all.
    """
    found: list[Ranked] = []
    for modality, matrix in matrices.items():
        seen = Asked(asked.modality, judge.bank.seen(asked.modality, asked.vector), asked.words)
        places, _ = kernel.top(matrix, seen.vector, max(count, CANDIDATES), allowed.get(modality), exact)
        if len(places):
            found += judge.rows(asked, modality, matrix, np.sort(places))
    found.sort(key=lambda row: -row.score)
    return found


def best_levels(rows: Iterable[Ranked]) -> list[float]:
    """The best level of each modality, for `calibration.presence`."""
    best: dict[Modality, float] = {}
    for row in rows:
        best[row.modality] = max(row.level, best.get(row.modality, row.level))
    return list(best.values())
