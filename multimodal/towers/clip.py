"""open_clip's text and image towers, as open_clip loads them: any model, any tag, any local directory.

Text is cut into BPE (or the model's own) tokens by open_clip's tokenizer; pictures become the patch
tokens of the model's vision transformer. torch and open_clip (6 s) are imported when a space of this
kind is loaded, never before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from multimodal import hub
from multimodal.errors import SpaceError
from multimodal.precision import PROBE_TEXTS, Chosen, Compute
from multimodal.towers import folders, networks, parts
from multimodal.towers.base import identity, tensors_hash
from multimodal.towers.parts import Parts
from multimodal.towers.pixels import ResizeCrop
from multimodal.towers.windows import BLOCK, pooled, spans
from multimodal.types import Content

PROBES = ("", "a photo of a Dog", "Über  &amp; 東京 1,234!", "the quick brown fox jumps over it; and again")
"""Texts whose tokens tell tokenizers apart: case, spaces, entities, scripts, digits, punctuation."""
_NOT_THE_TEXT_TOWER = ("visual.", "text_decoder.", "logit_")


@dataclass(frozen=True)
class Loaded:
    """An open_clip model in evaluation mode with what belongs to its weights.

    `text_id` and `image_id` name the weights and the architecture of the two towers; a model of which one
    tower was trained further keeps the other's.
    """

    name: str
    model: Any
    tokenizer: Any
    pixels: ResizeCrop
    parts: Parts
    text_id: str
    image_id: str

    @cached_property
    def dim(self) -> int:
        import torch

        with torch.inference_mode():
            return int(self.model.encode_text(torch.as_tensor(self.tokenizer(["dim"]))).shape[-1])

    @property
    def logit_scale(self) -> float:
        return float(self.model.logit_scale.detach().exp())

    @property
    def logit_bias(self) -> float | None:
        """What is added to the scaled cosine before the sigmoid, for models trained with one (SigLIP)."""
        bias = getattr(self.model, "logit_bias", None)
        return None if bias is None else float(bias.detach())


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

    @property
    def id(self) -> str:
        """Changes with the tokens: a hash of those of some texts, at the tokenizer's length."""
        tokens = np.stack([self._ids(text, self.context_length) for text in PROBES])
        return hashlib.blake2b(tokens.astype("<i8").tobytes(), digest_size=8).hexdigest()

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

    def __init__(self, loaded: Loaded, compute: Compute = Compute()) -> None:  # noqa: B008 - frozen
        self._model = loaded.model
        self._compute = compute
        self.preprocess = BpeTokens(loaded.tokenizer)
        self.feature_dim = loaded.dim
        self.tower_id = "clip-text-" + identity(loaded.text_id, self.preprocess.id)

    def forward(self, batch: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        length = self.preprocess.context_length
        windows = np.concatenate([np.atleast_2d(ids)[:, :length] for ids in batch])
        block = max(len(batch), BLOCK)
        features = [self.chosen.run(windows[at : at + block]) for at in range(0, len(windows), block)]
        counts = [[1] if ids.ndim == 1 else ids[:, length].tolist() for ids in batch]
        return pooled(np.concatenate(features), counts)

    @cached_property
    def chosen(self) -> Chosen:
        """The forward pass in use, with its precision and its cosine with float32; made on first use."""
        probe = np.stack([self.preprocess(text) for text in PROBE_TEXTS])
        return networks.chosen_text(self._model, self._compute, probe)


class ClipImageTower:
    """Pixels (h, w, 3) uint8 to features (n, dim) of the model's vision tower and projection."""

    def __init__(self, loaded: Loaded, compute: Compute = Compute()) -> None:  # noqa: B008 - frozen
        self._model = loaded.model
        self._compute = compute
        self.preprocess = loaded.pixels
        self.feature_dim = loaded.dim
        self._folder = loaded.parts.folder
        self.tower_id = "clip-image-" + identity(loaded.image_id, loaded.pixels.config())
        if compute.precision == "int8":
            from multimodal.towers import openvino

            self.tower_id += "-int8-" + openvino.graph_id(openvino.graph_path(self._folder))

    def forward(self, batch: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return self.chosen.run(np.stack(batch))

    @cached_property
    def chosen(self) -> Chosen:
        """The forward pass in use, with its precision and its cosine with float32; made on first use."""
        return networks.chosen_image(self._model, self.preprocess, self._compute, self._folder)


def load(name: str, download: bool = False) -> Loaded:
    """Load a model that `multimodal.towers.parts` finds, through open_clip's own factory.

    Raises UnknownSpace with near matches for a name open_clip does not list, SpaceError where the weights
    are not on this machine (and `download` is not set), cannot be fetched or are damaged.
    """
    found = parts.find(name, download, show=download)
    try:
        with hub.offline():
            tokenizer = parts.tokenizer(found)
            with _without_random_weights():
                model = _created(found)
    except SpaceError:
        raise
    except Exception as error:  # file and configuration errors of several libraries
        raise SpaceError(f"The space {name!r} cannot be loaded ({_first_line(error)}).") from error
    model.eval()
    pixels = ResizeCrop.from_config(model.visual.preprocess_cfg)
    return Loaded(name, model, tokenizer, pixels, found, *_ids(model, found))


def with_model(loaded: Loaded, model: Any) -> Loaded:
    """The same with other weights: those of a copy of its model that was trained further."""
    text_id, image_id = _ids(model, loaded.parts)
    return replace(loaded, model=model, text_id=text_id, image_id=image_id)


def _ids(model: Any, found: Parts) -> tuple[str, str]:
    """Of weights and architecture of the text and of the image tower."""
    state = {key: value.numpy() for key, value in model.state_dict().items()}
    image = {key: value for key, value in state.items() if key.startswith("visual.")}
    text = {key: value for key, value in state.items() if not key.startswith(_NOT_THE_TEXT_TOWER)}
    with ThreadPoolExecutor(1, "hash") as beside:  # half a gigabyte each, and hashing lets other threads run
        words = beside.submit(tensors_hash, text)
        image_hash, text_hash = tensors_hash(image), words.result()
    return (
        identity(text_hash, architecture(found.config, "text_cfg")),
        identity(image_hash, architecture(found.config, "vision_cfg")),
    )


_RANDOM = (
    *("uniform_", "normal_", "trunc_normal_", "orthogonal_"),
    *("kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "xavier_normal_"),
)


@contextmanager
def _without_random_weights() -> Iterator[None]:
    """Modules made inside are not filled with random numbers, a second for ViT-B/32: whatever is not in a
    checkpoint makes open_clip refuse it."""
    from torch.nn import init

    kept = {name: getattr(init, name) for name in _RANDOM}
    for name in kept:
        setattr(init, name, lambda tensor, *_, **__: tensor)
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(init, name, function)


def _created(found: Parts) -> Any:
    import open_clip

    given: dict[str, Any] = {}
    if found.text_model is not None:
        place = {"hf_model_name": str(found.text_model), "hf_model_pretrained": False}
        given["text_cfg"] = {**found.config["text_cfg"], **place}
    if found.model is None:
        folder = found.folder
        return open_clip.create_model(f"local-dir:{folder}", require_pretrained=True, **given)
    return open_clip.create_model(
        found.model,
        pretrained=str(found.weights),
        force_quick_gelu=bool(found.config.get("quick_gelu")),
        force_preprocess_cfg={**found.preprocess, "size": None},  # the model's own
        require_pretrained=True,
        **given,
    )


def architecture(config: dict[str, Any], tower: str) -> dict[str, Any]:
    """What of open_clip's configuration decides a tower's features beside its weights, defaults filled in.

    Names and places of files do not, nor whether towers are kept in one class or two.
    """
    import open_clip

    known = {"text_cfg": open_clip.CLIPTextCfg, "vision_cfg": open_clip.CLIPVisionCfg}[tower]
    fields = {field.name: field.default for field in dataclass_fields(known)}
    fields.update(config[tower])
    kept = {key: value for key, value in fields.items() if key not in _UNREAL}
    whole = {"quick_gelu": bool(config.get("quick_gelu")), "embed_dim": config["embed_dim"], **kept}
    return dict(json.loads(json.dumps(whole, default=str)))


_UNREAL = {
    *("hf_model_name", "hf_tokenizer_name", "hf_model_pretrained", "timm_model_pretrained"),
    *("patch_dropout", "timm_drop", "timm_drop_path", "tokenizer_kwargs"),
}
"""Where weights come from, settings of training, and the tokenizer's, which is known by its tokens."""


def save(loaded: Loaded, folder: Path) -> None:
    """Write the model as open_clip's own local directory: open_clip_config.json, safetensors weights, and
    the tokenizer where it comes from transformers, so that it loads without a hub."""
    import open_clip
    from safetensors.torch import save_file

    config = json.loads(json.dumps(loaded.parts.config, default=str))
    for tower, key in (("vision_cfg", "timm_model_pretrained"), ("text_cfg", "hf_model_pretrained")):
        if key in config[tower]:
            config[tower][key] = False
    folders.write_config(folder, config, open_clip.get_model_preprocess_cfg(loaded.model))
    folders.write_texts(loaded.parts, folder)
    # clones: tied weights share storage, which safetensors refuses
    tensors = {key: value.clone().contiguous() for key, value in loaded.model.state_dict().items()}
    save_file(tensors, str(folder / "open_clip_model.safetensors"))


def origin(loaded: Loaded) -> str | None:
    """The published model that a space began with, as far as it is known; no path of this machine."""
    if not loaded.name.startswith(parts.FOLDER):
        return loaded.name.partition("@")[0]
    try:
        kept = json.loads((loaded.parts.folder / "config.json").read_text(encoding="utf-8"))
        return kept.get("made_from")
    except (OSError, ValueError):
        return None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
