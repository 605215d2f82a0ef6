"""Training: a space learns from pairs of things that belong together.

>>> better = fit(load_space(), "pairs.csv", output="my-space")

By default the towers stay frozen, so their features are computed once; behind them small adapters learn,
which start as the identity (`multimodal.adapted`). An open_clip model's towers can learn themselves: low-rank
updates, which are merged into its weights (`lora`), or all weights (`tuning`). What the space knew is held by
generic rows that must not move, by weight decay towards the space as it is, and by going only as far as
validation wants (`tradeoff`).
"""

from __future__ import annotations

from multimodal.training.films import fit_from_videos, learn_from_videos
from multimodal.training.fitting import Learned, fit, learn
from multimodal.training.pooling import fit_pooler
from multimodal.training.settings import PARTS, Settings

__all__ = [
    "PARTS",
    "Learned",
    "Settings",
    "fit",
    "fit_from_videos",
    "fit_pooler",
    "learn",
    "learn_from_videos",
]
