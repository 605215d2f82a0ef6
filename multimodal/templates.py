"""Sentences around a label: a classifier made of words asks with several, as CLIP does (Radford et al. 2021).

>>> prompts("mouse", TEMPLATES["image"])[0]
'a photo of a mouse'
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from multimodal.errors import QueryError
from multimodal.types import Modality

TEMPLATES: Mapping[Modality, tuple[str, ...]] = MappingProxyType(
    {
        "image": ("a photo of a {}", "a picture of a {}", "a drawing of a {}", "a {}", "{}"),
        "video": ("a video of a {}", "a photo of a {}", "a picture of a {}", "a {}", "{}"),
        "audio": ("the sound of a {}", "a recording of a {}", "a {}", "{}"),
        "text": ("a text about a {}", "this is about {}", "{}"),
    }
)
"""What is asked where nothing else is given: each modality's own sentences, and the bare label."""

_PLURAL = re.compile(r"(?:[^s]s|people|children|men|women|geese|mice)$", re.IGNORECASE)
_HAS_ARTICLE = re.compile(
    r"(?:a|an|the|some|my|your|his|her|its|our|their|two|three|many|several)\s", re.IGNORECASE
)
_VOWEL = re.compile(r"(?:[aeio]|u(?!ni|se|su|ti|kr|ra|to|be))", re.IGNORECASE)
_SILENT = re.compile(r"(?:hour|honest|heir|honou?r)", re.IGNORECASE)
_SOUNDED = re.compile(r"(?:eu|one\b|once\b|ew)", re.IGNORECASE)


def prompts(label: str, templates: Sequence[str]) -> list[str]:
    """The sentences for a label, each once. "a {}" becomes "an owl", "dogs", "the moon" as the label needs.

    Raises QueryError for an empty label and a template without its place, "{}".
    """
    words = " ".join(label.split())
    if not words:
        raise QueryError("A label is empty.")
    made = []
    for template in templates:
        if template.count("{}") != 1:
            raise QueryError(f"The template {template!r} needs one {{}} where the label goes.")
        made.append(_articled(template, words))
    return list(dict.fromkeys(made))


def _articled(template: str, words: str) -> str:
    found = re.search(r"\b(an?) \{\}", template, re.IGNORECASE)
    if found is None:
        return template.format(words)
    bare = template[: found.start()] + "{}" + template[found.end() :]
    if _HAS_ARTICLE.match(words) or _PLURAL.search(words) or words[0].isupper():
        return bare.format(words)
    vowel = (_VOWEL.match(words) and not _SOUNDED.match(words)) or _SILENT.match(words)
    return bare.format(f"{'an' if vowel else 'a'} {words}")
