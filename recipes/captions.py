"""Several ways to say the same caption, so that no wording is privileged in training."""

from __future__ import annotations

import re

from recipes.picture import Picture
from recipes.pictures import STAMPS

_ARTICLE = re.compile(r"^(a|an|the|some|this is an?|this is the) ", re.I)
_NO_ARTICLE = re.compile(r"^(a|an|the|some|two|three|\d+) |[^s]s$|,", re.I)
LONGEST_NAME = 4
"""Words up to which a caption counts as a name, which takes templates."""


def wordings(picture: Picture) -> tuple[str, ...]:
    """Texts that describe the picture, its own captions first.

    >>> wordings(Picture("noto", "cow", ("cow",), bytes))
    ('cow', 'A cow.', 'a picture of a cow')
    """
    found = list(picture.captions)
    if picture.source == STAMPS:
        sentence = picture.captions[0]
        first = re.split(r"(?<=[.!?]) |, ", sentence)[0]
        bare = _ARTICLE.sub("", first).rstrip(".!? ")
        found += [first, bare, f"a picture of {_with_article(bare)}"]
    elif picture.source != "glyphs" and found:
        name = found[0]
        if len(name.split()) <= LONGEST_NAME:
            spoken = _with_article(name)
            found += [f"{spoken[0].upper()}{spoken[1:]}.", f"a picture of {spoken}"]
    return tuple(dict.fromkeys(text for text in found if text))


def _with_article(name: str) -> str:
    if _NO_ARTICLE.search(name):
        return name
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def comparable(caption: str) -> str:
    """A caption as near duplicates are compared: words only, no case, no punctuation."""
    return " ".join(re.sub(r"[^\w]+", " ", caption.lower()).split())
