"""Pairs as training sees them: rows of frozen towers, who belongs to whom, and who is for what."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import QueryError
from multimodal.evaluation.items import item_key
from multimodal.pairs import Pairs
from multimodal.training.features import Feature
from multimodal.types import MODALITIES, Item, Modality, Vectors

Ints = NDArray[np.int64]

SPLITS = ("train", "validation", "test")
LEAST = 2
"""Training pairs without which nothing is contrasted with anything."""


@dataclass(frozen=True, eq=False)
class Kind:
    """Pairs of the same two modalities, the one that comes first in MODALITIES on the left.

    `left` and `right` (n,) are places in the rows of their modality, `left_group` and `right_group` (n,)
    numbers that are equal where the contents are (a caption up to letter case and punctuation), `weight`
    (n,) averages 1 over the training pairs, `split` (n,) are places in SPLITS.
    """

    modalities: tuple[Modality, Modality]
    left: Ints
    right: Ints
    left_group: Ints
    right_group: Ints
    weight: NDArray[np.float32]
    split: Ints

    def places(self, *splits: str) -> Ints:
        """Which pairs are for this, ascending."""
        return np.flatnonzero(np.isin(self.split, [SPLITS.index(split) for split in splits]))

    def codes(self, places: Ints) -> Ints:
        """Sorted numbers of who belongs to whom among some pairs; see `belongs`."""
        return np.unique(self.left_group[places] * self._width + self.right_group[places])

    @cached_property
    def learned(self) -> Ints:
        """The codes of the training pairs."""
        return self.codes(self.places("train"))

    def belongs(self, codes: Ints, left: Ints, right: Ints) -> NDArray[np.bool_]:
        """Whether groups `left` (n,) and `right` (m,) are a pair: (n, m)."""
        asked = left[:, None] * self._width + right[None, :]
        found = np.searchsorted(codes, asked).clip(max=len(codes) - 1)
        return codes[found] == asked

    @cached_property
    def _width(self) -> int:
        return int(self.right_group.max()) + 1


@dataclass(frozen=True, eq=False)
class Data:
    """Unit rows (n, dim) of each modality, and the kinds of pairs among them."""

    rows: Mapping[Modality, Vectors]
    kinds: Sequence[Kind]
    id: str
    """A hash of all of it: contents, who belongs to whom, weights, splits."""
    keys: Mapping[Modality, Sequence[str]] = field(default_factory=dict)
    """Of each row the content that it is of (`features.content_key`), where that is known."""

    def count(self, split: str) -> int:
        return sum(len(kind.places(split)) for kind in self.kinds)


def assemble(pairs: Pairs, known: Mapping[object, Feature], share: float, seed: int) -> Data:
    """The data of pairs whose features are `known` by `item_key`; other pairs are left out.

    Without validation pairs, about a `share` of the training pairs is set aside for it: whole groups, so
    that no caption and no file is on both sides, by a hash of their contents, so that the same ones are
    whenever pairs come or go. Raises QueryError where too few pairs are left.
    """
    used = [
        (place, known[item_key(a)], known[item_key(b)], group_of(a, known), group_of(b, known))
        for place, (a, b) in enumerate(pairs.pairs)
        if item_key(a) in known and item_key(b) in known
    ]
    if not used:
        raise QueryError("None of the pairs can be used: every one has a file that could not be embedded.")
    weights = np.array([1.0 if pairs.weights is None else pairs.weights[place] for place, *_ in used])
    splits = np.array(
        [0 if pairs.splits is None else SPLITS.index(pairs.splits[place]) for place, *_ in used]
    )
    if not (splits == 1).any() and share > 0:
        of = _components([(left, right) for *_, left, right in used])
        marks = [_share(f"{seed} {min(of[left], of[right])}") < share for *_, left, right in used]
        splits[(splits == 0) & np.array(marks)] = 1
    rows: dict[Modality, list[NDArray[np.float32]]] = {}
    keys: dict[Modality, list[str]] = {}
    places: dict[str, int] = {}
    groups: dict[str, int] = {}
    kinds: dict[tuple[Modality, Modality], list[tuple[int, ...]]] = {}
    for number, (_, first, second, first_group, second_group) in enumerate(used):
        sides = [(first, first_group), (second, second_group)]
        sides.sort(key=lambda side: MODALITIES.index(side[0].modality))
        line = [number]
        for feature, group in sides:
            if feature.key not in places:
                places[feature.key] = len(rows.setdefault(feature.modality, []))
                rows[feature.modality].append(feature.row)
                keys.setdefault(feature.modality, []).append(feature.key)
            line += [places[feature.key], groups.setdefault(group, len(groups))]
        kinds.setdefault((sides[0][0].modality, sides[1][0].modality), []).append(tuple(line))
    weights = weights / weights[splits == 0].mean() if (splits == 0).any() else weights
    made = [_kind(way, np.array(lines, np.int64), weights, splits) for way, lines in kinds.items()]
    digest = hashlib.blake2b(digest_size=8)
    for (_, first, second, *_), weight, split in zip(used, weights, splits, strict=True):
        digest.update(f"{first.key} {second.key} {weight:.6g} {split}\n".encode())
    stacked = {modality: np.stack(found) for modality, found in rows.items()}
    data = Data(stacked, made, digest.hexdigest(), keys)
    if data.count("train") < LEAST:
        raise QueryError(f"{data.count('train')} pairs are left to learn from: give at least {LEAST}.")
    return data


def group_of(item: Item, known: Mapping[object, Feature]) -> str:
    """Equal for captions that say the same, letter case and punctuation aside, and for equal contents."""
    if isinstance(item, str):
        plain = " ".join(re.findall(r"\w+", item.casefold()))
        return f"text {plain or item.strip()}"
    return known[item_key(item)].key


def _kind(
    way: tuple[Modality, Modality], lines: Ints, weights: NDArray[np.float64], splits: NDArray[np.int64]
) -> Kind:
    number, left, left_group, right, right_group = lines.T
    weight = weights[number].astype(np.float32)
    return Kind(way, left, right, left_group, right_group, weight, splits[number])


def _components(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The least name of all that hang together with each name, by one pair or several (union-find)."""
    parent = {name: name for pair in pairs for name in pair}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for left, right in pairs:
        a, b = sorted((root(left), root(right)))
        parent[b] = a
    return {name: root(name) for name in parent}


def _share(name: str) -> float:
    """A number in [0, 1) that a name always gets."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "big") / 2**32
