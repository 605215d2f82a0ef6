"""The starter's convolutional towers place by place: what each place of their last map would be alone.

Both towers end in an average over the places of a map and a head. The head applied to one place instead of
the average gives that place's own vector, as in class activation maps (Zhou et al. 2016, Learning deep
features for discriminative localization), for heads that are not linear too. torch runs the modules that the
graphs were exported from, with the same weights.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from multimodal.towers.audio_module import StarterAudioModule
from multimodal.towers.image_module import GRID, StarterImageModule, load_image_module

Floats = NDArray[np.float32]


@lru_cache(maxsize=2)
def image_module(weights: Path) -> StarterImageModule:
    return load_image_module(weights)


@lru_cache(maxsize=2)
def audio_module(weights: Path) -> StarterAudioModule:
    from safetensors.torch import load_file

    module = StarterAudioModule()
    module.load_state_dict({name: tensor.float() for name, tensor in load_file(str(weights)).items()})
    return module.eval()


def image_cells(weights: Path, pixels: NDArray[np.uint8]) -> Floats:
    """Unit rows (rows, columns, dim) of the places of the last map of pixels (h, w, 3).

    The map has a place for every 32 pixels or so, whatever the size: a larger one shows smaller things.
    """
    module = image_module(weights)
    with torch.inference_mode():
        maps, last = _maps(module, pixels)
        rows, columns = last.shape[2:]
        cells = last[0].flatten(1).T  # (t, 1280)
        means = [F.adaptive_avg_pool2d(stage, (rows, columns))[0].flatten(1).T for stage in maps]
        places = cells[:, None].expand(-1, GRID * GRID, -1)
        features = module.embed(places, torch.cat(means, 1))
    return features.numpy().reshape(rows, columns, -1)


def image_attention(weights: Path, pixels: NDArray[np.uint8]) -> Floats:
    """Attention (rows, columns) of the residual to the places of the last map, the mean over its heads.

    It is paid to GRID x GRID areas; the places of one share its weight.
    """
    module = image_module(weights)
    with torch.inference_mode():
        _, last = _maps(module, pixels)
        places = F.avg_pool2d(last, last.shape[-1] // GRID).flatten(2).transpose(1, 2)
        residual = module.residual
        weight = residual.query(residual.norm(places)).softmax(1).mean(2)  # (1, 9)
        areas = weight.reshape(1, 1, GRID, GRID)
        spread = F.interpolate(areas, size=tuple(last.shape[2:]), mode="nearest")[0, 0]
    return (spread / spread.sum()).numpy()


def audio_cells(weights: Path, windows: Floats) -> Floats:
    """Unit rows (w, bands, steps, dim) of the places of the last map of log-mel windows (w, mels, frames)."""
    module = audio_module(weights)
    tagger, place = module.tagger, module.place
    with torch.inference_mode():
        x = F.relu(tagger.stem(torch.from_numpy(windows).unsqueeze(1)))
        for stage in tagger.stages:
            x = F.relu(stage(x))
        last = F.relu(tagger.wide(x))  # (w, 1024, bands, steps)
        count, _, bands, steps = last.shape
        cells = last.permute(0, 2, 3, 1).reshape(-1, last.shape[1])
        rows = place(cells, tagger.classes(cells))
    return rows.numpy().reshape(count, bands, steps, -1)


def _maps(module: StarterImageModule, pixels: NDArray[np.uint8]) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The maps of all stages and the last one, (1, 1280, rows, columns), of one picture."""
    backbone, maps = module.backbone, []
    x = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1.0
    x = F.relu6(backbone.stem(x))
    for stage in backbone.stages:
        x = stage(x)
        maps.append(x)
    return maps, F.relu6(backbone.head(x))
