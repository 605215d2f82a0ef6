"""LanguageBind's audio (Zhu et al. 2024): a CLIP vision transformer that sees a sound's mel filter banks.

Its space is that of OpenCLIP's ViT-L-14 of datacomp_xl_s13b_b90k, against whose locked text tower it was
trained. Both published models are read: LanguageBind_Audio_FT, all of whose weights were trained (112 mel
bands), and LanguageBind_Audio, with low-rank updates (Hu et al. 2022) beside its weights (126 bands).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import SpaceError
from multimodal.sound.imagebind import FRAME, RATE, SHIFT, at_16_khz, fbank, keep, tensors_of
from multimodal.towers.base import identity, tensors_hash
from multimodal.types import Content

DIM = 768
FILE = "audio-languagebind.safetensors"
LICENCE = "MIT"
CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
PARTS = ("vision_model.", "visual_projection.")
KIND = "folder of LanguageBind's audio"
ACTS = ("gelu", "quick_gelu")


@dataclass(frozen=True)
class Windows:
    """A sound to (3, mels, frames) float32 filter banks, three windows as the channels of a picture.

    Windows begin at the start and where the second and the last third of all possible beginnings do, as in
    the published code. A sound that is no longer than a window (10.36 s) is repeated as often as it fits
    whole, then padded, and its three windows are alike. `mean` and `deviation` are of log filter banks.
    """

    mels: int
    frames: int
    mean: float
    deviation: float

    def __call__(self, content: Content) -> NDArray[np.float32]:
        samples = at_16_khz(content)
        fits = self.frames * SHIFT
        if len(samples) <= fits:
            samples = np.tile(samples, max(1, fits // max(len(samples), 1)))
            samples = np.pad(samples, (0, fits - len(samples)))
            return np.repeat(self._window(samples, 0)[None], 3, axis=0)
        return np.stack([self._window(samples, begin) for begin in self._begins(len(samples))])

    def _begins(self, samples: int) -> list[int]:
        """Frames; the three are alike where a sound is longer than a window by less than a frame."""
        possible = (samples - FRAME) // SHIFT + 1 - self.frames + 1
        thirds = np.array_split(np.arange(max(0, possible)), 3)
        return [int(third[0]) if len(third) else 0 for third in thirds]

    def _window(self, samples: NDArray[np.floating], begin: int) -> NDArray[np.float32]:
        end = (begin + self.frames - 1) * SHIFT + FRAME
        found = fbank(samples[begin * SHIFT : end], self.mels)
        found = np.pad(found, ((0, self.frames - len(found)), (0, 0)))
        return ((found.T - self.mean) / self.deviation).astype(np.float32)


@dataclass(frozen=True)
class Settings:
    """What a transformer's tensors do not tell: attention heads, activation, epsilon of the layer norms."""

    heads: int
    act: str
    epsilon: float


