"""A whole space without weights: it knows colours and pitches, enough to search across modalities.

Pictures lie by their mean colour, sounds by their pitch, words by the colours and pitches they name
(any other word falls on an axis of its own hash).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from multimodal.encoder import Encoder
from multimodal.space import Space
from multimodal.towers.pixels import ResizeCrop
from multimodal.towers.video import VideoTower
from multimodal.types import Audio, Content, Modality, ReadOptions

DIM = 32
AXES = {"red": 0, "green": 1, "blue": 2, "low": 3, "middle": 4, "high": 5}
PITCHES = (("low", 0, 400), ("middle", 400, 1500), ("high", 1500, 8000))


@dataclass(frozen=True)
class Words:
    def __call__(self, content: Content) -> NDArray[np.float32]:
        assert isinstance(content, str)
        row = np.zeros(DIM, np.float32)
        for word in content.lower().split():
            digest = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest(), "big")
            row[AXES.get(word, 6 + digest % (DIM - 6))] += 1
        return row


@dataclass(frozen=True)
class Pitch:
    def __call__(self, content: Content) -> NDArray[np.float32]:
        assert isinstance(content, Audio)
        power = np.abs(np.fft.rfft(content.samples)) ** 2
        hertz = np.fft.rfftfreq(len(content.samples), 1 / content.rate)
        row = np.full(DIM, 1e-3, np.float32)
        for word, low, high in PITCHES:
            row[AXES[word]] += power[(hertz >= low) & (hertz < high)].sum() / max(power.sum(), 1e-9)
        return row


class FakeTower:
    def __init__(self, name: str, preprocess: Any) -> None:
        self.tower_id = f"fake-{name}-1"
        self.feature_dim = DIM
        self.preprocess = preprocess

    def forward(self, batch: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        return np.stack([self._feature(item) for item in batch])

    def _feature(self, item: NDArray[Any]) -> NDArray[np.float32]:
        if item.ndim == 1:
            return np.asarray(item, np.float32)
        row = np.full(DIM, 1e-3, np.float32)
        row[:3] += item.reshape(-1, 3).mean(axis=0) / 255
        return row


class FakeSource:
    name = "fake"
    logit_scale = 20.0
    modalities: tuple[Modality, ...] = ("text", "image", "video", "audio")
    read_options = ReadOptions(min_side=32)
    bank: ClassVar[None] = None

    def __init__(self, version: int = 1) -> None:
        pixels = ResizeCrop((32, 32), (0.5,) * 3, (0.5,) * 3)
        towers = {
            "text": FakeTower(f"text{version}", Words()),
            "image": FakeTower("image", pixels),
            "audio": FakeTower("audio", Pitch()),
        }
        self._encoders: dict[str, Encoder] = {name: Encoder(name, tower) for name, tower in towers.items()}  # type: ignore[arg-type]
        self._encoders["video"] = Encoder("video", VideoTower(self._encoders["image"]))

    def build(self, modality: Modality) -> Encoder:
        return self._encoders[modality]

    def save(self, folder: Path) -> None:
        raise AssertionError("the fake space has nothing to save")


def fake_space(version: int = 1) -> Space:
    """A space of every modality; another `version` is another space (other `space_id`)."""
    return Space(FakeSource(version))
