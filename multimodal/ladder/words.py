"""Texts as words, and how often each occurs."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import QueryError

# scripts without blanks between words are taken letter by letter: kana, Han, Hangul
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+(?:['’][^\W\d_]+)*"
)


def words_of(text: str) -> list[str]:
    """The words of a text in their order: without case, compatibility forms folded (NFKC).

    >>> words_of("The cow's 2 calves.")
    ['the', "cow's", '2', 'calves']
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


@dataclass(frozen=True)
class Counts:
    """Words of n texts, the most frequent first (then by the alphabet); in how many texts each occurs."""

    words: tuple[str, ...]
    occurrences: NDArray[np.int64]
    documents: NDArray[np.int64]
    texts: int

    @classmethod
    def of(cls, texts: Iterable[Sequence[str]], least: int = 1, most: int | None = None) -> Counts:
        """Of texts as words; words seen fewer than `least` times, or beyond the `most` frequent, are left
        out. Raises QueryError where none are left."""
        occurrences: Counter[str] = Counter()
        documents: Counter[str] = Counter()
        count = 0
        for words in texts:
            occurrences.update(words)
            documents.update(set(words))
            count += 1
        kept = sorted(
            (word for word, n in occurrences.items() if n >= least), key=lambda w: (-occurrences[w], w)
        )
        kept = kept[:most]
        if not kept:
            raise QueryError(f"The texts hold no word that occurs at least {least} times.")
        return cls(
            tuple(kept),
            np.array([occurrences[word] for word in kept], np.int64),
            np.array([documents[word] for word in kept], np.int64),
            count,
        )

    def aligned(self, words: Sequence[str]) -> Counts:
        """The same counts for other words (0 where the texts have none)."""
        places = {word: place for place, word in enumerate(self.words)}
        order = np.array([places.get(word, -1) for word in words])
        occurrences = np.where(order >= 0, self.occurrences[order], 0)
        return Counts(tuple(words), occurrences, np.where(order >= 0, self.documents[order], 0), self.texts)

    def idf(self) -> NDArray[np.float32]:
        """Smooth inverse document frequency (V,): ln((1 + n) / (1 + df)) + 1, as scikit-learn has it."""
        return (np.log((1 + self.texts) / (1 + self.documents)) + 1).astype(np.float32)

    def sif(self, a: float = 1e-3) -> NDArray[np.float32]:
        """Smooth inverse frequency (V,): a / (a + p(word)), Arora et al. 2017, A simple but tough-to-beat
        baseline for sentence embeddings."""
        return (a / (a + self.occurrences / max(int(self.occurrences.sum()), 1))).astype(np.float32)
