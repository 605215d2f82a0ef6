"""Files inside the archives that games ship: zip, Qt resources, OpenClonk groups, OpenTTD sound sets."""

from __future__ import annotations

import gzip
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

C4_HEADER = 204
C4_ENTRY = 316


def members(archive: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """(name with forward slashes, content) of the files in `archive` whose name ends with a suffix.

    Takes `.zip`/`.wz`/`.pk3`, Qt `.rcc`, OpenClonk `.ocg`/`.ocd`/`.ocf`/`.ocs` and OpenTTD `.cat`.
    Raises ValueError for another kind.
    """
    kind = archive.suffix.lower()
    if kind in {".zip", ".wz", ".pk3"}:
        found = _zip(archive, suffixes)
    elif kind == ".rcc":
        found = _rcc(archive.read_bytes())
    elif kind in {".ocg", ".ocd", ".ocf", ".ocs"}:
        found = _c4_group(_c4_unpack(archive.read_bytes()))
    elif kind == ".cat":
        found = _cat(archive.read_bytes())
    else:
        raise ValueError(f"{archive} is no archive known here")
    return ((name, content) for name, content in found if name.lower().endswith(suffixes))


def _zip(archive: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(archive) as opened:
        for name in opened.namelist():
            if name.lower().endswith(suffixes):
                yield name, opened.read(name)


def _rcc(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Qt's binary resources: a tree of 14 (22 from version 2 on) byte nodes, names in UTF-16, data blocks."""
    magic, version, tree, blocks, names = struct.unpack_from(">4sIIII", data)
    if magic != b"qres":
        raise ValueError("not a Qt resource file")
    size = 14 if version < 2 else 22

    def walk(node: int, prefix: str) -> Iterator[tuple[str, bytes]]:
        at = tree + node * size
        name_at, flags = struct.unpack_from(">IH", data, at)
        length = struct.unpack_from(">H", data, names + name_at)[0]
        name = data[names + name_at + 6 : names + name_at + 6 + 2 * length].decode("utf-16-be")
        path = f"{prefix}{name}"
        if flags & 2:
            count, first = struct.unpack_from(">II", data, at + 6)
            for child in range(first, first + count):
                yield from walk(child, f"{path}/" if node else "")
        else:
            offset = blocks + struct.unpack_from(">I", data, at + 10)[0]
            length = struct.unpack_from(">I", data, offset)[0]
            content = data[offset + 4 : offset + 4 + length]
            if not flags & 4:  # flag 4 is zstd, which sounds are never packed with
                yield path, zlib.decompress(content[4:]) if flags & 1 else content

    return walk(0, "")


def _c4_unpack(data: bytes) -> bytes:
    """A packed group is gzip whose two magic bytes are swapped for 1E 8C."""
    return gzip.decompress(b"\x1f\x8b" + data[2:]) if data[:2] == b"\x1e\x8c" else data


def _c4_group(data: bytes) -> Iterator[tuple[str, bytes]]:
    """OpenClonk's C4Group: a scrambled header of 204 bytes, entries of 316 bytes, then the contents."""
    header = bytearray(byte ^ 237 for byte in data[:C4_HEADER])
    for i in range(0, C4_HEADER - 2, 3):
        header[i], header[i + 2] = header[i + 2], header[i]
    if not header.startswith(b"RedWolf Design GrpFolder"):
        raise ValueError("not an OpenClonk group")
    count = struct.unpack_from("<I", header, 36)[0]
    start = C4_HEADER + count * C4_ENTRY
    for i in range(count):
        entry = data[C4_HEADER + i * C4_ENTRY : C4_HEADER + (i + 1) * C4_ENTRY]
        name = entry[:260].split(b"\0")[0].decode("latin-1")
        _, child, size, _, offset = struct.unpack_from("<IIIII", entry, 260)
        content = data[start + offset : start + offset + size]
        if child:
            for inner, inside in _c4_group(_c4_unpack(content)):
                yield f"{name}/{inner}", inside
        else:
            yield name, content


def _cat(data: bytes) -> Iterator[tuple[str, bytes]]:
    """OpenTTD's sound set: pairs (offset, size), each sound preceded by its name, length first."""
    first = struct.unpack_from("<I", data)[0] & 0x7FFFFFFF
    for at in range(0, first, 8):
        offset, size = struct.unpack_from("<II", data, at)
        offset &= 0x7FFFFFFF
        length = data[offset]
        name = data[offset + 1 : offset + 1 + length].split(b"\0")[0].decode("latin-1")
        content = data[offset + 1 + length : offset + 1 + length + size]
        if content.startswith(b"RIFF"):
            yield f"{at // 8:02d} {name.replace('/', ' ')}.wav", content
