"""Generic queries of a space, for judging what a search finds: shipped with it, or made for it once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from multimodal.library.vectors import Matrix
from multimodal.phrases import everyday
from multimodal.space import Space
from multimodal.towers.base import tensors_hash
from multimodal.types import MODALITIES, Modality

Floats: TypeAlias = NDArray[np.float32]
Kind: TypeAlias = "Modality | None"
"""The modality of a query; None for terms of several, which are taken from their centres already."""

PROBES = 256
"""Phrases that are compared with every row; the order of hits is the same with all 935."""
GENERIC = 320
"""Phrases that are embedded for a space without a bank: 10 s of a ViT-B/32's text tower on two cores."""
FEW = 200
"""Rows of a modality below which it has no centre worth the name."""
EACH = 1024
"""Rows that stand for a modality of a library, evenly taken."""
OUTGROWN = 4
"""A bank made from a library is made anew when a modality has grown so many times."""
CENTRE = "centre."


@dataclass(frozen=True, eq=False)
class Bank:
    """Generic queries, unit rows (n, dim) by modality, and the mean row (dim,) of each modality.

    A space without its own makes one by `measured`. What has no centre is compared as it is.
    """

    queries: Mapping[Modality, Floats]
    centres: Mapping[Modality, Floats]

    @classmethod
    def of(cls, held: Mapping[str, NDArray[np.floating]]) -> Bank:
        """From arrays by name: "text", "image"... for queries, "centre.text"... for mean rows."""
        rows = {name: np.asarray(values, np.float32) for name, values in held.items()}
        queries = {name: unit_rows(values) for name, values in rows.items() if name in MODALITIES}
        centres = {name[len(CENTRE) :]: values for name, values in rows.items() if name.startswith(CENTRE)}
        return cls(cast(Mapping[Modality, Floats], queries), cast(Mapping[Modality, Floats], centres))

    @classmethod
    def load(cls, path: Path) -> Bank:
        """Read what `recipes.bank` wrote. Raises OSError, ValueError."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return cls.of(load_file(str(path)))
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged: {error}") from error

    @classmethod
    def measured(cls, phrases: Floats, rows: Mapping[Modality, NDArray[np.floating]]) -> Bank:
        """Of a space that ships none: vectors of phrases (n, dim), and samples of a library's rows.

        Rows of other modalities than text serve as generic queries of theirs. Give some hundreds of each:
        a few rows have no centre of their modality.
        """
        rows = {modality: np.asarray(values, np.float32) for modality, values in rows.items()}
        centres = {modality: values.mean(axis=0) for modality, values in rows.items()}
        return cls({**rows, "text": phrases}, centres)

    def arrays(self) -> dict[str, Floats]:
        """What `of` takes."""
        centres = {f"{CENTRE}{name}": values for name, values in self.centres.items()}
        return {**{str(name): values for name, values in self.queries.items()}, **centres}

    @cached_property
    def id(self) -> str:
        """Changes with any value."""
        return tensors_hash(self.arrays())

    def centre(self, modality: Modality) -> Floats | None:
        """The mean vector (dim,) of *queries* of a modality: what a term of a query is taken from."""
        return self.queries["text"].mean(axis=0) if modality == "text" else self.centres.get(modality)

    def seen(self, kind: Kind, query: Floats) -> Floats:
        """A query's unit vector (dim,) as it is compared; nearest rows are looked for with it."""
        centre = None if kind is None or kind == "text" else self.centre(kind)
        return query if centre is None else unit_rows(query - centre)

    def compared(self, kind: Kind, modality: Modality, rows: NDArray[np.floating]) -> Floats:
        """Rows (n, dim) as queries of a kind are compared with them: unit rows, from their centre or not."""
        rows = np.asarray(rows, np.float32)
        centred = (
            kind != "text" and modality in self.centres and (kind is None or self.centre(kind) is not None)
        )
        return unit_rows(rows - self.centres[modality] if centred else rows)

    def probes(self, kind: Kind) -> Floats:
        """At most 256 generic queries (p, dim) of a kind, as `seen`; phrases stand in for a missing kind."""
        if kind == "text":
            return _spread(self.queries["text"], PROBES)
        if kind is None or kind not in self.queries:
            phrases = _spread(self.queries["text"], PROBES)
            return unit_rows(phrases - self.queries["text"].mean(axis=0)) if self.centres else phrases
        centre = self.centre(kind)
        rows = _spread(self.queries[kind], PROBES)
        return rows if centre is None else unit_rows(rows - centre)


def bank_of(space: Space, matrices: Mapping[Modality, Matrix], file: Path) -> Bank:
    """The bank that a space ships; else the one kept in `file`, made where it is missing, of another space,
    or outgrown by the library's `matrices`. What cannot be kept is made for this once."""
    shipped = space.bank
    if shipped is not None:
        return Bank.of(shipped)
    sizes = {name: len(matrix) for name, matrix in matrices.items() if len(matrix) >= FEW}
    with suppress(KeyError):
        held = read_arrays(file)
        same = text_of(held.pop("space")) == space.space_id
        counted = dict(zip(MODALITIES, held.pop("rows").tolist(), strict=True))
        if same and all(size <= OUTGROWN * counted[name] for name, size in sizes.items()):
            return Bank.of(held)
    bank = Bank.measured(
        space.embed([*_spread(np.array(everyday()), GENERIC)]),
        {name: _spread(matrices[name].vectors, EACH) for name in sizes},
    )
    made = {name: values.astype(np.float16) for name, values in bank.arrays().items()}
    rows = np.array([sizes.get(name, FEW) for name in MODALITIES])
    write_arrays(file, {**made, "space": as_array(space.space_id), "rows": rows})
    return Bank.of(made)


def write_arrays(file: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Put arrays into a safetensors file, whole or not at all; nothing happens where the folder cannot be
    written."""
    from safetensors.numpy import save

    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    with suppress(OSError):
        try:
            temporary.write_bytes(save(dict(arrays)))
            os.replace(temporary, file)
        finally:
            temporary.unlink(missing_ok=True)


def read_arrays(file: Path) -> dict[str, NDArray[Any]]:
    """What `write_arrays` wrote; nothing where it is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(file.read_bytes())
    except (OSError, SafetensorError):
        return {}


def as_array(text: str) -> NDArray[np.uint8]:
    """A text among arrays."""
    return np.frombuffer(text.encode(), np.uint8)


def text_of(array: NDArray[np.uint8]) -> str:
    """The text that `as_array` was given."""
    return array.tobytes().decode()


def _spread(rows: NDArray[Any], most: int) -> NDArray[Any]:
    """At most `most` rows, evenly spread."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64))]


def unit_rows(rows: Floats) -> Floats:
    """Rows (..., dim) scaled to length 1, in their own precision."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), np.float32(1e-12))
