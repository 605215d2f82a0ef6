"""Shorter vectors: a space whose rows have fewer dimensions and find nearly the same.

A model trained so that its first dimensions are a space by themselves (Kusupati et al. 2022, Matryoshka
Representation Learning) is cut there. Any other is projected on the leading directions of a corpus: the
eigenvectors of the mean over modalities of X'X/n, so that a modality with more rows weighs no more. Rows are
not centred: what is subtracted from one side of a comparison moves the modalities apart from each other.
The directions are scaled by `eigenvalue ** -SOFTEN`, a weak whitening (after Jegou & Chum 2012, Negative
evidences and co-occurrences in image retrieval): a few directions that nearly all rows share stop deciding.

Rows are linear in what the tower gives, so pooling over frames and windows stays what it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from multimodal.encoder import Encoder
from multimodal.errors import SpaceError
from multimodal.phrases import everyday
from multimodal.towers.base import Tower, identity, tensors_hash, unit
from multimodal.types import MODALITIES, Clip, Frames, Modality, ReadOptions

if TYPE_CHECKING:
    from multimodal.sources import Source

Floats = NDArray[np.float32]

SOFTEN = 0.1
"""On validation pairs, 384 to 192 dimensions, mean reciprocal rank against all dimensions: 0.99 at 0, 1.01 at
0.1, 1.01 to 1.02 up to 0.3, then falling. The least of the plateau."""
LEAST = 1e-6
"""Eigenvalues, as a share of the largest, below which a direction is noise and is not scaled up further."""
VERSION = 1
"""Raise when the same corpus would give another projection."""
FILE = "truncate.safetensors"
SECTION = "truncate"
CENTRE = "centre."


@dataclass(frozen=True, eq=False)
class Projection:
    """Unit rows (n, full) to unit rows (n, dim): `unit(rows @ matrix)`, `matrix` (full, dim) float32."""

    matrix: Floats
    method: str
    id: str

    def __call__(self, rows: NDArray[Any]) -> Floats:
        return unit(np.asarray(rows, np.float32) @ self.matrix)

    @property
    def dim(self) -> int:
        return int(self.matrix.shape[1])

    @classmethod
    def first(cls, full: int, dim: int) -> Projection:
        """The first `dim` of `full` dimensions."""
        return cls(np.eye(full, dim, dtype=np.float32), "first", identity("first", str(dim)))

    @classmethod
    def fitted(cls, rows: Mapping[Modality, NDArray[np.floating]], dim: int, corpus: str = "") -> Projection:
        """The leading `dim` directions of unit rows (n, full) by modality, softly whitened.

        `corpus` names rows that ship with a space: the projection is then known by it, because other
        machines find the same directions up to rounding only. Raises SpaceError where the rows do not
        span `dim` directions.
        """
        parts = [unit(values).astype(np.float64) for values in rows.values() if len(values)]
        if sum(map(len, parts)) < dim:
            found = sum(map(len, parts))
            raise SpaceError(f"{dim} directions cannot be found in {found} rows: give more of them.")
        moments = sum(part.T @ part / len(part) for part in parts) / len(parts)
        values, vectors = np.linalg.eigh(moments)
        values, vectors = values[::-1][:dim], vectors[:, ::-1][:, :dim]
        vectors = vectors * np.sign(
            vectors[np.abs(vectors).argmax(axis=0), np.arange(dim)]
        )  # eigh's sign varies
        scales = (np.maximum(values, LEAST * values[0]) / values[0]) ** -SOFTEN
        matrix = (vectors * scales).astype(np.float32)
        about = {"version": VERSION, "dim": dim, "soften": SOFTEN}
        return cls(matrix, "pca", identity("pca", about, corpus or tensors_hash({"matrix": matrix})))

    @classmethod
    def load(cls, folder: Path, about: Mapping[str, Any]) -> Projection:
        """What `save` wrote; `about` is its section of config.json. Raises SpaceError."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            matrix = load_file(str(folder / FILE))["matrix"].astype(np.float32)
            return cls(matrix, str(about["method"]), str(about["id"]))
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            raise SpaceError(f"{folder / FILE} cannot be read: {error!r}") from error

    def save(self, folder: Path) -> dict[str, Any]:
        """Write `FILE` to a folder; returns the section of config.json."""
        from safetensors.numpy import save_file

        save_file({"matrix": np.ascontiguousarray(self.matrix)}, str(folder / FILE))
        (folder / FILE).chmod(0o644)  # safetensors writes files that only their owner reads
        return {"dim": self.dim, "method": self.method, "id": self.id}


class ProjectedTower:
    """A tower's features through a projection: (n, dim) unit rows."""

    def __init__(self, inner: Tower, projection: Projection) -> None:
        self.inner = inner
        self.projection = projection
        self.preprocess = inner.preprocess
        self.feature_dim = projection.dim
        self.tower_id = f"{inner.tower_id}-{projection.dim}-{projection.id}"

    def forward(self, batch: Sequence[Any]) -> Floats:
        return self.projection(self.inner.forward(batch))


