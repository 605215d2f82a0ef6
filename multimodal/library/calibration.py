"""What a cosine is worth: scores that compare across modalities, and whether anything matches at all.

Cosines of different pairs of modalities are not comparable, and the best hit of gibberish can have a larger
one than a true hit. So a hit is judged against a *bank* of generic queries (everyday phrases; pictures,
sounds and moments): how near the nearest row of that modality, in this library, is to each of them. A
library of five files and one of a million are judged alike, because the bank meets the same rows.

- The *level* of a row is (cosine - mean) / deviation of those best cosines: at 0 it is as near as what an
  average generic query finds. `confidence` is that level as a probability.
- The *score*, which orders a list, also takes off half of how near the row is to everything: rows that are
  near to many phrases (hubs) come too far up in all lists. This is one side of CSLS (Conneau et al. 2018,
  Word Translation Without Parallel Data); QB-Norm (Bogolin et al. 2022) treats the same ill.
- Queries that are no text are compared from the centre of their modality, rows from the centre of theirs:
  vectors of one modality share a direction that says nothing but the modality.
- A moment of a video is judged by `frame_scores`: attention over its frames from the query's point of view.

`python -m recipes.evaluate_search` measures all of it and states what was tried instead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal.library.bank import Bank, Floats, Kind, unit_rows
from multimodal.types import Modality

NEAREST = 20
"""Phrases whose mean cosine says how near a row is to everything; 5 to 80 are alike in nDCG."""
HUBNESS = 0.5
"""How much of that is taken off. None costs 1 to 2 points of nDCG in each modality, all of it 1 to 3."""
CANDIDATES = 128
"""Nearest rows of a modality that are worth judging: the best ten of a judged list lie among them."""
TAU = 0.03
"""Temperature of attention over frames: below, one frame takes all; 0.01 to 0.1 rank alike."""
FLAT = 0.02
"""Least deviation of best cosines: rows that are all alike must not divide by nothing."""
BLOCK = 512
"""Rows unpacked at a time: they stay in the cache."""
SHARPNESS = 2.0
"""Of the soft maximum over modalities, a mean: the more modalities are tried, the more must one stand out."""
SLOPE, OFFSET = 1.46, -1.05
"""Of confidence: a logistic regression on validation queries, as many with an answer as without."""
BARS = {"text": 0.4, "mixed": 0.2, "media": 0.11}
"""Presence below which nothing matches, for searches among texts alone, texts and media, media alone: about
95 % of validation queries that have an answer are above."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What the generic queries of one kind find among a library's rows of one modality."""

    best: Floats
    """(p,) cosine of each with its nearest row."""
    places: NDArray[np.int64]
    """(p,) the places of those rows."""
    counted: int
    """Rows seen; later ones are added by `measure(..., before=...)`."""
    hub: float
    """Mean over those rows of how near they are to everything."""
    gain: float = 0.0
    """What attention over frames adds to a best cosine."""

    @property
    def mean(self) -> float:
        return float(self.best.mean(dtype=np.float64)) + self.gain

    @property
    def deviation(self) -> float:
        return max(float(self.best.std(dtype=np.float64)), FLAT)


def measure(
    bank: Bank,
    kind: Kind,
    modality: Modality,
    rows: NDArray[np.floating],
    before: Reference | None = None,
    frames: Mapping[int, Floats] | None = None,
) -> Reference:
    """Compare the generic queries with rows (n, dim), a block at a time: 4 microseconds a row on one core.

    `before` is what was measured of the first `before.counted` of the same rows. `frames` are the kept
    frames (f, dim) of some rows of videos by place, a few hundred of them: without, moments that are judged
    by their frames look better than they are.
    """
    probes = bank.probes(kind)
    best = before.best.copy() if before else np.full(len(probes), -1.0, np.float32)
    places = before.places.copy() if before else np.zeros(len(probes), np.int64)
    for begin in range(before.counted if before else 0, len(rows), BLOCK):
        cosines = probes @ bank.compared(kind, modality, rows[begin : begin + BLOCK]).T
        nearest = cosines.argmax(axis=1)
        found = cosines[np.arange(len(probes)), nearest]
        better = found > best
        best[better], places[better] = found[better], nearest[better] + begin
    hub = float(hubness(bank, np.asarray(rows[places], np.float32)).mean()) if kind == "text" else 0.0
    gain = _gain(bank, kind, modality, rows, frames) if frames else 0.0
    return Reference(best, places, len(rows), hub, gain)


