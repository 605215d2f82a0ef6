"""Hits as a person would look at them: thumbnails, players, passages, as HTML for a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from pathlib import Path

from multimodal import readers
from multimodal.errors import ReadError
from multimodal.moments import THUMB, audio_player, moment, thumbnail
from multimodal.types import Audio, Clip, Hit, ReadOptions, Segment

_CARD = "display:inline-block;vertical-align:top;width:200px;margin:4px;padding:6px;border:1px solid #8884"
_SMALL = "font:12px system-ui,sans-serif;overflow-wrap:anywhere"


class Gallery:
    """Shows itself in a notebook. Everything is inside the HTML: it still shows where the files are gone."""

    def __init__(self, cards: Sequence[str]) -> None:
        self._cards = list(cards)

    def _repr_html_(self) -> str:
        return f"<div>{''.join(self._cards)}</div>"

    def __repr__(self) -> str:
        return f"Gallery of {len(self._cards)}"


def show(found: Hit | Path | str | Sequence[Hit | Path | str]) -> Gallery:
    """Hits, or media files, side by side: pictures, moments of videos and sounds to be played, texts.

    A `str` is a file's path here. A file that is gone or broken shows its reason instead.
    """
    items = [found] if isinstance(found, (Hit, Path, str)) else list(found)
    return Gallery([card(item if isinstance(item, Hit) else Path(item)) for item in items])


def card(item: Hit | Path) -> str:
    """A hit or a file as a box of HTML; one that cannot be read shows its reason."""
    path = item.path if isinstance(item, Hit) else item
    lines = [html.escape(str(path.name))]
    if isinstance(item, Hit):
        moment = "" if item.start is None or item.end is None else f", {item.start:.1f}-{item.end:.1f} s"
        lines.append(f"{item.modality}{moment}, score {item.score:.2f}")
    try:
        view = _view(item)
    except ReadError as error:
        view = f"<em>{html.escape(str(error))}</em>"
    return f'<div style="{_CARD}">{view}<div style="{_SMALL}">{"<br>".join(lines)}</div></div>'


def _view(item: Hit | Path) -> str:
    if isinstance(item, Hit) and item.modality == "text":
        return _marked(item) if item.snippet else _quote(item.text or "")
    if isinstance(item, Hit) and item.modality in ("video", "audio") and item.start is not None:
        return moment(item.path, item.modality, item.start, item.end)
    segment = _segment(item)
    if isinstance(segment.content, str):
        return _quote(segment.content)
    if isinstance(segment.content, Audio):
        return audio_player(segment.content)
    if isinstance(segment.content, Clip):
        return thumbnail(segment.content.frames[len(segment.content.frames) // 2])
    return thumbnail(segment.content)


def picture_of(item: Hit | Path) -> str:
    """A picture, or the first frame there is, as an <img>. Raises ReadError."""
    content = _segment(item).content
    if isinstance(content, Clip):
        content = content.frames[len(content.frames) // 2]
    if isinstance(content, (str, Audio)):
        raise ReadError("there is nothing to see of it")
    return thumbnail(content)


def _segment(item: Hit | Path) -> Segment:
    """The segment a hit names; the first one of a file. Raises ReadError."""
    path = item.path if isinstance(item, Hit) else item
    for segment in _segments(path):
        if not isinstance(item, Hit):
            return segment
        if segment.modality == item.modality and (item.start is None or _reaches(segment, item.start)):
            return segment
    raise ReadError("that moment is not in the file any more")


def _segments(path: Path) -> Iterator[Segment]:
    segments = readers.read(path, ReadOptions(min_side=THUMB))
    return (segment for segment in segments if segment.role != "blank")  # there is nothing to show of those


def _reaches(segment: Segment, start: float) -> bool:
    return segment.end is not None and segment.end > start + 1e-3


def _marked(hit: Hit) -> str:
    """The part of a text in which words of the query stand, these in bold."""
    text, at, parts = hit.snippet or "", 0, []
    for begin, end in hit.marks:
        parts += [html.escape(text[at:begin]), f"<b>{html.escape(text[begin:end])}</b>"]
        at = end
    shown = "".join(parts) + html.escape(text[at:])
    return f'<blockquote style="{_SMALL};margin:4px">{shown}</blockquote>'


def _quote(text: str) -> str:
    shown = text if len(text) <= 240 else text[:237] + "..."
    return f'<blockquote style="{_SMALL};margin:4px">{html.escape(shown)}</blockquote>'
