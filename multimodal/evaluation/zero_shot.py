"""Zero-shot labels, measured: items whose text is their label, told apart with and without templates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import QueryError
from multimodal.evaluation.items import embedded, item_key
from multimodal.evaluation.measure import Measure, measured
from multimodal.labels import Classifier
from multimodal.matching import probabilities
from multimodal.measures import calibration_errors
from multimodal.pairs import Pairs, read_pairs
from multimodal.types import FileRecord, Item, Modality, Vectors

if TYPE_CHECKING:
    from multimodal.space import Space


@dataclass(frozen=True)
class ZeroShot:
    """Items of one modality, told by `labels` labels.

    `measures` are top-1 and top-5 (the share of items whose label is so far up), balanced (top-1 as the mean
    over labels, so that a label with many items does not outweigh the others), ece (the expected calibration
    error of the first label's probability) and top-1 bare (asked with the label alone); `gain` is what the
    templates add to it, item by item.
    """

    modality: Modality
    items: int
    labels: int
    measures: dict[str, Measure]
    gain: Measure
    left_out: Sequence[FileRecord] = ()


def evaluate_zero_shot(
    space: Space,
    pairs: str | Path | Pairs | Sequence[tuple[Item, Item]],
    *,
    templates: Sequence[str] | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> list[ZeroShot]:
    """Measure `Space.classify` on pairs of an item and its label, a result for each modality.

    All texts of the pairs are the labels; a text of a text pair is the label where it stands second.
    Raises NoMediaFile, QueryError (fewer than two labels), NoEncoder, SpaceError.
    """
    if isinstance(pairs, (str, Path)):
        pairs = read_pairs(pairs)
    elif not isinstance(pairs, Pairs):
        pairs = Pairs(("item", "label"), list(pairs))
    told = [_label(pair) for pair in pairs.pairs]
    labels = list(dict.fromkeys(label for _, label in told))
    if len(labels) < 2:
        raise QueryError("Zero-shot labels need at least two different labels to choose from.")
    column: tuple[str, str] = ("item", "label")
    known, left_out = embedded(space, Pairs(column, [(item, item) for item, _ in told]), workers, progress)
    rows: dict[Modality, list[tuple[NDArray[np.float32], int]]] = {}
    for item, label in told:
        if item_key(item) in known:
            modality, row = known[item_key(item)]
            rows.setdefault(modality, []).append((row, labels.index(label)))
    asked, bare = Classifier(space, labels, templates), Classifier(space, labels, ["{}"])
    found = []
    for modality, entries in rows.items():
        vectors, truth = np.stack([row for row, _ in entries]), np.array([label for _, label in entries])
        measures, gain = _measures(space, modality, vectors, truth, asked.rows(modality), bare.rows(modality))
        found.append(ZeroShot(modality, len(truth), len(labels), measures, gain, left_out))
    if not found:
        raise QueryError("None of the items could be embedded.")
    return found


def _measures(
    space: Space,
    modality: Modality,
    vectors: Vectors,
    truth: NDArray[np.int64],
    asked: Vectors,
    bare: Vectors,
) -> tuple[dict[str, Measure], Measure]:
    cosines = vectors @ asked.T
    own = cosines[np.arange(len(truth)), truth][:, None]
    rank = (cosines > own).sum(axis=1)
    first = cosines.argmax(axis=1)
    hit = (first == truth).astype(np.float64)
    alone = ((vectors @ bare.T).argmax(axis=1) == truth).astype(np.float64)
    sizes = np.bincount(truth, minlength=len(asked))[truth]
    weighed = hit / sizes * len(truth) / len(np.unique(truth))
    sure = probabilities(space, cosines, space.scale(modality))[np.arange(len(truth)), first]
    measures = {
        "top-1": measured(hit),
        "top-5": measured(rank < 5),
        "balanced": measured(weighed),
        "ece": measured(np.stack([sure, hit], axis=1), calibration_errors),
        "top-1 bare": measured(alone),
    }
    return measures, measured(hit - alone)


def _label(pair: tuple[Item, Item]) -> tuple[Item, str]:
    """The item and its label: the text of the two, the second where both are. Raises QueryError."""
    left, right = pair
    if isinstance(right, str):
        return left, right.strip()
    if isinstance(left, str):
        return right, left.strip()
    raise QueryError("Zero-shot labels are texts: one side of each pair has to be a label.")
