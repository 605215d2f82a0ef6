"""Adapters: a small residual network for each modality, after a space's own encoders.

`unit(x + W2 gelu(sqrt(d) W1 x + b1) + b2)` of unit rows x (n, d). With W2 and b2 zero it gives back what it
got, so training starts from the space as it is; scaling both by alpha goes from the space before to the one
after (weights interpolated as in WiSE-FT: Wortsman et al. 2022, Robust fine-tuning of zero-shot models).
Pictures and videos share one: a video's rows are means of its frames'. All in numpy; `multimodal.training`
makes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from multimodal.encoder import Encoder
from multimodal.errors import SpaceError
from multimodal.small import Truncated
from multimodal.towers.base import Tower, identity, tensors_hash, unit
from multimodal.types import Clip, Frames, Modality, ReadOptions

if TYPE_CHECKING:
    from multimodal.sources import Source

Floats = NDArray[np.float32]

VERSION = 1
"""Raise when the same weights would give other rows."""
SECTION = "adapters"
"""Of config.json: a list, in the order they are applied."""
CONFIG = "config.json"
CENTRE = "centre."
SHARED: Mapping[Modality, Modality] = {"text": "text", "image": "image", "video": "image", "audio": "audio"}
"""The modality whose adapter each one goes through."""


@dataclass(frozen=True, eq=False)
class Adapter:
    """Unit rows (n, dim) to unit rows (n, dim).

    W1 (hidden, dim), b1 (hidden,), W2 (dim, hidden), b2 (dim,).
    """

    W1: Floats
    b1: Floats
    W2: Floats
    b2: Floats

    def __call__(self, rows: NDArray[Any]) -> Floats:
        rows = np.asarray(rows, np.float32)
        inner = (rows * np.float32(self.dim**0.5)) @ self.W1.T + self.b1
        return unit(rows + gelu(inner) @ self.W2.T + self.b2)

    @property
    def dim(self) -> int:
        return int(self.W1.shape[1])

    @property
    def is_identity(self) -> bool:
        return not (self.W2.any() or self.b2.any())

    def scaled(self, alpha: float) -> Adapter:
        """The way from what was (0) to what was learned (1): W2 and b2 times alpha."""
        return Adapter(self.W1, self.b1, self.W2 * np.float32(alpha), self.b2 * np.float32(alpha))

    def tensors(self) -> dict[str, Floats]:
        return {"W1": self.W1, "b1": self.b1, "W2": self.W2, "b2": self.b2}


def gelu(values: Floats) -> Floats:
    """x times the normal distribution at x, by the tanh form (Hendrycks and Gimpel 2016)."""
    inner = np.float32((2 / np.pi) ** 0.5) * (values + np.float32(0.044715) * values**3)
    return np.float32(0.5) * values * (1 + np.tanh(inner))


class AdaptedTower:
    """A tower's unit features through an adapter: (n, dim) unit rows."""

    def __init__(self, inner: Tower, adapter: Adapter) -> None:
        self.inner = inner
        self.projection = adapter  # by this name explanations find their way through
        self.preprocess = inner.preprocess
        self.feature_dim = adapter.dim
        self.tower_id = f"{inner.tower_id}-{identity({'version': VERSION}, tensors_hash(adapter.tensors()))}"

    def forward(self, batch: Sequence[Any]) -> Floats:
        return self.projection(unit(self.inner.forward(batch)))


class AdaptedVideoTower(AdaptedTower):
    """The same of a tower that keeps frames of its clips and knows how much each counts."""

    inner: Any

    def forward_kept(self, batch: Sequence[Any]) -> tuple[Floats, list[Frames | None]]:
        features, kept = self.inner.forward_kept(batch)
        frames = [one and Frames(one.times, self.projection(one.vectors)) for one in kept]
        return self.projection(unit(features)), frames

    def frame_weights(self, clip: Clip) -> Floats:
        return cast(Floats, self.inner.frame_weights(clip))


