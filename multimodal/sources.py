"""Where a space comes from: a folder in the starter's format, or an open_clip model.

A source builds encoders on demand, so that a typed query loads the text tower alone, and knows how to
write itself to a folder. A new kind of space is one more class here and one line in `source`.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from multimodal import students
from multimodal.encoder import Encoder
from multimodal.errors import SpaceError, UnknownSpace
from multimodal.precision import Compute
from multimodal.towers.video import TemporalPooler, VideoTower
from multimodal.types import MODALITIES, Modality, ReadOptions

if TYPE_CHECKING:
    from multimodal.towers.clip import Loaded

EMBEDDED = Path(__file__).parent / "starter"
CONFIG = "config.json"
POOLER = "pooler.safetensors"
BANK = "bank.safetensors"


class Source(Protocol):
    """What a space is made from. `name` loads it again through `load_space`."""

    name: str

    @property
    def modalities(self) -> tuple[Modality, ...]: ...
    @property
    def logit_scale(self) -> float: ...
    @property
    def logit_bias(self) -> float | None: ...
    @property
    def read_options(self) -> ReadOptions: ...
    @property
    def bank(self) -> Mapping[str, NDArray[np.floating]] | None: ...
    def build(self, modality: Modality) -> Encoder: ...
    def save(self, folder: Path) -> None: ...


def source(name: str, download: bool = False, compute: Compute | None = None) -> Source:
    """The source that `load_space(name)` loads. Raises UnknownSpace, SpaceError."""
    if name == "starter":
        return StarterSource(EMBEDDED, name, compute)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _saved(folder.resolve(), compute)
    base, _, dim = name.rpartition("#")
    if base and dim.isdecimal():
        from multimodal.small import truncated

        return truncated(source(base, download, compute), int(dim))
    if name.startswith("hf-hub:") and (found := _pushed(name, download, compute)) is not None:
        return found
    if any(mark in name for mark in "/:@"):
        return OpenClipSource(name, download=download, compute=compute)
    raise UnknownSpace(
        f"There is no space {name!r}: give 'starter', an open_clip MODEL/TAG such as"
        " 'ViT-B-32/laion2b_s34b_b79k', or the folder of a saved space."
    )


def _pushed(name: str, download: bool, compute: Compute | None) -> Source | None:
    """The source of a whole space on the hub; None for a repository that holds an open_clip model alone."""
    from multimodal import sharing
    from multimodal.towers import parts

    repo = name.removeprefix("hf-hub:")
    folder = sharing.here(repo)
    if folder is None and download and not parts.here(name):
        folder = sharing.fetch(repo)
    if folder is None:
        return None
    found = _saved(folder, compute)
    found.name = name
    return found


def _saved(folder: Path, compute: Compute | None = None) -> Source:
    """The source of a folder: what its kind says, then what wraps it, section by section."""
    found = _kept(folder, compute)
    about = read_config(folder) if (folder / CONFIG).is_file() else {}
    if "audio_part" in about:  # another audio tower
        from multimodal.sound import source as sounding

        found = sounding.saved(folder, found, about["audio_part"])
    if "ladder" in about:  # another text tower
        from multimodal.ladder import source as laddered

        found = laddered.saved(folder, found, source)
    if "adapters" in about:  # behind the towers
        from multimodal import adapted

        found = adapted.saved(folder, found, about["adapters"], truncated=False)
    if "truncate" in about:  # it shortens the rows of every modality
        from multimodal import small

        found = small.saved(folder, found, about["truncate"])
        if "adapters" in about:
            found = adapted.saved(folder, found, about["adapters"], truncated=True)
    return found


def _kept(folder: Path, compute: Compute | None) -> Source:
    config = read_config(folder) if (folder / CONFIG).is_file() else {}
    # a repository of open_clip's may hold a config.json for other programs
    if (folder / "open_clip_config.json").is_file() and config.get("kind", "open_clip") == "open_clip":
        return OpenClipSource(
            f"local-dir:{folder}", name=str(folder), pooler=folder / POOLER, compute=compute
        )
    if not config:
        raise SpaceError(f"{folder} holds no space: {CONFIG} is missing.")
    if config.get("kind") == students.KIND:
        return students.saved(folder, config, lambda teacher: _saved(teacher, compute))
    return StarterSource(folder, str(folder), compute)


class StarterSource:
    """A folder of safetensors weights, onnx graphs and one config.json: the starter, or a copy of it."""

    def __init__(self, folder: Path, name: str, compute: Compute | None = None) -> None:
        if compute is not None and (
            compute.precision not in ("auto", "fp32") or compute.backend == "openvino"
        ):
            raise SpaceError(
                f"The space {name!r} computes in fp32 on onnxruntime; another precision or backend is for"
                " open_clip models."
            )
        self.name, self._folder = name, folder
        self._config = read_config(folder)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        needed = {"video": "image"}  # the section whose weights a modality runs on, where it is not its own
        return tuple(modality for modality in MODALITIES if needed.get(modality, modality) in self._config)

    @property
    def logit_scale(self) -> float:
        return float(self._config.get("logit_scale", 20.0))

    @property
    def logit_scales(self) -> Mapping[Modality, float]:
        """Of the modalities that have one of their own (`Space.scale`)."""
        scales: Mapping[Modality, float] = self._config.get("logit_scales", {})
        return scales

    @property
    def logit_bias(self) -> float | None:
        bias = self._config.get("logit_bias")
        return None if bias is None else float(bias)

    @property
    def matryoshka(self) -> bool:
        """Whether the first dimensions are a space by themselves."""
        return bool(self._config.get("matryoshka", False))

    @property
    def read_options(self) -> ReadOptions:
        options = ReadOptions()
        if "image" in self._config:
            size = self._config["image"]["preprocess"]["size"]
            options = replace(options, min_side=size if isinstance(size, int) else max(size))
        if "audio" in self._config:
            options = replace(options, audio_rate=int(self._config["audio"]["mel"]["rate"]))
        return options

    @property
    def bank(self) -> Mapping[str, NDArray[np.floating]] | None:
        if not (self._folder / BANK).is_file():
            return None
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return load_file(str(self._folder / BANK))
        except (SafetensorError, OSError) as error:
            raise SpaceError(f"{self._folder / BANK} cannot be read: {error}") from error

    def build(self, modality: Modality) -> Encoder:
        try:
            return getattr(self, f"_{modality}")
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise SpaceError(
                f"The {modality} part of the space in {self._folder} cannot be loaded: {error!r}"
            ) from error

    @cached_property
    def _text(self) -> Encoder:
        from multimodal.towers.minilm import MiniLMTower

        part = self._config["text"]
        return Encoder(
            "text", MiniLMTower(self._folder / part["weights"], self._folder / part["tokenizer"], part)
        )

    @cached_property
    def _image(self) -> Encoder:
        from multimodal.towers.onnx import OnnxTower
        from multimodal.towers.pixels import ResizeCrop

        part = self._config["image"]
        pixels = ResizeCrop.from_config(part["preprocess"])
        return Encoder("image", OnnxTower(self._folder / part["graph"], pixels, part))

    @cached_property
    def _audio(self) -> Encoder:
        from multimodal.towers.mel import LogMel
        from multimodal.towers.onnx import OnnxTower, WindowedTower

        part = self._config["audio"]
        windows = OnnxTower(self._folder / part["graph"], LogMel(**part["mel"]), part)
        return Encoder("audio", WindowedTower(windows))

    @cached_property
    def _video(self) -> Encoder:
        return Encoder("video", VideoTower(self._image, load_pooler(self._folder / POOLER)))

    def save(self, folder: Path) -> None:
        parts = [part for part in self._config.values() if isinstance(part, dict) and "weights" in part]
        names = [part[key] for part in parts for key in ("weights", "graph", "tokenizer") if key in part]
        for name in [CONFIG, *names, POOLER, BANK, "MODEL_CARD.md"]:
            if (self._folder / name).is_file():
                shutil.copy2(self._folder / name, folder / name)


class OpenClipSource:
    """Text and image towers of an open_clip model, video through the latter; it has no audio tower."""

    modalities: tuple[Modality, ...] = ("text", "image", "video")
    bank: Mapping[str, NDArray[np.floating]] | None = None

    def __init__(
        self,
        model: str,
        name: str | None = None,
        pooler: Path | None = None,
        download: bool = False,
        compute: Compute | None = None,
    ) -> None:
        from multimodal.towers import clip, parts

        model = parts.absolute(model)
        self.name = name or model
        self._loaded = clip.load(model, download)
        self._pooler = pooler
        self._compute = compute or Compute()

    @property
    def loaded(self) -> Loaded:
        """The model and what belongs to it."""
        return self._loaded

    def with_model(self, model: Any) -> OpenClipSource:
        """The same with other weights: those of a copy of its model that was trained further."""
        from multimodal.towers import clip

        other = copy.copy(self)
        for built in ("_text", "_image", "_video"):
            vars(other).pop(built, None)
        other.name, other._loaded = f"{self.name}+trained", clip.with_model(self._loaded, model)
        return other

    @property
    def made_from(self) -> str | None:
        """The listed model, MODEL/TAG, that the weights are, also where they were saved to a folder."""
        from multimodal.towers import clip

        return clip.origin(self._loaded)

    @property
    def logit_scale(self) -> float:
        return self._loaded.logit_scale

    @property
    def logit_bias(self) -> float | None:
        return self._loaded.logit_bias

    @property
    def read_options(self) -> ReadOptions:
        # 97 of 100 English passages of 240 characters fit the 77 tokens that most models see at once, of 300
        # 88, of 600 none; what does not fit is embedded in windows, which blurs it.
        chars = 240 * int(self._loaded.tokenizer.context_length) // 77
        return ReadOptions(min_side=max(self._loaded.pixels.size), passage_chars=chars)

    def build(self, modality: Modality) -> Encoder:
        return getattr(self, f"_{modality}")

    @cached_property
    def _text(self) -> Encoder:
        from multimodal.towers.clip import ClipTextTower

        return Encoder("text", ClipTextTower(self._loaded, self._compute))

    @cached_property
    def _image(self) -> Encoder:
        from multimodal.towers.clip import ClipImageTower

        return Encoder("image", ClipImageTower(self._loaded, self._compute))

    @cached_property
    def _video(self) -> Encoder:
        return Encoder("video", VideoTower(self._image, load_pooler(self._pooler)))

    def save(self, folder: Path) -> None:
        from multimodal.towers import clip

        clip.save(self._loaded, folder)
        if self._pooler is not None and self._pooler.is_file():
            shutil.copy2(self._pooler, folder / POOLER)
        config = {"kind": "open_clip", "made_from": clip.origin(self._loaded)}
        (folder / CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's config.json. Raises SpaceError where it is missing or broken."""
    try:
        return dict(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise SpaceError(f"{folder / CONFIG} cannot be read: {error}") from error


def load_pooler(path: Path | None) -> TemporalPooler | None:
    return TemporalPooler.load(path) if path is not None and path.is_file() else None
