"""Pictures through Pillow: upright, RGB, on white; animated ones as video."""

from __future__ import annotations

import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal.errors import ReadError
from multimodal.readers.base import readable
from multimodal.readers.sniff import read_head, sniff
from multimodal.types import Modality, ReadOptions, Segment

if TYPE_CHECKING:
    from PIL.Image import Image

    from multimodal.readers.clips import Look

_PLUGINS = {
    "jpeg": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "png": ("PIL.PngImagePlugin", "PngImageFile"),
    "webp": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "gif": ("PIL.GifImagePlugin", "GifImageFile"),
    "bmp": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "tiff": ("PIL.TiffImagePlugin", "TiffImageFile"),
}
"""Kind of content -> the one Pillow class that may read it: never another by mistake."""

MAX_PIXELS = 89_478_485
"""Most pixels that are decoded, Pillow's own limit against decompression bombs (256 MiB in RGB)."""
MAX_SCALED_PIXELS = 3 * MAX_PIXELS
"""The same for a JPEG that is decoded at a fraction of its size: room for a phone's 200 megapixels."""

BACKGROUND = (255, 255, 255)
"""What shows through where a picture is transparent."""

SHORTEST_FRAME, DEFAULT_FRAME = 0.011, 0.1
"""Seconds. Browsers show a frame of an animation that asks for less than the first for the second."""


class ImageReader:
    """Still pictures, and animated gif, webp and png, which become video segments.

    A still gives one segment without times: an RGB picture, fully loaded, turned as its Exif
    orientation says, transparency flattened on white. Deeper than 8 bits is scaled to 8: 16-bit
    integers by their full range, 32-bit integers and floats beyond it by their own least and greatest.
    With `options.min_side` the picture may come smaller, its shorter side at least twice that, by a
    whole factor: a JPEG is then decoded at that size, which is several times faster. Of a TIFF with
    many pages or an MPO with many views, the first is read.

    Raises ReadError for a picture that is truncated, damaged, too large, or none at all.
    """

    modality: Modality = "image"
    yields: tuple[Modality, ...] = ("image", "video", "text")
    noun = "a picture"
    extensions = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
    kinds = tuple(_PLUGINS)

    def read(self, path: Path, options: ReadOptions = ReadOptions()) -> Iterator[Segment]:  # noqa: B008
        kind = sniff(read_head(path))
        if kind not in _PLUGINS:
            looks = f"looks like {kind}" if kind else "is of no known kind"
            raise ReadError(f"not a picture: its content {looks}")
        with readable(), path.open("rb") as file, _pillow_errors():
            module, name = _PLUGINS[kind]
            with _quiet():
                image = getattr(import_module(module), name)(file)
            _check_size(image, MAX_SCALED_PIXELS if kind == "jpeg" and options.min_side else MAX_PIXELS)
            if kind in ("gif", "webp", "png") and getattr(image, "n_frames", 1) > 1:
                from multimodal.readers.clips import segments

                yield from segments(_looks(image, options.min_side), path, options)
                return
            picture = _still(image, kind, options.min_side)
        yield Segment("image", picture, path)


