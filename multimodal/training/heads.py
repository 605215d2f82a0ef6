"""What learns behind frozen towers: one adapter for each modality."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from multimodal.adapted import SHARED, Adapter
from multimodal.types import Modality

HIGHEST = 100.0
"""Of the logit scale, as in CLIP."""
START = {"clip": (14.3, 0.0), "siglip": (10.0, -10.0)}
"""Scale and bias before the first step: those of the papers."""


class Head(nn.Module):
    """`multimodal.adapted.Adapter` in torch: rows (n, dim) to unit rows (n, dim); the identity at first."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.dropout, self.stretch = dropout, dim**0.5
        nn.init.normal_(self.inner.weight, std=dim**-0.5)
        for zero in (self.inner.bias, self.outer.weight, self.outer.bias):
            nn.init.zeros_(zero)

    def forward(self, rows: Tensor) -> Tensor:
        inner = F.gelu(self.inner(self.stretch * rows), approximate="tanh")
        moved = self.outer(F.dropout(inner, self.dropout, self.training))
        return F.normalize(rows + moved.to(rows.dtype), dim=-1)


class Heads(nn.Module):
    """Adapters over the rows (n, dim) of each modality, and the loss's own scale and bias."""

    block = 4096
    """Rows at a time outside training."""

    def __init__(
        self,
        rows: Mapping[Modality, NDArray[np.float32]],
        generic: Mapping[Modality, NDArray[np.float32]],
        adapted: Sequence[str],
        hidden: int,
        dropout: float,
        loss: str,
    ) -> None:
        super().__init__()
        dim = next(iter(rows.values())).shape[1]
        self.heads = nn.ModuleDict({modality: Head(dim, hidden, dropout) for modality in adapted})
        scale, bias = START[loss]
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.bias = nn.Parameter(torch.tensor(bias), requires_grad=loss == "siglip")
        self.names = {modality: f"rows_{modality}" for modality in rows}
        for modality, values in rows.items():
            self.register_buffer(self.names[modality], torch.from_numpy(values), persistent=False)
        self.generic = {modality: rows for modality, rows in generic.items() if SHARED[modality] in adapted}
        self.mixture = np.concatenate(list(generic.values())) if generic else np.zeros((0, dim), np.float32)

    @property
    def scale(self) -> Tensor:
        return self.log_scale.exp().clamp(max=HIGHEST)

    def count(self, modality: Modality) -> int:
        """Of items."""
        return len(self.get_buffer(self.names[modality]))

    def embed(self, modality: Modality, places: NDArray[np.int64]) -> Tensor:
        """Unit rows (n, dim) of items."""
        rows = self.get_buffer(self.names[modality])
        return self.adapt(modality, rows[torch.from_numpy(places).to(rows.device)])

    def adapt(self, modality: Modality, rows: Tensor) -> Tensor:
        name = SHARED[modality]
        adapted: Tensor = self.heads[name](rows) if name in self.heads else rows
        return adapted

    def moved(self, rng: np.random.Generator, count: int) -> Tensor:
        """How far generic rows are from where they were: mean of 1 - cosine over `count` of each modality.

        A third are drawn as they are, the others are mixed with a row of any modality, so that few rows stand
        for what lies between: where modalities share a space, each is a sample of what the others may be.
        """
        device, parts = self.log_scale.device, []
        for modality, values in self.generic.items():
            one = values[rng.integers(0, len(values), count)]
            other = self.mixture[rng.integers(0, len(self.mixture), count)]
            share = rng.uniform(0, 1, (count, 1)).astype(np.float32)
            share[: count // 3] = 1
            rows = F.normalize(torch.from_numpy(share * one + (1 - share) * other).to(device), dim=-1)
            parts.append(1 - (self.adapt(modality, rows).float() * rows).sum(dim=1).mean())
        return torch.stack(parts).mean() if parts else torch.zeros((), device=device)

    def adapters(self) -> dict[str, Adapter]:
        """What was learned, in numpy."""
        made = {}
        for name, head in self.heads.items():
            state = {
                key: tensor.detach().float().cpu().numpy().copy() for key, tensor in head.state_dict().items()
            }
            made[name] = Adapter(
                *(state[f"{layer}.{key}"] for layer in ("inner", "outer") for key in ("weight", "bias"))
            )
        return made

    def groups(self, decay: float) -> list[dict[str, object]]:
        """Parameters for the optimiser: only the last layers are drawn to zero, which is the identity."""
        outer = [head.outer.weight for head in self.heads.values()]
        kept = {id(parameter) for parameter in outer}
        free = [one for one in self.parameters() if id(one) not in kept and one.requires_grad]
        return [{"params": outer, "weight_decay": decay}, {"params": free, "weight_decay": 0.0}]
