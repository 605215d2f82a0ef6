"""Small files that ask for very much: of memory, of time, of depth. The reader's part is to say no in time.

`write_bomb(folder, name)` writes one of NAMES. Those in `SLOW` take seconds to write or to refuse.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image

from tests import media, media_images, media_texts


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def deflated(size: int, unit: bytes = b"\0", head: bytes = b"", tail: bytes = b"") -> bytes:
    """zlib data that become `head`, then `size` bytes of `unit` over and over, then `tail`."""
    press = zlib.compressobj(9)
    block = (unit * (1 + (1 << 20) // len(unit)))[: (1 << 20) // len(unit) * len(unit)]
    parts = [press.compress(head)]
    parts += [press.compress(block) for _ in range(size // len(block))]
    return b"".join([*parts, press.compress(tail), press.flush()])


def png(width: int, height: int, depth: int, colour: int, data: bytes, chunks: bytes = b"") -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunks + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def spoken(name: bytes, body: bytes) -> bytes:
    """A small picture with a chunk of words or colours that unfolds to 400 MB."""
    return png(8, 8, 8, 0, zlib.compress(bytes(72)), chunk(name, body))


def many_frames() -> bytes:
    """A gif of 5,000 frames of one pixel, on a screen of 3,000 x 3,000."""
    frame = b"\x21\xf9\x04\x08\x01\0\0\0\x2c\0\0\0\0\1\0\1\0\0\x02\x02\x4c\x01\0"
    return b"GIF89a" + struct.pack("<HHBBB", 3000, 3000, 0x80, 0, 0) + bytes(6) + frame * 5000 + b";"


def looping_tiff() -> bytes:
    """Directories whose last names the first as the next."""
    data = bytearray(media_images.tiff([media_images.page(Image.new("L", (8, 8)))] * 3))
    first = struct.unpack_from("<I", data, 4)[0]
    at = first
    while following := struct.unpack_from("<I", data, at + 2 + 12 * struct.unpack_from("<H", data, at)[0])[0]:
        at = following
    struct.pack_into("<I", data, at + 2 + 12 * struct.unpack_from("<H", data, at)[0], first)
    return bytes(data)


def stated_tiff(**tags: tuple[int, tuple[int, ...] | bytes]) -> bytes:
    given, body = media_images.page(Image.new("RGB", (16, 16)), **tags)
    return media_images.tiff([(given, body)])


def archive(files: Iterable[tuple[str, bytes, int]]) -> bytes:
    """A zip of (name, unit, how often)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, unit, times in files:
            with made.open(name, "w", force_zip64=True) as stream:
                for _ in range(max(1, times // 4096)):
                    stream.write(unit * min(times, 4096))
    return out.getvalue()


def document(path: Path, xml: bytes, times: int = 1, unit: bytes = b"", tail: bytes = b"") -> None:
    """A docx whose text is `xml`, then `unit` so often, then `tail`."""
    media_texts.write_docx(path, ["words"])
    with zipfile.ZipFile(path) as made:
        files = {name: made.read(name) for name in made.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in files.items():
            with made.open(name, "w", force_zip64=True) as stream:
                if name != "word/document.xml":
                    stream.write(data)
                    continue
                stream.write(xml)
                for _ in range(times // 4096):
                    stream.write(unit * 4096)
                stream.write(tail)


WORD = b'<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>'
LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha ha ha ha ha ha ha ha ">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(12))
    + b"]>"
)
"""Entities that unfold to 10^13 letters."""


def pdf(content: bytes, **how: bytes) -> bytes:
    return media_texts.raw_pdf(media_texts.one_page(content, **how))


def pressed_pdf(times: int, layers: int) -> bytes:
    """A page whose content unfolds to so many bytes, through so many layers of compression."""
    data = deflated(times, b"BT ET ")
    for _ in range(layers - 1):
        data = zlib.compress(data, 9)
    objects = media_texts.one_page(b"")
    objects[3] = media_texts.stream(data, b"/Filter [%s]" % (b"/FlateDecode " * layers))
    return media_texts.raw_pdf(objects)


def paged_pdf(count: bytes, kids: bytes) -> bytes:
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>"
    tree = b"<< /Type /Pages /Kids [%s] /Count %s >>" % (kids, count)
    return media_texts.raw_pdf([b"<< /Type /Catalog /Pages 2 0 R >>", tree, page])


def wave(
    rate: int = 8000, channels: int = 1, bits: int = 16, block: int | None = None, size: int = 2000
) -> bytes:
    """A wav header that states anything, and 2,000 bytes of sound."""
    block = channels * bits // 8 if block is None else block
    form = struct.pack("<HHIIHH", 1, channels & 0xFFFF, rate, rate * block & 0xFFFFFFFF, block & 0xFFFF, bits)
    head = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", min(2**32 - 1, size + 36)) + head + bytes(range(250)) * 8


def patched(path: Path, extension: str, *changes: tuple[bytes, int, bytes]) -> None:
    """A sound file of that format, with other bytes at an offset from where a marker begins."""
    media.write(path.with_suffix(extension), 3).replace(path)
    data = bytearray(path.read_bytes())
    for marker, offset, value in changes:
        at = data.index(marker) + offset
        data[at : at + len(value)] = value
    path.write_bytes(data)


def sparse(path: Path, head: bytes, size: int) -> None:
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)


def nested(opening: bytes, closing: bytes, depth: int, head: bytes = b"", tail: bytes = b"") -> bytes:
    return head + opening * depth + closing * depth + tail


MAXIMUM = b"\xff\xff\xff\xff"
DRAWING = (
    b'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    b' width="9" height="9">'
)
USES = b"".join(
    b'<g id="g%d">%s</g>' % (n, b'<use xlink:href="#g%d"/>' % (n - 1) * 10 if n else b"<path d='M0 0h1'/>")
    for n in range(12)
)
CUE = b"%d\n00:00:%02d,000 --> 00:00:%02d,500\nwords\n\n"

BYTES: dict[str, Callable[[], bytes]] = {
    "stated.png": lambda: png(100_000, 100_000, 8, 2, zlib.compress(bytes(1000))),
    "dense.png": lambda: png(8000, 8000, 16, 6, deflated(8000 * 64_001)),
    "flat.png": lambda: png(9000, 9000, 1, 0, deflated(9000 * 1126)),
    "ztxt.png": lambda: spoken(b"zTXt", b"Comment\0\0" + deflated(400 << 20, b"a")),
    "itxt.png": lambda: spoken(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + deflated(400 << 20, b"a")),
    "iccp.png": lambda: spoken(b"iCCP", b"colour\0\0" + deflated(400 << 20, b"\0")),
    "many.gif": many_frames,
    "screen.gif": lambda: (
        b"GIF89a" + MAXIMUM + b"\x80\0\0" + bytes(6) + b"\x2c" + bytes(4) + MAXIMUM + b"\0\x02\0;"
    ),
    "loop.tiff": looping_tiff,
    "pages.tiff": lambda: media_images.tiff([media_images.page(Image.new("L", (1, 1)))] * 4000),
    "stated.tiff": lambda: stated_tiff(t256=(4, (2**31 - 1,)), t257=(4, (2**31 - 1,))),
    "strips.tiff": lambda: stated_tiff(t278=(4, (0,)), t279=(4, (2**32 - 1,))),
    "samples.tiff": lambda: stated_tiff(t277=(3, (65535,)), t258=(3, (16,) * 3)),
    "stated.bmp": lambda: (
        b"BM" + bytes(8) + struct.pack("<IIiiHH", 54, 40, 2**31 - 1, 2**31 - 1, 1, 24) + bytes(30)
    ),
    "stated.psd": lambda: (
        struct.pack(">4sH6xHIIHHIII", b"8BPS", 1, 3, 300_000, 300_000, 8, 3, 0, 0, 0) + b"\0\1"
    ),
    "stated.ico": lambda: (
        struct.pack("<HHH", 0, 1, 65535) + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, 2**31, 22)
    ),
    "laughs.svg": lambda: LAUGHS + DRAWING + b"<text>&m;</text></svg>",
    "deep.svg": lambda: nested(b"<g>", b"</g>", 200_000, DRAWING, b"</svg>"),
    "uses.svg": lambda: DRAWING + USES + b'<use xlink:href="#g11"/></svg>',
    "blur.svg": lambda: (
        DRAWING + b'<filter id="f"><feGaussianBlur stdDeviation="1e9"/></filter><rect filter="url(#f)"'
        b' width="9" height="9"/></svg>'
    ),
    "wide.svg": lambda: (
        b'<svg xmlns="http://www.w3.org/2000/svg" width="1e9" height="1e9"><rect width="1"/></svg>'
    ),
    "far.svg": lambda: DRAWING + b'<image xlink:href="file:///dev/zero" width="9" height="9"/></svg>',
    "paths.svg": lambda: DRAWING + b'<path d="M0 0' + b"L9 9 0 9" * 200_000 + b'" stroke="red"/></svg>',
    "pressed.pdf": lambda: pressed_pdf(600 << 20, 1),
    "layers.pdf": lambda: pressed_pdf(600 << 20, 3),
    "loop.pdf": lambda: paged_pdf(b"1000000", b"2 0 R 2 0 R"),
    "pages.pdf": lambda: paged_pdf(b"2000000000", b"3 0 R"),
    "repeated.pdf": lambda: paged_pdf(b"100000", b"3 0 R " * 100_000),
    "box.pdf": lambda: pdf(b"", box=b"0 0 1e30 1e30"),
    "deep.pdf": lambda: pdf(nested(b"[", b"]", 500_000)),
    "saved.pdf": lambda: pdf(b"q " * 2_000_000),
    "brackets.md": lambda: b"[" * 300_000,
    "stars.md": lambda: b"*_" * 300_000 + b"a",
    "quotes.md": lambda: b">" * 300_000 + b" a",
    "fences.md": lambda: b"```\n" * 100_000,
    "spaces.md": lambda: b"# " + b" " * 500_000 + b"#x\n" + b"a" + b" \t" * 300_000 + b"|",
    "word.txt": lambda: b"a" * (32 << 20),
    "lines.txt": lambda: b"\n" * (16 << 20) + b"a",
    "marks.txt": lambda: "e\u0301".encode() * (4 << 20),
    "nulls.txt": lambda: b"words\n" + bytes(1 << 20),
    "deep.html": lambda: nested(b"<div>", b"</div>", 200_000, b"<html><body>"),
    "open.html": lambda: b"<html>" + b"<" * 1_000_000,
    "tags.html": lambda: b"<html>" + b"<a " * 400_000,
    "comment.html": lambda: b"<html>" + b"<!--" * 300_000,
    "entities.html": lambda: b"<html><p>" + b"&" * 1_000_000 + b"&#99999999999999999999;&#xd800;&#0;",
    "attributes.html": lambda: b"<html><p " + b"a=b " * 300_000 + b">words",
    "cdata.xhtml": lambda: LAUGHS + b'<html xmlns="http://www.w3.org/1999/xhtml"><p>&m;</p></html>',
    "columns.csv": lambda: b"file,caption" + b",x" * 500_000 + b"\na.jpg,words" + b"," * 500_000,
    "field.csv": lambda: b'file,caption\na.jpg,"' + b"a" * (8 << 20),
    "quoted.csv": lambda: b"file,caption\na.jpg," + b'"' * 1_000_001,
    "deep.jsonl": lambda: b'{"file": "a.jpg", "caption": ' + b"[" * 500_000 + b"\n",
    "halves.jsonl": lambda: (
        b'{"file": "a.jpg", "caption": "one \\ud800 two \\udfff"}\n{"file": "b", "caption": "\\u0000"}\n'
    ),
    "digits.jsonl": lambda: b'{"file": "a.jpg", "caption": ' + b"9" * 100_000 + b"}\n",
    "cues.srt": lambda: b"".join(CUE % (n, n % 59, n % 59) for n in range(100_000)),
    "times.srt": lambda: b"1\n99999999999999999999:00:00,000 --> 99999999999999999999:00:01,000\nwords\n",
    "tags.srt": lambda: CUE % (1, 0, 1) + b"2\n00:00:02,000 --> 00:00:03,000\n" + b"<i>{" * 300_000,
    "arrows.vtt": lambda: b"WEBVTT\n\n" + b"-->" * 300_000,
    "tags.vtt": lambda: b"WEBVTT\n\n00:01.000 --> 00:02.000\n" + b"<c." * 300_000 + b"&" * 300_000,
    "rate1.wav": lambda: wave(rate=1),
    "rate0.wav": lambda: wave(rate=0),
    "ratemax.wav": lambda: wave(rate=2**32 - 1),
    "channels.wav": lambda: wave(channels=65_535),
    "size.wav": lambda: wave(size=2**32 - 1),
    "block.wav": lambda: wave(block=0),
    "bits.wav": lambda: wave(bits=0),
    "long.w64": lambda: (
        b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0" + b"\xff" * 7 + b"\x7f" + b"wave" + bytes(99)
    ),
    "stated.au": lambda: b".snd" + struct.pack(">IIIII", 24, 2**32 - 1, 3, 2**32 - 1, 2**32 - 1) + bytes(500),
    "stated.aiff": lambda: (
        b"FORM\xff\xff\xff\xffAIFFCOMM\0\0\0\x12\xff\xff\xff\xff\xff\xff\0\x10@\x1e" + bytes(99)
    ),
    "stated.caf": lambda: (
        b"caff\0\1\0\0desc\0\0\0\0\0\0\0\x20\x7f\xf0" + bytes(6) + b"lpcm" + MAXIMUM * 5 + bytes(99)
    ),
    "tag.mp3": lambda: b"ID3\4\0\0\x7f\x7f\x7f\x7f" + bytes(4000),
    "frames.mp3": lambda: (b"\xff\xfb\x10\xc4" + bytes(100)) * 30_000,
    "pages.ogg": lambda: (b"OggS\0\2" + bytes(20) + b"\1\0") * 100_000,
    "sync.ts": lambda: (b"G\x1f\xff\x10" + bytes(184)) * 100_000,
    "tables.ts": lambda: (b"G\x40\0\x10\0\0\xb0\xff" + bytes(180)) * 50_000,
    "boxes.mp4": lambda: (
        b"\0\0\0\x18ftypisom\0\0\0\0isommp42"
        + b"".join(struct.pack(">I4s", 8 * (20_000 - n), b"moov") for n in range(20_000))
    ),
    "many.mp4": lambda: b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + b"\0\0\0\x08free" * 500_000,
    "elements.mkv": lambda: (
        b"\x1aE\xdf\xa3\x01" + b"\xff" * 7 + b"\x18S\x80g\x01" + b"\xff" * 7 + b"\xec\x80" * 500_000
    ),
    "list.avi": lambda: b"RIFF\xff\xff\xff\xffAVI " + b"LIST\xff\xff\xff\xffhdrl" * 100_000,
    "gzip.txt": lambda: b"\x1f\x8b\x08" + bytes(7) + deflated(100 << 20)[2:],
    "gzip.svg": lambda: b"\x1f\x8b\x08" + bytes(7) + deflated(100 << 20, b" ", DRAWING)[2:],
}
FILES: dict[str, Callable[[Path], object]] = {
    "lines.docx": lambda path: document(path, WORD, 40_000_000, b"<w:p/>", b"</w:body></w:document>"),
    "letters.docx": lambda path: document(
        path, WORD + b"<w:p><w:r><w:t>", 300 << 20, b"a", b"</w:t></w:r></w:p></w:body></w:document>"
    ),
    "deep.docx": lambda path: document(path, WORD, 300 * 4096, b"<w:sdt>"),
    "laughs.docx": lambda path: document(
        path, LAUGHS + WORD + b"<w:p><w:r><w:t>&m;</w:t></w:r></w:p></w:body>"
    ),
    "files.docx": lambda path: path.write_bytes(
        archive([("word/document.xml", WORD, 1), *((f"word/{n}.xml", b"x", 1) for n in range(20_000))])
    ),
    "sparse.txt": lambda path: sparse(path, b"some words\n" * 400, 1 << 30),
    "sparse.wav": lambda path: sparse(path, wave(size=2**32 - 1), 2 << 30),
    "sparse.mp4": lambda path: sparse(
        path, b"\0\0\0\x18ftypisom\0\0\0\0isommp42\0\0\0\x01mdat\0\0\0\1\0\0\0\0", 6 << 30
    ),
    "sparse.jpg": lambda path: sparse(path, b"\xff\xd8\xff\xe0\0\x10JFIF\0", 3 << 30),
    "sparse.heic": lambda path: sparse(path, b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", 3 << 30),
    "sparse.pdf": lambda path: sparse(path, b"%PDF-1.7\n", 3 << 30),
    "sparse.mp3": lambda path: sparse(path, b"ID3\4\0\0\0\0\0\0\xff\xfb\x90\xc4", 200 << 20),
    "duration.mp4": lambda path: patched(
        path, ".mp4", (b"mvhd", 20, b"\x7f" + MAXIMUM[1:]), (b"tkhd", 24, b"\x7f" + MAXIMUM[1:])
    ),
    "frames.mp4": lambda path: patched(path, ".mp4", (b"stts", 8, MAXIMUM)),
    "steps.mp4": lambda path: patched(path, ".mp4", (b"stts", 16, b"\x7f\xff\xff\xff")),
    "sizes.mp4": lambda path: patched(path, ".mp4", (b"stsz", 12, MAXIMUM)),
    "chunks.mp4": lambda path: patched(path, ".mp4", (b"stsc", 8, MAXIMUM)),
    "picture.mp4": lambda path: patched(path, ".mp4", (b"avc1", 28, MAXIMUM), (b"tkhd", 80, MAXIMUM * 2)),
    "scale.mp4": lambda path: patched(path, ".mp4", (b"mdhd", 16, b"\0\0\0\1")),
    "noscale.mp4": lambda path: patched(path, ".mp4", (b"mdhd", 16, bytes(4)), (b"mvhd", 16, bytes(4))),
    "samples.flac": lambda path: patched(path, ".flac", (b"fLaC", 21, b"\x0f" + MAXIMUM)),
    "rate.avi": lambda path: patched(path, ".avi", (b"vids", 20, bytes(4) + MAXIMUM)),
    "lossless.webp": lambda path: path.write_bytes(
        b"RIFF\x20\0\0\0WEBPVP8L\x14\0\0\0\x2f\xff\xff\xff\x0f" + bytes(16)
    ),
    "stated.jp2": lambda path: patched(path, ".jp2", (b"ihdr", 4, b"\0\x0f\xff\xff\0\x0f\xff\xff")),
    "stated.avif": lambda path: patched(path, ".avif", (b"ispe", 8, b"\0\x0f\xff\xff\0\x0f\xff\xff")),
    "stated.heic": lambda path: patched(path, ".heic", (b"ispe", 8, b"\0\x0f\xff\xff\0\x0f\xff\xff")),
    "stated.jpg": lambda path: patched(path, ".jpg", (b"\xff\xc0", 5, MAXIMUM)),
    "scans.jpg": lambda path: path.write_bytes(scans()),
}


def scans() -> bytes:
    """A progressive JPEG of 25 million pixels that repeats one empty scan 2,000 times."""
    out = io.BytesIO()
    Image.new("L", (5000, 5000), 128).save(out, format="JPEG", progressive=True, quality=20)
    data = out.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * min(2000, (4 << 20) // (len(data) - last)) + b"\xff\xd9"


SLOW = frozenset(
    (
        *("dense.png", "ztxt.png", "itxt.png", "iccp.png", "scans.jpg", "sparse.jpg", "paths.svg"),
        *("pressed.pdf", "layers.pdf", "repeated.pdf", "sparse.pdf", "lines.docx", "letters.docx"),
        *("word.txt", "marks.txt", "lines.txt", "frames.mp3", "sparse.mp3", "sparse.wav"),
    )
)
LIMITED = frozenset(["layers.pdf", "pressed.pdf", "scans.jpg", "sparse.jpg", "sparse.pdf"])
"""What no reader can tell from a sound file beforehand, so that the limits of time and memory end it (PDFium
aborts where it gets no more memory), and the reason that is then given."""


def write_bomb(folder: Path, name: str) -> Path:
    path = folder / name
    if name in BYTES:
        path.write_bytes(BYTES[name]())
    else:
        FILES[name](path)
    return path


NAMES = (*BYTES, *FILES)
