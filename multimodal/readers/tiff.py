"""The directories of TIFF files, and of the camera raw files built like them, without their pictures.

TIFF 6.0, BigTIFF, TIFF/EP (ISO 12234-2) and DNG 1.7 agree on the structure: a chain of directories, each
a list of tags; a tag may lead to further directories beside the chain.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import ReadError

MAX_PAGES = 10_000
"""More directories than this are no document."""
MAX_VALUE = 2**20
"""Bytes of one tag; a longer one counts as absent."""

SUBFILE_TYPE, OLD_SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = (
    254,
    255,
    256,
    257,
    258,
    259,
    262,
)
STRIP_OFFSETS, STRIP_BYTES, TILE_OFFSETS, TILE_BYTES = 273, 279, 324, 325
SUB_DIRECTORIES, DNG_VERSION, TIFF_EP = 330, 50706, 37398

_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_SENSOR = (32803, 34892)
"""Photometric interpretations that only raw files have: colour filter array, linear raw."""
_MAGICS = {42: False, 43: True, 0x55: False, 0x4F52: False, 0x5352: False}  # BigTIFF or not; RW2; ORF twice


class Directory:
    """The tags of one directory; their values are read from the file when they are asked for."""

    def __init__(
        self, file: BinaryIO, order: str, big: bool, entries: Mapping[int, tuple[int, int, bytes]]
    ) -> None:
        self.file, self.order, self.big = file, order, big
        self._entries = entries  # tag -> type, how many of it, the value or where it is

    def __contains__(self, tag: int) -> bool:
        return tag in self._entries

    def raw(self, tag: int) -> bytes:
        """The bytes of a value, empty where it is absent, too long or outside of the file."""
        kind, count, value = self._entries.get(tag, (1, 0, b""))
        size = _SIZES[kind] * count
        if size <= len(value):
            return value[:size]
        if size > MAX_VALUE:
            return b""
        self.file.seek(min(int.from_bytes(value, "little" if self.order == "<" else "big"), 1 << 62))
        data = self.file.read(size)
        return data if len(data) == size else b""

    def integers(self, tag: int) -> NDArray[np.unsignedinteger]:
        """The values of a tag (n,), empty where it is absent or not of whole numbers."""
        kind = self._entries.get(tag, (0, 0, b""))[0]
        if kind not in _INTEGERS:
            return np.empty(0, np.uint8)
        return np.frombuffer(self.raw(tag), f"{self.order}{_INTEGERS[kind]}")

    def integer(self, tag: int, otherwise: int = 0) -> int:
        values = self.integers(tag)
        return int(values[0]) if len(values) else otherwise


def directories(file: BinaryIO, most: int = MAX_PAGES) -> Iterator[Directory]:
    """The chain of directories of a TIFF file, at most `most`; none where it is no TIFF.

    Ends where the chain leads out of the file or back to where it was.
    """
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 16:
        return
    big = _MAGICS.get(struct.unpack(f"{order}H", head[2:4])[0])
    if big is None:
        return
    at = struct.unpack(f"{order}Q", head[8:16])[0] if big else struct.unpack(f"{order}I", head[4:8])[0]
    seen: set[int] = set()
    while at and at not in seen and len(seen) < most:
        seen.add(at)
        found = _directory(file, at, order, big)
        if found is None:
            return
        directory, at = found
        yield directory


def below(directory: Directory) -> Iterator[Directory]:
    """The directories that a directory leads to (DNG and TIFF/EP: the sensor's data, previews)."""
    for at in directory.integers(SUB_DIRECTORIES)[:32]:
        found = _directory(directory.file, int(at), directory.order, directory.big)
        if found is not None:
            yield found[0]


def _directory(file: BinaryIO, at: int, order: str, big: bool) -> tuple[Directory, int] | None:
    """The directory at an offset and the offset of the next, None where the file holds none there."""
    head, entry, link = (
        struct.Struct(order + parts) for parts in (("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I"))
    )
    file.seek(min(at, 1 << 62))
    data = file.read(head.size)
    if len(data) < head.size:
        return None
    size = min(head.unpack(data)[0], 65_535) * entry.size
    data = file.read(size)
    entries = {
        tag: (kind, count, value)
        for tag, kind, count, value in entry.iter_unpack(data[: len(data) // entry.size * entry.size])
        if kind in _SIZES
    }
    rest = file.read(link.size) if len(data) == size else b""
    return Directory(file, order, big, entries), link.unpack(rest)[0] if len(rest) == link.size else 0


def is_raw(file: BinaryIO) -> bool:
    """Whether a TIFF holds what a camera's sensor saw: the picture in front is then a thumbnail."""
    for directory in directories(file, most=1):
        if DNG_VERSION in directory or TIFF_EP in directory:
            return True
        return any(one.integer(PHOTOMETRIC) in _SENSOR for one in (directory, *below(directory)))
    return False


def pages(file: BinaryIO) -> list[int]:
    """Which directories of a TIFF are its pages, counted from 0; the first where none says so.

    Left out are thumbnails, smaller copies and masks, and directories that show the same data as one
    before. Raises ReadError for more than MAX_PAGES and where the pages together claim several times the
    data there are: such files are made to exhaust.
    """
    found: list[int] = []
    shown: set[int] = set()
    number, claimed = 0, 0.0
    for number, directory in enumerate(directories(file, MAX_PAGES + 1), 1):
        data = hash(directory.raw(STRIP_OFFSETS) or directory.raw(TILE_OFFSETS))
        if _aside(directory) or data in shown:
            continue
        shown.add(data)
        claimed += _claims(directory)
        found.append(number - 1)
    if number > MAX_PAGES:
        raise ReadError(f"the picture has more than {MAX_PAGES:,} pages")
    if len(found) > 1 and claimed > 4 * file.seek(0, 2):
        raise ReadError("the picture is damaged: its pages claim more data than there are")
    return found or [0]


def _aside(directory: Directory) -> bool:
    kind = directory.integer(SUBFILE_TYPE)  # bit 0: a smaller copy of another, bit 2: its mask
    return bool(kind & 0b101) or directory.integer(OLD_SUBFILE_TYPE) == 2


def _claims(directory: Directory) -> float:
    """Bytes of picture data; decoders of uncompressed data go by the size of the picture."""
    stated = sum(directory.integers(tag).sum(dtype=np.float64) for tag in (STRIP_BYTES, TILE_BYTES))
    if directory.integer(COMPRESSION, 1) != 1:
        return stated
    bits = float(directory.integers(BITS).sum(dtype=np.float64)) or 1.0
    return max(stated, directory.integer(WIDTH) * directory.integer(HEIGHT) * bits / 8)
