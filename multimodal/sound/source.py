"""A space with the audio tower of another model: a source around a source, as `multimodal.small` has one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from multimodal.encoder import Encoder
from multimodal.errors import SpaceError
from multimodal.types import MODALITIES, Modality, ReadOptions

if TYPE_CHECKING:
    from multimodal.sources import Source
    from multimodal.space import Space

SECTION = "audio_part"
"""Of config.json: what the audio tower is and where its weights lie."""
CONFIG = "config.json"


class AudioPart(Protocol):
    """An audio tower for a space, and how it is kept in a folder."""

    @property
    def rate(self) -> int:
        """Samples a second that the tower wants, Hz."""

    def tower(self) -> Any:
        """The tower (`multimodal.towers.base.Tower`): sounds to features (n, dim) of the space."""

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the weights; gives the section of config.json, its `kind` first."""


class WithAudio:
    """A space whose sounds are embedded by another model's tower; all else is the base's."""

    def __init__(self, base: Source, part: AudioPart, name: str | None = None) -> None:
        self._base, self._part = base, part
        self.name = name or base.name

    def __getattr__(self, name: str) -> Any:
        """What else the base has to say of itself: its logit bias, its licence ..."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._base, name)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        return tuple(m for m in MODALITIES if m == "audio" or m in self._base.modalities)

    @property
    def logit_scale(self) -> float:
        return self._base.logit_scale

    @property
    def logit_scales(self) -> Mapping[Modality, float]:
        """The base's without that of its sounds, which were another tower's."""
        scales: Mapping[Modality, float] = getattr(self._base, "logit_scales", {})
        return {modality: scale for modality, scale in scales.items() if modality != "audio"}

    @property
    def read_options(self) -> ReadOptions:
        return replace(self._base.read_options, audio_rate=self._part.rate)

    @property
    def bank(self) -> Mapping[str, NDArray[np.floating]] | None:
        """The base's without its sounds, which were another tower's."""
        kept = self._base.bank
        return None if kept is None else {n: rows for n, rows in kept.items() if not n.endswith("audio")}

    @cached_property
    def _audio(self) -> Encoder:
        return Encoder("audio", self._part.tower())

    def build(self, modality: Modality) -> Encoder:
        return self._audio if modality == "audio" else self._base.build(modality)

    def save(self, folder: Path) -> None:
        self._base.save(folder)
        path = folder / CONFIG
        config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        config[SECTION] = self._part.save(folder)
        path.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def with_audio(space: Space, name: str, checkpoint: str | Path) -> Space:
    """A space with the audio encoder `name` of `multimodal.sound.registry`, read from its published file.

    Raises SpaceError for an unknown name, a space that the encoder was not trained for, and a file that is
    not of that model.
    """
    from multimodal.sound import registry

    return type(space)(WithAudio(space._source, registry.load(name, Path(checkpoint), space)))


def saved(folder: Path, base: Source, section: Mapping[str, Any]) -> WithAudio:
    """What `WithAudio.save` wrote. Raises SpaceError."""
    from multimodal.sound import registry

    try:
        return WithAudio(base, registry.saved(folder, section), base.name)
    except (KeyError, OSError, ValueError, RuntimeError) as error:
        raise SpaceError(f"The audio part of the space in {folder} cannot be loaded: {error!r}") from error
