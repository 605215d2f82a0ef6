"""Writes samples/pairs/definitions.csv: what things are, from WordNet, for measuring text embeddings.

Nouns for things, the most used ones of WordNet's tagged texts, and capitals of countries; a row is a
definition and the word it defines. `python -m recipes.definitions`.
"""

from __future__ import annotations

import csv
import io
import re
import shutil
from pathlib import Path

from recipes.wordnet import Sense, nouns

FOLDER = Path(__file__).parent.parent / "samples" / "pairs"
FIELDS = ("animal", "artifact", "body", "food", "object", "plant", "substance", "phenomenon")
CAPITALS = 150
BYTES = 140_000
CAPITAL = re.compile(r"^(the )?capital (city )?(and .*?)?of (?P<country>[A-Z][\w' -]+)")


def used(folder: Path) -> dict[str, int]:
    """How often a noun's sense is tagged in WordNet's texts, by its key without the rest."""
    counts: dict[str, int] = {}
    for line in (folder / "cntlist.rev").read_text(encoding="utf-8").splitlines():
        key, _, count = line.split()
        word, _, about = key.partition("%")
        if about.startswith("1:"):
            number = f"{word}|{int(about.split(':')[1])}"
            counts[number] = max(counts.get(number, 0), int(count))
    return counts


def rows() -> list[tuple[str, str]]:
    """Definitions and words, capitals first, each word and each definition once."""
    held = nouns()
    counts = used(held.folder)
    fields = {"animal": 5, "artifact": 6, "body": 8, "food": 13, "object": 17, "phenomenon": 19, "plant": 20}
    fields["substance"] = 27
    capitals = [s for s in held.senses.values() if s.field == "location" and CAPITAL.match(s.definition)]

    def often(sense: Sense) -> int:
        name = sense.words[0].lower().replace(" ", "_")
        return counts.get(f"{name}|{fields[sense.field]}", 0)

    things = [s for s in held.senses.values() if s.field in FIELDS]
    things = sorted((s for s in things if often(s)), key=lambda s: (-often(s), s.number))
    found: list[tuple[str, str]] = []
    seen: set[str] = set()
    size = 0
    for sense in [*capitals[:CAPITALS], *things]:
        word, definition = sense.words[0], " ".join(sense.definition.split())
        size += len(word) + len(definition) + 4
        if size > BYTES:
            break
        if not {word.lower(), definition} & seen and len(definition.split()) > 2:
            found.append((definition, word))
            seen |= {word.lower(), definition}
    return found


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("description", "title"))
    writer.writerows(rows())
    (FOLDER / "definitions.csv").write_text(text.getvalue(), encoding="utf-8")
    shutil.copyfile(nouns().licence, FOLDER / "LICENSE.txt")
    print(len(rows()), "pairs")


if __name__ == "__main__":
    main()
