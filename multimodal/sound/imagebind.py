"""The audio trunk of ImageBind (Girdhar et al. 2023): a vision transformer over mel filter banks.

Its space is that of OpenCLIP's ViT-H-14 of laion2b_s32b_b79k, whose towers it kept frozen. Of the published
file, 4.5 GB with all six modalities, only the audio's tensors are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import SpaceError
from multimodal.towers.base import identity, tensors_hash, unit
from multimodal.types import Audio, Content

RATE = 16_000
FRAME, SHIFT, N_FFT = 400, 160, 512
"""Samples: 25 ms, 10 ms, and the power of two that a frame is padded to."""
FLOOR = float(np.finfo(np.float32).eps)
DIM, HEAD, STRIDE = 1024, 64, 10
"""Of the space; of an attention head; of the patches."""
FILE = "audio-imagebind.safetensors"
LICENCE = "CC-BY-NC-SA-4.0"
PARTS = ("modality_preprocessors.audio.", "modality_trunks.audio.", "modality_heads.audio.")


@lru_cache(maxsize=4)
def _filters(bins: int) -> NDArray[np.float64]:
    """(bins, 257) triangles that are even on Kaldi's mel scale, from 20 Hz to half the rate."""
    low, high = 1127 * np.log1p(np.array([20.0, RATE / 2]) / 700)
    corners = np.linspace(low, high, bins + 2)
    left, centre, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    mels = 1127 * np.log1p(np.arange(N_FFT // 2) * RATE / N_FFT / 700)
    rising, falling = (mels - left) / (centre - left), (right - mels) / (right - centre)
    made: NDArray[np.float64] = np.pad(np.maximum(0, np.minimum(rising, falling)), ((0, 0), (0, 1)))
    return made


def fbank(samples: NDArray[np.floating], bins: int) -> NDArray[np.float64]:
    """Kaldi's log mel filter banks (frames, bins) of samples (n,) at 16 kHz, a frame for each full 25 ms.

    As `torchaudio.compliance.kaldi.fbank` with htk_compat, no dither and a Hanning window: each frame loses
    its mean, is pre-emphasised by 0.97 and padded to 512. Because of the first of these, a mean taken off the
    whole sound beforehand, as ImageBind and LanguageBind do, changes nothing.
    """
    samples = np.pad(np.asarray(samples, np.float64), (0, max(0, FRAME - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::SHIFT]
    frames = frames - frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    spectra = np.fft.rfft((frames - 0.97 * before) * np.hanning(FRAME), N_FFT, axis=1)
    mels: NDArray[np.float64] = np.abs(spectra) ** 2 @ _filters(bins).T
    return np.log(np.maximum(mels, FLOOR))


def at_16_khz(content: Content) -> NDArray[np.floating]:
    """The samples of a sound of 16 kHz. Raises TypeError, ValueError for anything else."""
    if not isinstance(content, Audio):
        raise TypeError(f"expected a sound, got {type(content).__name__}")
    if content.rate != RATE:
        raise ValueError(f"expected a sound of {RATE} Hz, got {content.rate}")
    return content.samples


@dataclass(frozen=True)
class Clips:
    """A sound to (clips, 1, 128, 204) float32 filter banks of the first, middle and last 2 s.

    A sound of 2 s or less is one clip: its three would be the same. Missing frames are zero before the
    normalisation, as in ImageBind's own code.
    """

    mels: int = 128
    frames: int = 204
    seconds: int = 2
    clips: int = 3
    mean: float = -4.268
    deviation: float = 9.138

    def __call__(self, content: Content) -> NDArray[np.float32]:
        samples = at_16_khz(content)
        length = self.seconds * RATE
        spare = max(0, len(samples) - length)
        begins = sorted({spare * number // (self.clips - 1) for number in range(self.clips)})
        return np.stack([self._clip(samples[begin : begin + length]) for begin in begins])

    def _clip(self, samples: NDArray[np.floating]) -> NDArray[np.float32]:
        found = fbank(samples, self.mels)[: self.frames]
        found = np.pad(found, ((0, self.frames - len(found)), (0, 0)))
        return ((found.T[None] - self.mean) / self.deviation).astype(np.float32)


class ImageBindTower:
    """Clips to features (n, 1024) of ViT-H-14's space: the mean of a sound's unit clips.

    ImageBind multiplies its audio by 20 for the loss; that is left out, as a length says nothing here.
    """

    feature_dim = DIM

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.preprocess = Clips()
        self._tensors = tensors
        self._model: Any = None
        self.tower_id = "imagebind-" + identity(tensors_hash(tensors), asdict(self.preprocess))

    def forward(self, batch: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        import torch

        if self._model is None:
            self._model = _network(self._tensors)
        with torch.inference_mode():
            rows = [unit(self._model(torch.from_numpy(clips)).numpy()).mean(axis=0) for clips in batch]
        return np.stack(rows)


@dataclass(frozen=True, eq=False)
class ImageBind:
    """See `multimodal.sound.source.AudioPart`."""

    tensors: Mapping[str, NDArray[Any]]
    rate: int = RATE

    def tower(self) -> ImageBindTower:
        return ImageBindTower(self.tensors)

    def save(self, folder: Path) -> dict[str, Any]:
        keep(self.tensors, folder / FILE)
        return {"kind": "imagebind", "weights": FILE, "licence": LICENCE}


def read(path: Path) -> ImageBind:
    """The published checkpoint, imagebind_huge.pth or model.safetensors. Raises SpaceError."""
    tensors = tensors_of(path, PARTS, "checkpoint of ImageBind")
    _check(path, tensors)
    return ImageBind(tensors)


def saved(folder: Path, section: Mapping[str, Any]) -> ImageBind:
    """What `ImageBind.save` wrote. Raises OSError, KeyError, SpaceError."""
    return read(folder / section["weights"])


def keep(tensors: Mapping[str, NDArray[Any]], path: Path) -> None:
    """Write tensors for `tensors_of` to read, readable by others."""
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(t) for name, t in tensors.items()}, str(path))
    path.chmod(0o644)


def tensors_of(path: Path, parts: tuple[str, ...], kind: str) -> dict[str, NDArray[np.float32]]:
    """The tensors of a file whose names begin with one of `parts`, float32; nothing else is held in memory.

    The file is a safetensors or a pickle of which nothing but tensors is read. Raises SpaceError, which says
    that the file is no `kind`.
    """
    import pickle

    from safetensors import SafetensorError

    try:
        found = _safetensors(path, parts) if path.suffix == ".safetensors" else _pickled(path, parts)
    except (
        *(OSError, RuntimeError, AttributeError, ValueError, TypeError, EOFError),
        *(pickle.UnpicklingError, SafetensorError),
    ) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise SpaceError(f"{path} is no {kind}: {reason}.") from error
    if not found:
        raise SpaceError(f"{path} is no {kind}: it has none of {', '.join(f'{part}*' for part in parts)}.")
    return found


def _safetensors(path: Path, parts: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as held:
        names = [name for name in held.keys() if name.startswith(parts)]  # noqa: SIM118 (no mapping)
        return {name: np.array(held.get_tensor(name).float().numpy()) for name in names}


def _pickled(path: Path, parts: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
    import warnings
    import zipfile

    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pickles by other programs, which then fail by themselves
        held = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    held = held.get("state_dict", held)
    return {n: np.array(t.float().numpy()) for n, t in held.items() if n.startswith(parts)}


def _check(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    try:
        _network(tensors)
    except (KeyError, RuntimeError, ValueError, IndexError) as error:
        reason = " ".join(str(error).split())[:160].rstrip(".")
        raise SpaceError(f"{path} is no checkpoint of ImageBind: {reason}.") from error


def _network(tensors: Mapping[str, NDArray[Any]]) -> Any:
    """Patches of 16 x 16 every 10, pre-norm blocks whose attention has a learnt key and value more, a head.

    Width, depth and patch come from the tensors, heads are 64 wide, as in the published model (768, 12, 16).
    """
    import torch
    from torch import nn

    stem = tensors["modality_preprocessors.audio.rgbt_stem.proj.weight"]
    width, _, patch, _ = stem.shape
    depth = 1 + max(int(n.split(".")[3]) for n in tensors if n.startswith("modality_trunks.audio.blocks."))
    clips = Clips()
    tokens = 1 + ((clips.mels - patch) // STRIDE + 1) * ((clips.frames - patch) // STRIDE + 1)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm_1, self.norm_2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
            self.attn = nn.MultiheadAttention(width, width // HEAD, add_bias_kv=True, batch_first=True)
            layers = {"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)}
            self.mlp = nn.ModuleDict(layers)

        def forward(self, x: Any) -> Any:
            seen = self.norm_1(x)
            x = x + self.attn(seen, seen, seen, need_weights=False)[0]
            return x + self.mlp["fc2"](nn.functional.gelu(self.mlp["fc1"](self.norm_2(x))))

    class Trunk(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
            self.position = nn.Parameter(torch.zeros(1, tokens, width))
            self.patches = nn.Conv2d(1, width, patch, STRIDE, bias=False)
            self.patches_norm = nn.LayerNorm(width)
            self.blocks = nn.Sequential(*(Block() for _ in range(depth)))
            self.norm, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, DIM, bias=False)

        def forward(self, x: Any) -> Any:
            x = self.patches_norm(self.patches(x).flatten(2).transpose(1, 2))
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.position
            return self.head(self.norm(self.blocks(x)[:, 0]))

    with torch.device("meta"):  # nothing is drawn at random that the tensors replace anyway
        made = Trunk()
    state = {_renamed(n): torch.from_numpy(np.ascontiguousarray(t)) for n, t in tensors.items()}
    made.load_state_dict(state, assign=True)
    return made.eval()


NAMES = {
    "modality_preprocessors.audio.cls_token": "cls_token",
    "modality_preprocessors.audio.pos_embedding_helper.pos_embed": "position",
    "modality_preprocessors.audio.rgbt_stem.proj": "patches",
    "modality_preprocessors.audio.rgbt_stem.norm_layer": "patches_norm",
    "modality_trunks.audio.blocks": "blocks",
    "modality_heads.audio.0": "norm",
    "modality_heads.audio.2": "head",
}
"""Beginnings of the published names, and what they are called here."""


def _renamed(name: str) -> str:
    for begin, here in NAMES.items():
        if name == begin or name.startswith(begin + "."):
            return here + name[len(begin) :]
    return name
