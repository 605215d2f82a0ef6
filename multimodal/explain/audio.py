"""Sounds: patches of their spectrograms, and when and at which frequencies a query is heard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.encoder import Encoder
from multimodal.explain.projected import beneath
from multimodal.explain.tokens import Place, Tokens, made
from multimodal.towers.mel import LogMel
from multimodal.towers.onnx import OnnxTower, WindowedTower
from multimodal.types import Audio

Floats = NDArray[np.float32]

SLICE = 1.0
"""Seconds of the slices that towers without a known spectrogram are asked about, half of it apart."""


@dataclass(frozen=True, eq=False)
class Spectrogram:
    """Log-mel values (bands, steps) of a sound from `start` to `end` seconds; `edges` (bands + 1,) in Hz."""

    values: Floats
    start: float
    end: float
    edges: NDArray[np.float64]


def tokens(encoder: Encoder, sound: Audio, start: float = 0.0) -> Tokens:
    """Patches of the spectrogram of a sound that begins at `start` seconds, with their seconds and Hz.

    Windows overlap, so patches do. Weights are each patch's share in the vector: the tower has no
    attention. Windows that are as good as silent are left out, as in the sound's vector.
    """
    tower, rows = beneath(encoder)
    if isinstance(tower, WindowedTower) and isinstance(tower.preprocess, LogMel):
        return _patches(tower.windows, tower.preprocess, rows, sound, start)
    return _slices(tower, rows, sound, start)


def _patches(tower: OnnxTower, mel: LogMel, rows: Any, sound: Audio, start: float) -> Tokens:
    from multimodal.explain import dense

    samples, first = mel.cut(sound)
    spectrum = mel.spectrum(samples)
    windows = np.stack([spectrum[:, at : at + mel.frames] for at in first])
    cells = dense.audio_cells(tower.weights, windows)  # (w, bands, steps, d)
    edges = hertz(mel, cells.shape[1])
    step = mel.frames / cells.shape[2]
    seconds = mel.hop_length / mel.rate
    places = [
        Place(
            seconds=(start + (at + n * step) * seconds, start + (at + (n + 1) * step) * seconds),
            hertz=(float(edges[band]), float(edges[band + 1])),
        )
        for at in first.tolist()
        for band in range(cells.shape[1])
        for n in range(cells.shape[2])
    ]
    return made("audio", rows(cells.reshape(-1, cells.shape[-1])), None, places)


def _slices(tower: Any, rows: Any, sound: Audio, start: float) -> Tokens:
    """Slices of SLICE seconds over all frequencies, each embedded as a sound of its own."""
    size = min(len(sound.samples), int(SLICE * sound.rate))
    count = 1 + -(-2 * (len(sound.samples) - size) // max(1, size))
    begins = np.linspace(0, len(sound.samples) - size, count).astype(int).tolist()
    pieces = [Audio(sound.samples[begin : begin + size], sound.rate) for begin in begins]
    features = tower.forward([tower.preprocess(piece) for piece in pieces])
    places = [
        Place(
            seconds=(start + begin / sound.rate, start + (begin + size) / sound.rate),
            hertz=(0.0, sound.rate / 2),
        )
        for begin in begins
    ]
    return made("audio", rows(features), None, places)


def spectrogram(encoder: Encoder, sound: Audio, start: float = 0.0) -> Spectrogram:
    """The log-mel picture of a sound, at the tower's own settings where it has some."""
    tower, _ = beneath(encoder)
    mel = tower.preprocess if isinstance(tower.preprocess, LogMel) else LogMel()
    samples, _ = mel.cut(sound)
    values = mel.spectrum(samples)
    end = start + values.shape[1] * mel.hop_length / mel.rate
    return Spectrogram(values, start, end, hertz(mel, mel.mels))


def hertz(mel: LogMel, bands: int) -> NDArray[np.float64]:
    """Edges (bands + 1,) in Hz of even parts of the mel scale."""
    import librosa

    low, high = librosa.hz_to_mel(mel.fmin), librosa.hz_to_mel(mel.fmax)
    return np.asarray(librosa.mel_to_hz(np.linspace(low, high, bands + 1)), np.float64)
