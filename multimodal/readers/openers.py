"""Picture files opened by the one decoder that may read them, checked before anything large is allocated."""

from __future__ import annotations

import os
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from io import BytesIO
from math import ceil
from typing import Any, BinaryIO

from multimodal.errors import ReadError, UnsupportedFile
from multimodal.readers import psd
from multimodal.readers.boxes import boxes
from multimodal.readers.colour import ENOUGH, whole_factor

PLUGINS = {
    "jpeg": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "png": ("PIL.PngImagePlugin", "PngImageFile"),
    "webp": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "gif": ("PIL.GifImagePlugin", "GifImageFile"),
    "bmp": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "tiff": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "avif": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "jp2": ("PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    "psd": ("PIL.PsdImagePlugin", "PsdImageFile"),
    "ico": ("PIL.IcoImagePlugin", "IcoFile"),
    "cur": ("PIL.CurImagePlugin", "CurImageFile"),
    "heic": ("pillow_heif", "HeifImageFile"),
    "jxl": ("pillow_jxl.JpegXLImagePlugin", "JXLImageFile"),
}
"""Kind of content -> the one class that may read it: never another by mistake."""

_CODECS = {"webp": "webp", "avif": "avif", "jp2": "jpg_2000"}
"""What a Pillow may have been built without, as `PIL.features` names it."""

MAX_PIXELS = 89_478_485
"""Most pixels that are decoded, Pillow's own limit against decompression bombs (256 MiB in RGB)."""
MAX_SCALED_PIXELS = 3 * MAX_PIXELS
"""The same for what is decoded at a fraction of its size: room for a phone's 200 megapixels."""
MAX_ICON = 4096 * 4096
"""The same for an icon, whose frames are allocated as their headers state."""

MAX_FILE = 2**30
"""Bytes of a file that its decoder takes whole; the largest raw files of cameras have half as many."""

_THREADS = {"avif": "DEFAULT_MAX_THREADS", "jxl": "DECODE_THREADS"}
"""Module-wide options that decoders read when a file is opened; by default a thread for each core."""
DECODE_THREADS = min(4, os.cpu_count() or 1)


def open_picture(kind: str, file: BinaryIO, min_side: int | None) -> Any:
    """A Pillow image of `kind`, which is not decoded before `load` unless its decoder knows no other way.

    Where the codec can, it will decode at a fraction of the size, the shorter side at least ENOUGH times
    `min_side`. Of an icon this is its largest picture, of an animation or a file with pages its first.
    Raises ReadError for a picture that is too large; what the decoders raise on damage goes through.
    """
    if kind in ("avif", "heic", "jxl"):
        file = BytesIO(read_whole(file))
    if kind == "ico":
        return _largest_icon(file)
    if kind == "jxl":
        check_size(_jxl_size(file))
    elif kind == "psd":
        return _photoshop(file)
    _check_codec(kind)
    module, name = PLUGINS[kind]
    with quiet(), _few_threads(kind, import_module(module)):
        file.seek(0)
        image = getattr(import_module(module), name)(file)
    if min_side and kind == "jpeg":
        check_size(image.size, MAX_SCALED_PIXELS)
        factor = whole_factor(image.size, min_side)
        image.draft(None, (image.width // factor, image.height // factor))  # its scale is 1, 2, 4 or 8
    elif min_side and kind == "heic":
        share = ENOUGH * min_side / max(1, min(image.size))
        if share < 1:  # a thumbnail inside that is large enough
            image.draft(None, (ceil(image.width * share), ceil(image.height * share)))
    elif min_side and kind == "jp2":
        check_size(image.size, MAX_SCALED_PIXELS)
        halvings = min(whole_factor(image.size, min_side).bit_length() - 1, _jp2_levels(file))
        image.reduce = halvings
        check_size((image.width >> halvings, image.height >> halvings))
        return image
    check_size(image.size)
    return image


def read_whole(file: BinaryIO) -> bytes:
    """All bytes of a file. Raises ReadError above MAX_FILE."""
    if file.seek(0, 2) > MAX_FILE:
        raise ReadError(f"the picture is larger than {MAX_FILE // 2**20} MB")
    file.seek(0)
    return file.read()


def check_size(size: tuple[int, int], most: int = MAX_PIXELS) -> None:
    """Raises ReadError for a picture (width, height) without pixels or with more than `most`."""
    width, height = size
    if min(width, height) < 1:
        raise ReadError("the picture has no pixels")
    if width * height > most:
        raise ReadError(
            f"the picture is too large to decode safely: {width} x {height} pixels,"
            f" more than {most // 1_000_000} million"
        )


def _check_codec(kind: str) -> None:
    from PIL import features

    if kind in _CODECS and not features.check(_CODECS[kind]):
        raise UnsupportedFile(f"this Pillow was built without {_CODECS[kind].replace('_', ' ')}")


def _photoshop(file: BinaryIO) -> Any:
    head = psd.header(file)
    check_size((head.width, head.height))
    psd.check_flattened(file)
    if head.bits == 32:
        raise ReadError("a Photoshop file of 32 bits a channel is not read")
    if head.bits == 16:
        return psd.deep(file)
    keeps_alpha = psd.transparent(file)
    file.seek(0)
    module, name = PLUGINS["psd"]
    image = getattr(import_module(module), name)(file)
    if image.mode == "RGBA" and not keeps_alpha:
        flat = image.convert("RGB")
        flat.info = dict(image.info)
        return flat
    return image


def _largest_icon(file: BinaryIO) -> Any:
    module, name = PLUGINS["ico"]
    file.seek(0)
    icons = getattr(import_module(module), name)(file)
    index = max(range(len(icons.entry)), key=lambda i: (icons.entry[i].square, icons.entry[i].bpp))
    file.seek(icons.entry[index].offset)
    head = file.read(24)
    if len(head) < 24:
        raise ReadError("the picture is truncated")
    png = head.startswith(b"\x89PNG")
    check_size(struct.unpack(">II", head[16:24]) if png else struct.unpack("<II", head[4:12]), MAX_ICON)
    return icons.frame(index)


def _jxl_size(file: BinaryIO) -> tuple[int, int]:
    """The size that the codestream of a JPEG XL file states (ISO 18181-1, SizeHeader)."""
    file.seek(0)
    head = file.read(32)
    if not head.startswith(b"\xff\x0a"):
        head = b""
        for box in boxes(file):
            if box.kind in (b"jxlc", b"jxlp") and len(head) < 16:  # it may come in pieces, each numbered
                file.seek(box.start + (4 if box.kind == b"jxlp" else 0))
                head += file.read(min(32, max(0, box.end - file.tell())))
    if not head.startswith(b"\xff\x0a") or len(head) < 4:
        raise ReadError("the picture is truncated")
    bits = int.from_bytes(head[2:], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & (1 << count) - 1
        bits >>= count
        return value

    small = take(1)

    def side() -> int:
        return 8 * (take(5) + 1) if small else take((9, 13, 18, 30)[take(2)]) + 1

    height = side()
    wide, high = ((0, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[take(3)]
    return height * wide // high if wide else side(), height


def _jp2_levels(file: BinaryIO) -> int:
    """How often a JPEG 2000 picture can be halved while it is decoded (ISO 15444-1 A.6.1, A.6.2)."""
    start = next((box.start for box in boxes(file) if box.kind == b"jp2c"), 0)
    file.seek(start + 2)
    levels = []
    for _ in range(20_000):  # a component each may have its own marker
        marker, length = file.read(2), int.from_bytes(file.read(2), "big")
        if marker[:1] != b"\xff" or marker == b"\xff\x90" or length < 2:
            break
        data = file.read(length - 2)
        if marker in (b"\xff\x52", b"\xff\x53"):  # COD, COC
            at = 5 if marker == b"\xff\x52" else 2
            levels.append(data[at] if len(data) > at else 0)
    return min(levels, default=0)


@contextmanager
def _few_threads(kind: str, module: Any) -> Iterator[None]:
    option = _THREADS.get(kind)
    before = getattr(module, option, None) if option else None
    if option is None or before is None:
        yield
        return
    setattr(module, option, DECODE_THREADS)
    try:
        yield
    finally:
        setattr(module, option, before)


_WARNINGS = threading.RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps Pillow's remarks on odd tags off a user's terminal: what matters raises.

    The filters of `warnings` belong to the whole process, hence the lock: held for headers and tags,
    and while a TIFF is decoded.
    """
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def decoder_errors() -> Iterator[None]:
    """What decoders of pictures raise on bad content, in words for the person who has the file."""
    from PIL.Image import DecompressionBombError

    try:
        yield
    except (ReadError, MemoryError):
        raise
    except DecompressionBombError as error:
        raise ReadError("the picture is too large to decode safely") from error
    except (OSError, EOFError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        if isinstance(error, EOFError) or "truncated" in str(error):
            raise ReadError("the picture is truncated") from error
        raise ReadError(f"the picture is damaged: {_plain(error)}") from error
    except (SyntaxError, ValueError) as error:
        if "unknown pixel mode" in str(error):
            raise ReadError("the picture is of a depth or colour mode that is not read") from error
        end = "end of file" in str(error)
        raise ReadError(f"the picture is {'truncated' if end else f'damaged: {_plain(error)}'}") from error
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise  # decoders written in Rust raise that, which is no Exception on purpose
        raise ReadError("the picture is damaged") from error


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or "its data make no sense"
