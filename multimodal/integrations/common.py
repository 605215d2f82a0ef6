"""What the frameworks share: texts of theirs kept in a library, and hits in words."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from multimodal.errors import NoLibrary
from multimodal.library import Library
from multimodal.library.imports import imported_by_number, put
from multimodal.library.incoming import half, metadata_text
from multimodal.library.store import ImportedRow, SegmentRow
from multimodal.query import Query
from multimodal.space import Space, load_space
from multimodal.types import Hit, Item


def as_library(library: Library | str | Path) -> Library:
    """A library, or the one in a folder."""
    return library if isinstance(library, Library) else Library(library)


def as_space(space: Space | str | Path) -> Space:
    """A space, or the one of that name."""
    return space if isinstance(space, Space) else load_space(space)


def put_texts(
    library: Library,
    texts: Sequence[str],
    metadatas: Sequence[Mapping[str, Any]] | None,
    ids: Sequence[str | None] | None,
    collection: str,
) -> list[str]:
    """Embed texts and keep them in a collection, in place of those of the same ids; gives the ids.

    A text without an id gets a random one. Raises ValueError for lists of unlike lengths, QueryError for an
    empty text, LibraryBusy.
    """
    abouts = [{} for _ in texts] if metadatas is None else list(metadatas)
    given = [None] * len(texts) if ids is None else list(ids)
    if not len(texts) == len(abouts) == len(given):
        raise ValueError(f"{len(texts)} texts, {len(abouts)} metadatas and {len(given)} ids do not match")
    names = [name or str(uuid.uuid4()) for name in given]
    if texts:
        vectors = half(library.space.embed(list(texts)))
        rows = [
            ImportedRow(
                name, name, SegmentRow("text", None, None, text, "", vector), metadata=metadata_text(about)
            )
            for name, text, vector, about in zip(names, texts, vectors, abouts, strict=True)
        ]
        put(library, [rows], collection)
    return names


def found(
    library: Library, query: Query | Item, k: int, how: Mapping[str, Any]
) -> list[tuple[Hit, Mapping[str, Any] | None]]:
    """The best segments with the metadata of those that were imported; none where there is no library.

    As frameworks expect, the nearest in meaning, whether they fit or not, unless `how` says otherwise.
    """
    plain = {"all_segments": True, "duplicates": True, "mode": "meaning", "min_confidence": 0.0}
    try:
        hits = library.search(query, k, **{**plain, **how})
        about = imported_by_number(library, [hit.number for hit in hits if hit.number is not None])
    except NoLibrary:
        return []
    return [(hit, about[hit.number].metadata if hit.number in about else None) for hit in hits]


def words_for(hit: Hit) -> str:
    """The text of a hit; for what has none, what it is and where: "video film.mp4, 4.0 to 8.0 s"."""
    if hit.text:
        return hit.text
    moment = "" if hit.start is None else f", {hit.start:.1f} to {hit.end or hit.start:.1f} s"
    page = "" if hit.page is None else f", page {hit.page}"
    return f"{hit.modality} {hit.path}{moment}{page}"


def metadata_of(hit: Hit, about: Mapping[str, Any] | None) -> dict[str, Any]:
    """What came with an imported text that has no address, alone; else also where the hit is: `source` (the
    path), `modality`, `role`, and `start`, `end` (seconds), `page` where it has them."""
    if about is not None and hit.modality == "text" and hit.text and hit.path == Path(hit.id or ""):
        return dict(about)
    places = {"start": hit.start, "end": hit.end, "page": hit.page}
    where = {"source": str(hit.path), "modality": hit.modality, "role": hit.role}
    return {**(about or {}), **where, **{name: value for name, value in places.items() if value is not None}}


def condition(metadata: Mapping[str, Any]) -> str:
    """The SQL, as `Library.search` takes it, that lets through what has these values in its metadata.

    A list of values lets any of them through, None what has no such value. Raises ValueError for others.
    """
    parts = []
    for name, wanted in metadata.items():
        if '"' in name or "\\" in name:
            raise ValueError(f"a condition cannot name the metadata {name!r}")
        value = f"""json_extract(metadata, {_quoted(f'$."{name}"')})"""
        if wanted is None:
            parts.append(f"{value} IS NULL")
        elif isinstance(wanted, (list, tuple, set, frozenset)):
            parts.append(f"{value} IN ({', '.join(map(_literal, wanted))})")
        else:
            parts.append(f"{value} = {_literal(wanted)}")
    return " AND ".join(parts) or "1"


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))  # as json_extract gives it
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, (int, float)) and math.isfinite(value):
        return json.dumps(value)
    raise ValueError(f"a condition on metadata takes texts, numbers and truth values, not {value!r}")


def _quoted(text: str) -> str:
    if "\0" in text:
        raise ValueError("a condition cannot hold a zero character")
    return "'" + text.replace("'", "''") + "'"
