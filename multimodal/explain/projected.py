"""The tower beneath what only shortens its rows, and the way from its features to the space's rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.encoder import Encoder
from multimodal.towers.base import unit

Rows = Callable[[NDArray[Any]], NDArray[np.float32]]


def beneath(encoder: Encoder) -> tuple[Any, Rows]:
    """The tower that looks at contents itself, and what turns its features (n, d) into unit rows (n, dim)."""
    tower: Any = encoder.tower
    projections = []
    while hasattr(tower, "projection") and hasattr(tower, "inner"):
        projections.append(tower.projection)
        tower = tower.inner

    def rows(features: NDArray[Any]) -> NDArray[np.float32]:
        made = unit(features)
        for projection in reversed(projections):
            made = projection(made)
        return made

    return tower, rows
