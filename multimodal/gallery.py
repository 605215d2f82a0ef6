"""Hits as a person would look at them: thumbnails, players, passages, as HTML for a notebook."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from multimodal import readers
from multimodal.errors import ReadError
from multimodal.types import Audio, Clip, Hit, ReadOptions, Segment

THUMB = 180
"""Pixels of a thumbnail's longer side."""
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
    """Hits, or media files, side by side: pictures, the frame a moment begins with, playable sounds, texts.

    A `str` is a file's path here. A file that is gone or broken shows its reason instead.
    """
    items = [found] if isinstance(found, (Hit, Path, str)) else list(found)
    return Gallery([_card(item if isinstance(item, Hit) else Path(item)) for item in items])


def _card(item: Hit | Path) -> str:
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
        return _quote(item.text or "")
    segment = _segment(item)
    if isinstance(segment.content, str):
        return _quote(segment.content)
    if isinstance(segment.content, Audio):
        return _player(segment.content)
    if isinstance(segment.content, Clip):
        return _thumbnail(segment.content.frames[len(segment.content.frames) // 2])
    return _thumbnail(segment.content)


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


def _thumbnail(picture: object) -> str:
    from PIL import Image

    assert isinstance(picture, Image.Image)
    small = picture.convert("RGB")
    small.thumbnail((THUMB, THUMB))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=80)
    return f'<img style="max-width:100%" src="data:image/jpeg;base64,{_base64(file)}">'


def _player(sound: Audio) -> str:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, sound.samples, sound.rate, format="OGG", subtype="VORBIS")
    source = f"data:audio/ogg;base64,{_base64(file)}"
    return f'<audio controls style="width:100%" src="{source}"></audio>'


def _quote(text: str) -> str:
    shown = text if len(text) <= 240 else text[:237] + "..."
    return f'<blockquote style="{_SMALL};margin:4px">{html.escape(shown)}</blockquote>'


def _base64(file: io.BytesIO) -> str:
    return base64.b64encode(file.getvalue()).decode("ascii")
