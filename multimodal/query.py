"""What is looked for: terms of any modality, added, taken away and weighed.

    >>> space.query("beach") + Path("dog.jpg") - "people" + 2 * space.query("sunset")

Vectors of different modalities lie in different parts of a shared space (the modality gap of Liang et al.
2022, Mind the Gap), so that a plain sum of a sentence and a photo is mostly about where each kind lies. Each
term is therefore taken from the centre of its modality before it is weighed. The arithmetic is that of word
vectors (Mikolov et al. 2013); the notation on the command line is rclip's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import QueryError
from multimodal.types import Item, Modality

Vector = NDArray[np.float32]

LEAST = 1e-6
"""A sum shorter than this has no direction: its terms cancel."""


@dataclass(frozen=True, eq=False)
class Embedded:
    """A query that has a vector already: a unit row (dim,) of the library's space. One that is `moved` points
    from the centre of its modality already, as a direction that was learned does."""

    modality: Modality
    vector: Vector
    moved: bool = False


@dataclass(frozen=True, eq=False)
class Term:
    """One part of a query. `at` are seconds in a file: its moment there, not the mean of the whole."""

    item: Item | Embedded
    weight: float = 1.0
    at: float | None = None


@dataclass(frozen=True, eq=False)
class Query:
    """A sum of terms. `+` and `-` take another query or an item; a number times a query weighs it."""

    terms: tuple[Term, ...]

    @classmethod
    def of(cls, item: Query | Item | Embedded, at: float | None = None) -> Query:
        """A query of one item; a query is itself. Raises QueryError for a moment of what is no file."""
        if isinstance(item, Query):
            return item
        if at is not None and not isinstance(item, Path):
            raise QueryError("Only a file has moments: give a Path with `at`.")
        return cls((Term(item, 1.0, at),))

    def __add__(self, other: Query | Item) -> Query:
        return Query(self.terms + Query.of(other).terms)

    def __radd__(self, other: Item) -> Query:
        return Query.of(other) + self

    def __sub__(self, other: Query | Item) -> Query:
        return self + -Query.of(other)

    def __rsub__(self, other: Item) -> Query:
        return Query.of(other) - self

    def __neg__(self) -> Query:
        return self * -1.0

    def __mul__(self, weight: float) -> Query:
        return Query(tuple(replace(term, weight=term.weight * float(weight)) for term in self.terms))

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return f"Query({' '.join(_shown(term) for term in self.terms)})"

    @property
    def words(self) -> str:
        """The texts that are looked for, not those turned away from, in one line."""
        wanted = (term.item for term in self.terms if term.weight > 0)
        return " ".join(item for item in wanted if isinstance(item, str))


def combined(
    query: Query,
    embed: Callable[[Term], tuple[Modality, Vector]],
    centre: Callable[[Modality], Vector | None],
) -> tuple[Modality | None, Vector]:
    """The unit vector (dim,) of a query, and its modality, None for any but a single term.

    `embed` gives the modality and unit vector of a term, `centre` the mean vector of a modality, None where
    it is not known. A single term wanted for itself is its own vector, whatever its weight. Raises
    QueryError for a query without terms, and for terms that cancel each other.
    """
    if not query.terms:
        raise QueryError("The query is empty.")
    found = [(term.weight, *embed(term)) for term in query.terms]
    if len(found) == 1 and found[0][0] > 0:
        return found[0][1], found[0][2]
    total = np.zeros(len(found[0][2]), np.float64)
    for term, (weight, modality, vector) in zip(query.terms, found, strict=True):
        moved_already = isinstance(term.item, Embedded) and term.item.moved
        mean = None if moved_already else centre(modality)
        moved = vector if mean is None else vector - mean
        total += weight * moved / max(float(np.linalg.norm(moved)), LEAST)
    length = float(np.linalg.norm(total))
    if length < LEAST * sum(abs(weight) for weight, _, _ in found) or length == 0.0:
        raise QueryError("The terms of the query cancel each other.")
    # Moved off the centre, not even a sum of texts scores as a text does.
    return None, (total / length).astype(np.float32)


_WEIGHED = re.compile(r"(\d+(?:\.\d+)?):(?=\S)(.+)", re.DOTALL)


def parsed(words: Sequence[str], item: Callable[[str], Item]) -> Query:
    """A query from the words of a command line: `beach +dog.jpg -people 2:sunset`.

    `item` decides whether a word is a text or a file. A word without a sign counts as one with `+`, and
    the only word of a query is taken as it is ("3:10 to Yuma"). Raises QueryError.
    """
    if len(words) == 1 and not words[0].startswith(("+", "-")):
        return Query.of(item(words[0]))
    terms = []
    for word in words:
        sign = -1.0 if word.startswith("-") else 1.0
        rest = word[1:] if word.startswith(("+", "-")) else word
        weighed = _WEIGHED.fullmatch(rest)
        weight, rest = (float(weighed[1]), weighed[2]) if weighed else (1.0, rest)
        if not rest.strip():
            raise QueryError(f"The term {word!r} of the query is empty.")
        terms.append(Term(item(rest), sign * weight))
    return Query(tuple(terms))


def _shown(term: Term) -> str:
    sign = "-" if term.weight < 0 else "+"
    weight = "" if abs(term.weight) == 1 else f"{abs(term.weight):g}:"
    item = term.item
    name = (
        repr(item) if isinstance(item, str) else str(item) if isinstance(item, Path) else type(item).__name__
    )
    return f"{sign}{weight}{name}{'' if term.at is None else f'@{term.at:g}'}"
