"""How hits show themselves in a notebook: `Hit` and `Hits` have this as their `_repr_html_`."""

from __future__ import annotations

import html
from collections.abc import Sequence

from multimodal.gallery import card
from multimodal.types import Hit

MOST = 12
"""Hits of a list that are shown; more are counted."""
MOST_BYTES = 4_000_000
"""Of HTML for one list: a notebook keeps what it shows. What comes after is shown as names."""


def shown(hits: Hit | Sequence[Hit]) -> str:
    """One hit or a list of them, best first: thumbnails, passages, players that start at the moment."""
    if isinstance(hits, Hit):
        return card(hits)
    boxes: list[str] = []
    for hit in hits[:MOST]:
        box = card(hit)
        if sum(map(len, boxes)) + len(box) > MOST_BYTES:
            break
        boxes.append(box)
    rest = [hit.path.name for hit in hits[len(boxes) :]]
    note = getattr(hits, "note", None) or ("" if boxes or rest else "no hits")
    if rest:
        note = f"{len(rest)} more: {', '.join(rest[:MOST])}{', ...' if len(rest) > MOST else ''}"
    return f"<div>{''.join(boxes)}<div>{html.escape(note)}</div></div>"