class ProjectedVideoTower(ProjectedTower):
    """The same of a tower that keeps frames of its clips and knows how much each counts."""

    inner: Any

    def forward_kept(self, batch: Sequence[Any]) -> tuple[Floats, list[Frames | None]]:
        features, kept = self.inner.forward_kept(batch)
        frames = [one and Frames(one.times, self.projection(one.vectors)) for one in kept]
        return self.projection(features), frames

    def frame_weights(self, clip: Clip) -> Floats:
        return cast(Floats, self.inner.frame_weights(clip))


class Truncated:
    """A space with shorter rows: another space's source, each encoder followed by one projection."""

    def __init__(self, base: Source, projection: Projection, name: str | None = None) -> None:
        self._base = base
        self.projection = projection
        self._built: dict[Modality, Encoder] = {}
        self.name = name or f"{base.name}#{projection.dim}"

    def __getattr__(self, name: str) -> Any:
        """What else the base has to say of itself: its logit bias, its licence ..."""
        if name.startswith("_"):  # also keeps unpickling, which asks before `_base` is there, from recursing
            raise AttributeError(name)
        return getattr(self._base, name)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        return self._base.modalities

    @property
    def logit_scale(self) -> float:
        return self._base.logit_scale

    @property
    def read_options(self) -> ReadOptions:
        return self._base.read_options

    @cached_property
    def bank(self) -> Mapping[str, NDArray[np.floating]] | None:
        bank = self._base.bank
        return None if bank is None else projected_bank(bank, self.projection)

    def build(self, modality: Modality) -> Encoder:
        if modality not in self._built:
            tower = self._base.build(modality).tower
            kind = ProjectedVideoTower if hasattr(tower, "forward_kept") else ProjectedTower
            self._built[modality] = Encoder(modality, kind(tower, self.projection))
        return self._built[modality]

    def save(self, folder: Path) -> None:
        self._base.save(folder)
        path = folder / "config.json"
        config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        config[SECTION] = self.projection.save(folder)
        path.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def truncated(
    base: Source,
    dim: int,
    rows: Mapping[Modality, NDArray[np.floating]] | None = None,
    matryoshka: bool | None = None,
) -> Truncated:
    """A source with rows of `dim` dimensions, as `Space.truncate` explains. Raises SpaceError."""
    if isinstance(base, Truncated):
        raise SpaceError(f"{base.name} is truncated already: truncate the space it was made from.")
    full = base.build("text").dim
    if not 1 <= dim < full:
        raise SpaceError(f"{base.name} can be truncated to 1 to {full - 1} dimensions, not to {dim}.")
    if getattr(base, "matryoshka", False) if matryoshka is None else matryoshka:
        return Truncated(base, Projection.first(full, dim))
    if rows is None and base.bank is not None:
        corpus = {name: np.asarray(base.bank[name]) for name in MODALITIES if name in base.bank}
        named = {str(name): values for name, values in corpus.items()}
        return Truncated(base, Projection.fitted(corpus, dim, tensors_hash(named)))
    if rows is None:
        raise SpaceError(
            f"{base.name} ships no rows to find its main directions in: in Python, give some hundreds of each"
            f' modality, as in space.truncate({dim}, rows={{"image": space.embed(pictures)}}), and save it.'
        )
    texts = base.build("text").encode(everyday())
    for name, values in rows.items():
        if np.ndim(values) != 2 or np.shape(values)[1] != full:
            raise SpaceError(f"The {name} rows must be of shape (n, {full}), not {np.shape(values)}.")
    return Truncated(base, Projection.fitted({"text": texts, **rows}, dim))


def saved(folder: Path, base: Source, about: Mapping[str, Any]) -> Truncated:
    """The source that `Truncated.save` wrote: `base` is the folder's own, `about` its config's section."""
    return Truncated(base, Projection.load(folder, about), name=base.name)


def projected_bank(
    bank: Mapping[str, NDArray[np.floating]], projection: Projection
) -> dict[str, NDArray[np.floating]]:
    """Generic queries by modality, and mean rows as "centre.image"..., in the shorter space.

    A mean of unit rows is no unit row: it is scaled as the rows it stands for are, by the mean length of
    the modality's queries after projection.
    """
    made: dict[str, NDArray[np.floating]] = {}
    for name, values in bank.items():
        values = np.asarray(values, np.float32)
        if name.startswith(CENTRE):
            of = bank.get(name[len(CENTRE) :])
            lengths = 1.0 if of is None else np.linalg.norm(unit(of) @ projection.matrix, axis=1).mean()
            made[name] = values @ projection.matrix / np.float32(lengths)
        else:
            made[name] = projection(values)
    return made
