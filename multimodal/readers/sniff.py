"""What a file holds, told by its first bytes and never by its name.

The signatures are those of the formats' own specifications. A kind of the table below that no reader
takes (an archive, a book) still has a name, so that the reason can say what a file really is.
"""

from __future__ import annotations

import re
from pathlib import Path

from multimodal.errors import ReadError
from multimodal.readers.base import open_file, readable
from multimodal.readers.documents import archive_kind, document_kind, text_kind

HEAD_BYTES = 4096

CONTAINERS = ("mp4", "matroska", "avi", "ogg", "asf", "flv", "mpegts", "mpegps", "mxf")
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
    ("jxl", 0, b"\xff\x0a"),
    ("jxl", 0, b"\x00\x00\x00\x0cJXL "),
    ("jp2", 0, b"\x00\x00\x00\x0cjP  "),
    ("jp2", 0, b"\xff\x4f\xff\x51"),
    ("psd", 0, b"8BPS\x00\x01"),
    ("a large Photoshop document (PSB)", 0, b"8BPS\x00\x02"),
    ("raw", 0, b"FUJIFILMCCD-RAW "),
    ("raw", 0, b"IIU\x00"),  # Panasonic
    ("raw", 0, b"IIRO"),  # Olympus
    ("raw", 0, b"IIRS"),
    ("raw", 0, b"MMOR"),
    ("a gzip archive", 0, b"\x1f\x8b\x08"),
    ("a 7-Zip archive", 0, b"7z\xbc\xaf\x27\x1c"),
    ("a RAR archive", 0, b"Rar!\x1a\x07"),
    ("a program", 0, b"\x7fELF"),
    ("an SQLite database", 0, b"SQLite format 3\x00"),
    ("asf", 0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),  # Windows Media
    ("flv", 0, b"FLV\x01"),
    ("mpegps", 0, b"\x00\x00\x01\xba"),
    ("mpegps", 0, b"\x00\x00\x01\xb3"),  # its pictures alone
    ("mxf", 0, b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01\x02"),
    ("w64", 0, b"riff\x2e\x91\xcf\x11"),
    ("caf", 0, b"caff\x00\x01"),
    ("au", 0, b".snd\x00"),
)
_TS_PACKETS = ((0, 188), (4, 192))  # first sync byte and period: broadcast, and Blu-ray with its time codes
_RIFF = {b"WAVE": "wav", b"WEBP": "webp", b"AVI ": "avi"}
_STILL_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "avif"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "heic"),
    b"crx ": "raw",  # Canon's CR3
}
RAW_EXTENSIONS = (
    ".arw", ".cr2", ".cr3", ".dng", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw",
)  # fmt: skip
"""A TIFF of such a name is a raw file whatever it holds: what it shows first is a thumbnail."""
_SVG = re.compile(r"<(?:\w+:)?svg[\s>/]|<!DOCTYPE\s+(?:\w+:)?svg\b")
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_MP4_BOXES = (b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")


def read_head(path: Path) -> bytes:
    """The first 4,096 bytes. Raises ReadError when the file is empty or cannot be opened."""
    with readable(), open_file(path) as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise ReadError("the file is empty")
    return head


def sniff(head: bytes) -> str | None:
    """The kind of content that begins with `head` (the first 4,096 bytes), None when it is unknown.

    Kinds with a reader are one word (jpeg png webp gif bmp tiff heic avif jxl jp2 raw svg psd ico cur, mp4
    matroska avi ogg asf flv mpegts mpegps mxf, wav flac mp3 aac aiff caf amr ac3 w64 au, text html
    srt vtt ass pdf, zip); others read as a noun with its article, "an RTF document".
    """
    if head.startswith(b"%PDF-"):  # the one binary document whose first page of bytes may be plain text
        return "pdf"
    if head.startswith((b"#!AMR\n", b"#!AMR-WB\n")):  # begins as a script does
        return "amr"
    if looks_like_text(head):
        text = head.decode("utf-8", "replace")
        return "svg" if _is_svg(text) else text_kind(text)
    if kind := document_kind(head):
        return kind
    if head[:4] in (b"II*\x00", b"MM\x00*") and head[8:10] == b"CR":
        return "raw"  # Canon's CR2; other raw files look like any TIFF from here
    for kind, offset, magic in _SIGNATURES:
        if head.startswith(magic, offset) and (offset == 0 or head[0] == magic[0]):
            return kind
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        return _RIFF.get(head[8:12])
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if any(_repeats_sync(head, *packets) for packets in _TS_PACKETS):
        return "mpegts"
    if head[4:8] == b"ftyp":
        return _still_brand(head) or "mp4"
    if head[4:8] in _MP4_BOXES:
        return "mp4"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "bmp"
    return _icon(head) or _mpeg_audio(head) or _dolby_audio(head)


def _is_svg(text: str) -> bool:
    """Whether the root of an XML file is that of a drawing, past its declaration and comments."""
    while True:
        text = text.lstrip("\ufeff \t\r\n")
        begin, end = ("<?", "?>") if text.startswith("<?") else ("<!--", "-->")
        if not text.startswith(begin):
            return _SVG.match(text) is not None
        _, found, text = text.partition(end)
        if not found:
            return False


def _still_brand(head: bytes) -> str | None:
    """The format of a still picture in an ISO file: its major brand, or what a general one goes with."""
    major, size = head[8:12], int.from_bytes(head[:4], "big")
    compatible = {head[at : at + 4] for at in range(16, min(size, len(head)), 4)}
    if major in (b"mif1", b"msf1") and compatible & {b"avif", b"avis"}:
        return "avif"
    return _STILL_BRANDS.get(major)


def _icon(head: bytes) -> str | None:
    """ico or cur: a count of pictures, then the entry of the first, its reserved byte zero."""
    kind = {b"\x00\x00\x01\x00": "ico", b"\x00\x00\x02\x00": "cur"}.get(head[:4])
    if kind is None or len(head) < 22 or head[4:6] == b"\x00\x00" or head[9]:
        return None
    return kind if int.from_bytes(head[18:22], "little") >= 22 else None


def _repeats_sync(head: bytes, first: int, period: int) -> bool:
    """Whether the sync byte of a transport stream (ISO 13818-1 2.4.3.2) begins its packets, two at least."""
    marks = head[first::period][:8]
    return len(marks) > 1 and marks == b"G" * len(marks)


def _dolby_audio(head: bytes) -> str | None:
    """ac3 by the header of the first frame (ATSC A/52 5.3): rate, frame size and version are possible."""
    if head[:2] != b"\x0b\x77" or len(head) < 6:
        return None
    return "ac3" if head[4] >> 6 != 3 and head[4] & 0x3F < 38 and head[5] >> 3 <= 10 else None


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


def _holds_raw(path: Path) -> bool:
    from multimodal.readers.tiff import is_raw

    with readable(), open_file(path) as file:
        return is_raw(file)


def content_kind(path: Path) -> str | None:
    """The kind of a file as `sniff` names it; for a container "video" or "sound", by its streams.

    A TIFF is raw where its tags say so or it has the extension of a raw file.

    Raises ReadError when the file is empty, cannot be opened, or is a container that cannot be read.
    """
    head = read_head(path)
    kind = sniff(head)
    if kind == "tiff":
        return "raw" if path.suffix.lower() in RAW_EXTENSIONS or _holds_raw(path) else kind
    if kind == "text" and path.suffix.lower() == ".svg" and head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        return "svg"  # whose root stands behind a long comment
    if kind == "zip":
        return archive_kind(path, head)
    if kind in CONTAINERS:
        from multimodal.readers.container import holds_pictures

        return "video" if holds_pictures(path) else "sound"
    return kind
