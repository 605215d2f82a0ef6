"""Which published audio encoder fits which space, and how its file is read.

A new encoder is one more `Entry` here and a module that reads its file into an `AudioPart`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multimodal.errors import NoMediaFile, SpaceError

if TYPE_CHECKING:
    from multimodal.sound.source import AudioPart
    from multimodal.space import Space


@dataclass(frozen=True)
class Entry:
    """A published audio encoder. `spaces` are patterns of open_clip names whose space it lands in; none for a
    model with a space of its own, which only a text bridge brings over. `recipe` is its preprocessing."""

    name: str
    spaces: tuple[str, ...]
    dim: int
    licence: str
    file: str
    source: str
    recipe: str
    load: Callable[[Path], AudioPart]


def _wav2clip(path: Path) -> AudioPart:
    from multimodal.sound import wav2clip

    return wav2clip.read(path)


def _imagebind(path: Path) -> AudioPart:
    from multimodal.sound import imagebind

    return imagebind.read(path)


def _languagebind(path: Path) -> AudioPart:
    from multimodal.sound import languagebind

    return languagebind.read(path)


def _clap(path: Path) -> AudioPart:
    from multimodal.sound import clap

    return clap.read(path)


ENTRIES: Mapping[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            "wav2clip",
            ("ViT-B-32*/openai",),
            512,
            "MIT",
            "Wav2CLIP.pt (45 MB)",
            "https://github.com/descriptinc/lyrebird-wav2clip (Wu et al. 2022)",
            "16 kHz mono; power spectrogram of 512 samples, hop 353; log(x + 1e-7); each by itself",
            _wav2clip,
        ),
        Entry(
            "imagebind",
            ("ViT-H-14/laion2b_s32b_b79k",),
            1024,
            "CC-BY-NC-SA-4.0",
            "imagebind_huge.pth (4.5 GB) or model.safetensors",
            "https://github.com/facebookresearch/ImageBind (Girdhar et al. 2023)",
            "16 kHz mono; Kaldi filter banks, 128 x 204; (x + 4.268) / 9.138; first, middle, last 2 s",
            _imagebind,
        ),
        Entry(
            "languagebind-audio",
            ("ViT-L-14/datacomp_xl_s13b_b90k",),
            768,
            "MIT",
            "the folder of LanguageBind/LanguageBind_Audio_FT, or _Audio (config.json, pytorch_model.bin)",
            "https://github.com/PKU-YuanGroup/LanguageBind (Zhu et al. 2024)",
            "16 kHz mono; Kaldi filter banks, 112 or 126 x 1036; (x + 4.268) / 4.569; 3 windows of 10.36 s",
            _languagebind,
        ),
        Entry(
            "clap",
            (),
            512,
            "Apache-2.0",
            "the folder of laion/clap-htsat-unfused (config.json, model.safetensors, tokenizer)",
            "https://github.com/LAION-AI/CLAP (Wu et al. 2023)",
            "48 kHz mono; 64 Slaney mel bands of 50 to 14,000 Hz, hop 480, decibels; repeated to 10 s",
            _clap,
        ),
    )
}


def fitting(space: str) -> list[str]:
    """The encoders that land in a space of that name (MODEL/TAG)."""
    return [e.name for e in ENTRIES.values() if any(fnmatch.fnmatch(space, p) for p in e.spaces)]


def load(name: str, path: Path, space: Space) -> AudioPart:
    """An encoder from its published file, for a space that it fits. Raises SpaceError, NoMediaFile."""
    if name not in ENTRIES:
        raise SpaceError(f"There is no audio encoder {name!r}: there are {', '.join(ENTRIES)}.")
    entry = ENTRIES[name]
    if not entry.spaces:
        raise SpaceError(f"{name} has a space of its own: bring it over with bridge_audio.")
    names = {space.name, getattr(space._source, "made_from", None) or ""}
    if not any(name in fitting(one) for one in names) or space.dim != entry.dim:
        raise SpaceError(
            f"{name} lands in {' or '.join(entry.spaces)}, not in {space.name!r}: its rows would mean nothing"
            " there; a model with a text tower can be bridged."
        )
    if not path.exists():
        raise NoMediaFile(f"{path} does not exist.")
    return entry.load(path)


def saved(folder: Path, section: Mapping[str, Any]) -> AudioPart:
    """The part that a section of config.json tells of. Raises SpaceError for one of an unknown kind."""
    from multimodal.sound import bridge, clap, imagebind, languagebind, wav2clip

    kinds: Mapping[str, Callable[[Path, Mapping[str, Any]], AudioPart]] = {
        "wav2clip": wav2clip.saved,
        "imagebind": imagebind.saved,
        "languagebind": languagebind.saved,
        "clap": clap.saved,
        "bridge": bridge.saved,
    }
    kind = str(section.get("kind"))
    if kind not in kinds:
        raise SpaceError(f"The audio part of {folder} is of an unknown kind, {kind!r}.")
    return kinds[kind](folder, section)
