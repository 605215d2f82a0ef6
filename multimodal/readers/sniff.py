"""What a file holds, told by its first bytes and never by its name.

The signatures are those of the formats' own specifications. A kind of the table below that no reader
takes (a PDF, a zip) still has a name, so that the reason can say what a file really is.
"""

from __future__ import annotations

import re
from pathlib import Path

from multimodal.errors import ReadError
from multimodal.readers.base import readable

HEAD_BYTES = 4096

CONTAINERS = ("mp4", "matroska", "avi", "ogg")
"""Kinds that may hold moving pictures, sound or both: only their streams tell."""

_SIGNATURES: tuple[tuple[str, int, bytes], ...] = (
    ("jpeg", 0, b"\xff\xd8\xff"),
    ("png", 0, b"\x89PNG\r\n\x1a\n"),
    ("gif", 0, b"GIF87a"),
    ("gif", 0, b"GIF89a"),
    ("tiff", 0, b"II*\x00"),
    ("tiff", 0, b"MM\x00*"),
    ("tiff", 0, b"II+\x00"),
    ("tiff", 0, b"MM\x00+"),
    ("matroska", 0, b"\x1aE\xdf\xa3"),
    ("ogg", 0, b"OggS\x00"),
    ("flac", 0, b"fLaC"),
    ("an encrypted or rights-managed file", 0, b"\x00\x00\x00\x18ftypdrm"),
    ("a JPEG XL picture", 0, b"\xff\x0a"),
    ("a JPEG XL picture", 0, b"\x00\x00\x00\x0cJXL "),
    ("a JPEG 2000 picture", 0, b"\x00\x00\x00\x0cjP  "),
    ("a Photoshop file", 0, b"8BPS"),
    ("an icon", 0, b"\x00\x00\x01\x00"),
    ("a PDF document", 0, b"%PDF-"),
    ("a zip archive or office document", 0, b"PK\x03\x04"),
    ("a gzip archive", 0, b"\x1f\x8b\x08"),
    ("a 7-Zip archive", 0, b"7z\xbc\xaf\x27\x1c"),
    ("a RAR archive", 0, b"Rar!\x1a\x07"),
    ("a program", 0, b"\x7fELF"),
    ("an SQLite database", 0, b"SQLite format 3\x00"),
    ("an MPEG transport stream", 188, b"\x47\x40"),
    ("a Windows Media file", 0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    ("a Flash video", 0, b"FLV\x01"),
    ("an MPEG program stream", 0, b"\x00\x00\x01\xba"),
)
_RIFF = {b"WAVE": "wav", b"WEBP": "webp", b"AVI ": "avi"}
_STILL_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "an AVIF picture"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"), "a HEIC picture"),
    b"crx ": "a camera raw picture",
}
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
# A cue of the SubRip format at the very start: number, then "00:00:01,000 --> 00:00:02,500".
_SRT = re.compile(r"\ufeff?\s*\d+[ \t]*\r?\n\s*\d+:\d\d:\d\d[,.]\d+[ \t]*-->")
_MP4_BOXES = (b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")


def read_head(path: Path) -> bytes:
    """The first 4,096 bytes. Raises ReadError when the file is empty or cannot be opened."""
    with readable(), path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise ReadError("the file is empty")
    return head


def sniff(head: bytes) -> str | None:
    """The kind of content that begins with `head` (the first 4,096 bytes), None when it is unknown.

    Kinds with a reader are one word (jpeg png webp gif bmp tiff, mp4 matroska avi ogg, wav flac mp3 aac,
    text, srt vtt); others read as a noun with its article, "a PDF document".
    """
    if head[:5] == b"%PDF-":  # the one binary document whose first page of bytes may be plain text
        return "a PDF document"
    if looks_like_text(head):
        text = head.decode("utf-8", "replace")
        if text.lstrip("\ufeff").startswith("WEBVTT"):
            return "vtt"
        return "srt" if _SRT.match(text) else "text"
    for kind, offset, magic in _SIGNATURES:
        if head.startswith(magic, offset) and (offset == 0 or head[0] == magic[0]):
            return kind
    if head[:4] in (b"RIFF", b"RF64"):
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _STILL_BRANDS.get(head[8:12], "mp4")
    if head[4:8] in _MP4_BOXES:
        return "mp4"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "bmp"
    return _mpeg_audio(head)


def _mpeg_audio(head: bytes) -> str | None:
    """mp3 or aac by the tag or the header of the first frame (ISO 11172-3 2.4.1.3, 13818-7 6.2)."""
    if head[:3] == b"ID3" and len(head) > 10 and head[3] < 5 and all(byte < 128 for byte in head[6:10]):
        return "mp3"  # an ID3 tag may also stand before AAC: both are sound, and the decoder tells them apart
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    if head[1] & 0xF6 == 0xF0:
        return "aac" if head[2] >> 2 & 0xF < 13 else None
    layer, bitrate, rate, version = head[1] >> 1 & 3, head[2] >> 4, head[2] >> 2 & 3, head[1] >> 3 & 3
    return "mp3" if layer in (1, 2) and bitrate not in (0, 15) and rate != 3 and version != 1 else None


def looks_like_text(head: bytes) -> bool:
    """Whether these first bytes of a file read as text: a byte order mark, or no control characters.

    UTF-16 and UTF-32 without a mark count as binary, as every byte of a zero does.
    """
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")):
        wide = "utf-32" if head[:4] in (b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff") else "utf-16"
        text = head[: len(head) // 4 * 4].decode(wide, "replace")
        return len(head) >= 4 and text.count("\ufffd") <= len(text) // 20 and not _controls(text)
    return not _controls(head.decode("latin-1"))


def _controls(text: str) -> bool:
    return re.search(r"[\x00-\x07\x0e-\x1a\x1c-\x1f]", text) is not None


def content_kind(path: Path) -> str | None:
    """The kind of a file as `sniff` names it; for a container "video" or "sound", by its streams.

    Raises ReadError when the file is empty, cannot be opened, or is a container that cannot be read.
    """
    kind = sniff(read_head(path))
    if kind in CONTAINERS:
        from multimodal.readers.container import holds_pictures

        return "video" if holds_pictures(path) else "sound"
    return kind
