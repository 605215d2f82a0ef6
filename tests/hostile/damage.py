"""Files that mean harm or have come to it: every format, written by its real encoder and then damaged.

mutated(folder, 0)      one file for each format and kind of damage, always the same for a seed
bombs(folder)           small files that ask for much memory or time
"""

from __future__ import annotations

import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from multimodal.readers import EXTENSIONS
from tests import media

NOT_WRITTEN = frozenset([".arw", ".cr2", ".cr3", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw"])
"""Raw files of camera brands, which only cameras write; .dng stands for them."""
FORMATS = tuple(sorted(EXTENSIONS.keys() - NOT_WRITTEN))

Mutator = Callable[[bytes, random.Random], bytes]


@lru_cache(maxsize=1)
def originals() -> Mapping[str, bytes]:
    """A small sound file of each format, by extension. Raises ValueError for one that has no encoder."""
    with TemporaryDirectory() as folder:
        return {name: media.write(Path(folder) / f"a{name}").read_bytes() for name in FORMATS}


def flip(data: bytes, rng: random.Random) -> bytes:
    """Single bits, one in 8,000 and at least four."""
    damaged = bytearray(data)
    for _ in range(max(4, len(data) // 1000)):
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def flip_head(data: bytes, rng: random.Random) -> bytes:
    """Bytes among the first 256 behind the signature, where sizes and counts stand."""
    damaged = bytearray(data)
    for _ in range(4):
        damaged[rng.randrange(min(8, len(data) - 1), min(256, len(data)))] = rng.randrange(256)
    return bytes(damaged)


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(1, len(data))]


def cut_end(data: bytes, rng: random.Random) -> bytes:
    return data[: -rng.randrange(1, max(2, len(data) // 10))]


def zeroed(data: bytes, rng: random.Random) -> bytes:
    begin = rng.randrange(len(data))
    length = min(len(data) - begin, rng.randrange(1, max(2, len(data) // 4)))
    return data[:begin] + bytes(length) + data[begin + length :]


def doubled(data: bytes, rng: random.Random) -> bytes:
    begin, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:end] + data[begin:]


def dropped(data: bytes, rng: random.Random) -> bytes:
    begin = rng.randrange(len(data))
    return data[:begin] + data[begin + rng.randrange(1, max(2, len(data) // 8)) :]


def huge(data: bytes, rng: random.Random) -> bytes:
    """A field of four bytes says as much as it can."""
    place = rng.randrange(0, max(1, min(len(data), 512) - 4), 2)
    value = rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80"])
    return data[:place] + value + data[place + 4 :]


def tailed(data: bytes, rng: random.Random) -> bytes:
    return data + rng.randbytes(4096)


def headed(data: bytes, rng: random.Random) -> bytes:
    """The beginning of another format before the rest of this one."""
    other = originals()[rng.choice(FORMATS)]
    length = rng.choice([4, 16, 64, 512])
    return other[:length] + data[length:]


MUTATORS: Mapping[str, Mutator] = {
    made.__name__: made
    for made in (flip, flip_head, cut, cut_end, zeroed, doubled, dropped, huge, tailed, headed)
}


def mutated(folder: Path, seed: int, kinds: tuple[str, ...] = tuple(MUTATORS)) -> Iterator[Path]:
    """Writes each format with each kind of damage, and once whole under the name of another."""
    for number, (suffix, data) in enumerate(originals().items()):
        for kind in kinds:
            rng = random.Random(f"{seed} {suffix} {kind}")
            path = folder / f"{suffix[1:]}-{kind}-{seed}{suffix}"
            path.write_bytes(MUTATORS[kind](data, rng))
            yield path
        other = FORMATS[(number + 7 + seed) % len(FORMATS)]
        path = folder / f"{suffix[1:]}-named-{seed}{other}"
        path.write_bytes(data)
        yield path


def bombs(folder: Path) -> Iterator[Path]:
    """Small files that state, or unpack to, far more than they hold."""
    for name, data in _bombs():
        path = folder / name
        path.write_bytes(data)
        yield path
    archive = folder / "bomb.docx"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("[Content_Types].xml", "<Types/>")
        packed.writestr("word/document.xml", "<w>" + " " * 300_000_000)
    yield archive
    sparse = folder / "sparse.txt"
    with sparse.open("wb") as file:
        file.write(b"words and words\n")
        file.truncate(3 << 30)
    yield sparse


def _bombs() -> Iterator[tuple[str, bytes]]:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packed = zlib.compress(bytes(200_000_000), 9)
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    yield "bomb.png", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed)
    yield (
        "text.png",
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
        + chunk(b"zTXt", b"Comment\0\0" + packed)
        + chunk(b"IDAT", zlib.compress(b"\0\0"))
        + chunk(b"IEND", b""),
    )
    yield (
        "bomb.gif",
        b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff," + bytes(4) + b"\xff\xff\xff\xff\0\x02",
    )
    yield (
        "bomb.bmp",
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 70, 0, 0, 54, 40, 65_000, 65_000, 1, 24, 0, 0, 0, 0, 0, 0),
    )
    yield "bomb.psd", b"8BPS\0\x01" + bytes(6) + struct.pack(">HIIHH", 56, 30_000, 30_000, 16, 3) + bytes(14)
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    yield (
        "laughs.svg",
        (
            f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a0 "ha">{entities}]>'
            '<svg xmlns="http://www.w3.org/2000/svg"><text>&a11;</text></svg>'
        ).encode(),
    )
    size = b'width="9e9" height="9e9"'
    yield "giant.svg", b'<svg xmlns="http://www.w3.org/2000/svg" %s><rect %s/></svg>' % (size, size)
    form = b"fmt \x10\0\0\0\x01\0" + b"\xff" * 10 + b"\x04\0\x20\0"
    yield "four-gigabytes.wav", b"RIFF\xff\xff\xff\xffWAVE" + form + b"data\xff\xff\xff\xff" + bytes(999)
    loop = b"II*\0\x08\0\0\0\x01\0\x00\x01\x03\0\x01\0\0\0\xff\xff\0\0\x08\0\0\0"
    yield "loop.tiff", loop
    yield "deep.jsonl", b'{"caption": ' + b"[" * 500_000 + b"\n"
    yield "deep.html", b"<html>" + b"<div>" * 300_000 + b"words"
    yield "line.csv", b"caption,other\n" + b'"' + b"a" * 30_000_000
    yield "line.md", b"[" * 1_000_000
    yield "cue.srt", b"1\n99999999:99:99,999 --> 00:00:00,000\nwords\n" * 2000
    pages = b"<</Type/Pages/Kids[2 0 R]/Count 99999999>>"
    page = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj" + pages
    page += b"endobj\ntrailer<</Root 1 0 R>>"
    yield "loop.pdf", page
    yield "deep.json", json.dumps({"a": 1}).encode() + b"{" * 100_000
