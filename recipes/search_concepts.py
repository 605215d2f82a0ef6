"""What the items of the search test show, and what a query for it may find: `search_concepts.txt` read.

An item shows a concept when its caption has the words; a query finds what shows its concept or, by
WordNet, a kind of it: a bird is asked for and an owl is right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from multimodal.types import Modality
from recipes.wordnet import Sense, nouns

CONCEPTS = Path(__file__).with_name("search_concepts.txt")
_NAMED = re.compile(r"([^\[]+?)(?: \[(\w+)\])?$")
_KINDS: dict[str, Modality] = {"P:": "image", "S:": "audio"}


@dataclass(frozen=True)
class Concept:
    """Something to search for: the words typed, the words of captions that mean it, its sense if defined."""

    query: str
    words: tuple[str, ...]
    without: tuple[str, ...]
    modality: Modality | None
    name: str
    sense: Sense | None

    def fits(self, caption: str, modality: Modality) -> bool:
        """Whether an item with this caption shows it."""
        if self.modality is not None and self.modality != modality:
            return False
        return has(caption, self.words) and not has(caption, self.without)


@dataclass(frozen=True)
class Question:
    """A query: its text, and the numbers of the concepts whose items answer it."""

    text: str
    asked: frozenset[int]
    answers: frozenset[int]
    near: frozenset[int]
    """Concepts that are wider, or another kind of the same: whether they answer is a matter of taste."""


@lru_cache(maxsize=1)
def concepts() -> tuple[Concept, ...]:
    """The table of `search_concepts.txt`. Raises ValueError for a line with an unknown sense."""
    lines = CONCEPTS.read_text(encoding="utf-8").splitlines()
    return tuple(_concept(line) for line in lines if line and not line.startswith("#"))


def _concept(line: str) -> Concept:
    kind = _KINDS.get(line[:2])
    first, *marked = re.split(r" ([~=-]) ", line[2:].strip() if kind else line)
    parts = dict(zip(marked[::2], marked[1::2], strict=True))
    head, within = _NAMED.match(first), _NAMED.match(parts.get("~", first))
    if head is None or within is None:
        raise ValueError(f"not a concept: {line}")
    field = within[2] or head[2]
    sense = next((s for s in nouns().of(within[1]) if s.field == field), None) if field else None
    if field and sense is None:
        raise ValueError(f"no sense of {within[1]!r} in {field}: {line}")
    also, without = (
        tuple(word.strip() for word in parts.get(mark, "").split(",") if word.strip()) for mark in "=-"
    )
    return Concept(head[1], (head[1], *also), without, kind, within[1], sense)


def has(text: str, phrases: Iterable[str]) -> bool:
    """Whether one of the phrases stands in a text as whole words, in any number."""
    plain = text.lower().replace("’", "'")
    return any(re.search(rf"(?<!\w){re.escape(phrase)}s?(?!\w)", plain) for phrase in phrases)


def shown_by(caption: str, modality: Modality) -> frozenset[int]:
    """Numbers of the concepts that an item with this caption shows."""
    return frozenset(i for i, concept in enumerate(concepts()) if concept.fits(caption, modality))


@lru_cache(maxsize=1)
def questions() -> tuple[Question, ...]:
    """One query for each text of the table."""
    table, above = concepts(), nouns().above
    senses = {n: c.sense for n, c in enumerate(table) if c.sense is not None}
    kinds = {n: above(sense.number) for n, sense in senses.items()}
    asked: dict[str, set[int]] = {}
    for number, concept in enumerate(table):
        asked.setdefault(concept.query, set()).add(number)
    found = []
    for text, numbers in asked.items():
        own = {senses[n].number for n in numbers if n in senses}
        parents = {k for n in numbers if n in senses for k in senses[n].kind_of}
        answers = numbers | {n for n in senses if kinds[n] & own}
        wider = {n for n in senses if any(senses[n].number in kinds[m] for m in numbers if m in senses)}
        beside = {n for n in senses if parents & set(senses[n].kind_of)}
        near = frozenset((wider | beside) - answers)
        found.append(Question(text, frozenset(numbers), frozenset(answers), near))
    return tuple(found)
