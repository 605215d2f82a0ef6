"""The training set of the image tower: rows of features, their items and the wordings of each item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recipes import image_features
from recipes.captions import comparable, wordings
from recipes.picture import Picture
from recipes.pictures import SOURCES, STAMPS, Source
from recipes.split import sampled, sampled_photos, validation
from recipes.text_teacher import embed_texts

MODE = "squash"
"""How pictures become squares; see README.md for the measurement."""
NEAR_DUPLICATE = 0.9
SHARE = {
    STAMPS: 0.22, "openclipart": 0.22, "art4apps": 0.08, "gcompris": 0.06, "fluent-emoji-3d": 0.06,
    "fluent-emoji-flat": 0.05, "noto": 0.05, "twemoji": 0.05, "emojione": 0.04, "fxemoji": 0.015,
    "streamline-emojis": 0.03, "openmoji": 0.05, "streamline-ultimate-color": 0.02,
    "streamline-freehand-color": 0.02, "glyphs": 0.05,
}  # fmt: skip
"""Share of each source in a batch, before sources left out are made up for by the others."""


@dataclass(frozen=True)
class Rows:
    """Features of pictures: places (n, 9, 1280) and stage means (n, 856) float16, `item` (n,)."""

    places: NDArray[np.float16]
    means: NDArray[np.float16]
    item: NDArray[np.int64]

    def first(self) -> Rows:
        """The first row of every item: the picture as it is."""
        _, at = np.unique(self.item, return_index=True)
        return Rows(self.places[at], self.means[at], self.item[at])


@dataclass(frozen=True)
class Labelled:
    """Rows with captions: item i has the texts `texts[begin[i]:begin[i + 1]]`, best first."""

    rows: Rows
    pictures: list[Picture]
    begin: NDArray[np.int64]
    texts: NDArray[np.float32]
    share: NDArray[np.float64]
    """(n,) chance of each row to be drawn."""


def read(source: Source, keep: Callable[[Picture], bool]) -> tuple[list[Picture], Rows]:
    """Pictures of a source that `keep` takes and whose features were computed, and their rows."""
    features = image_features.load(source.name, MODE)
    by_key = {p.key: p for p in source.pictures()}
    wanted = [i for i, key in enumerate(features.keys) if key in by_key and keep(by_key[key])]
    renumbered = np.full(len(features.keys), -1)
    renumbered[wanted] = np.arange(len(wanted))
    at = np.flatnonzero(renumbered[features.item] >= 0)
    rows = Rows(features.places[at], features.means[at], renumbered[features.item[at]])
    return [by_key[features.keys[i]] for i in wanted], rows


def stamps(keep: Callable[[Picture], bool]) -> tuple[list[Picture], Rows, NDArray[np.float32]]:
    """Stamps as a test has them: pictures, one row each, and vectors of their captions (n, 384)."""
    source = next(s for s in SOURCES if s.name == STAMPS)
    pictures, rows = read(source, keep)
    return pictures, rows.first(), embed_texts([p.captions[0] for p in pictures])


def is_test(picture: Picture) -> bool:
    """The 250 held-out stamps: those drawn as PNG."""
    return picture.held_out and picture.drawn


def is_validation(picture: Picture) -> bool:
    return not picture.held_out and picture.drawn and validation(picture.key)


def gather(permissive_only: bool, validating: bool) -> Labelled:
    """Everything to train on, near duplicates of what will be measured left out.

    Held-out stamps never are in it; with `validating`, validation stamps are not either. Near
    duplicates have an equal caption or an average feature whose cosine is above 0.9; a wording that
    would make a caption equal to a measured one is not used either.
    """
    measured = [is_test, is_validation] if validating else [is_test]
    tests = [stamps(lambda p: p.held_out), *(stamps(m) for m in measured)]
    captions = {comparable(p.captions[0]) for pictures, _, _ in tests for p in pictures}
    looks = _averages(np.concatenate([rows.places for _, rows, _ in tests]))

    shipped = sampled()

    def keep(picture: Picture) -> bool:
        if picture.source == STAMPS and picture.key in shipped:
            return False
        if picture.held_out or (validating and picture.source == STAMPS and is_validation(picture)):
            return False
        return not any(comparable(c) in captions for c in picture.captions)

    parts: list[tuple[list[Picture], Rows, float]] = []
    for source in SOURCES:
        if source.name in SHARE and (source.permissive or not permissive_only):
            pictures, rows = _without_lookalikes(*read(source, keep), looks)
            parts.append((pictures, rows, SHARE[source.name]))
    return _join(parts, captions)


def _averages(places: NDArray[np.float16]) -> NDArray[np.float32]:
    """Unit rows (n, 1280) of the average over places."""
    mean = places.astype(np.float32).mean(1)
    unit: NDArray[np.float32] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    return unit


def _without_lookalikes(
    pictures: list[Picture], rows: Rows, looks: NDArray[np.float32]
) -> tuple[list[Picture], Rows]:
    first = rows.first()
    alike = np.zeros(len(pictures), dtype=bool)
    for begin in range(0, len(first.item), 4096):
        part = slice(begin, begin + 4096)
        alike[first.item[part]] = (_averages(first.places[part]) @ looks.T).max(1) > NEAR_DUPLICATE
    renumbered = np.cumsum(~alike) - 1
    at = np.flatnonzero(~alike[rows.item])
    kept = [p for p, out in zip(pictures, alike, strict=True) if not out]
    return kept, Rows(rows.places[at], rows.means[at], renumbered[rows.item[at]])


def _join(parts: Sequence[tuple[list[Picture], Rows, float]], unsaid: set[str]) -> Labelled:
    pictures: list[Picture] = []
    items, shares = [], []
    for some, rows, share in parts:
        items.append(rows.item + len(pictures))
        # every item of a source is drawn as often as the next, however many rows it has
        count = np.bincount(rows.item, minlength=len(some))
        shares.append(share / len(some) / count[rows.item])
        pictures.extend(some)
    said = [[text for text in wordings(p) if comparable(text) not in unsaid] for p in pictures]
    begin = np.cumsum([0, *(len(texts) for texts in said)])
    share_of_row = np.concatenate(shares)
    rows = Rows(
        np.concatenate([r.places for _, r, _ in parts]),
        np.concatenate([r.means for _, r, _ in parts]),
        np.concatenate(items),
    )
    texts = embed_texts([text for some_texts in said for text in some_texts])
    return Labelled(rows, pictures, begin, texts, share_of_row / share_of_row.sum())


def photos(permissive_only: bool = False) -> Rows:
    """Rows of unlabelled photos."""
    shipped = sampled_photos()
    parts = [
        read(source, lambda p: p.source != "samples" or p.key not in shipped)[1]
        for source in SOURCES
        if source.name in {"samples", "wallpapers"} and (source.permissive or not permissive_only)
    ]
    places, means = (np.concatenate([getattr(r, name) for r in parts]) for name in ("places", "means"))
    return Rows(places, means, np.arange(len(places)))
