"""A foreign audio model brought into any space, fitted from text alone.

A model like CLAP has a text tower of its own, and what it was trained for is how near a sound lies to texts.
So a sound is told by its similarities to a few thousand phrases and words, in the foreign model, and its row
is put where the space's own rows of these texts say. (C-MCR, Wang et al. 2023, trains two networks to bring
one space to another. A linear map fitted on texts does for texts, but sounds lie apart from them, the
modality gap of Liang et al. 2022, and come out of it anywhere.) In closed form:

- similarities are those of a sound's row less the mean of sounds: what all sounds share says nothing;
- made standard scores, through a softmax, they are weights of the texts, as ConSE (Norouzi et al. 2014) does
  with classes: no temperature of the foreign model is needed;
- weighed by them, the space's rows of the texts go through the inverse of their covariance, with a ridge:
  what many texts have in common counts no more than what few have.

Measured by `python -m recipes.evaluate_bridge`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import QueryError, SpaceError
from multimodal.phrases import everyday, nouns
from multimodal.sound.source import WithAudio
from multimodal.towers.base import identity, softmax, tensors_hash, unit
from multimodal.types import Audio, Vectors

if TYPE_CHECKING:
    from multimodal.space import Space

Floats = NDArray[np.float32]
FILE = "audio-bridge.safetensors"
FEWEST = 50
TEXTS = 256
"""Embedded at a time."""
NOISES = 24
"""Made-up sounds whose mean stands for the foreign sounds where none are given."""
RIDGE = 0.1
"""In units of the mean variance of a dimension. From .03 to .3 sounds of training were found equally well
(R@10 within .01, n=300); so were they with standard scores times .7 to 1.3."""


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
    """Foreign rows of sounds (n, d) to rows (n, dim) of the space."""

    texts: Floats
    """(s, d) the foreign rows of the texts."""
    values: Floats
    """(s, dim) what each text adds to a row."""
    origin: Floats
    """(d,) the mean of foreign sounds."""
    target: Floats
    """(dim,) the mean of the space's texts, in units of a text's distance from it."""

    def __call__(self, rows: NDArray[np.floating]) -> Floats:
        near = (unit(rows) - self.origin) @ self.texts.T
        scores = (near - near.mean(axis=1, keepdims=True)) / (near.std(axis=1, keepdims=True) + 1e-9)
        return unit(unit((softmax(scores) - 1 / len(self.texts)) @ self.values) + self.target)

    @property
    def id(self) -> str:
        return tensors_hash(self.arrays())

    def arrays(self) -> dict[str, NDArray[np.float16]]:
        """As they are stored: half the bytes, and exact, because `of` has rounded them."""
        return {name: np.ascontiguousarray(array, np.float16) for name, array in vars(self).items()}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[np.floating]]) -> Bridge:
        """Of arrays by the names of the fields, rounded to what is stored."""
        return cls(**{name: np.asarray(a, np.float16).astype(np.float32) for name, a in arrays.items()})


def fit(foreign: Vectors, own: Vectors, sounds: Vectors) -> Bridge:
    """The bridge between rows of the same texts, (s, d) foreign and (s, dim) own.

    `sounds` (m, d) are foreign rows of any sounds, for their mean. Raises QueryError for fewer than 50 texts.
    """
    if len(foreign) < FEWEST or len(foreign) != len(own):
        raise QueryError(f"A bridge needs at least {FEWEST} sentences in both spaces, not {len(foreign)}.")
    target = own.mean(axis=0)
    apart = (own - target).astype(np.float64)
    gram = apart.T @ apart
    strength = RIDGE * np.trace(gram) / len(gram) + 1e-9
    values = np.linalg.solve(gram + strength * np.eye(len(gram)), apart.T).T
    values /= max(np.abs(values).max(), 1e-9)  # rows are made unit ones: only float16 minds their size
    away = np.sqrt((apart**2).sum(axis=1).mean())
    origin, target = unit(sounds).mean(axis=0), target / max(away, 1e-9)
    return Bridge.of({"texts": foreign, "values": values, "origin": origin, "target": target})


def bridge_audio(
    audio_model: AudioModel,
    space: Space,
    sentences: Sequence[str] | None = None,
    sounds: Sequence[Audio] = (),
    progress: Callable[[str, int, int], object] | None = None,
) -> Space:
    """A space with the sounds of a foreign model, fitted from texts alone, as long as embedding them takes.

    `sentences` None are the 7,000 phrases and nouns that ship; what is heard should be among them. `sounds`
    (of the model's rate) say where the foreign model's sounds lie; without, made-up noises and tones do. The
    result is saved and loaded as any space. `progress` is told what is done, how much and of how much.
    Raises QueryError for fewer than 50 sentences.
    """
    texts = [*everyday(), *nouns()] if sentences is None else list(sentences)
    tower = audio_model.tower()
    heard = list(sounds) or noises(audio_model.rate)
    rows = unit(np.concatenate([tower.forward([tower.preprocess(one)]) for one in heard]))
    foreign: list[Vectors] = []
    own: list[Vectors] = []
    for begin in range(0, len(texts), TEXTS):
        some = texts[begin : begin + TEXTS]
        foreign.append(audio_model.embed_texts(some))
        own.append(space.embed(some))
        if progress is not None:
            progress("embedding", begin + len(some), len(texts))
    made = fit(np.concatenate(foreign), np.concatenate(own), rows)
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
        self.feature_dim = bridge.values.shape[1]
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

        save_file(self.bridge.arrays(), str(folder / FILE))
        (folder / FILE).chmod(0o644)
        return {"kind": "bridge", "weights": FILE, "model": self._model.save(folder)}


def saved(folder: Path, section: Mapping[str, Any]) -> Bridged:
    """What `Bridged.save` wrote. Raises OSError, KeyError, SpaceError."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    from multimodal.sound import registry

    path = folder / section["weights"]
    try:
        made = Bridge.of(load_file(str(path)))
    except (SafetensorError, TypeError) as error:
        raise SpaceError(f"{path} cannot be read: {error}") from error
    return Bridged(registry.saved(folder, section["model"]), made)
