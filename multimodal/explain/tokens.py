"""The parts a tower sees of an item: where each lies, its embedding, and how much it counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal.towers.base import unit
from multimodal.types import Modality, Vectors


@dataclass(frozen=True)
class Place:
    """Where a part lies in its item; what does not apply is None."""

    text: str | None = None
    """The characters of a sub-word or a word."""
    chars: tuple[int, int] | None = None
    """Their offsets (begin, end) in the text."""
    box: tuple[float, float, float, float] | None = None
    """Left, top, right and bottom of a patch, in pixels of the picture, upright."""
    seconds: tuple[float, float] | None = None
    """From and to, in the file or the sound; a frame lasts until the next one."""
    hertz: tuple[float, float] | None = None
    """Lowest and highest frequency of a patch of a spectrogram."""

    def described(self) -> str:
        """The place in words: `pirate`, `at (170, 28)`, `5.5-6.0 s`, `3.5-3.6 s, 750-2026 Hz`."""
        if self.text is not None:
            return self.text
        if self.box is not None:
            left, top, right, bottom = self.box
            return f"at ({(left + right) / 2:.0f}, {(top + bottom) / 2:.0f})"
        parts = []
        if self.seconds is not None:
            parts.append(f"{self.seconds[0]:.1f}-{self.seconds[1]:.1f} s")
        if self.hertz is not None:
            parts.append(f"{self.hertz[0]:.0f}-{self.hertz[1]:.0f} Hz")
        return ", ".join(parts)


@dataclass(frozen=True, eq=False)
class Tokens:
    """The parts of one item in their order, as its tower sees them.

    `embeddings` (t, dim) are float32 unit rows of the shared space: their cosines with `space.embed(...)`
    say what each part looks like. `weights` (t,) are float32, not negative, and sum to 1.
    """

    modality: Modality
    embeddings: Vectors
    weights: NDArray[np.float32]
    places: tuple[Place, ...]

    def __post_init__(self) -> None:
        if not len(self.places) == len(self.embeddings) == len(self.weights):
            raise ValueError(
                f"Tokens takes as many places as embeddings and weights, not {len(self.places)},"
                f" {len(self.embeddings)} and {len(self.weights)}"
            )

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Place]:
        return iter(self.places)

    def __repr__(self) -> str:
        return f"Tokens({self.modality!r}, {len(self)} of {self.embeddings.shape[1]} dimensions)"

    @property
    def strings(self) -> list[str]:
        """The sub-words of a text; empty strings for the other modalities."""
        return [place.text or "" for place in self.places]

    @property
    def boxes(self) -> NDArray[np.float64]:
        """Boxes (t, 4) of patches, in pixels: left, top, right, bottom; NaN for the other modalities."""
        return _rows([place.box for place in self.places], 4)

    @property
    def times(self) -> NDArray[np.float64]:
        """From and to (t, 2) in seconds; NaN where there is no time."""
        return _rows([place.seconds for place in self.places], 2)

    @property
    def hertz(self) -> NDArray[np.float64]:
        """Lowest and highest frequencies (t, 2); NaN for all but sounds."""
        return _rows([place.hertz for place in self.places], 2)


def made(
    modality: Modality,
    embeddings: NDArray[np.floating],
    weights: NDArray[np.floating] | None,
    places: Sequence[Place],
) -> Tokens:
    """Tokens of raw embeddings (t, dim) and weights (t,) of any sum.

    Where the tower has no attention, `weights` is None: a part then weighs its share in the item's vector,
    the positive part of its cosine with the mean of all.
    """
    rows = unit(embeddings)
    if weights is None:
        weights = np.maximum(rows @ unit(rows.mean(axis=0)), 0)
    total = float(weights.sum())
    shares = weights / total if total > 0 else np.full(len(rows), 1 / max(1, len(rows)))
    return Tokens(modality, rows, np.asarray(shares, np.float32), tuple(places))


def joined(parts: Sequence[Tokens], weights: Sequence[float] | None = None) -> Tokens:
    """The tokens of an item's segments one after another, each segment weighing the same (or `weights`)."""
    shares = np.array(weights if weights is not None else [1.0] * len(parts), np.float32)
    shares = shares / shares.sum()
    return Tokens(
        parts[0].modality,
        np.concatenate([part.embeddings for part in parts]),
        np.concatenate([share * part.weights for share, part in zip(shares, parts, strict=True)]),
        tuple(place for part in parts for place in part.places),
    )


def _rows(values: Sequence[tuple[float, ...] | None], width: int) -> NDArray[np.float64]:
    rows = [value if value is not None else (np.nan,) * width for value in values]
    return np.array(rows, np.float64).reshape(len(rows), width)