class Adapted:
    """Another space's source with adapters behind its encoders; `adapters` by the modality they are of.

    Modalities without one keep their encoder and its id, so that rows of theirs stay valid.
    """

    def __init__(self, base: Source, adapters: Mapping[str, Adapter], name: str | None = None) -> None:
        self._base = base
        self.adapters = {modality: one for modality, one in adapters.items() if not one.is_identity}
        self._built: dict[Modality, Encoder] = {}
        self.name = name or f"{base.name}+trained"

    def __getattr__(self, name: str) -> Any:
        """What else the base has to say of itself: its logit bias, its licence ..."""
        if name.startswith("_"):  # also keeps unpickling, which asks before `_base` is there, from recursing
            raise AttributeError(name)
        return getattr(self._base, name)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        return self._base.modalities

    @property
    def logit_scale(self) -> float:
        return self._base.logit_scale

    @property
    def read_options(self) -> ReadOptions:
        return self._base.read_options

    @cached_property
    def bank(self) -> Mapping[str, NDArray[np.floating]] | None:
        bank = self._base.bank
        return None if bank is None else adapted_bank(bank, self.adapters)

    def build(self, modality: Modality) -> Encoder:
        if modality not in self._built:
            encoder = self._base.build(modality)
            adapter = self.adapters.get(SHARED[modality])
            if adapter is not None:
                kind = AdaptedVideoTower if hasattr(encoder.tower, "forward_kept") else AdaptedTower
                encoder = Encoder(modality, kind(encoder.tower, adapter))
            self._built[modality] = encoder
        return self._built[modality]

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        self._base.save(folder)
        path = folder / CONFIG
        config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        beneath = list(_beneath(self._base))  # a base may have written the whole config of its own folder
        stages = config.get(SECTION, [])[: sum(isinstance(one, Adapted) for one in beneath)]
        file = f"adapters-{len(stages)}.safetensors"
        tensors = {
            f"{modality}.{name}": np.ascontiguousarray(tensor)
            for modality, adapter in self.adapters.items()
            for name, tensor in adapter.tensors().items()
        }
        save_file(tensors, str(folder / file))
        (folder / file).chmod(0o644)  # safetensors writes files that only their owner reads
        truncated = any(isinstance(one, Truncated) for one in beneath)
        stages.append({"file": file, "modalities": sorted(self.adapters), "truncated": truncated})
        config[SECTION] = stages
        path.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def _beneath(source: object) -> Iterator[object]:
    """A source and those it is wrapped around."""
    while source is not None:
        yield source
        source = vars(source).get("_base")


def saved(folder: Path, base: Source, stages: Sequence[Mapping[str, Any]], truncated: bool) -> Source:
    """The source that `Adapted.save` wrote: `base` is the folder's own, `stages` its config's section.

    Those that learned from shortened rows come after the shortening: `truncated` says which to take. Raises
    SpaceError.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    found = base
    for stage in stages:
        try:
            if bool(stage["truncated"]) is not truncated:
                continue
            tensors = load_file(str(folder / stage["file"]))
            adapters = {
                modality: Adapter(
                    **{name: tensors[f"{modality}.{name}"] for name in ("W1", "b1", "W2", "b2")}
                )
                for modality in stage["modalities"]
            }
        except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
            raise SpaceError(f"The adapters of the space in {folder} cannot be read: {error!r}") from error
        found = Adapted(found, adapters, name=base.name)
    return found


def adapted_bank(
    bank: Mapping[str, NDArray[np.floating]], adapters: Mapping[str, Adapter]
) -> dict[str, NDArray[np.floating]]:
    """Generic queries by modality, and mean rows as "centre.image"..., where the adapters take them.

    A mean of unit rows is no unit row: it moves by the mean of what the modality's queries move by.
    """
    made: dict[str, NDArray[np.floating]] = {}
    for name, values in bank.items():
        values = np.asarray(values, np.float32)
        of = name.removeprefix(CENTRE)
        adapter = adapters.get(SHARED.get(of, of))  # type: ignore[call-overload]
        if adapter is None:
            made[name] = values
        elif name.startswith(CENTRE):
            queries = unit(bank[of]) if of in bank else unit(values)[None]
            made[name] = values + (adapter(queries) - queries).mean(axis=0)
        else:
            made[name] = adapter(unit(values))
    return made
