"""LAION CLAP (Wu et al. 2023) as transformers keeps it: sounds and texts in a space of CLAP's own.

Its feature extractor crops long sounds at random; here sounds come in stretches of at most 10 s and each is
repeated to fill them, so that one sound has one vector.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import SpaceError
from multimodal.towers.base import identity, tensors_hash, unit
from multimodal.types import Audio, Content, Vectors

RATE, SECONDS = 48_000, 10
N_FFT, HOP, MELS = 1024, 480, 64
FOLDER = "audio-clap"
PREPROCESS = "preprocessor_config.json"
TEXTS = 64
"""Texts that go through the text tower at once."""


@lru_cache(maxsize=4)
def _filters(low: float, high: float) -> NDArray[np.float64]:
    import librosa

    made: NDArray[np.float64] = librosa.filters.mel(
        sr=RATE, n_fft=N_FFT, n_mels=MELS, fmin=low, fmax=high, htk=False, norm="slaney", dtype=np.float64
    )
    return made


@dataclass(frozen=True)
class LogMel:
    """A sound to (windows, 1, 1001, 64) float32 decibels, a window for each 10 s and one for the rest if that
    has a second or more; a shorter one is repeated, then padded. Mel bands lie from `low` to `high` Hz."""

    low: float = 50.0
    high: float = 14_000.0

    def __call__(self, content: Content) -> NDArray[np.float32]:
        if not isinstance(content, Audio):
            raise TypeError(f"expected a sound, got {type(content).__name__}")
        if content.rate != RATE:
            raise ValueError(f"expected a sound of {RATE} Hz, got {content.rate}")
        length = RATE * SECONDS
        begins = range(0, len(content.samples), length)
        parts = [content.samples[begin : begin + length] for begin in begins]
        kept = [part for part in parts if len(part) >= RATE] or parts[:1]
        return np.stack([self._window(part.astype(np.float64), length) for part in kept])

    def _window(self, samples: NDArray[np.float64], length: int) -> NDArray[np.float32]:
        samples = np.tile(samples, max(1, length // max(len(samples), 1)))
        samples = np.pad(samples, (0, length - len(samples)))
        padded = np.pad(samples, N_FFT // 2, mode="reflect")
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)  # Hann, periodic
        frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP]
        power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
        return (10 * np.log10(np.maximum(power @ _filters(self.low, self.high).T, 1e-10)))[None].astype(
            np.float32
        )


class ClapTower:
    """Windows of spectrograms to features (n, 512) of CLAP's space: the mean of a sound's unit features."""

    def __init__(self, model: Any, preprocess: LogMel) -> None:
        self.preprocess = preprocess
        self._model = model
        self.feature_dim = int(model.config.projection_dim)
        state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
        self.tower_id = "clap-" + identity(tensors_hash(state), asdict(preprocess))

    def forward(self, batch: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        import torch

        rows = []
        with torch.inference_mode():
            for windows in batch:  # one window at a time: half a GB of activations each
                found = [self._one(torch.from_numpy(window)[None]) for window in windows]
                rows.append(unit(np.stack(found)).mean(axis=0))
        return np.stack(rows)

    def _one(self, window: Any) -> NDArray[np.float32]:
        found: NDArray[np.float32] = _tensor(self._model.get_audio_features(input_features=window))[0].numpy()
        return found


@dataclass(frozen=True, eq=False)
class Clap:
    """CLAP with both towers: an `AudioPart`, and what a text bridge needs (`embed_texts`)."""

    model: Any
    tokenizer: Any
    preprocess: LogMel = LogMel()
    rate: int = RATE

    def tower(self) -> ClapTower:
        return ClapTower(self.model, self.preprocess)

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Unit rows (n, dim) of CLAP's text tower."""
        import torch

        rows = []
        with torch.inference_mode():
            for begin in range(0, len(texts), TEXTS):
                some = self.tokenizer(
                    list(texts[begin : begin + TEXTS]), padding=True, truncation=True, return_tensors="pt"
                )
                rows.append(_tensor(self.model.get_text_features(**some)).float().numpy())
        return unit(np.concatenate(rows))

    def save(self, folder: Path) -> dict[str, Any]:
        self.model.save_pretrained(folder / FOLDER)
        self.tokenizer.save_pretrained(folder / FOLDER)
        bands = {"frequency_min": self.preprocess.low, "frequency_max": self.preprocess.high}
        (folder / FOLDER / PREPROCESS).write_text(json.dumps(bands), encoding="utf-8")
        return {"kind": "clap", "weights": FOLDER, "licence": "Apache-2.0"}


def read(path: Path) -> Clap:
    """A folder as the hub has it. Raises SpaceError; nothing is downloaded."""
    if not (path / "config.json").is_file():
        raise SpaceError(f"{path} is no folder of CLAP: it has no config.json.")
    try:
        from transformers import AutoTokenizer, ClapModel
    except ImportError:
        raise SpaceError("CLAP needs transformers: pip install 'multimodal[transformers]'.") from None
    try:
        model = ClapModel.from_pretrained(path, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:160].rstrip(".")
        raise SpaceError(f"{path} is no folder of CLAP: {reason}.") from error
    model.eval()  # type: ignore[no-untyped-call]
    return Clap(model, tokenizer, _bands(path / PREPROCESS))


def _bands(path: Path) -> LogMel:
    """The mel bands that the folder's preprocessor_config.json names, or those of the published models."""
    if not path.is_file():
        return LogMel()
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return LogMel(float(told.get("frequency_min", 50.0)), float(told.get("frequency_max", 14_000.0)))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise SpaceError(f"{path} cannot be read: {error}") from error


def saved(folder: Path, section: Mapping[str, Any]) -> Clap:
    """What `Clap.save` wrote."""
    return read(folder / section["weights"])


def _tensor(found: Any) -> Any:
    """Features, which later versions of transformers wrap in an output object."""
    return getattr(found, "pooler_output", found)
