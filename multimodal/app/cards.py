"""Hits as HTML for the page: thumbnails, players that start at the moment, buttons."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from multimodal import moments
from multimodal.console import clock
from multimodal.errors import ReadError
from multimodal.gallery import picture_of
from multimodal.types import Hit, Hits

STYLE = """
.mm-grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 12px; }
.mm-card { border: 1px solid #8884; border-radius: 8px; padding: 8px; font-size: 13px; }
.mm-card { overflow-wrap: anywhere; }
.mm-card img, .mm-card video { width: 100%; max-height: 180px; object-fit: contain; background: #0001; }
.mm-card audio { width: 100%; }
.mm-card blockquote { margin: 4px 0; padding-left: 8px; border-left: 3px solid #8886; }
.mm-card blockquote { max-height: 170px; overflow: auto; }
.mm-card button { border: 1px solid #8886; border-radius: 4px; padding: 0 8px; margin-right: 6px; }
.mm-dim { opacity: .7; }
"""
ON_LOAD = """
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-act]');
  if (button) trigger('click', {act: button.dataset.act, place: Number(button.dataset.place)});
});
"""


def grid(hits: Hits) -> str:
    """Hits as a grid; the sentence that says why there are none."""
    if not hits:
        return f'<p class="mm-none">{html.escape(hits.note or "Nothing was found.")}</p>'
    return f'<div class="mm-grid">{"".join(card(hit, place) for place, hit in enumerate(hits))}</div>'


def card(hit: Hit, place: int) -> str:
    """One hit; its buttons name its place in the list."""
    moment = "" if hit.start is None else f" {clock(hit.start)}-{clock(hit.end or hit.start)}"
    page = "" if hit.page is None else f" page {hit.page}"
    sure = "" if hit.confidence is None else f" · {hit.confidence:.0%}"
    copies = f"<br>and {len(hit.duplicates)} like it" if hit.duplicates else ""
    name = html.escape(hit.path.name)
    buttons = "".join(
        f'<button data-act="{act}" data-place="{place}">{label}</button>'
        for act, label in (("similar", "similar"), ("why", "why"))
    )
    return (
        f'<div class="mm-card" data-name="{name}" data-kind="{hit.modality}">{_view(hit)}'
        f'<div title="{html.escape(str(hit.path))}">{name}</div>'
        f'<div class="mm-dim">{hit.modality}{moment}{page}{sure}{copies}</div>{buttons}</div>'
    )


def _view(hit: Hit) -> str:
    try:
        if hit.modality == "text":
            return _passage(hit)
        if hit.modality == "video" and hit.start is not None and _plays(hit.path):
            until = "" if hit.end is None else f",{hit.end:.2f}"
            source = f"media/{hit.number}#t={hit.start:.2f}{until}"
            return f'<video controls preload="metadata" src="{source}"></video>'
        if hit.modality in ("video", "audio") and hit.start is not None:
            return moments.moment(hit.path, hit.modality, hit.start, hit.end)
        return picture_of(hit)
    except ReadError as error:
        return f"<em>{html.escape(str(error))}</em>"


def _plays(path: Path) -> bool:
    return path.suffix.lower() in moments.FILMS


def _passage(hit: Hit) -> str:
    text, parts, at = hit.snippet or hit.text or "", [], 0
    for begin, end in hit.marks if hit.snippet else ():
        parts += [html.escape(text[at:begin]), f"<b>{html.escape(text[begin:end])}</b>"]
        at = end
    return f"<blockquote>{''.join(parts)}{html.escape(text[at:])[:1000]}</blockquote>"


def listed(hits: Sequence[Hit]) -> list[dict[str, object]]:
    """Hits as plain values, for programs."""
    return [
        {
            "path": str(hit.path),
            "modality": hit.modality,
            "start": hit.start,
            "end": hit.end,
            "page": hit.page,
            "text": hit.snippet or (hit.text or "")[:500] or None,
            "score": round(hit.score, 3),
            "confidence": None if hit.confidence is None else round(hit.confidence, 3),
            "number": hit.number,
        }
        for hit in hits
    ]
