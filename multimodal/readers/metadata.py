"""Words about a picture that stand inside it: IPTC, XMP, Exif, and the text chunks of a PNG."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from typing import Any, BinaryIO

from multimodal.readers import psd, tiff
from multimodal.readers.boxes import boxes, contents
from multimodal.readers.xmp import MAX_BYTES, captions_of_xmp

MAX_CHARS = 2_000
"""Characters of a caption; what stands behind a longer description is cut off between words."""

_IMAGE_DESCRIPTION, _XMP_TAG, _IPTC_TAG = 270, 700, 33723
_XP_TITLE, _XP_COMMENT, _XP_KEYWORDS, _XP_SUBJECT = 40091, 40092, 40094, 40095  # of Windows, in UTF-16
_IPTC_WORDS = {105: "headline", 120: "caption", 5: "object name", 25: "keywords"}  # of record 2, IIM 4.2
_XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_JPEG_IPTC = 0x0404
_TIFF = (b"II*\0", b"MM\0*")
_CHUNKS = ("Title", "Description", "Comment")

_BOILERPLATE = re.compile(
    r"""
      (?:\w+\s){0,2} digital\s (?:still\s)? (?:camera|image)
    | (?:created|made|edited|processed|generated|optimi[sz]ed|exported|converted)\s (?:with|using)\b .*
    | sony\sdsc | dcim\b.* | exif[_ ]jpeg[_ ]picture | jpeg[_ ]image | (?:adobe\s)?photoshop\b.*
    | default | untitled(?:[- ]\d+)? | image | picture | photo | scan(?:ned\s(?:image|document|with\b.*))?
    | screenshot | ascii | unicode | none | null | n/a | file\s(?:source|written\sby)\b.* | software:.*
    | creator:\sgd-jpeg.* | imagej=.* | lavc[\d.]+ | intel\(r\)\sjpeg\slibrary.* | https?://\S* | www\.\S*
    | <\?xml.* | \{.*\}
    """,
    re.DOTALL | re.IGNORECASE | re.VERBOSE,
)
"""What programs and cameras write where a person would describe the picture."""
_FILE_NAME = re.compile(
    r"""
      \S+\.(?:jpe?g|jpe|jfif|png|gif|bmp|tiff?|webp|hei[cf]|avif|jxl|psd|svg|dng|nef|cr[23w]|arw|raf|orf|rw2|mp4|mov)
    | (?:img|dsc[nf]?|mg|pict?|p|mvi|gopr|g|sam|c?imag?e?|photo|scan|wp|pxl|kimg|hpim|dji|vid)[_-]?\d{3,}\S*
    | \S*[\d_]\S*\d{3}\S*
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""One word like IMG_0042, DSC01234 or 20240105_120000, or that ends as the names of pictures do."""
_LONGEST_NAME = 100


def caption(kind: str, file: BinaryIO, info: Mapping[Any, Any]) -> str | None:
    """Everything said about a picture, each thing once, one a line; None where nothing is.

    `info` is what Pillow found in the header. Camera boilerplate and file names are left out. Damaged
    metadata give what can be read of them: nothing here raises for what a file holds.
    """
    try:
        found = list(_all_words(kind, file, info))
    except (ArithmeticError, LookupError, OSError, TypeError, ValueError, struct.error):
        found = []
    return joined(found)


def joined(texts: Iterable[str]) -> str | None:
    """The texts that say something, without repetitions, one a line, at most MAX_CHARS; None for none."""
    kept: dict[frozenset[str], str] = {}
    for text in texts:
        words = " ".join(text[: 2 * MAX_CHARS].split())
        if _says_something(words):
            # Keywords in another order, or with a full stop at the end, are the same.
            kept.setdefault(frozenset(re.split(r"\W+", words.casefold().strip(" ."))), words)
    said = "\n".join(kept.values())
    if len(said) > MAX_CHARS:
        said = said[:MAX_CHARS].rsplit(maxsplit=1)[0]
    return said or None


def _says_something(text: str) -> bool:
    letters = sum(char.isalpha() for char in text)
    if letters < 2 or text.count("\ufffd") * 4 > letters:
        return False
    return not (_BOILERPLATE.fullmatch(text) or (len(text) < _LONGEST_NAME and _FILE_NAME.fullmatch(text)))


def _all_words(kind: str, file: BinaryIO, info: Mapping[Any, Any]) -> Iterator[str]:
    if kind in ("tiff", "raw"):
        yield from _directory_words(file)
    exif, xmp, iptc = info.get("exif"), info.get("xmp"), None
    photoshop = info.get("photoshop")
    if isinstance(photoshop, dict):
        iptc = photoshop.get(_JPEG_IPTC)
    if kind == "psd":
        held = {number: data for number, data in psd.resources(file) if number in (psd.IPTC, psd.XMP)}
        iptc, xmp = held.get(psd.IPTC), held.get(psd.XMP)
    elif kind in ("jxl", "jp2", "raw"):
        for box in boxes(file):
            data = contents(file, box, MAX_BYTES) if box.kind in (b"xml ", b"uuid", b"Exif") else b""
            if box.kind == b"Exif":
                exif = data if data[:4] in _TIFF else data[4:]  # behind the offset of its header, which is 0
            elif box.kind == b"xml " and kind == "jxl":
                xmp = data
            elif data.startswith(_XMP_UUID):
                xmp = data[16:]
    if isinstance(iptc, bytes):
        yield from _iptc_words(iptc)
    if isinstance(xmp, (bytes, str)):
        yield from captions_of_xmp(xmp if isinstance(xmp, bytes) else xmp.encode())
    if isinstance(exif, bytes):
        yield from _directory_words(BytesIO(exif.removeprefix(b"Exif\0\0")))
    if kind == "png":
        yield from (str(info[key]) for key in _CHUNKS if key in info)


def _directory_words(file: BinaryIO) -> Iterator[str]:
    """The words in the first directory of a TIFF, or of the Exif block of another picture."""
    for directory in tiff.directories(file, most=1):
        yield from _iptc_words(directory.raw(_IPTC_TAG))
        if xmp := directory.raw(_XMP_TAG):
            yield from captions_of_xmp(xmp)
        for tag in (_XP_TITLE, _XP_SUBJECT, _XP_COMMENT, _XP_KEYWORDS):
            text = directory.raw(tag).decode("utf-16-le", "replace").partition("\0")[0]
            yield ", ".join(text.split(";")) if tag == _XP_KEYWORDS else text
        yield _decoded(directory.raw(_IMAGE_DESCRIPTION).partition(b"\0")[0])


def _iptc_words(data: bytes) -> Iterator[str]:
    """Headline, caption, title and keywords of an IPTC-NAA record (IIM 4.2), keywords as one text."""
    found: dict[int, list[str]] = {number: [] for number in _IPTC_WORDS}
    at = 0
    while data[at : at + 1] == b"\x1c" and at + 5 <= len(data):
        record, number, size = struct.unpack(">BBH", data[at + 1 : at + 5])
        at += 5
        if size & 0x8000:  # the length of the length
            extra = size & 0x7FFF
            size, at = int.from_bytes(data[at : at + min(extra, 8)], "big"), at + extra
        if record == 2 and number in found and size:
            found[number].append(_decoded(data[at : at + size]))
        at += size
    for number, texts in found.items():
        yield (", " if number == 25 else "\n").join(text.strip() for text in texts)


def _decoded(data: bytes) -> str:
    """Text of an unstated encoding: UTF-8 where it can be, as programs write, else Windows-1252."""
    data = data.strip(b"\0")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")
