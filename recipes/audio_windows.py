"""Unlimited training windows out of a few thousand sounds: mixed, filtered, labelled by the teacher.

A window is 0.982 s at 16 kHz (`LogMel.window_samples`). Kinds: 53 % one sound, 35 % two (the second 0 to
15 dB below), 10 % three, 2 % noise and tones. Sounds change speed by 0.75-1.32, go through a random
equaliser, one in three through a room (exponentially decaying noise), two in five get noise at 3-35 dB;
the level of the whole is 0 to 22 dB below the one `LogMel` gives its loudest window.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multimodal.towers.mel import LogMel
from recipes.audio_teacher import SAMPLES, Teacher
from recipes.sounds import Clip

SHARD = 1024
FFT = 32_768
Floats = NDArray[np.float32]


@dataclass
class Augmenter:
    """Draws windows (n,) float32 from training clips with the given sampling weights."""

    clips: list[Clip]
    samples: NDArray[np.int16]
    weights: NDArray[np.float64]
    mel: LogMel

    def __post_init__(self) -> None:
        self._edges = np.cumsum(self.weights / self.weights.sum())
        self._length = self.mel.window_samples

    def window(self, rng: np.random.Generator, alone: bool = False) -> Floats:
        """One augmented window, its RMS 8 to 100 % of `LogMel.level`; `alone`: of a single sound."""
        kind = 0.1 if alone else rng.random()
        if kind < 0.02:
            sound = _synthetic(self._length, rng)
        else:
            sound = self._sound(rng)
            for _ in range(0 if kind < 0.55 else 1 if kind < 0.90 else 2):
                sound = sound + self._sound(rng) * np.float32(10 ** (-rng.uniform(0, 15) / 20))
        sound = _colour(sound, rng)
        if rng.random() < 0.4:
            noise = _noise(self._length, rng)
            sound = sound + noise * np.float32(_rms(sound) * 10 ** (-rng.uniform(3, 35) / 20))
        level = self.mel.level * 10 ** (-rng.uniform(0, 22) / 20)
        return (sound * np.float32(level / max(_rms(sound), 1e-5))).astype(np.float32)

    def _sound(self, rng: np.random.Generator) -> Floats:
        """One clip's crop at RMS 1, at a speed of its own, drawn towards its loud parts."""
        clip = self.clips[min(int(np.searchsorted(self._edges, rng.random())), len(self.clips) - 1)]
        data = self.samples[clip.start : clip.start + clip.length]
        speed = float(np.exp(rng.uniform(np.log(0.75), np.log(1.32)))) if rng.random() < 0.6 else 1.0
        need = int(self._length * speed) + 1
        if len(data) > need:
            starts = rng.integers(0, len(data) - need, size=3)
            start = max(
                starts, key=lambda at: float(np.abs(data[at : at + need : 16]).mean(dtype=np.float64))
            )
            crop = data[start : start + need].astype(np.float32)
        else:
            crop = np.zeros(need, np.float32)
            room = need - len(data)
            at = 0 if rng.random() < 0.5 else int(rng.integers(0, room + 1))
            crop[at : at + len(data)] = data
        if speed != 1.0:
            crop = np.interp(np.arange(self._length) * speed, np.arange(need), crop).astype(np.float32)
        crop = crop[: self._length]
        return crop / np.float32(max(_rms(crop), 1.0))


def shard(
    augmenter: Augmenter, teacher: Teacher, seed: int, count: int = SHARD
) -> tuple[NDArray[np.float16], NDArray[np.uint8], NDArray[np.float16]]:
    """`count` windows as (mel (n, mels, frames), teacher scores * 255, teacher features (n, 1024))."""
    rng = np.random.default_rng(seed)
    mels, scores, features = [], [], []
    for _ in range(count):
        window = augmenter.window(rng)
        mels.append(augmenter.mel.spectrum(window).astype(np.float16))
        score, feature = teacher(heard(window))
        scores.append(np.round(score * 255).astype(np.uint8))
        features.append(feature.astype(np.float16))
    return np.stack(mels), np.stack(scores), np.stack(features)


def heard(window: Floats) -> Floats:
    """The part of a window that the teacher takes, scaled down where it would exceed [-1, 1]."""
    at = (len(window) - SAMPLES) // 2
    part = window[at : at + SAMPLES]
    return part / np.float32(max(1.0, float(np.abs(part).max())))


def write_shards(augmenter: Augmenter, teacher: Teacher, folder: Path, count: int) -> None:
    """Write shards 0..count-1 that are not there yet (`NNNN.npz`), each moved into place whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        target = folder / f"{number:04d}.npz"
        if target.is_file():
            continue
        mels, scores, features = shard(augmenter, teacher, seed=number)
        with (folder / "part.tmp").open("wb") as file:
            np.savez(file, mels=mels, scores=scores, features=features)
        (folder / "part.tmp").replace(target)


def _rms(samples: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float32))))


def _noise(length: int, rng: np.random.Generator) -> Floats:
    """Noise at RMS 1 whose spectrum falls by 0 to 6 dB an octave."""
    white = np.fft.rfft(rng.standard_normal(length).astype(np.float32))
    tilt = np.maximum(np.arange(len(white)), 1.0) ** -rng.uniform(0, 1)
    noise = np.fft.irfft(white * tilt, length).astype(np.float32)
    return noise / np.float32(max(_rms(noise), 1e-6))


def _synthetic(length: int, rng: np.random.Generator) -> Floats:
    """Noise, or a gliding tone with harmonics: sounds that no clip has."""
    if rng.random() < 0.5:
        return _noise(length, rng)
    start, stop = np.exp(rng.uniform(np.log(80), np.log(3000), size=2))
    phase = 2 * np.pi * np.cumsum(np.linspace(start, stop, length)) / 16_000
    return sum(np.sin(phase * k).astype(np.float32) * np.float32(rng.random() / k) for k in (1, 2, 3))  # type: ignore[return-value]


def _colour(sound: Floats, rng: np.random.Generator) -> Floats:
    """A random equaliser (7 points, standard deviation 4 dB) and, one time in three, a room."""
    room = rng.random() < 0.33
    if not room and rng.random() < 0.4:
        return sound
    spectrum = np.fft.rfft(sound, FFT)
    points = rng.normal(0, 4, size=7)
    places = np.linspace(0, 1, 7)
    octaves = np.log2(np.maximum(np.arange(len(spectrum)), 1)) / np.log2(len(spectrum))
    spectrum *= 10 ** (np.interp(octaves, places, points) / 20)
    if room:
        length = int(rng.uniform(0.05, 0.5) * 16_000)
        decay = np.exp(-6.9 * np.arange(length) / length)
        response = rng.standard_normal(length) * decay * rng.uniform(0.02, 0.15)
        response[0] = 1.0
        spectrum *= np.fft.rfft(response, FFT)
    return np.fft.irfft(spectrum, FFT)[: len(sound)].astype(np.float32)
