"""What a file says of itself in its header: size, length, date. Only of a video a frame is decoded."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from multimodal.types import Facts, Modality

DATE_TAGS = (0x9003, 0x9004, 0x0132)
"""Exif DateTimeOriginal, DateTimeDigitized, DateTime: when it was taken, scanned, last saved."""
ZONE_TAGS = (0x9011, 0x9012, 0x9010)
"""The offsets from UTC that belong to them (Exif 2.31)."""
_EXIF_IFD = 0x8769
_ORIENTATION = 0x0112
_MEDIA_DATES = ("com.apple.quicktime.creationdate", "creation_time", "date")


def facts_of(path: Path, modality: Modality, kind: str | None) -> Facts:
    """The facts of a file whose reader is of that modality; None for what it does not say."""
    tell: dict[Modality, Callable[[Path, str | None], Facts]] = {
        "image": _picture,
        "video": _media,
        "audio": _media,
    }
    if modality not in tell:
        return Facts()
    try:
        return tell[modality](path, kind)
    except MemoryError:
        raise
    except Exception:  # a header that made sense to the reader of the content may still hold nonsense here
        return Facts()


def _picture(path: Path, kind: str | None) -> Facts:
    from PIL import Image

    if kind == "raw":
        return _raw(path)
    if kind == "heic":
        import pillow_heif

        pillow_heif.register_heif_opener()
    elif kind == "jxl":
        import pillow_jxl  # noqa: F401 - registers itself
    with Image.open(path) as image:
        exif = image.getexif()
        width, height = image.size
        if exif.get(_ORIENTATION, 1) in (5, 6, 7, 8):
            width, height = height, width
        return Facts(width, height, None, _exif_date(exif))


def _raw(path: Path) -> Facts:
    import rawpy
    from PIL import Image

    with rawpy.imread(str(path)) as raw:
        sizes = raw.sizes
        width, height = sizes.width, sizes.height
        if sizes.flip in (5, 6):
            width, height = height, width
    taken = None
    with suppress(Exception), Image.open(path, formats=["TIFF"]) as image:  # most raw files are TIFFs
        taken = _exif_date(image.getexif())
    return Facts(width, height, None, taken)


def _exif_date(exif: Any) -> str | None:
    inner = exif.get_ifd(_EXIF_IFD)
    for tag, zone in zip(DATE_TAGS, ZONE_TAGS, strict=True):
        said = inner.get(tag) or exif.get(tag)
        found = _date(str(said).replace(":", "-", 2)) if said else None
        if found is not None:
            offset = str(inner.get(zone) or "").strip()
            return found + offset if re.fullmatch(r"[+-]\d\d:\d\d", offset) else found
    return None


def _media(path: Path, kind: str | None) -> Facts:
    from multimodal.readers.container import decoded, open_media, picture_stream, sound_stream

    with open_media(path) as container:
        duration = float(container.duration) / 1_000_000 if container.duration else None
        taken = next(filter(None, (_date(container.metadata.get(name, "")) for name in _MEDIA_DATES)), None)
        stream = picture_stream(container)
        frame = None if stream is None else next(decoded(container, stream), None)
        if frame is None or sound_stream(container) is stream:
            return Facts(None, None, _positive(duration), taken)
        aspect = float(stream.sample_aspect_ratio or 1) or 1.0 if stream is not None else 1.0
        width, height = round(frame.width * aspect), frame.height
        if round(frame.rotation / 90) % 2:
            width, height = height, width
        return Facts(width, height, _positive(duration), taken)


def _positive(seconds: float | None) -> float | None:
    return seconds if seconds is not None and 0 < seconds < 1e9 else None


def _date(said: str) -> str | None:
    """A date as ISO 8601 writes it, cut to seconds; None for what is none, or lies before photography."""
    match = re.match(
        r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:?\d\d)?)?$", said.strip()
    )
    if match is None:
        return None
    day, clock, zone = match.groups()
    try:
        when = datetime.fromisoformat(f"{day}T{clock or '00:00:00'}")
    except ValueError:
        return None
    if when.year < 1826:  # the year of the first photograph; clocks that were never set say 0 or 1601
        return None
    text = when.isoformat() if clock else day
    if zone == "Z":
        return text + "+00:00"
    return text + (zone if zone and ":" in zone else f"{zone[:3]}:{zone[3:]}" if zone else "")
