"""Photoshop files: the flattened picture that stands behind the layers, and the resources before them.

Structure by Adobe's "Photoshop File Formats Specification" (2019). Pillow reads the flattened picture of 8
and 1 bits a channel; of 16 the upper half is taken here, for Photoshop's own editing keeps 15.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from multimodal.errors import ReadError

if TYPE_CHECKING:
    from PIL.Image import Image

IPTC, PROFILE, VERSION_INFO, XMP = 1028, 1039, 1057, 1060
_MODES = {1: ("L", 1), 3: ("RGB", 3), 4: ("CMYK", 4), 8: ("L", 1), 9: ("LAB", 3)}
MAX_RESOURCE = 16 * 2**20


class Header(NamedTuple):
    channels: int
    height: int
    width: int
    bits: int
    mode: int


def header(file: BinaryIO) -> Header:
    """The size and depth a Photoshop file states. Raises ReadError where it is damaged."""
    file.seek(12)
    data = file.read(14)
    if len(data) < 14:
        raise ReadError("the picture is truncated")
    return Header(*struct.unpack(">HIIHH", data))


def resources(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The image resources (id, data) of a Photoshop file, as far as they make sense; IPTC is one of them."""
    file.seek(26)
    file.seek(_length(file), 1)
    size = _length(file)
    end = file.tell() + size
    while file.tell() < end:
        head = file.read(7)
        if len(head) < 7 or head[:4] not in (b"8BIM", b"MeSa", b"AgHg", b"PHUT", b"DCSR"):
            return
        file.seek(head[6] | 1, 1)  # the name and its length take an even number of bytes
        size = _length(file)
        if size > min(MAX_RESOURCE, end - file.tell()):
            return
        yield struct.unpack(">H", head[4:6])[0], file.read(size)
        file.seek(size & 1, 1)


def _length(file: BinaryIO) -> int:
    data = file.read(4)
    return struct.unpack(">I", data)[0] if len(data) == 4 else 0


def check_flattened(file: BinaryIO) -> None:
    """Raises ReadError where the file says that its flattened picture is a blank one."""
    for number, data in resources(file):
        if number == VERSION_INFO and len(data) > 4 and not data[4]:
            raise ReadError(
                "the Photoshop file holds layers only: save it with 'Maximize Compatibility' to have it read"
            )


def transparent(file: BinaryIO) -> bool:
    """Whether a fourth channel is the transparency of the flattened picture, not a selection kept in it."""
    file.seek(26)
    for _ in range(2):
        file.seek(_length(file), 1)
    head = file.read(10)  # lengths of layers and masks, of layers; their number, negative where so
    return len(head) == 10 and struct.unpack(">iih", head)[2] < 0


def deep(file: BinaryIO) -> Image:
    """The flattened picture of a file of 16 bits a channel, in 8 bits, with its profile in `info`.

    Raises ReadError where it is truncated, damaged or of a colour mode without flattened colours.
    """
    from PIL import Image as pil
    from PIL import ImageChops

    head = header(file)
    mode, bands = _MODES.get(head.mode, ("", 0))
    if not mode or head.channels < bands:
        raise ReadError("the picture is damaged: it states an unknown colour mode")
    keeps_alpha = transparent(file)
    profile = next((data for number, data in resources(file) if number == PROFILE), None)
    file.seek(26)
    for _ in range(3):  # colour mode data, resources, layers
        file.seek(_length(file), 1)
    compression = file.read(2)
    if mode == "RGB" and head.channels > 3 and keeps_alpha:
        mode, bands = "RGBA", 4
    planes = [_plane(data, head) for data in _planes(file, compression, head, bands)]
    image = planes[0] if bands == 1 else pil.merge(mode, planes)
    if mode == "CMYK":
        image = ImageChops.invert(image)
    if profile:
        image.info["icc_profile"] = profile
    return image


def _planes(file: BinaryIO, compression: bytes, head: Header, bands: int) -> Iterator[tuple[str, bytes]]:
    """How each channel is packed, as Pillow names it, and its bytes."""
    if compression == b"\0\0":
        for _ in range(bands):
            yield "raw", file.read(2 * head.width * head.height)
    elif compression == b"\0\1":
        size = 2 * head.channels * head.height
        table = file.read(size)
        if len(table) < size:
            raise ReadError("the picture is truncated")
        lengths = struct.unpack(f">{head.channels * head.height}H", table)
        for band in range(bands):
            yield "packbits", file.read(sum(lengths[band * head.height : (band + 1) * head.height]))
    else:
        raise ReadError("the picture is truncated" if len(compression) < 2 else "the picture is damaged")


def _plane(packed: tuple[str, bytes], head: Header) -> Image:
    """One channel (height, width) of big-endian 16-bit values, their upper halves."""
    from PIL import Image as pil

    decoder, data = packed
    wide = pil.frombytes("L", (2 * head.width, head.height), data, decoder, "L")
    return pil.fromarray(np.ascontiguousarray(np.asarray(wide)[:, ::2]))
