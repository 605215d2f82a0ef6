"""Sounds as log-mel pictures: fixed windows of a fixed number of bands and frames, for any length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.types import Audio, Content

BLOCK_FRAMES = 4096
"""Spectra held at a time (8 MB as complex64): an hour of sound must not become an hour of spectra."""


@dataclass(frozen=True)
class LogMel:
    """Callable `(Audio) -> (w, mels, frames) float32`, deterministic, without statistics over a batch.

    The sound is resampled to `rate` Hz, brought to a loudness of its own (its loudest window gets an
    RMS of `level`, amplified by at most `max_gain_db`, so silence stays silence) and cut in windows of
    `frames` spectra, `hop_frames` apart at most: they are spread evenly so that the last one ends with
    the sound. A sound shorter than a window is padded with silence at its end. Windows quieter than the
    loudest by more than `gate_db` are left out; the loudest always stays.

    Values are `(ln(power + floor) - offset) / scale`, where power equals
    `librosa.feature.melspectrogram(center=False)` with a Hann window and Slaney's mel scale and norm.
    """

    rate: int = 16_000
    n_fft: int = 512
    win_length: int = 400
    hop_length: int = 160
    mels: int = 64
    fmin: float = 50.0
    fmax: float = 7_800.0
    frames: int = 96
    hop_frames: int = 48
    level: float = 0.1
    max_gain_db: float = 40.0
    gate_db: float = 30.0
    floor: float = 1e-6
    offset: float = -7.0
    scale: float = 3.5

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> LogMel:
        """From a mapping with these fields (extra ones are ignored)."""
        return cls(**{field.name: config[field.name] for field in fields(cls) if field.name in config})

    def config(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)

    @property
    def window_samples(self) -> int:
        """Samples at `rate` that one window looks at."""
        return self.n_fft + (self.frames - 1) * self.hop_length

    @property
    def shape(self) -> tuple[int, int]:
        """(mels, frames) of one window."""
        return self.mels, self.frames

    def __call__(self, content: Content) -> NDArray[np.float32]:
        """Windows (w, mels, frames), w >= 1. Raises TypeError for anything but an Audio."""
        if not isinstance(content, Audio):
            raise TypeError(f"LogMel takes an Audio, not {type(content).__name__}")
        samples, starts = self.cut(content)
        spectrum = self.spectrum(samples)
        return np.stack([spectrum[:, start : start + self.frames] for start in starts])

    def cut(self, audio: Audio) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The sound at `rate` Hz, padded and at its level, and the first frames of the windows kept.

        Window i holds the samples from `starts[i] * hop_length` on, `window_samples` of them.
        """
        samples = self.resample(audio)
        samples = np.pad(samples, (0, max(0, self.window_samples - len(samples))))
        starts = self._starts(1 + (len(samples) - self.n_fft) // self.hop_length)
        loudness = self._loudness(samples, starts)
        loudest = loudness.max()
        gain = self.level / max(loudest, self.level * 10.0 ** (-self.max_gain_db / 20.0))
        keep = loudness >= loudest * 10.0 ** (-self.gate_db / 20.0)
        return samples * np.float32(gain), starts[keep]

    def resample(self, audio: Audio) -> NDArray[np.float32]:
        """Samples (n,) float32 at `rate`, finite; NaN and infinities of a broken file become silence."""
        samples = np.nan_to_num(np.asarray(audio.samples, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        if audio.rate == self.rate or not len(samples):
            return samples
        import soxr

        return np.asarray(soxr.resample(samples, audio.rate, self.rate, quality="HQ"), np.float32)

    def spectrum(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Log-mel values (mels, f) of `samples` (n,) with n >= n_fft, as `__call__` gives but uncut."""
        from scipy.fft import rfft

        filters, taper = _filters(self.rate, self.n_fft, self.win_length, self.mels, self.fmin, self.fmax)
        frames = np.lib.stride_tricks.sliding_window_view(samples, self.n_fft)[:: self.hop_length]
        out = np.empty((len(frames), self.mels), np.float32)
        for start in range(0, len(frames), BLOCK_FRAMES):
            spectra = rfft(frames[start : start + BLOCK_FRAMES] * taper, axis=1)
            power = spectra.real**2 + spectra.imag**2
            out[start : start + BLOCK_FRAMES] = power @ filters
        np.log(out + np.float32(self.floor), out=out)
        return np.ascontiguousarray(((out - np.float32(self.offset)) / np.float32(self.scale)).T)

    def _starts(self, total: int) -> NDArray[np.int64]:
        """First frames of the windows over `total` frames."""
        room = total - self.frames
        count = 1 + -(-room // self.hop_frames)
        return np.round(np.linspace(0, room, count)).astype(np.int64)

    def _loudness(self, samples: NDArray[np.float32], starts: NDArray[np.int64]) -> NDArray[np.float64]:
        """RMS of the window at each start frame."""
        energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
        first = starts * self.hop_length
        return np.sqrt(
            np.maximum(energy[first + self.window_samples] - energy[first], 0) / self.window_samples
        )


@lru_cache(maxsize=4)
def _filters(rate: int, n_fft: int, win_length: int, mels: int, fmin: float, fmax: float) -> Any:
    """Mel filters (n_fft // 2 + 1, mels) and the Hann window padded to n_fft, float32.

    To the last bit those of `librosa.filters.mel` and `get_window`, which take each process 1.2 s to import.
    """
    low, high = _mel(np.array([fmin, fmax])).tolist()
    edges = _hertz(np.linspace(low, high, mels + 2))
    away = np.subtract.outer(edges, np.fft.rfftfreq(n_fft, 1 / rate))
    wide = np.diff(edges)[:, None]
    filters = np.maximum(0, np.minimum(-away[:-2] / wide[:-1], away[2:] / wide[1:])).astype(np.float32)
    filters *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    taper = 0.5 + 0.5 * np.cos(np.linspace(-np.pi, np.pi, win_length + 1)[:-1])
    before = (n_fft - win_length) // 2
    taper = np.pad(taper, (before, n_fft - win_length - before))
    return np.ascontiguousarray(filters.T), taper.astype(np.float32)


_LINEAR, _BEND, _STEP = 200.0 / 3, 1000.0, np.log(6.4) / 27.0
"""Slaney's scale (Auditory Toolbox, 1998): Hz to a mel below the bend, logarithm of a mel above it."""


def _mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _BEND / _LINEAR + np.log(np.maximum(hertz, _BEND) / _BEND) / _STEP
    return np.where(hertz < _BEND, hertz / _LINEAR, above)


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    bend = _BEND / _LINEAR
    return np.where(mel < bend, mel * _LINEAR, _BEND * np.exp(_STEP * (np.maximum(mel, bend) - bend)))
