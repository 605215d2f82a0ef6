"""A fake space that takes its time, and whose process dies of one certain text."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.encoder import Encoder
from multimodal.space import Space
from tests.fakes import AXES, FakeSource, FakeTower, Words

DEADLY = "red red red green green blue"
SECONDS = 0.05


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
    return Space(source)