def _still(image: Any, kind: str, min_side: int | None) -> Image:
    if kind == "jpeg" and min_side:
        factor = _factor(image.size, min_side)
        image.draft(None, (image.width // factor, image.height // factor))  # its scale is 1, 2, 4 or 8
        _check_size(image, MAX_PIXELS)
    with _quiet() if kind == "tiff" else nullcontext():
        image.load()
    return reduced(upright(to_rgb(image), image), min_side)


def _check_size(image: Any, most: int) -> None:
    if min(image.size) < 1:
        raise ReadError("the picture has no pixels")
    if image.width * image.height > most:
        raise ReadError(
            f"the picture is too large to decode safely: {image.width} x {image.height} pixels,"
            f" more than {most // 1_000_000} million"
        )


def _factor(size: tuple[int, int], min_side: int) -> int:
    """The whole factor a picture may shrink by: its shorter side stays at least twice `min_side`."""
    return max(1, min(size) // (2 * min_side))


def reduced(image: Image, min_side: int | None) -> Image:
    """The picture averaged down by a whole factor, its shorter side at least twice `min_side`."""
    factor = _factor(image.size, min_side) if min_side else 1
    return image.reduce(factor) if factor > 1 else image


def to_rgb(image: Image) -> Image:
    """A loaded picture of any mode as a new RGB one, on a white background."""
    from PIL import Image as pil

    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return pil.fromarray(_to_8_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data or image.mode in ("PA", "La", "RGBa"):
        rgba = image.convert("RGBA")
        flat = pil.new("RGB", image.size, BACKGROUND)
        flat.paste(rgba, mask=rgba.getchannel("A"))
        return flat
    if image.mode == "LAB":
        from PIL import ImageCms

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert converted is not None  # None only where it works in place
        return converted
    flat = image.convert("RGB")
    flat.info = {}
    return flat


def _to_8_bits(values: Any) -> Any:
    """Grey levels (h, w) of any integer or float type as uint8."""
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return (values >> 8).astype(np.uint8)
    strips = [values[top : top + 256] for top in range(0, len(values), 256)]  # 64 bits of each at a time
    low = min(float(_finite(strip).min()) for strip in strips)
    high = max(float(_finite(strip).max()) for strip in strips)
    if low >= 0 and high <= 65_535 and np.issubdtype(values.dtype, np.integer):
        low, high = 0.0, 65_535.0 if high > 255 else 255.0
    elif low >= 0 and high <= 255 and high > 1:
        low, high = 0.0, 255.0
    elif low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    scale = 255.0 / (high - low or 1.0)
    return np.concatenate([np.rint((_finite(strip) - low) * scale).astype(np.uint8) for strip in strips])


def _finite(values: Any) -> Any:
    return np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)


def upright(picture: Image, source: Image) -> Image:
    """`picture` turned as the Exif orientation of the `source` it was made from says (1 where damaged)."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        with _quiet():
            turn = turns.get(source.getexif().get(0x0112, 1))
    except Exception:  # whatever a damaged tag raises, the picture itself is there
        turn = None
    return picture if turn is None else picture.transpose(turn)


def _looks(image: Any, min_side: int | None) -> Iterator[Look]:
    """The frames of an animation with their times; ends early where the file does, after its first frame."""
    from multimodal.readers.clips import Look, shrink

    time = 0.0
    # An APNG may begin with a still for programs that know no animation: no part of it.
    first = 1 if getattr(image, "default_image", False) else 0
    for index in range(first, image.n_frames):
        try:
            image.seek(index)
            image.load()
            picture = reduced(to_rgb(image), min_side)
        except (OSError, EOFError, SyntaxError, ValueError):
            if index == first:
                raise
            return
        duration = float(image.info.get("duration", 0)) / 1000
        duration = duration if duration >= SHORTEST_FRAME else DEFAULT_FRAME
        planes = np.asarray(picture.resize((64, 64), 2).convert("YCbCr")).transpose(2, 0, 1)
        yield Look(time, duration, shrink(np.ascontiguousarray(planes)), partial(_same, picture))
        time += duration


_WARNINGS = threading.RLock()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Pillow's remarks on odd tags off a user's terminal: what matters raises.

    The filters of `warnings` belong to the whole process, hence the lock: held for headers and tags,
    and while a TIFF is decoded.
    """
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _same(picture: Image) -> Image:
    return picture


@contextmanager
def _pillow_errors() -> Iterator[None]:
    """What Pillow's plugins raise on bad content, in words for the person who has the file."""
    from PIL.Image import DecompressionBombError

    try:
        yield
    except ReadError:
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
        raise ReadError(f"the picture is damaged: {_plain(error)}") from error
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError) as error:
        raise ReadError("the picture is damaged") from error
    except (struct.error, zlib.error) as error:
        raise ReadError("the picture is damaged") from error


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or "its data make no sense"
