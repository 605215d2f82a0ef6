"""What towers take, prepared once by the space's own preprocessing and kept beside the checkpoint."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import SpaceError
from multimodal.types import Content, Item, Modality

if TYPE_CHECKING:
    from multimodal.space import Space

Split: TypeAlias = Callable[[Any], "tuple[NDArray[Any], NDArray[np.float32]]"]
"""What a tower's `preprocess` gives, as inputs (k, ...) of one shape each and their shares (k,), sum 1."""

FOLDER = "inputs"


@dataclass(frozen=True, eq=False)
class Inputs:
    """Of n items the inputs `values` (m, ...), one item's after another's, item i's from `begins[i]` to
    `begins[i + 1]`; `shares` (m,) is what each counts in its item's row, and sums to 1 there."""

    values: NDArray[Any]
    begins: NDArray[np.int64]
    shares: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.begins) - 1

    def places(self, items: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the inputs of some items are (k,), and the place among those items that each is of (k,)."""
        counts = self.begins[items + 1] - self.begins[items]
        of = np.repeat(np.arange(len(items)), counts)
        within = np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.begins[items][of] + within, of

    def part(self, items: NDArray[np.int64]) -> Inputs:
        """Those of some items."""
        chosen, of = self.places(items)
        begins = np.searchsorted(of, np.arange(len(items) + 1))
        return Inputs(self.values[chosen], begins, self.shares[chosen])


def prepared(
    space: Space,
    modality: Modality,
    items: Sequence[Item],
    keys: Sequence[str],
    split: Split,
    folder: Path | None = None,
) -> Inputs:
    """The inputs of items, in their order; `keys` are their contents' (`features.content_key`).

    With `folder` they are kept there and found again, and read from there a batch at a time. Raises
    ReadError, SpaceError.
    """
    if folder is None:
        parts = list(_parts(space, modality, items, split))
        values = np.concatenate([values for values, _ in parts])
        return Inputs(values, _begins(parts), np.concatenate([shares for _, shares in parts]))
    name = hashlib.blake2b(
        "\n".join([space[modality].encoder_id, repr(space.read_options), *keys]).encode(), digest_size=8
    ).hexdigest()
    place = folder / FOLDER / f"{modality}-{name}"
    try:
        if not place.is_dir():
            _write(place, _parts(space, modality, items, split))
        return _read(place)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpaceError(f"What is to be learned from cannot be kept in {place}: {reason}.") from error


def _parts(
    space: Space, modality: Modality, items: Sequence[Item], split: Split
) -> Iterator[tuple[NDArray[Any], NDArray[np.float32]]]:
    preprocess = space[modality].tower.preprocess
    for item in items:
        found = [split(preprocess(content)) for content in contents(space, modality, item)]
        yield (
            np.concatenate([values for values, _ in found]),
            np.concatenate([shares for _, shares in found]) / np.float32(len(found)),
        )


def contents(space: Space, modality: Modality, item: Item) -> list[Content]:
    """What of an item has a modality: a file's segments, else the item itself. Raises ReadError."""
    from multimodal.space import modality_of

    if not isinstance(item, Path):
        return [modality_of(item)[1]]
    segments = (one for one in space.read(item) if one.role == "content" and one.modality == modality)
    return [segment.content for segment in segments]


def _begins(parts: Sequence[tuple[NDArray[Any], NDArray[np.float32]]]) -> NDArray[np.int64]:
    return np.cumsum([0, *(len(shares) for _, shares in parts)])


def _write(place: Path, parts: Iterator[tuple[NDArray[Any], NDArray[np.float32]]]) -> None:
    """A folder, whole or not at all: raw values, and how to read them."""
    part = place.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    about: dict[str, Any] = {}
    shares: list[NDArray[np.float32]] = []
    with (part / "values.bin").open("wb") as file:
        for values, share in parts:
            about = {"dtype": values.dtype.str, "shape": list(values.shape[1:])}
            file.write(np.ascontiguousarray(values).tobytes())
            shares.append(share)
        file.flush()
        os.fsync(file.fileno())
    np.save(part / "shares.npy", np.concatenate(shares))
    np.save(part / "begins.npy", np.cumsum([0, *(len(share) for share in shares)]))
    (part / "about.json").write_text(json.dumps(about), encoding="utf-8")
    part.replace(place)


def _read(place: Path) -> Inputs:
    about = json.loads((place / "about.json").read_text(encoding="utf-8"))
    begins, shares = np.load(place / "begins.npy"), np.load(place / "shares.npy")
    shape = (int(begins[-1]), *about["shape"])
    return Inputs(np.memmap(place / "values.bin", about["dtype"], "r", shape=shape), begins, shares)
