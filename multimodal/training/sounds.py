"""The starter's sound tower, its own weights trained.

Its graph reads the weights in place from the safetensors file beside it (`multimodal.towers.onnx`), so a
space with other weights is the same files with other numbers at the same places: nothing is exported. They
are kept in float16, as the starter's are.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multimodal.adapted import CENTRE
from multimodal.encoder import Encoder
from multimodal.sources import BANK, CONFIG, Source
from multimodal.towers.audio_module import StarterAudioModule
from multimodal.towers.base import identity, tensors_hash, unit
from multimodal.towers.onnx import OnnxTower, WindowedTower
from multimodal.training.towers import Trunk
from multimodal.types import Modality, Vectors

RIDGE = 1.0
"""Of the map from rows before to how they moved, by which generic rows follow: one training row's worth."""


def trunk(weights: Path) -> Trunk:
    """The tower of a file of weights, all of which learn."""
    from safetensors.torch import load_file

    module = StarterAudioModule()
    module.load_state_dict({name: tensor.float() for name, tensor in load_file(str(weights)).items()})

    def encode(windows: NDArray[np.float32], device: torch.device) -> Tensor:
        return module(torch.from_numpy(windows).to(device))

    return Trunk(module, {"audio": encode}, 14.3, -10.0)


def windows(prepared: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The windows (w, mels, frames) of a sound and their shares: each counts the same."""
    return prepared, np.full(len(prepared), 1 / len(prepared), np.float32)


class Windows:
    """The tower in torch, where no file was written: windows to features (n, dim)."""

    def __init__(
        self, like: OnnxTower, state: Mapping[str, NDArray[np.float16]], about: Mapping[str, Any]
    ) -> None:
        self.preprocess, self.feature_dim = like.preprocess, like.feature_dim
        self.tower_id = f"{like.weights.stem}-{identity(dict(about))}"
        self._module = StarterAudioModule()
        self._module.load_state_dict({name: torch.from_numpy(one).float() for name, one in state.items()})
        self._module.eval()

    def forward(self, batch: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(self._module(torch.from_numpy(np.stack(batch))).numpy(), np.float32)


class WithSounds:
    """The starter's source, or that of a copy of it, with other weights in its sound tower.

    `before` and `after` (n, dim) are rows of sounds by which the generic ones follow.
    """

    def __init__(self, base: Source, module: torch.nn.Module, before: Vectors, after: Vectors) -> None:
        self._base = base
        self.name = f"{base.name}+trained"
        self._state = {key: one.detach().cpu().half().numpy() for key, one in module.state_dict().items()}
        config: dict[str, Any] = base._config  # type: ignore[attr-defined]
        self._about = {**config["audio"], "weights_hash": tensors_hash(self._state)}
        tower: Any = base.build("audio").tower
        self._audio = Encoder("audio", WindowedTower(Windows(tower.windows, self._state, self._about)))  # type: ignore[arg-type]
        self._map = moves(before, after)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._base, name)

    @property
    def bank(self) -> Mapping[str, NDArray[np.floating]] | None:
        bank = self._base.bank
        return None if bank is None else followed(bank, self._map)

    def build(self, modality: Modality) -> Encoder:
        return self._audio if modality == "audio" else self._base.build(modality)

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        self._base.save(folder)
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        overwrite(folder / config["audio"]["weights"], self._state)
        config["audio"] = self._about
        (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        if self.bank is not None:
            stored = {name: np.ascontiguousarray(rows, np.float16) for name, rows in self.bank.items()}
            save_file(stored, str(folder / BANK))
            (folder / BANK).chmod(0o644)  # safetensors writes files that only their owner reads


def overwrite(path: Path, state: Mapping[str, NDArray[np.float16]]) -> None:
    """Other numbers at the same places of a safetensors file, where a graph looks for them."""
    content = bytearray(path.read_bytes())
    (length,) = struct.unpack("<Q", content[:8])
    for name, entry in json.loads(bytes(content[8 : 8 + length])).items():
        if name != "__metadata__":
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            content[begin:end] = np.ascontiguousarray(state[name]).tobytes()
    path.write_bytes(content)


def moves(before: Vectors, after: Vectors) -> NDArray[np.float32]:
    """The linear map (dim, dim) from rows to how they moved, by ridge regression."""
    square = before.T @ before + RIDGE * np.eye(before.shape[1], dtype=np.float32)
    return np.asarray(np.linalg.solve(square, before.T @ (after - before)), np.float32)


def followed(
    bank: Mapping[str, NDArray[np.floating]], by: NDArray[np.float32]
) -> dict[str, NDArray[np.floating]]:
    """Generic sounds, and the mean of rows of sounds, where the tower that learned would have them about."""
    made: dict[str, NDArray[np.floating]] = {
        name: np.asarray(rows, np.float32) for name, rows in bank.items()
    }
    if "audio" in made:
        made["audio"] = unit(made["audio"] + made["audio"] @ by)
    if f"{CENTRE}audio" in made:
        made[f"{CENTRE}audio"] = made[f"{CENTRE}audio"] + made[f"{CENTRE}audio"] @ by
    return made