def _gain(
    bank: Bank, kind: Kind, modality: Modality, rows: NDArray[np.floating], frames: Mapping[int, Floats]
) -> float:
    """How much attention over the frames of a sample of rows raises the best cosines among them."""
    probes = bank.probes(kind)
    pooled = (probes @ bank.compared(kind, modality, rows[list(frames)]).T).max(axis=1)
    attended = np.full(len(probes), -1.0, np.float32)
    for kept in frames.values():
        np.maximum(attended, _attended(probes, bank.compared(kind, modality, kept))[0], out=attended)
    return float((attended - pooled).mean(dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Judged:
    """Candidates judged, in the order given."""

    scores: NDArray[np.float64]
    """(n,) what orders a list of all modalities; 0 is as good as an average generic query's best hit."""
    levels: NDArray[np.float64]
    """(n,) the same without regard to hubs: for `confidence` and `presence`."""
    weights: list[Floats | None]
    """How much each kept frame of a moment counts for this query, (f,), sums to 1; None without frames."""


def judge(
    bank: Bank,
    reference: Reference,
    kind: Kind,
    query: Floats,
    modality: Modality,
    rows: NDArray[np.floating],
    frames: Sequence[Floats | None] | None = None,
) -> Judged:
    """Judge candidate rows (n, dim) of a modality for a query's unit vector (dim,), as it was embedded.

    `frames` are the kept frames (f, dim) of each, unit rows, None for those that have none.
    """
    # a matrix product may differ in the last bit for equal rows: copies of a file must tie
    rows = np.asarray(rows, np.float32)
    first: dict[bytes, int] = {}
    of = np.array([first.setdefault(row.tobytes(), len(first)) for row in rows], np.int64)
    different = rows[np.unique(of, return_index=True)[1]]
    seen = bank.seen(kind, query)
    cosines = (bank.compared(kind, modality, different) @ seen).astype(np.float64)[of]
    weights: list[Floats | None] = [None] * len(cosines)
    for place, kept in enumerate(frames or ()):
        if kept is not None and len(kept):
            cosines[place], weights[place] = frame_scores(seen, bank.compared(kind, modality, kept))
    levels = (cosines - reference.mean) / reference.deviation
    if kind != "text":
        return Judged(levels, levels, weights)
    hubs = hubness(bank, different)[of] - reference.hub
    return Judged(levels - HUBNESS * hubs / reference.deviation, levels, weights)


def hubness(bank: Bank, rows: Floats) -> NDArray[np.float64]:
    """How near rows (n, dim) are to everything: the mean (n,) of their 20 best cosines with the phrases."""
    return _best(bank.queries["text"] @ unit_rows(rows).T)


def frame_scores(query: Floats, frames: Floats, tau: float = TAU) -> tuple[float, Floats]:
    """The cosine of a query (dim,) with frames (f, dim), pooled as the query sees them, and weights.

    a = softmax(q.f / tau), then the cosine with sum a f, as CLIP-Hitchhiker (Bain et al. 2022) pools; the
    weights a (f,) sum to 1.
    """
    cosines, weights = _attended(query[None], frames, tau)
    return float(cosines[0]), weights[0]


def confidence(levels: NDArray[np.floating] | float) -> NDArray[np.float64]:
    """Probability in [0, 1] that a query whose best hit has such a level is one the library has an answer to.

    Fitted where as many queries had an answer as had none.
    """
    return 1.0 / (1.0 + np.exp(-(SLOPE * np.asarray(levels, np.float64) + OFFSET)))


def presence(levels: Iterable[float]) -> float:
    """Probability that the library has anything to a query, by its best level in each modality that has rows.

    0 where there are none. Below `bar`, say that nothing matches.
    """
    best = np.array(list(levels), np.float64)
    if not len(best):
        return 0.0
    top = best.max()
    return float(confidence(top + np.log(np.exp(SHARPNESS * (best - top)).mean()) / SHARPNESS))


def bar(modalities: Collection[Modality]) -> float:
    """The presence from which a search among rows of these modalities is worth showing."""
    if "text" not in modalities:
        return BARS["media"]
    return BARS["mixed"] if len(modalities) > 1 else BARS["text"]


def _attended(queries: Floats, frames: Floats, tau: float = TAU) -> tuple[Floats, Floats]:
    """Cosines (n,) of queries (n, dim) with frames (f, dim) pooled for each, and the weights (n, f)."""
    cosines = queries @ frames.T
    weights = np.exp((cosines - cosines.max(axis=1, keepdims=True)) / tau)
    weights /= weights.sum(axis=1, keepdims=True)
    lengths = np.sqrt(np.maximum(((weights @ (frames @ frames.T)) * weights).sum(axis=1), 1e-12))
    return (weights * cosines).sum(axis=1) / lengths, weights


def _best(cosines: Floats) -> NDArray[np.float64]:
    """The mean (n,) of the 20 largest of each column of (phrases, n)."""
    count = min(NEAREST, len(cosines))
    return np.partition(cosines, len(cosines) - count, axis=0)[-count:].mean(axis=0, dtype=np.float64)
