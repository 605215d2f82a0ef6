"""What the files of a library are, each as one vector, with the captions that lie beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from multimodal.library import tables
from multimodal.towers.base import unit
from multimodal.types import Modality

if TYPE_CHECKING:
    from multimodal.library.library import Library

MAIN: tuple[Modality, ...] = ("video", "image", "audio", "text")
"""What a file is that holds several modalities: the first of these."""


@dataclass(frozen=True, eq=False)
class FileMean:
    """A file: its main modality, the unit mean (dim,) of its segments of it, and its captions (text, row)."""

    path: Path
    modality: Modality
    vector: NDArray[np.float32]
    captions: tuple[tuple[str, NDArray[np.float32]], ...] = ()


@dataclass
class _Sums:
    sums: dict[Modality, NDArray[np.float64]] = field(default_factory=dict)
    captions: list[tuple[str, NDArray[np.float32]]] = field(default_factory=list)


def file_means(library: Library, folder: Path | None = None) -> Iterator[FileMean]:
    """The files of a library that were read, below `folder` (or that file itself), in the order of paths.

    The vectors are streamed; held are one row for each file and one for each caption. Raises NoLibrary,
    LibraryError.
    """
    below = None if folder is None else Path(folder).absolute()
    found: dict[Path, _Sums] = {}
    for batch in tables.to_reader(library, role=("content", "caption")):
        flat = batch.column("vector").values.to_numpy(zero_copy_only=False)
        rows = flat.reshape(batch.num_rows, -1)
        columns = (batch.column(name).to_pylist() for name in ("path", "id", "modality", "role", "text"))
        for row, (name, id_, modality, role, text) in zip(rows, zip(*columns, strict=True), strict=True):
            path = Path(name)
            if id_ is not None or (below is not None and path != below and below not in path.parents):
                continue
            sums = found.setdefault(path, _Sums())
            if role == "caption":
                sums.captions.append((text or "", row.copy()))
            else:
                sums.sums[modality] = sums.sums.get(modality, 0) + row.astype(np.float64)
    for path in sorted(found):
        made = found[path]
        main = next((modality for modality in MAIN if modality in made.sums), None)
        if main is not None:
            yield FileMean(path, main, unit(made.sums[main]), tuple(made.captions))
