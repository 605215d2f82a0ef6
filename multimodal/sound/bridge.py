"""A foreign audio model brought into any space, fitted from text alone.

A model like CLAP has a text tower of its own. The same sentences through both text towers are pairs of rows;
a linear map that takes the ones to the others takes the foreign sounds along, because sounds lie beside their
texts there. (C-MCR, Wang et al. 2023, trains two networks for this; here it is closed form.) Two steps more:

- sounds and texts of one model lie apart (the modality gap of Liang et al. 2022), so a sound is first moved
  by the difference of the means, of the foreign texts less the foreign sounds;
- the map is ridge regression from centred to centred rows, or the orthogonal one (Schoenemann 1966) where
  both spaces have the same dimension; what finds held-out sentences better is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import QueryError, SpaceError
from multimodal.sound.source import WithAudio
from multimodal.towers.base import identity, tensors_hash, unit
from multimodal.types import Audio, Vectors

if TYPE_CHECKING:
    from multimodal.space import Space

Floats = NDArray[np.float32]
PHRASES = Path(__file__).parents[1] / "starter" / "bank.txt"
FILE = "audio-bridge.safetensors"
FOLDS = 5
RIDGES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Strengths that are tried, in units of the mean variance of a dimension."""
FEWEST = 50
NOISES = 24
"""Made-up sounds whose mean stands for the foreign sounds where none are given."""


class AudioModel(Protocol):
    """An audio tower with a text tower beside it, as `multimodal.sound.clap.Clap` has."""

    @property
    def rate(self) -> int:
        """Samples a second that the tower wants, Hz."""

    def tower(self) -> Any:
        """Sounds to features (`multimodal.towers.base.Tower`)."""

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Unit rows (n, d) of texts."""

    def save(self, folder: Path) -> dict[str, Any]:
        """As `multimodal.sound.source.AudioPart.save`."""


@dataclass(frozen=True, eq=False)
class Bridge:
    """Foreign rows (n, d) to rows (n, dim): unit((row + shift - origin) @ matrix + target)."""

    matrix: Floats
    """(d, dim)"""
    shift: Floats
    """(d,) foreign texts' mean less foreign sounds' mean."""
    origin: Floats
    """(d,) the mean of foreign texts."""
    target: Floats
    """(dim,) the mean of the space's texts."""

    def __call__(self, rows: NDArray[np.floating]) -> Floats:
        moved = unit(rows) + self.shift - self.origin
        return unit(moved @ self.matrix + self.target)

    @property
    def id(self) -> str:
        return tensors_hash(self.arrays())

    def arrays(self) -> dict[str, Floats]:
        return {"matrix": self.matrix, "shift": self.shift, "origin": self.origin, "target": self.target}


def fit(foreign: Vectors, own: Vectors, sounds: Vectors | None = None) -> Bridge:
    """The bridge between rows of the same sentences, (n, d) foreign and (n, dim) own.

    `sounds` (m, d) are foreign rows of any sounds, for their mean; without, sounds are taken to lie where
    texts do. Raises QueryError for fewer than 50 sentences.
    """
    if len(foreign) < FEWEST or len(foreign) != len(own):
        raise QueryError(f"A bridge needs at least {FEWEST} sentences in both spaces, not {len(foreign)}.")
    origin, target = foreign.mean(axis=0), own.mean(axis=0)
    best = max(_ways(foreign.shape[1] == own.shape[1]), key=lambda way: _found(way, foreign, own))
    matrix = _mapped(best, foreign - origin, own - target)
    shift = np.zeros_like(origin) if sounds is None else origin - unit(sounds).mean(axis=0)
    return Bridge(*(np.asarray(a, np.float32) for a in (matrix, shift, origin, target)))


def _ways(square: bool) -> list[float | None]:
    """Strengths of ridge regression, and None for the orthogonal map."""
    return [*RIDGES, *([None] if square else [])]


def _mapped(way: float | None, a: Floats, b: Floats) -> NDArray[np.float64]:
    """The map (d, dim) that takes rows a (n, d) to rows b (n, dim)."""
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    if way is None:
        left, _, right = np.linalg.svd(a64.T @ b64)
        scale = np.sqrt((b64**2).sum() / max((a64**2).sum(), 1e-12))
        return np.asarray(scale * left @ right)
    gram = a64.T @ a64
    strength = way * np.trace(gram) / len(gram) + 1e-9
    return np.linalg.solve(gram + strength * np.eye(len(gram)), a64.T @ b64)