class LanguageBindTower:
    """Windows to features (n, 768) of ViT-L-14's space, one sound at a time."""

    feature_dim = DIM

    def __init__(self, part: LanguageBind) -> None:
        self.preprocess = part.preprocess
        self._part = part
        self._model: Any = None
        recipe = {**asdict(part.preprocess), **asdict(part.settings)}
        self.tower_id = "languagebind-" + identity(tensors_hash(part.tensors), recipe)

    def forward(self, batch: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        import torch

        if self._model is None:
            self._model = _network(self._part)
        with torch.inference_mode():
            rows = [self._model(torch.from_numpy(windows)[None])[0].numpy() for windows in batch]
        return np.stack(rows).astype(np.float32)


@dataclass(frozen=True, eq=False)
class LanguageBind:
    """See `multimodal.sound.source.AudioPart`. `tensors` have low-rank updates merged in."""

    tensors: Mapping[str, NDArray[Any]]
    preprocess: Windows
    settings: Settings
    rate: int = RATE

    def tower(self) -> LanguageBindTower:
        return LanguageBindTower(self)

    def save(self, folder: Path) -> dict[str, Any]:
        keep(self.tensors, folder / FILE)
        told = {"preprocess": asdict(self.preprocess), "settings": asdict(self.settings)}
        return {"kind": "languagebind", "weights": FILE, "licence": LICENCE, **told}


def read(path: Path) -> LanguageBind:
    """A folder as the hub has it: config.json, pytorch_model.bin or model.safetensors. Raises SpaceError."""
    preprocess, settings, alpha = _told(path)
    weights = next((path / name for name in WEIGHTS if (path / name).is_file()), None)
    if weights is None:
        raise SpaceError(f"{path} is no {KIND}: it has no {' or '.join(WEIGHTS)}.")
    part = LanguageBind(_merged(path, tensors_of(weights, PARTS, KIND), alpha), preprocess, settings)
    _check(path, part)
    return part


def saved(folder: Path, section: Mapping[str, Any]) -> LanguageBind:
    """What `LanguageBind.save` wrote. Raises OSError, KeyError, SpaceError."""
    path = folder / section["weights"]
    told = Windows(**section["preprocess"]), Settings(**section["settings"])
    part = LanguageBind(tensors_of(path, PARTS, KIND), *told)
    _check(path, part)
    return part


def _told(folder: Path) -> tuple[Windows, Settings, float]:
    """What the folder's config.json says, with the published class's defaults; the last is LoRA's alpha."""
    try:
        told = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["vision_config"]
        windows = Windows(
            int(told["num_mel_bins"]),
            int(told["target_length"]),
            float(told["audio_mean"]),
            float(told["audio_std"]),
        )
        act = str(told.get("hidden_act", "quick_gelu"))
        heads, epsilon = int(told.get("num_attention_heads", 12)), float(told.get("layer_norm_eps", 1e-5))
        rate, alpha = int(told.get("audio_sample_rate", RATE)), float(told.get("lora_alpha", 16))
    except KeyError as error:
        raise SpaceError(f"{folder} is no {KIND}: {CONFIG} does not say {error.args[0]}.") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise SpaceError(f"{folder} is no {KIND}: {CONFIG} cannot be read: {error}.") from error
    if rate != RATE or act not in ACTS or told.get("add_time_attn"):
        wants = f"{rate} Hz, {act}" + (", attention over time" if told.get("add_time_attn") else "")
        raise SpaceError(f"{folder} is no {KIND}: it wants {wants}, not {RATE} Hz and {' or '.join(ACTS)}.")
    return windows, Settings(heads, act, epsilon), alpha


def _merged(path: Path, held: Mapping[str, NDArray[Any]], alpha: float) -> dict[str, NDArray[np.float32]]:
    """Weights under plain names, each with its low-rank update: W + alpha / r B A, (out, r) by (r, in)."""
    plain = {
        re.sub(r"\.base_model\.model\b|\.base_layer\b", "", name): tensor
        for name, tensor in held.items()
        if not name.endswith("position_ids")
    }
    merged = {name: tensor for name, tensor in plain.items() if ".lora_" not in name}
    for begin in sorted({name.partition(".lora_")[0] for name in plain if ".lora_" in name}):
        try:
            down, up = (plain[f"{begin}.lora_{side}.default.weight"] for side in "AB")
            update = alpha / len(down) * (up @ down)
            merged[f"{begin}.weight"] = np.asarray(merged[f"{begin}.weight"] + update, np.float32)
        except (KeyError, ValueError, ZeroDivisionError) as error:
            raise SpaceError(f"{path} is no {KIND}: the low-rank update of {begin} does not fit.") from error
    return merged


def _check(path: Path, part: LanguageBind) -> None:
    try:
        _network(part)
    except (KeyError, RuntimeError, ValueError, IndexError, AssertionError, ZeroDivisionError) as error:
        reason = " ".join(str(error).split())[:160].rstrip(".")
        raise SpaceError(f"{path} is no {KIND}: {reason}.") from error


def _network(part: LanguageBind) -> Any:
    """open_clip's vision transformer; width, depth and patch come from the tensors."""
    from functools import partial

    import torch
    from open_clip.transformer import QuickGELU, VisionTransformer
    from torch import nn

    tensors, settings = part.tensors, part.settings
    width, _, patch, _ = tensors["vision_model.embeddings.patch_embedding.weight"].shape
    depth = 1 + max(int(n.split(".")[3]) for n in tensors if n.startswith("vision_model.encoder.layers."))
    with torch.device("meta"):  # nothing is drawn at random that the tensors replace anyway
        made = VisionTransformer(
            image_size=(part.preprocess.mels, part.preprocess.frames),
            patch_size=patch,
            width=width,
            layers=depth,
            heads=settings.heads,
            mlp_ratio=len(tensors["vision_model.encoder.layers.0.mlp.fc1.bias"]) / width,
            output_dim=DIM,
            act_layer=QuickGELU if settings.act == "quick_gelu" else nn.GELU,
            norm_layer=partial(nn.LayerNorm, eps=settings.epsilon),
        )
    state = {n: torch.from_numpy(np.ascontiguousarray(t)) for n, t in _renamed(tensors, depth).items()}
    made.load_state_dict(state, assign=True)
    return made.eval()


NAMES = (
    ("vision_model.embeddings.class_embedding", "class_embedding"),
    ("vision_model.embeddings.patch_embedding.", "conv1."),
    ("vision_model.embeddings.position_embedding.weight", "positional_embedding"),
    ("vision_model.pre_layrnorm.", "ln_pre."),
    ("vision_model.post_layernorm.", "ln_post."),
    ("vision_model.encoder.layers.", "transformer.resblocks."),
    (".layer_norm1.", ".ln_1."),
    (".layer_norm2.", ".ln_2."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
    (".self_attn.out_proj.", ".attn.out_proj."),
)
"""Parts of the published names, as transformers has them, and of open_clip's."""


def _renamed(tensors: Mapping[str, NDArray[Any]], depth: int) -> dict[str, NDArray[Any]]:
    """The tensors under open_clip's names, where queries, keys and values are one matrix."""
    left, made = dict(tensors), {}
    made["proj"] = left.pop("visual_projection.weight").T
    for number in range(depth):
        at = f"vision_model.encoder.layers.{number}.self_attn"
        for kind in ("weight", "bias"):
            parts = [left.pop(f"{at}.{one}_proj.{kind}") for one in "qkv"]
            made[f"transformer.resblocks.{number}.attn.in_proj_{kind}"] = np.concatenate(parts)
    for name, tensor in left.items():
        for theirs, here in NAMES:
            name = name.replace(theirs, here)
        made[name] = tensor
    return made
