"""Captions for a new item out of a bank of sentences: the best that are unlike each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import NoMediaFile, QueryError, ReadError
from multimodal.matching import phrases, ranked
from multimodal.space import Space
from multimodal.towers.base import unit
from multimodal.types import Match, Modality, Vectors

if TYPE_CHECKING:
    from multimodal.library.library import Library

BankOf: TypeAlias = "Sequence[str] | str | Path | Literal['library'] | None"
LONGEST = 200
"""Characters of a text of the library that may serve as a caption."""
NEAR = 50
"""Captions, the nearest, among which the varied ones are chosen."""
VARIETY = 0.5
"""Weight of unlikeness against fitness in the choice (1 - lambda of Carbonell and Goldstein)."""


@dataclass(frozen=True)
class Captions:
    """What fits an item, or its stretch from `start` to `end` seconds, best first."""

    matches: tuple[Match, ...]
    start: float | None = None
    end: float | None = None

    def __str__(self) -> str:
        when = "" if self.start is None else f"{self.start:g}-{self.end:g} s: "
        return when + "; ".join(match.caption for match in self.matches)


class CaptionBank:
    """Sentences with their vectors in a space, for many items."""

    def __init__(self, space: Space, sentences: Sequence[str], rows: Vectors | None = None) -> None:
        if not len(sentences):
            raise QueryError("The bank of captions is empty.")
        self.space = space
        self.sentences = list(sentences)
        self.rows = space.embed(self.sentences) if rows is None else rows

    @classmethod
    def of(cls, bank: BankOf, space: Space, library: Library | None = None) -> CaptionBank:
        """Sentences given, those of a file (one a line), of the library's own texts and captions
        ("library"), or of the bundled everyday phrases (None). Raises NoMediaFile, QueryError."""
        if bank == "library":
            if library is None:
                raise QueryError("The texts of a library can only serve where there is one.")
            return cls(space, *_texts(library))
        if bank is None:
            return cls(space, *phrases(space))
        if isinstance(bank, (str, Path)):
            return cls(space, read_captions(Path(bank)))
        return cls(space, list(dict.fromkeys(bank)))

    def of_row(self, row: NDArray[np.floating], k: int, modality: Modality) -> tuple[Match, ...]:
        """The captions of a unit row (dim,) of a modality: `k` by maximal marginal relevance (Carbonell and
        Goldstein 1998) among the nearest. Their probabilities are over the whole bank."""
        cosines = self.rows @ np.asarray(row, np.float32)
        by_caption = {one.caption: one for one in ranked(self.space, cosines, self.sentences, modality)}
        near = np.argsort(-cosines, kind="stable")[:NEAR]
        likeness = self.rows[near] @ self.rows[near].T
        fit = _spread(cosines[near])
        chosen: list[int] = []
        while len(chosen) < min(k, len(near)):
            known = likeness[:, chosen].max(axis=1) if chosen else np.zeros(len(near))
            value = (1 - VARIETY) * fit - VARIETY * known
            value[chosen] = -np.inf
            chosen.append(int(value.argmax()))
        return tuple(by_caption[self.sentences[int(near[place])]] for place in chosen)


def caption(space: Space, path: str | Path, bank: CaptionBank, k: int = 3) -> list[Captions]:
    """The captions of a file: one entry, or one for each stretch of a video or sound that has the same best
    caption. Silence and black have none. Raises ReadError, NoEncoder."""
    if k < 1:
        raise QueryError(f"k is the number of captions, at least 1, not {k}.")
    parts: list[tuple[Modality, float | None, float | None, NDArray[np.float32]]] = []
    for segment in space.read(path):
        if segment.role == "content" and (not parts or segment.modality == parts[0][0]):
            parts.append((segment.modality, segment.start, segment.end, space.embed(segment)[0]))
    if not parts:
        raise ReadError(f"{path} holds nothing to embed")
    if parts[0][1] is None:
        mean = unit(np.stack([row for *_, row in parts]).mean(axis=0))
        return [Captions(bank.of_row(mean, k, parts[0][0]))]
    found: list[Captions] = []
    for modality, start, end, row in parts:
        matches = bank.of_row(row, k, modality)
        last = found[-1] if found else None
        if last is not None and last.matches[0].caption == matches[0].caption and last.end == start:
            better = max(last.matches, matches, key=lambda some: some[0].cosine)
            found[-1] = Captions(better, last.start, end)
        else:
            found.append(Captions(matches, start, end))
    return found


def _spread(cosines: NDArray[np.floating]) -> NDArray[np.float64]:
    """Cosines (n,) brought to [0, 1]: those with pictures are small beside those among captions."""
    values = np.asarray(cosines, np.float64)
    return (values - values.min()) / max(float(values.max() - values.min()), 1e-9)


def read_captions(path: Path) -> list[str]:
    """The lines of a file, each once. Raises NoMediaFile, QueryError."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        if not path.is_file():
            raise NoMediaFile(f"{path} does not exist or is not a file.") from None
        raise QueryError(f"{path} cannot be read as captions: {error}.") from error
    found = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not found:
        raise QueryError(f"{path} holds no captions.")
    return found


def _texts(library: Library) -> tuple[list[str], Vectors]:
    """Short texts and captions of a library with the rows it has of them."""
    from multimodal.library import tables

    rows, table = tables.embeddings(library, "text")
    texts = [" ".join((text or "").split()) for text in table.column("text").to_pylist()]
    places = {text: place for place, text in enumerate(texts) if 0 < len(text) <= LONGEST}
    if not places:
        raise QueryError(f"The library has no text of at most {LONGEST} characters to caption with.")
    return list(places), unit(np.asarray(rows)[list(places.values())])
