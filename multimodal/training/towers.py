"""What learns inside towers: what is shown goes through them at each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from multimodal.training.heads import HIGHEST
from multimodal.training.prepared import Inputs
from multimodal.types import Modality

Encode: TypeAlias = Callable[[NDArray[Any], torch.device], Tensor]
"""Inputs (k, ...) as they are kept to features (k, dim)."""

TO_ZERO = ".lora_B."
"""In the names of weights that are zero where nothing was learned; others are drawn nowhere."""
KEPT = ".lora_A."
"""In the names of weights that say nothing alone: they are not interpolated."""


@dataclass(frozen=True, eq=False)
class Trunk:
    """The network of one or several towers. What learns is what in `module` requires a gradient; `encode`
    goes through it, for the modalities that learn."""

    module: nn.Module
    encode: Mapping[Modality, Encode]
    scale: float
    bias: float


class Towers(nn.Module):
    """Towers over the inputs of the modalities that learn, the rows (n, dim) of the others as they are, and
    the loss's own scale and bias. The interface is that of `multimodal.training.heads.Heads`.

    Norms over batches, dropout and the like stay as they are when a space embeds, so that what is trained is
    what is used. Its state is what learns and nothing else.
    """

    block = 64
    """Items at a time outside training."""

    def __init__(
        self,
        trunk: Trunk,
        inputs: Mapping[Modality, Inputs],
        rows: Mapping[Modality, NDArray[np.float32]],
        held: Mapping[Modality, Inputs],
        loss: str,
    ) -> None:
        super().__init__()
        self.module, self.encode, self.inputs = trunk.module, trunk.encode, inputs
        self.log_scale = nn.Parameter(torch.tensor(math.log(trunk.scale)))
        self.bias = nn.Parameter(torch.tensor(trunk.bias), requires_grad=loss == "siglip")
        self.frozen = {modality: f"rows_{modality}" for modality in rows if modality not in inputs}
        for modality, name in self.frozen.items():
            self.register_buffer(name, torch.from_numpy(rows[modality]), persistent=False)
        self.held = dict(held)
        self.stood: dict[Modality, Tensor] = {}
        """Where the held items were before anything was learned."""

    def train(self, mode: bool = True) -> Towers:
        super().train(mode)
        self.module.eval()
        return self

    @property
    def scale(self) -> Tensor:
        return self.log_scale.exp().clamp(max=HIGHEST)

    def count(self, modality: Modality) -> int:
        """Of items."""
        name = self.frozen.get(modality)
        return len(self.inputs[modality]) if name is None else len(self.get_buffer(name))

    def embed(self, modality: Modality, places: NDArray[np.int64]) -> Tensor:
        """Unit rows (n, dim) of items."""
        name = self.frozen.get(modality)
        if name is None:
            return self.through(modality, self.inputs[modality], places)
        rows = self.get_buffer(name)
        return rows[torch.from_numpy(places).to(rows.device)]

    def through(self, modality: Modality, inputs: Inputs, places: NDArray[np.int64]) -> Tensor:
        """Unit rows (n, dim) of those of `inputs`: the mean of an item's unit features, by their shares."""
        chosen, of = inputs.places(places)
        device = self.log_scale.device
        features = F.normalize(
            self.encode[modality](np.asarray(inputs.values[chosen]), device).float(), dim=-1
        )
        if len(of) == len(places):
            return features
        share = torch.from_numpy(inputs.shares[chosen]).to(device)[:, None]
        rows = torch.zeros(len(places), features.shape[1], device=device)
        return F.normalize(rows.index_add(0, torch.from_numpy(of).to(device), share * features), dim=-1)

    def moved(self, rng: np.random.Generator, count: int) -> Tensor:
        """How far generic items are from where they were: mean of 1 - cosine, `count` of each modality."""
        parts = []
        for modality, inputs in self.held.items():
            places = np.sort(rng.choice(len(inputs), min(count, len(inputs)), replace=False))
            stood = self.stood[modality].to(self.log_scale.device)[torch.from_numpy(places)]
            parts.append(1 - (self.through(modality, inputs, places) * stood).sum(dim=1).mean())
        return torch.stack(parts).mean() if parts else torch.zeros((), device=self.log_scale.device)

    def stand(self, device: torch.device) -> None:
        """Remember where generic items are: before training, and before a checkpoint is read."""
        self.to(device).eval()
        with torch.no_grad():
            for modality, inputs in self.held.items():
                blocks = np.split(np.arange(len(inputs)), range(self.block, len(inputs), self.block))
                self.stood[modality] = torch.cat([self.through(modality, inputs, part) for part in blocks])

    def groups(self, decay: float) -> list[dict[str, object]]:
        """Parameters for the optimiser: only what is zero in the space as it is is drawn to zero."""
        learning = {name: one for name, one in self.named_parameters() if one.requires_grad}
        drawn = [one for name, one in learning.items() if TO_ZERO in name]
        free = [one for name, one in learning.items() if TO_ZERO not in name]
        return [{"params": drawn, "weight_decay": decay}, {"params": free, "weight_decay": 0.0}]

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """What learns."""
        return {name: one.detach() for name, one in self.named_parameters() if one.requires_grad}

    def load_state_dict(self, state: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> None:
        """What `state_dict` gave. Raises KeyError."""
        with torch.no_grad():
            for name, one in self.named_parameters():
                if one.requires_grad:
                    one.copy_(state[name])

    def go(self, begun: Mapping[str, Tensor], learned: Mapping[str, Tensor], alpha: float) -> None:
        """To the weights on the way from those before (0) to those learned (1)."""
        self.load_state_dict(
            {
                name: after if KEPT in name else torch.lerp(begun[name].to(after), after, alpha)
                for name, after in learned.items()
            }
        )
