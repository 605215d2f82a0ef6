"""Read Qt's compiled resource files (.rcc), as educational programs ship their pictures in them.

The layout is that of Qt's resource compiler: a header `qres`, version and three offsets, then a
tree of nodes, their names in UTF-16 and the files' bytes, each behind its length.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

_COMPRESSED, _FOLDER = 1, 2


def files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Every (path inside, bytes) of a resource file; zlib parts are unpacked, zstd parts skipped."""
    blob = path.read_bytes()
    if blob[:4] != b"qres":
        raise ValueError(f"{path} is no Qt resource file")
    version, tree, data, names = struct.unpack(">IIII", blob[4:20])
    node_size = 22 if version >= 2 else 14

    def name(offset: int) -> str:
        (length,) = struct.unpack_from(">H", blob, names + offset)
        start = names + offset + 6
        return blob[start : start + 2 * length].decode("utf-16-be")

    def walk(index: int, prefix: str) -> Iterator[tuple[str, bytes]]:
        at = tree + index * node_size
        name_at, flags = struct.unpack_from(">IH", blob, at)
        here = f"{prefix}/{name(name_at)}" if index else ""
        if flags & _FOLDER:
            count, first = struct.unpack_from(">II", blob, at + 6)
            for child in range(first, first + count):
                yield from walk(child, here)
            return
        (offset,) = struct.unpack_from(">I", blob, at + 10)
        (length,) = struct.unpack_from(">I", blob, data + offset)
        content = blob[data + offset + 4 : data + offset + 4 + length]
        if flags & _COMPRESSED:
            content = zlib.decompress(content[4:])
        elif flags & ~(_COMPRESSED | _FOLDER):
            return
        yield here.lstrip("/"), content

    return walk(0, "")
