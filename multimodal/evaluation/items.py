"""The vectors of pairs' items, each embedded once, however many pairs it is in."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from multimodal.pairs import Pairs
from multimodal.towers.base import unit
from multimodal.types import FileRecord, Item, Modality

if TYPE_CHECKING:
    from multimodal.pipeline import EncodedFile
    from multimodal.space import Space


def embedded(
    space: Space, pairs: Pairs, workers: int | None, progress: Callable[[int, int], object] | None
) -> tuple[dict[object, tuple[Modality, NDArray[np.float32]]], list[FileRecord]]:
    """Modality and unit vector (dim,) of every item by its `item_key`, and the files that failed.

    Files are read by `workers` processes; `progress` is told of how many, of how many, are done. Raises
    QueryError, NoEncoder, SpaceError.
    """
    from multimodal.pipeline import encode_files
    from multimodal.space import modality_of

    items = {item_key(item): item for pair in pairs.pairs for item in pair}
    files = [item for item in items.values() if isinstance(item, Path)]
    known: dict[object, tuple[Modality, NDArray[np.float32]]] = {}
    texts = {key: item for key, item in items.items() if isinstance(item, str)}
    if texts:
        rows = space.embed(list(texts.values()))
        known.update((key, ("text", row)) for key, row in zip(texts, rows, strict=True))
    for key, item in items.items():
        if not isinstance(item, (str, Path)):
            known[key] = modality_of(item)[0], space.embed(item)[0]
    missing = [path for path in files if not path.is_file()]
    left_out = [FileRecord(path, "failed", reason="there is no such file") for path in missing]
    there = [path for path in files if path.is_file()]
    if there:
        with closing(encode_files(there, space, workers=workers)) as encoded:  # type: ignore[type-var]
            for done, file in enumerate(encoded, 1):
                found = _mean(file)
                if found is None:
                    reason = file.reason or "it holds nothing to embed"
                    left_out.append(FileRecord(file.path, "failed", reason=reason))
                else:
                    known[item_key(file.path)] = found
                if progress is not None:
                    progress(done, len(there))
    return known, left_out


def _mean(file: EncodedFile) -> tuple[Modality, NDArray[np.float32]] | None:
    """What a file mostly is, and the unit mean of its segments of that modality."""
    rows = [
        (row.modality, row.vector) for row in file.rows if row.role == "content" and row.vector is not None
    ]
    if not rows:
        return None
    first = rows[0][0]
    return first, unit(np.mean([vector for modality, vector in rows if modality == first], axis=0))


def item_key(item: Item) -> object:
    """Equal for items that are the same query: the same text, the same file, the same object."""
    if isinstance(item, str):
        return "text", item.strip()
    if isinstance(item, Path):
        return "file", os.path.abspath(item)
    return "object", id(item)
