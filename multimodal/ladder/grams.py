"""FastText's sub-words (Bojanowski et al. 2017): a word that was never seen is the mean of its n-grams."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Grams:
    """Vectors (m, dim) of those n-gram buckets (m,), ascending, that training has seen.

    An n-gram in no such bucket is passed over: its vector is what it was drawn as, noise.
    """

    buckets: NDArray[np.int64]
    vectors: Floats
    shortest: int
    longest: int
    count: int
    """How many buckets the n-grams are hashed into."""

    def vector(self, word: str) -> Floats | None:
        """The mean (dim,) of a word's n-grams; None where it has none that are known."""
        hashes = np.array(ngram_buckets(word, self.shortest, self.longest, self.count), np.int64)
        if not len(hashes):
            return None
        places = np.minimum(np.searchsorted(self.buckets, hashes), len(self.buckets) - 1)
        known = places[self.buckets[places] == hashes]
        return self.vectors[known].mean(axis=0) if len(known) else None


def ngram_buckets(word: str, shortest: int, longest: int, count: int) -> list[int]:
    """The buckets of a word's n-grams, its boundaries marked "<" and ">": FNV-1a over UTF-8, modulo `count`.

    Bytes are taken as signed, as the reference implementation does, whose files are read with this.
    """
    marked = f"<{word}>"
    found = []
    for begin in range(len(marked)):
        for end in range(begin + shortest, min(begin + longest, len(marked)) + 1):
            at_boundary = begin == 0 or end == len(marked)
            if not (end - begin == 1 and at_boundary):
                found.append(_fnv(marked[begin:end].encode("utf-8")) % count)
    return found


def _fnv(data: bytes) -> int:
    value = 2166136261
    for byte in data:
        value ^= byte if byte < 128 else byte | 0xFFFFFF00
        value = (value * 16777619) & 0xFFFFFFFF
    return value
