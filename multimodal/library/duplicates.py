"""Files that are one thing: the same picture in two sizes, a video encoded twice, a text copied.

Every file is compared by the mean of its segments. Sounds and videos must also last about as long as each
other: an excerpt is no copy. Groups form around the largest file, so that each member is as close to it as
the threshold asks, and long chains of things that are merely alike do not grow together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.library.roots import Roots
from multimodal.library.searcher import Searcher
from multimodal.library.sqlite import SqliteStore
from multimodal.library.vectors import Matrix
from multimodal.towers.base import unit
from multimodal.types import Modality

THRESHOLD = 0.97
"""Least cosine of a copy. In the starter's space the halves, crops by 5 % and recompressed copies of 23
photos lie at 0.96 to 1 (medians 0.99), and 7 % of 400 unlike drawings have another one above it."""
LASTING = 0.05
"""Share by which the lengths of two copies of a recording may differ; never less than a second."""
BLOCK = 1024
MAIN: tuple[Modality, ...] = ("video", "image", "audio", "text")
"""What a file counts as that holds several modalities: the first of these."""


@dataclass(frozen=True)
class FileFacts:
    """What is compared of a file: bytes, pixels (width x height), seconds; 0 for what it does not say."""

    path: Path
    bytes: int
    pixels: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Copy:
    """A file of a group and its cosine with the largest of it."""

    file: FileFacts
    cosine: float


@dataclass(frozen=True)
class Duplicates:
    """Copies of one thing, the largest first: most pixels, else most seconds, else most bytes."""

    modality: Modality
    copies: tuple[Copy, ...]

    @property
    def larger(self) -> FileFacts:
        return self.copies[0].file

    def as_dict(self) -> dict[str, Any]:
        """Plain values, paths as text."""
        files = [{**asdict(copy.file), "path": str(copy.file.path)} for copy in self.copies]
        cosines = [round(copy.cosine, 4) for copy in self.copies]
        return {"modality": self.modality, "files": files, "cosines": cosines}


def file_vectors(matrix: Matrix, files: NDArray[np.int64]) -> NDArray[np.float32]:
    """Unit means (f, dim) of the rows of each of `files` (ascending file numbers)."""
    places = np.searchsorted(files, matrix.files)
    places[places == len(files)] = 0
    inside = np.flatnonzero(files[places] == matrix.files) if len(files) else np.zeros(0, np.int64)
    sums = np.zeros((len(files), matrix.vectors.shape[1]), np.float32)
    for begin in range(0, len(inside), BLOCK):
        rows = inside[begin : begin + BLOCK]
        np.add.at(sums, places[rows], matrix.vectors[rows].astype(np.float32))
    return unit(sums)


def groups(
    modality: Modality, facts: Sequence[FileFacts], vectors: NDArray[np.float32], threshold: float = THRESHOLD
) -> Iterator[Duplicates]:
    """Groups of two or more, those with the largest file first. `vectors` (n, dim) are unit rows."""
    order = sorted(range(len(facts)), key=lambda place: _largest(facts[place]))
    vectors = vectors[order]
    taken = np.zeros(len(order), bool)
    for begin in range(0, len(order), BLOCK):
        cosines = vectors[begin : begin + BLOCK] @ vectors.T
        for leader in np.flatnonzero((cosines >= threshold).sum(axis=1) > 1):
            place = begin + int(leader)
            if taken[place]:
                continue
            first = facts[order[place]]
            near = np.flatnonzero((cosines[leader] >= threshold) & ~taken)
            near = np.array(
                [n for n in near if n > place and _lasts_alike(first, facts[order[n]])], dtype=np.int64
            )
            if not len(near):
                continue
            taken[place] = True
            taken[near] = True
            copies = [Copy(facts[order[n]], float(min(1.0, cosines[leader, n]))) for n in near]
            yield Duplicates(modality, (Copy(first, 1.0), *copies))


def main_modality(held: Mapping[Modality, set[int]]) -> dict[int, Modality]:
    """File number -> what it counts as, from the files that have rows of each modality."""
    found: dict[int, Modality] = {}
    for modality in MAIN:
        for file in held.get(modality, ()):
            found.setdefault(file, modality)
    return found


def _largest(facts: FileFacts) -> tuple[float, float, int, str]:
    return -facts.pixels, -round(facts.seconds), -facts.bytes, str(facts.path)


def _lasts_alike(a: FileFacts, b: FileFacts) -> bool:
    if not (a.seconds and b.seconds):
        return True
    return abs(a.seconds - b.seconds) <= max(1.0, LASTING * max(a.seconds, b.seconds))


def find_duplicates(
    store: SqliteStore,
    searcher: Searcher,
    roots: Roots,
    below: Path | None,
    modalities: Sequence[Modality],
    threshold: float,
) -> Iterator[Duplicates]:
    """Groups among the files of a library, by what each mostly is."""
    matrices = searcher.matrices(patient=False)
    held = {modality: set(matrix.files.tolist()) for modality, matrix in matrices.items()}
    kinds = main_modality(held)
    facts: dict[Modality, dict[int, FileFacts]] = {modality: {} for modality in modalities}
    for root in store.roots():
        for name, state in store.files(root).items():
            kind = kinds.get(state.number)
            path = roots.folder(root.path) / name
            if kind in facts and (below is None or path == below or below in path.parents):
                pixels = (state.facts.width or 0) * (state.facts.height or 0)
                facts[kind][state.number] = FileFacts(path, state.size, pixels, state.facts.duration or 0.0)
    for modality, found in facts.items():
        numbers = np.array(sorted(found), np.int64)
        if len(numbers):
            vectors = file_vectors(matrices[modality], numbers)
            yield from groups(modality, [found[number] for number in numbers.tolist()], vectors, threshold)
