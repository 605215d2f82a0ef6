"""What a rung computes with: weighted sums over words, or the text tower of a space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from multimodal.ladder.grams import Grams
from multimodal.ladder.words import words_of
from multimodal.towers.base import identity, tensors_hash, unit

if TYPE_CHECKING:
    from multimodal.sources import Source
    from multimodal.space import Space

Floats = NDArray[np.float32]


class Model(Protocol):
    """Texts to features. `words` are what it knows, the most frequent first."""

    @property
    def words(self) -> Sequence[str]: ...
    @property
    def dim(self) -> int: ...
    @property
    def id(self) -> str:
        """Changes whenever a text could give another feature."""

    @property
    def size(self) -> int:
        """Bytes of its tensors and words."""

    def features(self, texts: Sequence[str]) -> Floats:
        """Unit rows (n, dim); zeros for a text without a known word."""

    def knows(self, word: str) -> bool: ...
    def word_rows(self, words: Sequence[str]) -> Floats:
        """Unit rows (n, dim) of single words; zeros for what it does not know."""


@dataclass(frozen=True, eq=False)
class WordSum:
    """The weighted sum of a text's words, scaled to length 1.

    `weights` (V,) is what one occurrence counts; with `once`, further ones count nothing. A word's row is
    that of `table` (V, dim), or an axis of its own where there is none. Directions `common` (c, dim), unit
    rows, are taken out of the sum. `grams` give rows to words that are not in `words`; such a word weighs
    as the rarest.
    """

    words: tuple[str, ...]
    weights: Floats
    once: bool = False
    table: Floats | None = None
    common: Floats | None = None
    grams: Grams | None = None

    @property
    def dim(self) -> int:
        return len(self.words) if self.table is None else int(self.table.shape[1])

    @cached_property
    def id(self) -> str:
        return identity("sum", {"once": self.once}, "\n".join(self.words), tensors_hash(self.tensors()))

    @property
    def size(self) -> int:
        tensors = sum(values.nbytes for values in self.tensors().values())
        return tensors + sum(len(word.encode("utf-8")) + 1 for word in self.words)

    @cached_property
    def places(self) -> dict[str, int]:
        """Where each word stands in `words`."""
        return {word: place for place, word in enumerate(self.words)}

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Everything but the words, by name."""
        found: dict[str, NDArray[Any]] = {"weights": self.weights}
        if self.table is not None:
            found["table"] = self.table
        if self.common is not None:
            found["common"] = self.common
        if self.grams is not None:
            shape = [self.grams.shortest, self.grams.longest, self.grams.count]
            found |= {"grams.buckets": self.grams.buckets, "grams.vectors": self.grams.vectors}
            found["grams.shape"] = np.array(shape, np.int64)
        return found

    @classmethod
    def of_tensors(cls, words: Sequence[str], once: bool, tensors: Mapping[str, NDArray[Any]]) -> WordSum:
        """What `tensors` gave. Raises KeyError."""
        grams = None
        if "grams.buckets" in tensors:
            shape = [int(value) for value in tensors["grams.shape"]]
            grams = Grams(tensors["grams.buckets"], tensors["grams.vectors"], *shape)
        return cls(tuple(words), tensors["weights"], once, tensors.get("table"), tensors.get("common"), grams)

    def knows(self, word: str) -> bool:
        return word in self.places

    def counted(self, text: str) -> tuple[NDArray[np.int64], Floats, list[str]]:
        """Places (k,) of a text's known words, ascending, their weights (k,), and the unknown ones."""
        counts: Counter[int] = Counter()
        strangers = []
        for word in words_of(text):
            place = self.places.get(word)
            if place is None:
                strangers.append(word)
            else:
                counts[place] += 1
        places = np.array(sorted(counts), np.int64)
        times = np.array([1 if self.once else counts[place] for place in places], np.float32)
        return places, times * self.weights[places], strangers

    def features(self, texts: Sequence[str]) -> Floats:
        rows = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            places, weights, strangers = self.counted(text)
            if self.table is None:
                row[places] = weights
            else:
                row += weights @ self.table[places]
                row += self._strange(strangers)
        return unit(self.without_common(rows))

    def sparse(self, texts: Sequence[str]) -> Any:
        """`features` of a bag as a scipy.sparse matrix (n, V)."""
        from scipy.sparse import csr_matrix

        counted = [self.counted(text)[:2] for text in texts]
        ends = np.cumsum([0, *(len(places) for places, _ in counted)])
        values = np.concatenate([np.zeros(0, np.float32), *(unit(weights) for _, weights in counted)])
        columns = np.concatenate([np.zeros(0, np.int64), *(places for places, _ in counted)])
        return csr_matrix((values, columns, ends), shape=(len(texts), self.dim))

    def without_common(self, rows: Floats) -> Floats:
        """Rows (n, dim) less their part in the common directions."""
        return rows if self.common is None else rows - rows @ self.common.T @ self.common

    def _strange(self, words: Sequence[str]) -> Floats:
        """The weighted sum (dim,) of words known by their n-grams only."""
        total = np.zeros(self.dim, np.float32)
        for word in words if self.grams is not None else ():
            vector = self.grams.vector(word)  # type: ignore[union-attr]
            if vector is not None:
                total += self.weights.max() * vector
        return total

    def projected(self, texts: Sequence[str], matrix: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """`features(texts) @ matrix` (n, d), and which texts (n,) had a known word.

        A bag's few words are looked up: its rows (n, V) are never made.
        """
        if self.table is not None:
            rows = self.features(texts)
            return rows @ matrix, np.any(rows != 0, axis=1)
        found = np.zeros((len(texts), matrix.shape[1]), np.float32)
        known = np.zeros(len(texts), bool)
        for number, text in enumerate(texts):
            places, weights, _ = self.counted(text)
            if len(places):
                found[number] = unit(weights) @ matrix[places]
                known[number] = True
        return found, known

    def word_rows(self, words: Sequence[str]) -> Floats:
        rows = np.zeros((len(words), self.dim), np.float32)
        for row, word in zip(rows, words, strict=True):
            place = self.places.get(word)
            if place is not None and self.table is None:
                row[place] = 1
            elif place is not None and self.table is not None:
                row += self.table[place]
            else:
                row += self._strange([word])
        return unit(rows)


class Sentences:
    """The text tower of a space: a transformer over sub-words. `words` are those of some texts."""

    def __init__(self, space: Space | Source, words: Sequence[str]) -> None:
        self.source = cast("Source", getattr(space, "_source", space))
        self.words = tuple(words)
        self.encoder = self.source.build("text")
        self.dim = self.encoder.dim
        self.id = identity("sentences", self.encoder.encoder_id)

    @property
    def size(self) -> int:
        tower: Any = self.encoder.tower
        if hasattr(tower, "inner"):
            tower = tower.inner
        weights = getattr(getattr(tower, "_weights", None), "tensors", None)
        if weights is not None:
            return sum(int(values.nbytes) for values in weights.values())
        model = getattr(tower, "_model", None)
        parameters = model.named_parameters() if model is not None else ()
        seen = (values for name, values in parameters if not name.startswith("visual"))
        return sum(int(values.numel() * values.element_size()) for values in seen)

    def features(self, texts: Sequence[str]) -> Floats:
        return self.encoder.encode(texts)

    def knows(self, word: str) -> bool:
        """Whether sub-words can spell it."""
        pieces = getattr(self.encoder.tower.preprocess, "pieces", None)
        return pieces is None or not {"[UNK]", "<unk>"} & set(pieces(word)[0])

    def word_rows(self, words: Sequence[str]) -> Floats:
        return self.encoder.encode(words)
