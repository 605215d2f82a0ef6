"""Boxes of the ISO base media family (ISO 14496-12 4.2): JPEG 2000, JPEG XL and HEIF are made of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

MOST_BOXES = 10_000


class Box(NamedTuple):
    """`kind` is its four-character code; its contents are bytes [start, end) of the file."""

    kind: bytes
    start: int
    end: int


def boxes(file: BinaryIO, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """The boxes between two places of a file, in order; ends quietly where they make no sense.

    A box that states more than there is ends with the file, so no size is to be believed further.
    """
    size = file.seek(0, 2)
    end = size if end is None else min(end, size)
    for _ in range(MOST_BOXES):
        file.seek(start)
        head = file.read(16)
        if start + 8 > end or len(head) < 8:
            return
        length, kind, header = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1 and len(head) == 16:
            length, header = int.from_bytes(head[8:16], "big"), 16
        elif length == 0:  # to the end of the file
            length = end - start
        if length < header:
            return
        yield Box(kind, start + header, min(start + length, end))
        start += length


def contents(file: BinaryIO, box: Box, most: int) -> bytes:
    """What a box holds, empty where that is more than `most` bytes."""
    if box.end - box.start > most:
        return b""
    file.seek(box.start)
    return file.read(box.end - box.start)
