"""Where a training stands, in one safetensors file that is replaced whole: a kill leaves the one before."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from multimodal.errors import SpaceError


@dataclass
class State:
    """Beside weights and optimiser all that decides what comes next. What is drawn at random is drawn from
    (seed, epoch) and (seed, step), so that counting is enough to go on with the same numbers."""

    epoch: int = 0
    batch: int = 0
    """Batches of this epoch that are done."""
    step: int = 0
    """Optimiser steps, all epochs together."""
    losses: list[float] = field(default_factory=list)
    """Of the batches of this epoch."""
    history: list[dict[str, float]] = field(default_factory=list)
    best: tuple[float, float] = (-1.0, -1.0)
    """R@10 and mean reciprocal rank on validation."""
    best_epoch: int = -1
    ended: bool = False


def save(
    path: Path,
    state: State,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    best: dict[str, Tensor],
    mined: dict[str, Tensor],
    mean: dict[str, Tensor] | None = None,
) -> None:
    """Write atomically; `mean` is the running mean of the weights, where there is one.

    Raises SpaceError where that is impossible."""
    from safetensors.torch import save_file

    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    tensors |= {f"mined.{name}": tensor for name, tensor in mined.items()}
    tensors |= {f"mean.{name}": tensor for name, tensor in (mean or {}).items()}
    for number, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{name}": value for name, value in values.items()}
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, str(part), {"state": json.dumps(asdict(state))})
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpaceError(f"The checkpoint {path} cannot be written: {reason}.") from error


def load(
    path: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    mean: dict[str, Tensor] | None = None,
) -> tuple[State, dict[str, Tensor], dict[str, Tensor]] | None:
    """Put model and optimiser where `save` found them; the state, the best weights and what was mined.

    A running `mean` of the weights is put, in place, where it was too.
    None where there is no checkpoint. Raises SpaceError for one that cannot be read.
    """
    if not path.is_file():
        return None
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "pt") as file:
            state = State(**json.loads(file.metadata()["state"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        state.best = (state.best[0], state.best[1])
        model.load_state_dict(_under(tensors, "model."))
        whole = optimiser.state_dict()
        whole["state"] = _states(_under(tensors, "optimiser."))
        optimiser.load_state_dict(whole)
        for name, tensor in (mean or {}).items():
            tensor.copy_(tensors[f"mean.{name}"])
        return state, _under(tensors, "best."), _under(tensors, "mined.")
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise SpaceError(
            f"The checkpoint {path} cannot be read; remove it to begin anew: {error!r}"
        ) from error


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _states(tensors: dict[str, Tensor]) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        number, _, key = name.partition(".")
        found.setdefault(int(number), {})[key] = tensor
    return found
