"""What generic queries find among the rows of a library: measured once, kept beside the vectors, extended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from multimodal.library.bank import Bank, Floats, Kind, as_array, read_arrays, text_of, write_arrays
from multimodal.library.calibration import Reference, measure
from multimodal.library.store import KeptFrames
from multimodal.library.vectors import Matrix
from multimodal.types import Modality

FEW = 200
"""Rows that a filter lets through and that are compared for that search alone, 1 ms; more are judged as their
whole modality is."""
SAMPLE = 256
"""Moments whose frames say what attention to them adds to a best cosine."""

FramesOf: TypeAlias = Callable[[Sequence[int]], Mapping[int, KeptFrames]]
"""As `Store.frames`."""


class References:
    """References of one library's matrices. Those of a part of the vectors are kept in a file of its name,
    so that they go where it goes; rows that came later are added."""

    def __init__(self, folder: Path, frames: FramesOf) -> None:
        self._folder = folder
        self._frames = frames
        self._held: dict[Modality, tuple[str, str, dict[Kind, Reference]]] = {}

    def of(self, bank: Bank, kind: Kind, modality: Modality, matrix: Matrix) -> Reference:
        """What generic queries of a kind find among all rows of a modality."""
        known = self._known(bank, modality, matrix)
        before = known.get(kind)
        if before is not None and before.counted == len(matrix):
            return before
        if before is not None and before.counted > len(matrix):  # a damaged file
            before = None
        frames = self._sample(matrix) if modality == "video" else None
        known[kind] = found = measure(bank, kind, modality, matrix.vectors, before, frames)
        if matrix.name:
            write_arrays(self._folder / f"{matrix.name}.safetensors", _packed(bank, known))
            self._sweep()
        return found

    def among(
        self, bank: Bank, kind: Kind, modality: Modality, matrix: Matrix, places: NDArray[np.int64] | None
    ) -> Reference:
        """The same among the rows at `places` (ascending), where those are few; None stands for all."""
        if places is None or len(places) > FEW:
            return self.of(bank, kind, modality, matrix)
        gain = self.of(bank, kind, modality, matrix).gain if modality == "video" else 0.0
        return replace(measure(bank, kind, modality, matrix.vectors[places]), gain=gain)

    def forget(self) -> None:
        """Let go of what was read."""
        self._held.clear()

    def _known(self, bank: Bank, modality: Modality, matrix: Matrix) -> dict[Kind, Reference]:
        name = matrix.name or f"in memory {id(matrix)}"
        held = self._held.get(modality)
        if held is None or held[:2] != (bank.id, name):
            kept = _unpacked(bank, self._folder / f"{matrix.name}.safetensors") if matrix.name else {}
            held = self._held[modality] = (bank.id, name, kept)
        return held[2]

    def _sample(self, matrix: Matrix) -> dict[int, Floats]:
        """Kept frames by place, of moments evenly taken."""
        places = np.unique(np.linspace(0, len(matrix) - 1, SAMPLE).astype(np.int64))
        found = self._frames(matrix.segments[places].tolist())
        numbers = zip(places.tolist(), matrix.segments[places].tolist(), strict=True)
        return {place: found[number][1] for place, number in numbers if number in found}

    def _sweep(self) -> None:
        for path in self._folder.glob("*-*.safetensors"):
            if not path.with_suffix(".f16").exists():
                with suppress(OSError):  # Windows keeps what another process reads
                    path.unlink()


def _packed(bank: Bank, known: Mapping[Kind, Reference]) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {"bank": as_array(bank.id)}
    for kind, found in known.items():
        name = kind or "terms"
        arrays[f"{name}.best"], arrays[f"{name}.places"] = found.best, found.places
        arrays[f"{name}.rest"] = np.array([found.counted, found.hub, found.gain], np.float64)
    return arrays


def _unpacked(bank: Bank, file: Path) -> dict[Kind, Reference]:
    """What a file keeps for a bank; nothing where it is missing, damaged, or of another bank."""
    kept = read_arrays(file)
    found: dict[Kind, Reference] = {}
    if not kept or text_of(kept["bank"]) != bank.id:
        return found
    kinds: tuple[Kind, ...] = ("text", "image", "video", "audio", None)
    for kind in kinds:
        name = kind or "terms"
        if f"{name}.rest" in kept:
            counted, hub, gain = kept[f"{name}.rest"].tolist()
            found[kind] = Reference(kept[f"{name}.best"], kept[f"{name}.places"], int(counted), hub, gain)
    return found
