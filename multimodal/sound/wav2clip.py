"""Wav2CLIP (Wu et al. 2022, Learning Robust Audio Representations From CLIP): a ResNet-18 over spectrograms.

Its own code standardises over the batch, so that a sound's vector depends on its neighbours; here each sound
is standardised by itself, which is what its code does for one sound at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import SpaceError
from multimodal.towers.base import identity, tensors_hash
from multimodal.types import Audio, Content

RATE, N_FFT, HOP = 16_000, 512, 353
FILE = "audio-wav2clip.safetensors"
PARTS = ("audio_encoder.", "audio_transform.")


@dataclass(frozen=True)
class LogSpectrogram:
    """A sound to (1, 257, frames) float32: log power, mean 0 and deviation 1 of its own."""

    def __call__(self, content: Content) -> NDArray[np.float32]:
        if not isinstance(content, Audio):
            raise TypeError(f"expected a sound, got {type(content).__name__}")
        if content.rate != RATE:
            raise ValueError(f"expected a sound of {RATE} Hz, got {content.rate}")
        samples = np.pad(content.samples, (0, max(0, N_FFT - len(content.samples))))
        padded = np.pad(samples.astype(np.float64), N_FFT // 2, mode="reflect")
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)  # Hann, periodic
        frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP]
        power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
        logs = np.log(power.T + 1e-7)
        spread = logs.std(ddof=1)
        return ((logs - logs.mean()) / (spread + 1e-9))[None].astype(np.float32)


class Wav2ClipTower:
    """Spectrograms to features (n, 512) of CLIP's ViT-B/32, one at a time: their widths differ."""

    feature_dim = 512

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.preprocess = LogSpectrogram()
        self._tensors = tensors
        self._model: Any = None
        self.tower_id = "wav2clip-" + identity(tensors_hash(tensors), {"hop": HOP, "n_fft": N_FFT})

    def forward(self, batch: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        import torch

        if self._model is None:
            self._model = _network(self._tensors)
        with torch.inference_mode():
            rows = [self._model(torch.from_numpy(one)[None])[0].numpy() for one in batch]
        return np.stack(rows).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Wav2Clip:
    """See `multimodal.sound.source.AudioPart`."""

    tensors: Mapping[str, NDArray[Any]]
    rate: int = RATE

    def tower(self) -> Wav2ClipTower:
        return Wav2ClipTower(self.tensors)

    def save(self, folder: Path) -> dict[str, Any]:
        from safetensors.numpy import save_file

        save_file({name: np.ascontiguousarray(t) for name, t in self.tensors.items()}, str(folder / FILE))
        (folder / FILE).chmod(0o644)
        return {"kind": "wav2clip", "weights": FILE, "licence": "MIT"}


def read(path: Path) -> Wav2Clip:
    """The published checkpoint, a pickle, of which nothing but tensors is read. Raises SpaceError."""
    import pickle
    import warnings

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles by other programs, which then fail by themselves
            held = torch.load(path, map_location="cpu", weights_only=True)
        held = held.get("state_dict", held)
        wanted = {n: t.numpy() for n, t in held.items() if n.startswith(PARTS) and "spectrogram" not in n}
    except (OSError, RuntimeError, AttributeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise SpaceError(f"{path} is no checkpoint of Wav2CLIP: {str(error).splitlines()[0]}.") from error
    wanted = {name: tensor for name, tensor in wanted.items() if not _unused(name)}
    part = Wav2Clip(wanted)
    _check(path, wanted)
    return part


def saved(folder: Path, section: Mapping[str, Any]) -> Wav2Clip:
    """What `Wav2Clip.save` wrote. Raises OSError, KeyError, SpaceError."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder / section["weights"]
    try:
        tensors = load_file(str(path))
    except SafetensorError as error:
        raise SpaceError(f"{path} cannot be read: {error}") from error
    _check(path, tensors)
    return Wav2Clip(tensors)


def _unused(name: str) -> bool:
    """The classifier that training left behind, and counters."""
    return name.startswith("audio_encoder.fc") or name.endswith("num_batches_tracked")


def _check(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    try:
        _network(tensors)
    except (KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise SpaceError(f"{path} is no checkpoint of Wav2CLIP: {reason}.") from error


def _network(tensors: Mapping[str, NDArray[Any]]) -> Any:
    """ResNet-18 for one channel (He et al. 2016), then the perceptron into CLIP's space."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, inside: int, outside: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(outside)
            self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(outside)
            self.downsample: nn.Module | None = None
            if stride != 1 or inside != outside:
                self.downsample = nn.Sequential(
                    nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
                )

        def forward(self, x: Any) -> Any:
            kept = x if self.downsample is None else self.downsample(x)
            x = torch.relu(self.bn1(self.conv1(x)))
            return torch.relu(self.bn2(self.conv2(x)) + kept)

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(64)
            sizes = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
            for number, (inside, outside, stride) in enumerate(sizes, 1):
                blocks = nn.Sequential(Block(inside, outside, stride), Block(outside, outside, 1))
                setattr(self, f"layer{number}", blocks)

        def forward(self, x: Any) -> Any:
            x = torch.relu(self.bn1(self.conv1(x)))
            x = nn.functional.max_pool2d(x, 3, 2, 1)
            for number in range(1, 5):
                x = getattr(self, f"layer{number}")(x)
            return x.mean(dim=(2, 3))

    made = nn.Sequential()
    made.add_module("audio_encoder", Encoder())
    first, second = nn.Linear(512, 512), nn.Linear(512, 512)
    transform = nn.Sequential()
    for number, layer in (("0", first), ("1", nn.ReLU()), ("2", nn.Dropout(0.1)), ("3", second)):
        transform.add_module(number, layer)
    wrapped = nn.Sequential()
    wrapped.add_module("sequential", transform)
    made.add_module("audio_transform", wrapped)
    state = {name: torch.from_numpy(np.ascontiguousarray(t)) for name, t in tensors.items()}
    counters = {name: t for name, t in made.state_dict().items() if name.endswith("num_batches_tracked")}
    made.load_state_dict({**state, **counters})
    return made.eval()
