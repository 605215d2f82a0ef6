"""Tokens and explanations: what a tower sees of an item, and which of it answers a query.

One file per modality. torch is imported only where the inside of a network is looked at.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import ReadError
from multimodal.explain.asking import Asked, asked
from multimodal.explain.contents import segments
from multimodal.explain.explanation import Explanation
from multimodal.explain.tokens import Place, Tokens, joined
from multimodal.towers.base import unit
from multimodal.types import Audio, Modality, Segment, Vectors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from multimodal.space import Space

Floats = NDArray[np.float32]


def tokens(
    space: Space, item: Path | Segment, start: float | None = None, end: float | None = None
) -> Tokens:
    """The tokens of a file or a segment, as `Space.tokens` gives them. Raises ReadError, QueryError."""
    modality, found = segments(space, item, start, end)
    encoder = space[modality]
    if modality == "video":
        from multimodal.explain import video

        return video.tokens(encoder, found)[0]
    parts: list[Tokens] = []
    at = 0
    for segment in found:
        content = segment.content
        if isinstance(content, str):
            from multimodal.explain import text

            parts.append(text.tokens(encoder, content, at if segment.chars is None else segment.chars[0]))
            at += len(content) + 1
        elif isinstance(content, Audio):
            from multimodal.explain import audio

            parts.append(audio.tokens(encoder, content, segment.start or 0.0))
        else:
            from multimodal.explain import image

            parts.append(image.tokens(encoder, content))  # type: ignore[arg-type]
    return joined(parts)


def explain(
    space: Space,
    item: Path | Segment,
    query: Asked | None = None,
    start: float | None = None,
    end: float | None = None,
) -> Explanation:
    """Why an item answers a query, as `Space.explain` gives it. Raises ReadError, QueryError."""
    modality, found = segments(space, item, start, end)
    title = item.name if isinstance(item, Path) else ""
    explainers = {"text": _text, "image": _image, "video": _video, "audio": _audio}
    return explainers[modality](space, found, query, title)


def _text(space: Space, found: Iterator[Segment], query: Asked | None, title: str) -> Explanation:
    from multimodal.explain import text

    encoder = space["text"]
    passage, row = _nearest(space, "text", found, query)
    content = str(passage.content)
    seen = text.tokens(encoder, content)
    spans = text.words(content)
    weights = np.zeros(len(spans), np.float32)
    for place, weight in zip(seen.places, seen.weights, strict=True):
        begin, stop = place.chars or (0, 0)
        for n, (left, right) in enumerate(spans):
            if left <= begin and stop <= right and begin < stop:
                weights[n] += weight
    relevance = weights if query is None else text.relevance(encoder, content, query[1])[1]
    places = tuple(Place(text=content[begin:stop], chars=(begin, stop)) for begin, stop in spans)
    return _explanation("text", query, row, places, relevance, weights, title or content, content)


def _image(space: Space, found: Iterator[Segment], query: Asked | None, title: str) -> Explanation:
    from multimodal.explain import image

    page, row = _nearest(space, "image", found, query)
    picture = page.content
    wanted = row if query is None else query[1]
    generic = _generic(space, "image" if query is None else query[0])
    places, relevance = image.relevance(space["image"], picture, wanted, generic)  # type: ignore[arg-type]
    return _explanation("image", query, row, tuple(places), relevance, None, title, picture)


def _video(space: Space, found: Iterator[Segment], query: Asked | None, title: str) -> Explanation:
    from multimodal.explain import video

    seen, strip = video.tokens(space["video"], found)
    row = unit(np.mean(strip.rows, axis=0))
    relevance = seen.embeddings @ (row if query is None else query[1])
    return _explanation("video", query, row, seen.places, relevance, seen.weights, title, strip)


def _audio(space: Space, found: Iterator[Segment], query: Asked | None, title: str) -> Explanation:
    from multimodal.explain import audio

    encoder, parts, rows, shown = space["audio"], [], [], []
    for segment in found:
        sound, begin = segment.content, segment.start or 0.0
        assert isinstance(sound, Audio)
        parts.append(audio.tokens(encoder, sound, begin))
        rows.append(encoder.encode([sound])[0])
        shown.append(audio.spectrogram(encoder, sound, begin))
    seen, row = joined(parts), unit(np.mean(rows, axis=0))
    relevance = seen.embeddings @ (row if query is None else query[1])
    return _explanation("audio", query, row, seen.places, relevance, seen.weights, title, shown)


def _explanation(
    modality: Modality,
    query: Asked | None,
    row: Floats,
    places: tuple[Place, ...],
    relevance: NDArray[np.floating],
    weights: Floats | None,
    title: str,
    shown: object,
) -> Explanation:
    cosine = 1.0 if query is None else float(np.clip(row @ query[1], -1, 1))
    label = None if query is None else query[2]
    return Explanation(
        modality, label, cosine, places, np.asarray(relevance, np.float32), weights, title, shown
    )


def _nearest(
    space: Space, modality: Modality, found: Iterator[Segment], query: Asked | None
) -> tuple[Segment, Floats]:
    """Of passages or pages the one nearest to the query, without one the first, and its unit row (dim,)."""
    first = next(found, None)
    if first is None:
        raise ReadError("there is nothing to look at")
    best, row = first, space[modality].encode([first.content])[0]
    for segment in chain(found) if query is not None else ():
        other: Vectors = space[modality].encode([segment.content])
        if query is not None and other[0] @ query[1] > row @ query[1]:
            best, row = segment, other[0]
    return best, row


def _generic(space: Space, modality: Modality) -> Floats | None:
    """The mean row (dim,) of the generic queries a space ships for a modality; None where it has none."""
    bank = space.bank
    if bank is None or modality not in bank:
        return None
    return np.asarray(bank[modality], np.float32).mean(axis=0)


__all__ = ["Explanation", "Place", "Tokens", "asked", "explain", "tokens"]
