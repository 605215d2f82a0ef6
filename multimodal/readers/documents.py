"""What a text, or an archive that office programs write, holds: told from its first bytes and its last.

`multimodal.readers.sniff` asks here once it knows that a file is a text or a zip archive.
"""

from __future__ import annotations

import re
from pathlib import Path

from multimodal.readers.base import open_file, readable

TEXTS = frozenset(("text", "html", "srt", "vtt", "ass"))
"""Kinds that are text to the eye: none of them makes a file of another name (a picture, a sound) readable."""

# A cue of the SubRip format at the very start: number, then "00:00:01,000 --> 00:00:02,500".
_SRT = re.compile(r"\s*\d+[ \t]*\r?\n\s*\d+:\d\d:\d\d[,.]\d+[ \t]*-->")
_ASS = re.compile(r"(?:\s*;[^\n]*\n)*\s*\[Script Info\]", re.IGNORECASE)
_HTML = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?:(?!-->).)*-->\s*)*<(?:!doctype\s+html|html[\s>])",
    re.IGNORECASE | re.DOTALL,
)
_OTHER_TEXTS = ((r"{\rtf", "an RTF document"), ("%!PS", "a PostScript document"))
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_MIME_TYPES = (
    (b"application/epub+zip", "an EPUB book"),
    (b"application/vnd.oasis.opendocument.text", "an OpenDocument text"),
    (b"application/vnd.oasis.opendocument.spreadsheet", "an OpenDocument spreadsheet"),
    (b"application/vnd.oasis.opendocument.presentation", "an OpenDocument presentation"),
    (b"application/vnd.oasis.opendocument", "an OpenDocument file"),
)
_FOLDERS = (
    (b"word/", "docx"),
    (b"ppt/", "a PowerPoint presentation"),
    (b"xl/", "an Excel workbook"),
)
_TAIL_BYTES = 66_000
"""A zip ends with its table of contents and a comment of at most 65,535 bytes (APPNOTE 4.3.16)."""


def text_kind(text: str) -> str:
    """The kind of a text by its beginning: vtt, srt, ass, html, else text, or a noun with its article."""
    text = text.removeprefix("\ufeff")
    if text.startswith("WEBVTT"):
        return "vtt"
    for pattern, kind in ((_SRT, "srt"), (_ASS, "ass"), (_HTML, "html")):
        if pattern.match(text):
            return kind
    return next((kind for mark, kind in _OTHER_TEXTS if text.startswith(mark)), "text")


def document_kind(head: bytes) -> str | None:
    """The kind of a binary document by its first bytes; None when it is none. A zip archive is "zip"."""
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    # Readers of PDF look for its mark in the first 1,024 bytes.
    if head.startswith(b"%PDF-") or re.search(rb"[\r\n\0]%PDF-\d", head[:1024]):
        return "pdf"
    if head.startswith(_OLE):
        return "an Office document of before 2007 or one locked by a password"
    return next((kind for mark, kind in _OTHER_TEXTS if head.startswith(mark.encode())), None)


def archive_kind(path: Path, head: bytes) -> str:
    """What a zip archive is to its user, by the names at its beginning and its end: docx, or a noun."""
    for mime, kind in _MIME_TYPES:  # stored first, uncompressed (OCF 4.3, OpenDocument part 2, 3.3)
        if head[30:38] == b"mimetype" and head.startswith(mime, 38):
            return kind
    with readable(), open_file(path) as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL_BYTES))
        names = head + file.read(_TAIL_BYTES)
    if b"[Content_Types].xml" in names:
        return next((kind for folder, kind in _FOLDERS if folder in names), "an Office document")
    return "a zip archive"