def _found(way: float | None, foreign: Floats, own: Floats) -> float:
    """Cross-validated: the mean reciprocal rank of a sentence's own row, found by its foreign one."""
    order = np.random.default_rng(0).permutation(len(foreign))
    total = 0.0
    for fold in range(FOLDS):
        out = order[fold::FOLDS]
        rest = np.setdiff1d(order, out)
        origin, target = foreign[rest].mean(axis=0), own[rest].mean(axis=0)
        matrix = _mapped(way, foreign[rest] - origin, own[rest] - target)
        moved = unit((foreign[out] - origin) @ matrix + target)
        cosines = moved @ own[out].T
        ranks = (cosines >= np.diagonal(cosines)[:, None]).sum(axis=1)
        total += float((1 / ranks).sum())
    return total / len(foreign)


def bridge_audio(
    audio_model: AudioModel,
    space: Space,
    sentences: Sequence[str] | None = None,
    sounds: Sequence[Audio] = (),
) -> Space:
    """A space with the sounds of a foreign model, fitted from sentences in seconds, without any sound.

    `sentences` None are the bundled everyday phrases. `sounds` (of the model's rate) say where the foreign
    model's sounds lie; without, made-up noises and tones do. The result is saved and loaded as any space.
    Raises QueryError for fewer than 50 sentences.
    """
    texts = list(sentences) if sentences is not None else PHRASES.read_text(encoding="utf-8").splitlines()
    tower = audio_model.tower()
    heard = list(sounds) or noises(audio_model.rate)
    rows = unit(np.concatenate([tower.forward([tower.preprocess(one)]) for one in heard]))
    made = fit(audio_model.embed_texts(texts), space.embed(texts), rows)
    return type(space)(WithAudio(space._source, Bridged(audio_model, made)))


def noises(rate: int, count: int = NOISES) -> list[Audio]:
    """Sounds of every colour, 5 s each: filtered noise and chords with beats and bursts."""
    rng, made = np.random.default_rng(0), []
    times = np.arange(5 * rate) / rate
    for number in range(count):
        noise = np.fft.rfft(rng.standard_normal(len(times)))
        hertz = np.fft.rfftfreq(len(times), 1 / rate)
        noise *= 1 / np.maximum(hertz, 50) ** (number % 4 / 2)
        sound = np.fft.irfft(noise, len(times))
        sound /= np.abs(sound).max()
        pitch = 80 * 2 ** (number / 4)
        parts = [part for part in range(1, 6) if pitch * part < rate / 2]
        tones = sum(np.sin(2 * np.pi * pitch * part * times) / part for part in parts)
        beat = 0.5 + 0.5 * np.sign(np.sin(2 * np.pi * (0.5 + number % 5) * times))
        mixed = (sound if number % 2 else tones) * (beat if number % 3 else 1.0)
        made.append(Audio((0.5 * mixed / np.abs(mixed).max()).astype(np.float32), rate))
    return made


class BridgedTower:
    """A foreign tower's features through a bridge."""

    def __init__(self, inner: Any, bridge: Bridge) -> None:
        self._inner, self._bridge = inner, bridge
        self.preprocess = inner.preprocess
        self.feature_dim = bridge.matrix.shape[1]
        self.tower_id = f"{inner.tower_id}-bridge-{identity(bridge.id)}"

    def forward(self, batch: Sequence[Any]) -> Floats:
        return self._bridge(self._inner.forward(batch))


class Bridged:
    """A foreign model and its bridge, as the audio part of a space."""

    def __init__(self, model: Any, bridge: Bridge) -> None:
        self._model, self.bridge = model, bridge
        self.rate: int = model.rate

    def tower(self) -> BridgedTower:
        return BridgedTower(self._model.tower(), self.bridge)

    def save(self, folder: Path) -> dict[str, Any]:
        from safetensors.numpy import save_file

        save_file({n: np.ascontiguousarray(a) for n, a in self.bridge.arrays().items()}, str(folder / FILE))
        (folder / FILE).chmod(0o644)
        return {"kind": "bridge", "weights": FILE, "model": self._model.save(folder)}


def saved(folder: Path, section: Mapping[str, Any]) -> Bridged:
    """What `Bridged.save` wrote. Raises OSError, KeyError, SpaceError."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    from multimodal.sound import registry

    path = folder / section["weights"]
    try:
        made = Bridge(**load_file(str(path)))
    except (SafetensorError, TypeError) as error:
        raise SpaceError(f"{path} cannot be read: {error}") from error
    return Bridged(registry.saved(folder, section["model"]), made)
