"""A rung: an embedding of texts that knows its words, and a way into a space."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import QueryError, SpaceError
from multimodal.ladder.models import Model, Sentences, WordSum
from multimodal.ladder.words import words_of
from multimodal.pairs import Pairs
from multimodal.towers.base import identity
from multimodal.types import Item

if TYPE_CHECKING:
    from multimodal.sources import Source
    from multimodal.space import Space

Floats = NDArray[np.float32]

VERSION = 1
"""Raise when a saved rung would give other rows."""
ABOUT = "rung.json"
TENSORS = "rung.safetensors"
SPACE = "space"


class Rung:
    """A fitted embedding of texts: unit rows (n, dim), float32."""

    def __init__(self, name: str, model: Model) -> None:
        self.name = name
        self.model = model

    @property
    def dim(self) -> int:
        """Numbers of a row: for `onehot` and `tfidf` one for each word, of which few are not 0."""
        return self.model.dim

    @property
    def words(self) -> Sequence[str]:
        """The words it was fitted on, the most frequent first."""
        return self.model.words

    @property
    def size(self) -> int:
        """Bytes of what it keeps in memory: tensors and words."""
        return self.model.size

    @cached_property
    def rung_id(self) -> str:
        """Changes whenever a text could give another row."""
        return identity("rung", {"version": VERSION}, self.model.id)

    def __repr__(self) -> str:
        return f"Rung({self.name!r}, {len(self.words)} words, dim={self.dim})"

    def embed(self, texts: str | Sequence[str]) -> Floats:
        """Unit rows (n, dim) of texts; zeros for a text without a known word."""
        given = [texts] if isinstance(texts, str) else list(texts)
        return self.model.features(given)

    def similarity(self, a: str | Sequence[str], b: str | Sequence[str]) -> Floats:
        """Cosines (n, m) of texts with texts."""
        return self.embed(a) @ self.embed(b).T

    def out_of_vocabulary(self, texts: Sequence[str]) -> list[list[str]]:
        """The words of each text that fitting never saw, in their order.

        FastText embeds them by their n-grams all the same; a transformer spells them in sub-words, so that
        only letters it does not know count.
        """
        return [[word for word in words_of(text) if not self.model.knows(word)] for text in texts]

    def nearest(self, word: str, k: int = 10) -> list[tuple[str, float]]:
        """The k words with the largest cosine, best first; the word itself left out. Raises QueryError for a
        word without a vector. In `onehot` and `tfidf` all words are equally far."""
        return self._near(self._row(word), {word}, k)

    def analogy(self, a: str, b: str, c: str, k: int = 10) -> list[tuple[str, float]]:
        """What is to `c` as `b` is to `a`: the k words nearest to b - a + c (Mikolov et al. 2013), the three
        left out. Raises QueryError for a word without a vector."""
        return self._near(self._row(b) - self._row(a) + self._row(c), {a, b, c}, k)

    def into(self, space: Space, pairs: Pairs | Sequence[str] | Sequence[tuple[Item, Item]]) -> Space:
        """A space whose texts are embedded by this rung, through a head fitted on pairs; all else is as in
        `space`, which stays as it is.

        A pair is a text and what belongs to it, either way round: the head learns to give the space's
        vector of the latter. Texts alone are paired with the space's own vectors of them. The head is a
        ridge regression (`multimodal.ladder.head`). Save the space to load it again. Raises QueryError for
        pairs without a text, or fewer than 3 of them; ReadError.
        """
        from multimodal.ladder.source import into

        return into(self, space, pairs)

    def save(self, folder: str | Path) -> Path:
        """Write rung.json and rung.safetensors to a folder, made where it is missing. Raises SpaceError."""
        target = Path(folder)
        try:
            target.mkdir(parents=True, exist_ok=True)
            about: dict[str, Any] = {"format": VERSION, "name": self.name, "words": list(self.words)}
            if isinstance(self.model, WordSum):
                from safetensors.numpy import save_file

                about |= {"kind": "words", "once": self.model.once}
                tensors = {name: np.ascontiguousarray(one) for name, one in self.model.tensors().items()}
                save_file(tensors, str(target / TENSORS))
                (target / TENSORS).chmod(0o644)  # safetensors writes files that only their owner reads
            elif isinstance(self.model, Sentences):
                about |= {"kind": "space", "space": self.model.source.name}
                if self.model.source.name != "starter":  # which every installation has
                    self.model.source.save(target / SPACE)
            (target / ABOUT).write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
        except OSError as error:
            raise SpaceError(f"The rung cannot be written to {target}: {error}.") from error
        return target

    def _row(self, word: str) -> Floats:
        place = self._places.get(word)
        bag = isinstance(self.model, WordSum) and self.model.table is None
        row = self.model.word_rows([word])[0] if bag or place is None else self._rows[place]
        if not row.any():
            raise QueryError(f"The rung {self.name} has no vector of {word!r}.")
        return row

    @cached_property
    def _places(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words)}

    @cached_property
    def _rows(self) -> Floats:
        return self.model.word_rows(self.words)

    def _near(self, row: Floats, without: set[str], k: int) -> list[tuple[str, float]]:
        row = row / max(float(np.linalg.norm(row)), 1e-12)
        bag = isinstance(self.model, WordSum) and self.model.table is None
        cosines = row if bag else self._rows @ row  # in a bag each word is an axis
        order = np.argsort(-cosines, kind="stable")[: k + len(without)]
        kept = [
            (self.words[place], float(cosines[place])) for place in order if self.words[place] not in without
        ]
        return kept[:k]


def load(folder: str | Path, spaces: Callable[[str], Space | Source] | None = None) -> Rung:
    """What `Rung.save` wrote. `spaces` loads the space of a transformer: give `load_space`.

    Raises SpaceError."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    source = Path(folder)
    try:
        about: Mapping[str, Any] = json.loads((source / ABOUT).read_text(encoding="utf-8"))
        if about["format"] != VERSION:
            raise SpaceError(f"The rung in {source} is of another version ({about['format']}).")
        if about["kind"] == "words":
            tensors = load_file(str(source / TENSORS))
            return Rung(about["name"], WordSum.of_tensors(about["words"], bool(about["once"]), tensors))
        if spaces is None:
            raise SpaceError(f"The rung in {source} is the text tower of a space: give spaces=load_space.")
        inside = source / SPACE
        return Rung(
            about["name"],
            Sentences(spaces(str(inside if inside.is_dir() else about["space"])), about["words"]),
        )
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise SpaceError(f"{source} cannot be read as a rung: {error!r}.") from error
