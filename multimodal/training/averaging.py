"""A running mean of a model's weights over its steps, which is often better than the last weights are.

Polyak and Juditsky (1992), Acceleration of stochastic approximation by averaging; with the exponential
forgetting of Tarvainen and Valpola (2017), Mean teachers are better role models.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LAG = 20
"""Steps by which the mean is held back at most at first: after `n` steps it keeps (n + 1) / (n + 20), so that
what a model began with is soon forgotten."""


def begun(model: nn.Module) -> dict[str, Tensor]:
    """The mean before the first step: a copy of weights and buffers, by their names in the state dict."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def follow(mean: dict[str, Tensor], model: nn.Module, keep: float, step: int) -> None:
    """Draw the mean, in place, towards a model after its step number `step` (from 0).

    `keep` in [0, 1) is the share of itself that the mean keeps: 0.998 averages some 500 steps. Buffers that
    count (integers) are those of the model; the others, such as a batch norm's statistics, are averaged too.
    """
    kept = min(keep, (step + 1) / (step + LAG))
    with torch.no_grad():
        for name, now in model.state_dict().items():
            if now.is_floating_point():
                mean[name].lerp_(now.to(mean[name].device), 1 - kept)
            else:
                mean[name].copy_(now)
