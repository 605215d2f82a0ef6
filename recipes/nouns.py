"""Writes multimodal/starter/nouns.txt: WordNet's nouns for things, beings and events that are one sub-word.

    python -m recipes.nouns

What a vocabulary of 30,000 sub-words holds as a whole is common, and its order is about that of frequency.
"""

from __future__ import annotations

import json
import re
import shutil

from multimodal.phrases import NOUNS
from multimodal.sources import EMBEDDED
from recipes.wordnet import nouns

FIELDS = {
    "act", "animal", "artifact", "body", "event", "food", "object", "person", "phenomenon", "plant",
    "substance",
}  # fmt: skip
SHORTEST = 3
RUDE = re.compile("offensive|disparag|slur|obscen|vulgar|derogat|insult|slang|sexual|prostitut")
"""Of a definition: words with such a sense are left out."""


def common() -> list[str]:
    """Lower-case words with a sense in one of FIELDS, in the order of the vocabulary."""
    document = json.loads((EMBEDDED / "tokenizer.json").read_text(encoding="utf-8"))
    order: dict[str, int] = document["model"]["vocab"]
    senses = nouns().senses.values()
    rude = {word.lower() for sense in senses if RUDE.search(sense.definition) for word in sense.words}
    things = {word for sense in senses if sense.field in FIELDS for word in sense.words}
    found = {word for word in things - rude if word in order and word.isalpha() and word.islower()}
    return sorted((word for word in found if len(word) >= SHORTEST), key=order.__getitem__)


def main() -> None:
    words = common()
    NOUNS.write_text("\n".join(words) + "\n", encoding="utf-8")
    shutil.copyfile(nouns().licence, NOUNS.with_name("nouns.LICENSE.txt"))
    print(f"{len(words)} nouns")


if __name__ == "__main__":
    main()
