"""Zero-shot labels: what an item is, of a list or a tree of labels, and whether it is any of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import NoMediaFile, QueryError
from multimodal.matching import probabilities
from multimodal.phrases import everyday
from multimodal.templates import TEMPLATES, prompts
from multimodal.towers.base import unit
from multimodal.types import Modality, Segment, Vectors

if TYPE_CHECKING:
    from multimodal.space import Space

Tree: TypeAlias = "Sequence[str] | Mapping[str, Any]"
"""Labels, or labels with those below them: {"animal": ["cat", "dog"], "vehicle": {"car": ["taxi"]}}."""
Names: TypeAlias = tuple[str, ...]

SEPARATOR = ">"
"""Between a label and the one below it, in a line of a file: "animal > dog"."""
NONE = "none of these"
OTHERS = 64
"""Everyday phrases that stand for "none of these", evenly taken from the bundled bank."""


@dataclass(frozen=True)
class Label:
    """A label of an item. `path` leads to it from the top of its tree; `probability` lies in [0, 1], that of
    a label with others below it is their sum. `cosine` is that of its sentences' mean (of the best label
    below, where it has no sentences of its own)."""

    path: Names
    probability: float
    cosine: float

    @property
    def name(self) -> str:
        return self.path[-1]

    def __str__(self) -> str:
        return f"{f' {SEPARATOR} '.join(self.path)} ({self.probability:.2f})"


class Classifier:
    """Labels as rows of a space, for many items. Rows of each modality's sentences are made once."""

    def __init__(
        self,
        space: Space,
        labels: Tree,
        templates: Sequence[str] | Mapping[Modality, Sequence[str]] | None = None,
        none: bool = False,
    ) -> None:
        """`templates` are sentences with "{}" for the label, for all modalities or each; None for
        `templates.TEMPLATES`. With `none` an item may be none of the labels: everyday phrases compete.
        Raises QueryError for labels that are empty or twice the same."""
        self.space, self.none = space, none
        self.leaves = list(leaves(labels))
        if not self.leaves:
            raise QueryError("classify takes at least one label.")
        if len(set(self.leaves)) < len(self.leaves):
            twice = next(path for path in self.leaves if self.leaves.count(path) > 1)
            raise QueryError(f"The label {' > '.join(twice)!r} is there twice.")
        self._templates = templates
        self._rows: dict[Modality, Vectors] = {}

    def rows(self, modality: Modality) -> Vectors:
        """Unit rows (labels, dim): the mean of each label's sentences."""
        if modality not in self._rows:
            given = self._templates
            wanted = given.get(modality, ("{}",)) if isinstance(given, Mapping) else given
            if isinstance(wanted, str):
                wanted = (wanted,)
            asked = [prompts(path[-1], wanted or TEMPLATES[modality]) for path in self.leaves]
            embedded = self.space.embed([sentence for some in asked for sentence in some])
            ends = np.cumsum([len(some) for some in asked])[:-1]
            means = [part.mean(axis=0) for part in np.split(embedded, ends)]
            self._rows[modality] = unit(np.stack(means))
        return self._rows[modality]

    @cached_property
    def _others(self) -> Vectors:
        """Rows of everyday phrases that are no label."""
        lines = everyday()
        places = np.linspace(0, len(lines) - 1, OTHERS).astype(int)
        held = (self.space.bank or {}).get("text")
        if held is not None and len(held) == len(lines):
            rows = unit(np.asarray(held)[places])
        else:
            rows = self.space.embed([lines[place] for place in places])
        alike = (rows @ self.rows("text").T).max(axis=1)
        return rows[alike <= np.quantile(alike, 0.75)]  # "a dog on a lead" is no other of the label "dog"

    def of_row(self, row: NDArray[np.floating], modality: Modality) -> list[Label]:
        """Labels of an item's unit row (dim,), most probable first, those above others with them."""
        cosines, scale = np.asarray(row, np.float32) @ self.rows(modality).T, self.space.scale(modality)
        if self.none:
            others = np.asarray(row, np.float32) @ self._others.T
            rival = float(np.sort(others)[-3:].mean())
            chances = probabilities(self.space, np.append(cosines, rival), scale)
        else:
            rival, chances = 0.0, probabilities(self.space, cosines, scale)
        found: dict[Names, tuple[float, float]] = {}
        for path, chance, cosine in zip(self.leaves, chances, cosines, strict=False):
            for length in range(1, len(path) + 1):
                total, best = found.get(path[:length], (0.0, -1.0))
                found[path[:length]] = total + float(chance), max(best, float(cosine))
        if self.space.logit_bias is not None:  # sigmoids do not add up: one of several is what the best is
            found = {path: (_best_below(path, self.leaves, chances), c) for path, (_, c) in found.items()}
        if self.none:
            found[(NONE,)] = float(chances[-1]), rival
        made = [Label(path, chance, cosine) for path, (chance, cosine) in found.items()]
        return sorted(made, key=lambda label: (-label.probability, len(label.path), -label.cosine))

    def __call__(self, media: Path | Segment) -> list[Label]:
        """Labels of a file or a segment. Raises ReadError, QueryError, NoEncoder."""
        if isinstance(media, Path):
            modality, row = self.space.embed_file(media)
            return self.of_row(row, modality)
        return self.of_row(self.space.embed(media)[0], media.modality)


def leaves(labels: Tree) -> Iterator[Names]:
    """The paths to the labels that have none below. "animal > dog" in a list is a path too.

    Raises QueryError for what is neither text, list nor mapping, and for an empty label.
    """
    if isinstance(labels, str):
        raise QueryError(f"Labels are a list, or a mapping to those below: give [{labels!r}].")
    if isinstance(labels, Mapping):
        for name, below in labels.items():
            under = list(leaves(below)) if below else [()]
            for path in under:
                yield (*_path(name), *path)
        return
    for entry in labels:
        if isinstance(entry, Mapping):
            yield from leaves(entry)
        else:
            yield _path(entry)


def read_labels(path: str | Path) -> list[str]:
    """Labels from a file: one a line, "animal > dog" for one below another; blank lines and those that begin
    with # are passed over. Raises NoMediaFile, QueryError."""
    source = Path(path)
    try:
        lines = source.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        if not source.is_file():
            raise NoMediaFile(f"{source} does not exist or is not a file.") from None
        raise QueryError(f"{source} cannot be read as labels: {error}.") from error
    found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not found:
        raise QueryError(f"{source} holds no labels.")
    return found


def _path(entry: object) -> Names:
    parts = tuple(" ".join(part.split()) for part in str(entry).split(SEPARATOR))
    if not isinstance(entry, str) or not all(parts):
        raise QueryError(f"{entry!r} is no label.")
    return parts


def _best_below(path: Names, paths: Sequence[Names], chances: NDArray[np.float64]) -> float:
    below = (c for p, c in zip(paths, chances, strict=False) if p[: len(path)] == path)
    return float(max(below))
