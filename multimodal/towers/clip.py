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
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import SpaceError, UnknownSpace
from multimodal.towers.base import identity, tensors_hash
from multimodal.towers.pixels import ResizeCrop
from multimodal.towers.windows import BLOCK, pooled, spans
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


class _Frame(NamedTuple):
    """What a tokenizer puts around every text: special tokens, padding, and what may end the padding."""

    before: list[int]
    after: list[int]
    padding: int
    last: list[int]


class BpeTokens:
    """A text to the model's token ids (context_length,) int64, special tokens and padding included.

    A longer text gives windows (w, context_length + 1), each with special tokens and padding of its own, as
    few and as even as can be; the last column says how many of the text's tokens a window holds.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    @property
    def context_length(self) -> int:
        return int(self._tokenizer.context_length)

    def __call__(self, content: Content) -> NDArray[np.int64]:
        if not isinstance(content, str):
            raise TypeError(f"expected a text, got {type(content).__name__}")
        size = len(content.encode("utf-8", "replace"))
        if 2 * size > self.context_length:  # else it fits: no token is shorter than a byte
            words = self._words(content, 4 * size + self.context_length)  # cleaning makes some texts longer
            if len(words) > self._room:
                return np.stack([self._window(words[b:e]) for b, e in spans(len(words), self._room)])
        return self._ids(content, self.context_length)

    def _ids(self, text: str, length: int) -> NDArray[np.int64]:
        return np.asarray(self._tokenizer([text], context_length=length)[0], dtype=np.int64)

    @cached_property
    def _frame(self) -> _Frame:
        empty, probe = self._ids("", self.context_length).tolist(), self._ids("a", self.context_length)
        last = [] if empty[-1] == empty[-2] else [empty.pop()]
        padding = empty[-1]
        while empty and empty[-1] == padding:  # nothing is left where the end of a text is its padding
            empty.pop()
        before = next((n for n, token in enumerate(empty) if probe[n] != token), len(empty))
        return _Frame(empty[:before], empty[before:], padding, last)

    @property
    def _room(self) -> int:
        """The tokens of a text that fit one window."""
        before, after, _, last = self._frame
        return self.context_length - max(1, len(before) + len(after)) - len(last)

    def _words(self, text: str, length: int) -> list[int]:
        """All tokens of a text, without special ones."""
        before, after, padding, last = self._frame
        ids = self._ids(text, length).tolist()
        ids = ids[: len(ids) - len(last)]
        while ids and ids[-1] == padding:
            ids.pop()
        return ids[len(before) : len(ids) - len(after)]

    def _window(self, words: list[int]) -> NDArray[np.int64]:
        before, after, padding, last = self._frame
        ids = [*before, *words, *after]
        ids += [padding] * (self.context_length - len(ids) - len(last))
        return np.array([*ids, *last, len(words)], dtype=np.int64)


class ClipTextTower:
    """Texts to features (n, dim) of the model's text transformer and projection.

    A text of several windows gives the mean of their unit features (`multimodal.towers.windows`).
    """

    def __init__(self, loaded: Loaded) -> None:
        self._model = loaded.model
        self.preprocess = BpeTokens(loaded.tokenizer)
        self.feature_dim = loaded.dim
        self.tower_id = "clip-text-" + identity(loaded.weights_hash, type(loaded.tokenizer).__name__)

    def forward(self, batch: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        import torch

        length = self.preprocess.context_length
        windows = np.concatenate([np.atleast_2d(ids)[:, :length] for ids in batch])
        block = max(len(batch), BLOCK)
        with torch.inference_mode():
            features = [
                _floats(self._model.encode_text(torch.from_numpy(windows[at : at + block])))
                for at in range(0, len(windows), block)
            ]
        counts = [[1] if ids.ndim == 1 else ids[:, length].tolist() for ids in batch]
        return pooled(np.concatenate(features), counts)


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
