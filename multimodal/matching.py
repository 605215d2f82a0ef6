"""Which caption fits: ranked captions for an item, or one caption for each of several items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import QueryError
from multimodal.phrases import everyday
from multimodal.towers.base import softmax, unit
from multimodal.types import Item, Match, Modality, Vectors

if TYPE_CHECKING:
    from multimodal.space import Space

Vector = NDArray[np.float32]

DOUBTFUL = 0.5
"""Probability of a pair below which it is doubtful: then the other captions together are likelier."""


def probabilities(
    space: Space, cosines: NDArray[np.floating], scale: float | NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Cosines (..., c) with c captions as probabilities.

    The softmax over the captions of cosine times logit scale (CLIP; Radford et al. 2021): they sum to 1.
    `scale` is the space's own, or what `Space.scale` gives, for all cosines or in their shape. A space with a
    `logit_bias` judges each caption by itself, by the sigmoid of scale times cosine plus bias (SigLIP; Zhai
    et al. 2023).
    """
    logits = (space.logit_scale if scale is None else scale) * np.asarray(cosines, np.float64)
    if space.logit_bias is not None:
        return np.asarray(1 / (1 + np.exp(-(logits + space.logit_bias))))
    return softmax(logits)


def match_each(space: Space, items: Sequence[Item], captions: Sequence[str]) -> list[list[Match]]:
    """See `Space.match`: a list for each item."""
    rows = caption_rows(space, captions)
    found = space.embed_each(list(items))
    return [ranked(space, row @ rows.T, captions, modality) for modality, row in found]


def phrases(space: Space) -> tuple[list[str], Vectors]:
    """The bundled everyday phrases and their unit rows (n, dim): those the space ships, else made now."""
    lines = everyday()
    held = (space.bank or {}).get("text")
    if held is not None and len(held) == len(lines):
        return lines, unit(np.asarray(held))
    return lines, space.embed(lines)


def caption_rows(space: Space, captions: Sequence[str]) -> Vectors:
    """The unit rows (c, dim) of captions. Raises QueryError where there are none."""
    if isinstance(captions, str) or not len(captions):
        raise QueryError("match takes a list of at least one caption.")
    return space.embed(list(captions))


def ranked(
    space: Space, cosines: NDArray[np.floating], captions: Sequence[str], modality: Modality
) -> list[Match]:
    """Captions by their cosines (c,) with one item of a modality, best first."""
    values = np.asarray(cosines, np.float64)
    chances = probabilities(space, values, space.scale(modality))
    order = np.argsort(-values, kind="stable")
    sorted_values = values[order]
    margins = sorted_values - np.append(sorted_values[1:], sorted_values[-1])
    return [
        Match(captions[place], float(values[place]), float(chances[place]), float(margin))
        for place, margin in zip(order.tolist(), margins.tolist(), strict=True)
    ]


@dataclass(frozen=True)
class Pair:
    """An item and the caption it was given, by their places in what was asked.

    `probability` is the smaller of two: that of this caption among all for the item, and of this item among
    all for the caption. `margin` is the cosine above the best other caption of the item; below 0 another
    one fits it better, and was needed elsewhere.
    """

    item: int
    caption: int
    cosine: float
    probability: float
    margin: float

    @property
    def doubtful(self) -> bool:
        """Whether a person should look at it."""
        return self.probability < DOUBTFUL or self.margin < 0


@dataclass(frozen=True)
class Assignment:
    """Captions given out one to one. `items` and `captions` are the places of those left without."""

    pairs: tuple[Pair, ...]
    items: tuple[int, ...] = ()
    captions: tuple[int, ...] = ()

    @property
    def doubtful(self) -> list[Pair]:
        """The pairs that a person should look at, the least probable first."""
        return sorted((pair for pair in self.pairs if pair.doubtful), key=lambda pair: pair.probability)

    def report(self, items: Sequence[object], captions: Sequence[str]) -> str:
        """What a person should look at, in lines: doubtful pairs, the least probable first, and what is left
        over. `items` and `captions` are those that were asked, in their order."""
        lines = [f"{len(self.pairs)} pairs, {len(self.doubtful)} of them doubtful"]
        for pair in self.doubtful:
            told = f"{_short(items[pair.item])}: {_short(captions[pair.caption])}"
            better = "another caption fits it better" if pair.margin < 0 else "others fit as well"
            lines.append(f"  {pair.probability:4.0%}  {told} ({better})")
        lines += [f"  no caption is left for {_short(items[place])}" for place in self.items]
        lines += [f"  nothing is left for {_short(captions[place])}" for place in self.captions]
        return "\n".join(lines)


def _short(item: object) -> str:
    said = f'"{item}"' if isinstance(item, str) else str(item)
    return said if len(said) <= 80 else f"{said[:77]}..."


def assign(
    space: Space, items: Sequence[Item] | Sequence[tuple[Modality, Vector]], captions: Sequence[str]
) -> Assignment:
    """Give each item a caption of its own, so that the sum of cosines is the largest (the Hungarian method;
    scipy's `linear_sum_assignment`). With more of one than of the other some are left over.

    `items` may be pairs of modality and unit row (dim,). Raises QueryError where there is nothing to give or
    to get.
    """
    from scipy.optimize import linear_sum_assignment

    if isinstance(items, (str, bytes)) or not len(items):
        raise QueryError("assign takes a list of at least one item.")
    known = [item for item in items if isinstance(item, tuple)]
    found = known if len(known) == len(items) else space.embed_each(list(items))  # type: ignore[arg-type]
    rows = np.stack([row for _, row in found])
    scale = np.array([space.scale(modality) for modality, _ in found])[:, None]
    cosines = (rows @ caption_rows(space, captions).T).astype(np.float64)
    taken, given = linear_sum_assignment(cosines, maximize=True)
    forward, back = probabilities(space, cosines, scale), probabilities(space, cosines.T, scale.T).T
    pairs = []
    for item, caption in zip(taken.tolist(), given.tolist(), strict=True):
        others = np.delete(cosines[item], caption)
        margin = float(cosines[item, caption] - others.max()) if len(others) else 0.0
        chance = float(min(forward[item, caption], back[item, caption]))
        pairs.append(Pair(item, caption, float(cosines[item, caption]), chance, margin))
    left = set(range(len(rows))) - {pair.item for pair in pairs}
    over = set(range(len(captions))) - {pair.caption for pair in pairs}
    return Assignment(tuple(pairs), tuple(sorted(left)), tuple(sorted(over)))
