"""open_clip's text and image towers, as open_clip loads them: any model, any tag, any local directory.

Text is cut into BPE (or the model's own) tokens by open_clip's tokenizer; pictures become the patch
tokens of the model's vision transformer. torch and open_clip (6 s) are imported when a space of this
kind is loaded, never before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import SpaceError, UnknownSpace
from multimodal.towers.base import identity, tensors_hash
from multimodal.towers.pixels import ResizeCrop
from multimodal.types import Content

SCHEMES = ("hf-hub:", "local-dir:")


@dataclass(frozen=True)
class Loaded:
    """An open_clip model in evaluation mode with what belongs to its weights."""

    name: str
    model: Any
    tokenizer: Any
    pixels: ResizeCrop
    weights_hash: str

    @cached_property
    def dim(self) -> int:
        import torch

        with torch.inference_mode():
            return int(self.model.encode_text(torch.as_tensor(self.tokenizer(["dim"]))).shape[-1])

    @property
    def logit_scale(self) -> float:
        return float(self.model.logit_scale.detach().exp())


class BpeTokens:
    """A text to the model's token ids (context_length,), special tokens included; the rest is cut."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __call__(self, content: Content) -> NDArray[np.int64]:
        if not isinstance(content, str):
            raise TypeError(f"expected a text, got {type(content).__name__}")
        return np.asarray(self._tokenizer([content])[0], dtype=np.int64)


class ClipTextTower:
    """Texts to features (n, dim) of the model's text transformer and projection."""

    def __init__(self, loaded: Loaded) -> None:
        self._model = loaded.model
        self.preprocess = BpeTokens(loaded.tokenizer)
        self.feature_dim = loaded.dim
        self.tower_id = "clip-text-" + identity(loaded.weights_hash, type(loaded.tokenizer).__name__)

    def forward(self, batch: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            return _floats(self._model.encode_text(torch.from_numpy(np.stack(batch))))


class ClipImageTower:
    """Pixels (h, w, 3) uint8 to features (n, dim) of the model's vision tower and projection."""

    def __init__(self, loaded: Loaded) -> None:
        self._model = loaded.model
        self.preprocess = loaded.pixels
        self.feature_dim = loaded.dim
        self.tower_id = "clip-image-" + identity(loaded.weights_hash, loaded.pixels.config())

    def forward(self, batch: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        import torch

        mean = torch.tensor(self.preprocess.mean).view(1, 3, 1, 1)
        std = torch.tensor(self.preprocess.std).view(1, 3, 1, 1)
        with torch.inference_mode():
            pixels = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).float().div_(255)
            return _floats(self._model.encode_image((pixels - mean) / std))


def load(name: str) -> Loaded:
    """Load `MODEL/TAG`, `hf-hub:OWNER/REPO` or `local-dir:FOLDER` through open_clip's own factory.

    Raises UnknownSpace with near matches for a name open_clip does not list, SpaceError where the
    weights cannot be had (no network, damaged file).
    """
    import open_clip

    model_name, tag = _split(name)
    try:
        model, _, _ = open_clip.create_model_and_transforms(model_name, pretrained=tag)
        tokenizer = open_clip.get_tokenizer(model_name)
    except Exception as error:  # hub, file and configuration errors of several libraries
        raise SpaceError(
            f"The weights of {name!r} cannot be loaded ({_first_line(error)}); without a network, save the"
            " space to a folder on another machine and give that folder's path instead."
        ) from error
    model.eval()
    state = {key: value.numpy() for key, value in model.state_dict().items()}
    pixels = ResizeCrop.from_config(open_clip.get_model_preprocess_cfg(model))
    return Loaded(name, model, tokenizer, pixels, tensors_hash(state))


def save(loaded: Loaded, folder: Path) -> None:
    """Write the model as open_clip's own local directory: open_clip_config.json and safetensors weights.

    Tokenizer files are not copied for models whose tokenizer comes from a hub: open_clip finds it by name.
    """
    import json

    import open_clip
    from safetensors.torch import save_file

    config = _model_config(loaded)
    preprocess = open_clip.get_model_preprocess_cfg(loaded.model)
    document = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(document, indent=2), encoding="utf-8")
    # clones: tied weights share storage, which safetensors refuses
    tensors = {key: value.clone().contiguous() for key, value in loaded.model.state_dict().items()}
    save_file(tensors, str(folder / "open_clip_model.safetensors"))


def _model_config(loaded: Loaded) -> dict[str, Any]:
    import json

    import open_clip

    model_name, _ = _split(loaded.name)
    if model_name.startswith("local-dir:"):
        path = Path(model_name.removeprefix("local-dir:")) / "open_clip_config.json"
        return dict(json.loads(path.read_text(encoding="utf-8"))["model_cfg"])
    if model_name.startswith("hf-hub:"):
        from open_clip.factory import _get_hf_config

        return dict(_get_hf_config(model_name.removeprefix("hf-hub:"))["model_cfg"])
    return dict(open_clip.get_model_config(model_name))


def _split(name: str) -> tuple[str, str | None]:
    """("MODEL", "TAG") of a listed pair, or (name, None) for a scheme that carries its own weights."""
    import open_clip

    if name.startswith(SCHEMES):
        return name, None
    model, _, tag = name.partition("/")
    pairs = {f"{listed}/{known}" for listed, known in open_clip.list_pretrained()}
    if f"{model}/{tag}" in pairs:
        return model, tag
    raise UnknownSpace(f"There is no space {name!r}{_near(name, pairs)}.")


def _near(name: str, pairs: set[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, sorted(pairs), n=5, cutoff=0.5)
    model = name.partition("/")[0]
    close = close or sorted(pair for pair in pairs if pair.split("/")[0].lower() == model.lower())[:5]
    return "; near it: " + ", ".join(close) if close else "; open_clip names are MODEL/TAG"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _floats(features: Any) -> NDArray[np.float32]:
    return np.asarray(features.float().numpy(), dtype=np.float32)
