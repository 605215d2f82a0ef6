"""A fake space that takes its time: its process dies of one text, its decoder hangs at one picture."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from multimodal.encoder import Encoder
from multimodal.space import Space
from multimodal.towers.pixels import ResizeCrop
from multimodal.types import Content
from tests.fakes import AXES, FakeSource, FakeTower, Words

DEADLY = "red red red green green blue"
HANGING = (41, 37)
"""The size of a picture that never ends."""
SECONDS = 0.05


class Stuck(ResizeCrop):
    """How decoders prepare a picture; with one of a certain size they never end."""

    def __call__(self, content: Content) -> NDArray[Any]:
        while isinstance(content, Image) and content.size == HANGING:
            time.sleep(1)
        return super().__call__(content)


class HardTower(FakeTower):
    def forward(self, batch: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        for item in batch:
            time.sleep(SECONDS)
            if [item[AXES[name]] for name in ("red", "green", "blue")] == [3, 2, 1]:
                os._exit(9)
        return super().forward(batch)


def hard_space() -> Space:
    """The encoders of the fake space, by their ids and vectors."""
    source = FakeSource()
    source._encoders["text"] = Encoder("text", HardTower("text1", Words()))
    source._encoders["image"].tower.preprocess = Stuck((32, 32), (0.5,) * 3, (0.5,) * 3)
    return Space(source)
