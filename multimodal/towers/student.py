"""The towers that `multimodal.distil` teaches: few layers, rows of another space's dimensions.

text   sub-words -> transformer of `width` -> mean -> head -> (n, dim), in numpy
image  pixels    -> open_clip's VisionTransformer           -> (n, dim), in torch
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import SpaceError
from multimodal.towers.base import identity
from multimodal.towers.minilm import MiniLMTower
from multimodal.towers.pixels import ResizeCrop

Floats = NDArray[np.float32]

HEAD = "head"
"""Name of the matrix (dim, width) and bias (dim,) behind a text student."""
FORWARD_BATCH = 16
"""Pictures of a forward pass: more gain nothing on a CPU."""


class StudentText(MiniLMTower):
    """Sentence features (n, dim): those of a few BERT layers through a head."""

    def __init__(self, weights: Path, tokenizer: Path, config: Mapping[str, Any]) -> None:
        """As `MiniLMTower`. Raises SpaceError."""
        from safetensors import SafetensorError

        try:
            super().__init__(weights, tokenizer, config)
        except SafetensorError as error:
            raise SpaceError(f"{weights} cannot be read as text weights: {error}.") from error
        self.tower_id = "student-text-" + identity(dict(config))
        try:
            self.feature_dim = int(self._weights[f"{HEAD}.weight"].shape[0])
        except KeyError as error:
            raise SpaceError(f"{weights} cannot be read as text weights: it has no {error}.") from error

    def last_layer(self, ids: NDArray[np.int32], mask: Floats) -> tuple[Floats, Floats]:
        """As `MiniLMTower.last_layer`, (n, t, dim): the head of a mean is the mean of heads."""
        hidden, attention = super().last_layer(ids, mask)
        return hidden @ self._weights[f"{HEAD}.weight"].T + self._weights[f"{HEAD}.bias"], attention


class StudentImage:
    """Picture features (n, dim) of a small vision transformer; torch is imported with the first picture."""

    def __init__(self, weights: Path, config: Mapping[str, Any]) -> None:
        """`config` holds `size`, `patch`, `width`, `layers`, `heads`, `dim`, `preprocess`, `weights_hash`.

        Raises SpaceError where the weights are missing."""
        if not weights.is_file():
            raise SpaceError(f"{weights} is missing from the space.")
        self._weights, self._config = weights, dict(config)
        self.preprocess = ResizeCrop.from_config(self._config["preprocess"])
        self.feature_dim = int(config["dim"])
        self.tower_id = "student-image-" + identity(self._config)

    @cached_property
    def _network(self) -> Any:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        network = vision(self._config)
        try:
            network.load_state_dict(load_file(str(self._weights)))
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise SpaceError(f"{self._weights} cannot be read as picture weights: {error}") from error
        return network.eval()

    def forward(self, batch: Sequence[NDArray[np.uint8]]) -> Floats:
        """n pictures (h, w, 3) uint8 to features (n, feature_dim)."""
        import torch

        parts = []
        with torch.inference_mode():
            for begin in range(0, len(batch), FORWARD_BATCH):
                pixels = torch.from_numpy(np.stack(batch[begin : begin + FORWARD_BATCH]))
                parts.append(self._network(scaled(pixels, self.preprocess)).numpy())
        return np.concatenate(parts).astype(np.float32, copy=False)


def vision(config: Mapping[str, Any]) -> Any:
    """open_clip's VisionTransformer (Dosovitskiy et al. 2020) of a student's sizes, mean pooled."""
    from open_clip.transformer import VisionTransformer

    return VisionTransformer(
        image_size=int(config["size"]),
        patch_size=int(config["patch"]),
        width=int(config["width"]),
        layers=int(config["layers"]),
        heads=int(config["heads"]),
        mlp_ratio=4.0,
        pool_type="avg",
        output_dim=int(config["dim"]),
    )


def scaled(pixels: Any, fit: ResizeCrop) -> Any:
    """Pixels (n, h, w, 3) uint8, or float of the same range, as a network sees them: (n, 3, h, w)."""
    import torch

    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (fit.mean, fit.std))
    return (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std
