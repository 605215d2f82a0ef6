"""Words about media in data that others wrote: which names hold captions, and which values are prose."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any
from unicodedata import category

MOST_VALUES = 100_000
"""Values of one JSON document that are looked at."""


def _set(names: str) -> frozenset[str]:
    return frozenset(names.split())


_NAMES = _set(
    "caption captions text texts title headline description descriptions alt alttext alttexts sentence"
    " sentences transcript transcription raw prompt"
)
_ENDINGS = (
    "caption",
    "captions",
    "description",
    "descriptions",
    "sentence",
    "sentences",
    "transcript",
    "alttext",
)
_KEYWORDS = _set("keywords tags hashtags")
# Where downloaders and interfaces of photo and video sites put what is about the item itself; what stands
# elsewhere (comments, chapters, the author's description of himself) is about others.
_HOLDERS = _set(
    "annotation annotations audio content data edges exif file image info info_dict iptc item localized media"
    " meta metadata node photo picture post properties snippet sound video xmp"
)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_WORD = re.compile(r"[^\W\d_]+")
# Scripts without spaces between words: kana, ideographs, Thai, Lao, Khmer, Burmese.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
_LEAST_WORDS = 4


@lru_cache(maxsize=4096)
def is_caption_name(name: str) -> bool:
    """Whether a column or key of this name holds captions: "caption", "Alt", "image_caption", "text2"."""
    plain = re.sub(r"[^a-z]", "", name[:80].casefold())
    return plain in _NAMES or plain.endswith(_ENDINGS)


def is_text(value: object) -> bool:
    """Whether a value could be a caption: it holds a letter and is no address."""
    return isinstance(value, str) and _WORD.search(value) is not None and not _URL.fullmatch(value.strip())


def is_prose(value: object) -> bool:
    """Whether a value reads as a sentence: four words (or as many signs of a script without spaces as make
    them), and letters in three of four places."""
    if not isinstance(value, str):
        return False
    value = value[:2000]
    words = len(_WORD.findall(value)) + len(_UNSPACED.findall(value)) // 2
    solid = "".join(value.split())
    letters = sum(category(char)[0] in "LM" for char in solid)  # vowels of Thai and Hindi are marks
    return words >= _LEAST_WORDS and letters * 4 >= len(solid) * 3 and not _URL.search(value)


def tidy(text: str) -> str:
    """Without space at its ends and without halves of surrogate pairs, which JSON may hold alone."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", " ").strip()


def captions_in(value: Any, keywords: bool = False) -> Iterator[str]:
    """The captions in a JSON value, in its order: strings, and lists of them, under names of captions, at
    the top or in what such data keeps its item in ("photo", "metadata"). With `keywords` those too, each
    list as one caption, joined by commas. Never recurses, so that no nesting is too deep.
    """
    waiting = [iter(_entries(value))]
    seen = 0
    while waiting and seen < MOST_VALUES:
        entry = next(waiting[-1], None)
        if entry is None:
            waiting.pop()
            continue
        seen += 1
        name, inner = entry
        captioned = is_caption_name(name)
        if captioned and (texts := list(_texts(inner))):
            yield from texts
        elif captioned or name == "" or str(name).casefold() in _HOLDERS:
            waiting.append(iter(_entries(inner)))
        elif keywords and str(name).casefold() in _KEYWORDS:
            words = inner if isinstance(inner, list) else [inner]
            if text := ", ".join(tidy(word) for word in islice(words, 1000) if is_text(word)):
                yield text


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """What a dict holds by its names; what a list holds by no name."""
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list):
        yield from (("", item) for item in value)


def _texts(value: Any) -> Iterator[str]:
    """The strings that a caption's value is made of: itself, those of a list, of {"en": ...}, {"_content":
    ...} or [{"raw": ...}]."""
    for item in islice(value, 1000) if isinstance(value, list) else [value]:
        if isinstance(item, Mapping):
            named = [inner for name, inner in item.items() if is_caption_name(name)]
            inside = named or list(islice(item.values(), 1000))
        else:
            inside = [item]
        yield from (tidy(text) for text in inside if is_text(text))
