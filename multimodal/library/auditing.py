"""Captions that lie beside the wrong file: each compared with all files of its kind in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multimodal.library.means import FileMean
from multimodal.types import Modality

BLOCK = 1 << 22
"""Cosines worked out at once."""


@dataclass(frozen=True)
class Misfit:
    """A caption of `path` that fits `better` more, by `margin` in cosine above its own `cosine`. `mutual`
    says that a caption of the other file fits this one better too: most likely they were swapped."""

    path: Path
    caption: str
    cosine: float
    better: Path
    margin: float
    mutual: bool = False


@dataclass(frozen=True)
class Audit:
    """Captions that were compared, and those that fit another file better, the clearest first."""

    captions: int
    files: int
    misfits: tuple[Misfit, ...]


def audit(files: Sequence[FileMean], margin: float = 0.0) -> Audit:
    """Compare every caption with every file of the modality of its own. A misfit is above its own file's
    cosine by more than `margin`."""
    found: list[Misfit] = []
    captions = compared = 0
    for modality in ("image", "video", "audio"):
        mine = [file for file in files if file.modality == modality]
        captioned = sum(bool(file.captions) for file in mine)
        captions += sum(len(file.captions) for file in mine)
        compared += len(mine) if captioned else 0
        found += _misfits(mine, modality, margin)
    pairs = {(one.path, one.better) for one in found}
    told = [
        Misfit(m.path, m.caption, m.cosine, m.better, m.margin, (m.better, m.path) in pairs) for m in found
    ]
    return Audit(captions, compared, tuple(sorted(told, key=lambda one: (-one.mutual, -one.margin))))


def _misfits(files: Sequence[FileMean], modality: Modality, margin: float) -> Iterator[Misfit]:
    told = [(place, text, row) for place, file in enumerate(files) for text, row in file.captions]
    if not told or len(files) < 2:
        return
    rows = np.stack([file.vector for file in files])
    step = max(1, BLOCK // len(files))
    for begin in range(0, len(told), step):
        some = told[begin : begin + step]
        cosines = np.stack([row for _, _, row in some]) @ rows.T
        for (place, text, _), found in zip(some, cosines, strict=True):
            best = int(found.argmax())
            if best != place and found[best] - found[place] > margin:
                gap = float(found[best] - found[place])
                yield Misfit(files[place].path, text, float(found[place]), files[best].path, gap)
