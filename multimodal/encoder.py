"""The one encoder: unit rows of the shared space from any tower."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np

from multimodal.towers.base import Prepared, Tower, identity, unit
from multimodal.types import Content, Frames, Modality, Vectors

VERSION = 1
"""Raise when the way from a tower's features to rows changes; rows of older versions become stale."""


class Encoder:
    """A modality's way into the shared space.

    The same content gives the same row (cosine >= 0.99999) whatever else is in the batch.
    """

    def __init__(self, modality: Modality, tower: Tower) -> None:
        self.modality = modality
        self.tower = tower
        self.dim = tower.feature_dim
        self.encoder_id = identity(modality, tower.tower_id, {"version": VERSION})

    def embed(self, batch: Sequence[Prepared]) -> Vectors:
        """Rows (n, dim) of contents that `tower.preprocess` has prepared."""
        if not len(batch):
            return np.zeros((0, self.dim), np.float32)
        return unit(self.tower.forward(batch))

    def embed_kept(self, batch: Sequence[Prepared]) -> tuple[Vectors, Sequence[Frames | None]]:
        """As `embed`, and beside each row the frames that the tower keeps of it; most towers keep none."""
        keeping = getattr(self.tower, "forward_kept", None)
        if keeping is None or not len(batch):
            return self.embed(batch), [None] * len(batch)
        features, frames = keeping(batch)
        return unit(features), frames

    def encode(self, contents: Iterable[Content], batch_size: int = 32) -> Vectors:
        """Rows (n, dim) of contents, prepared and embedded `batch_size` at a time."""
        source, rows = iter(contents), [np.zeros((0, self.dim), np.float32)]
        while chunk := list(islice(source, batch_size)):
            rows.append(self.embed([self.tower.preprocess(content) for content in chunk]))
        return np.concatenate(rows)

    def __repr__(self) -> str:
        return f"Encoder({self.modality!r}, {self.tower.tower_id}, dim={self.dim})"
