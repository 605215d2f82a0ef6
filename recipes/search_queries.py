"""Queries that no item of a collection answers: gibberish, and things that are not in it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from recipes.search_collection import CONCRETE, Item, Part, space_of
from recipes.search_concepts import concepts
from recipes.wordnet import nouns

Floats = NDArray[np.float32]
GIBBERISH = 100
ELSEWHERE = 150
FREQUENT = 3
"""How often a common noun occurs in WordNet's tagged texts, at least."""


@lru_cache(maxsize=8)
def _embedded(part: Part, texts: tuple[str, ...]) -> Floats:
    return space_of(part).embed(list(texts))


def embed(part: Part, texts: Sequence[str]) -> dict[str, Floats]:
    """The vector of each text."""
    return dict(zip(texts, _embedded(part, tuple(texts)), strict=True))


_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_SYLLABLES = (
    "bla", "dor", "fip", "gru", "zen", "kov", "mip", "tral", "wug", "snorf", "plim", "qua", "rix", "vel",
    "yob", "jup", "nax", "the", "sk", "oo",
)  # fmt: skip


def gibberish(part: Part) -> list[str]:
    """100 strings that mean nothing, of five kinds, others for each part."""
    rng = random.Random(f"gibberish {part}")
    found: dict[str, None] = {}
    while len(found) < GIBBERISH:
        kind = len(found) % 5
        if kind == 0:  # consonants
            text = "".join(rng.choice("bcdfghjklmnpqrstvwxz") for _ in range(rng.randint(4, 9)))
        elif kind == 1:  # fingers on the keyboard
            row = rng.choice(_KEYS)
            text = row[rng.randint(0, 3) :] + " " + "".join(rng.choice(row) for _ in range(5))
        elif kind == 2:  # what could be a word
            words = range(rng.randint(1, 2))
            text = " ".join("".join(rng.choice(_SYLLABLES) for _ in range(rng.randint(2, 3))) for _ in words)
        elif kind == 3:  # a password
            letters = "abcdefghijklmnopqrstuvwxyz0123456789#-_"
            text = "".join(rng.choice(letters) for _ in range(rng.randint(5, 12)))
        else:  # the letters of a word, shuffled
            word = rng.choice(concepts()).query.replace(" ", "")
            text = "".join(rng.sample(word, len(word)))
        found.setdefault(text.strip())
    return list(found)


def other_nouns(part: Part, items: Sequence[Item]) -> list[str]:
    """150 common concrete nouns that no item mentions, nor a kind of them, nor what they are a kind of."""
    counts: dict[str, int] = {}
    for line in (nouns().folder / "cntlist.rev").read_text(encoding="utf-8").splitlines():
        key, sense, count = line.split()
        word, _, rest = key.partition("%")
        if rest.startswith("1") and sense == "1":
            counts[word.replace("_", " ")] = int(count)
    known = {c.sense.number for c in concepts() if c.sense}
    above = set().union(*(nouns().above(number) for number in known))
    said = " ".join(item.caption.lower() for item in items)
    found = []
    for word in sorted(counts):
        senses = nouns().of(word)
        if counts[word] < FREQUENT or len(word) < 3 or word in said or not senses:
            continue
        sense = senses[0]
        if sense.field in CONCRETE and not nouns().above(sense.number) & known and sense.number not in above:
            found.append(word)
    return random.Random(f"elsewhere {part}").sample(found, ELSEWHERE)
