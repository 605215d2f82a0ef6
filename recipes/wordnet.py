"""The nouns of WordNet 3 (Princeton, free licence) as Debian packs them: senses, definitions, kinds of."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from recipes.fetch import apt

LEXICOGRAPHER = {
    3: "tops", 4: "act", 5: "animal", 6: "artifact", 7: "attribute", 8: "body", 9: "cognition",
    10: "communication", 11: "event", 12: "feeling", 13: "food", 14: "group", 15: "location", 16: "motive",
    17: "object", 18: "person", 19: "phenomenon", 20: "plant", 21: "possession", 22: "process",
    23: "quantity", 24: "relation", 25: "shape", 26: "state", 27: "substance", 28: "time",
}  # fmt: skip


@dataclass(frozen=True)
class Sense:
    """A meaning: its number, the field it belongs to, its words, what it is a kind of, its definition."""

    number: int
    field: str
    words: tuple[str, ...]
    kind_of: tuple[int, ...]
    definition: str


class Nouns:
    """Looks senses up in the package's own index files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def licence(self) -> Path:
        """The package's copyright file, which goes with every copy."""
        return self.folder.parent / "doc" / "wordnet-base" / "copyright"

    @cached_property
    def senses(self) -> dict[int, Sense]:
        found = {}
        with (self.folder / "data.noun").open(encoding="utf-8") as file:
            for line in file:
                if not line.startswith("  "):
                    sense = _sense(line)
                    found[sense.number] = sense
        return found

    @cached_property
    def below(self) -> dict[int, tuple[int, ...]]:
        """What the direct kinds of each sense are."""
        found: dict[int, list[int]] = defaultdict(list)
        for sense in self.senses.values():
            for above in sense.kind_of:
                found[above].append(sense.number)
        return {number: tuple(kinds) for number, kinds in found.items()}

    @cached_property
    def _index(self) -> dict[str, tuple[int, ...]]:
        found = {}
        with (self.folder / "index.noun").open(encoding="utf-8") as file:
            for line in file:
                if not line.startswith("  "):
                    fields = line.split()
                    count = int(fields[2])
                    found[fields[0].replace("_", " ")] = tuple(int(n) for n in fields[-count:])
        return found

    @cached_property
    def _irregular(self) -> dict[str, str]:
        lines = (self.folder / "noun.exc").read_text(encoding="utf-8").splitlines()
        return {line.split()[0].replace("_", " "): line.split()[1].replace("_", " ") for line in lines}

    def of(self, words: str) -> list[Sense]:
        """Senses of a word or phrase in any number, the most frequent first; none where it is no noun."""
        phrase = words.lower().replace("’", "'")
        for form in (phrase, self._irregular.get(phrase, ""), *_singular(phrase)):
            if form in self._index:
                return [self.senses[number] for number in self._index[form]]
        return []

    def above(self, number: int) -> set[int]:
        """The sense itself and everything it is a kind of."""
        found, left = set(), [number]
        while left:
            one = left.pop()
            if one not in found:
                found.add(one)
                left.extend(self.senses[one].kind_of)
        return found


def _sense(line: str) -> Sense:
    data, _, gloss = line.partition(" | ")
    fields = data.split()
    count = int(fields[3], 16)
    words = tuple(fields[4 + 2 * i].replace("_", " ") for i in range(count))
    pointers = fields[5 + 2 * count :]
    kinds = tuple(int(pointers[i + 1]) for i in range(0, len(pointers), 4) if pointers[i] in ("@", "@i"))
    return Sense(int(fields[0]), LEXICOGRAPHER[int(fields[1])], words, kinds, gloss.split('; "')[0].strip())


def _singular(phrase: str) -> list[str]:
    """Regular singulars that the index may hold."""
    endings = {"ies": "y", "shes": "sh", "ches": "ch", "xes": "x", "ses": "s", "men": "man", "s": ""}
    return [phrase[: -len(end)] + new for end, new in endings.items() if phrase.endswith(end)]


@lru_cache(maxsize=1)
def nouns() -> Nouns:
    return Nouns(apt("wordnet-base") / "usr/share/wordnet")
