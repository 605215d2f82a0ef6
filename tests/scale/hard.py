"""A fake space that takes its time: its process dies of one certain text, its decoder hangs at another."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.encoder import Encoder
from multimodal.space import Space
from multimodal.types import Content
from tests.fakes import AXES, FakeSource, FakeTower, Words

DEADLY = "red red red green green blue"
HANGING = "blue blue blue green green red"
SECONDS = 0.05


class Stuck(Words):
    """How decoders prepare a text; with one they never end."""

    def __call__(self, content: Content) -> NDArray[np.float32]:
        while content == HANGING:
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
    source._encoders["text"] = Encoder("text", HardTower("text1", Stuck()))
    return Space(source)
