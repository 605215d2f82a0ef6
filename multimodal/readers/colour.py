"""Pictures of any mode, depth and colour space as 8-bit sRGB on white."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

BACKGROUND = (255, 255, 255)
"""What shows through where a picture is transparent."""

MAX_PROFILE = 8 * 2**20
"""Bytes of an ICC profile; those of presses have 0.5 to 3 MB. A longer one is ignored."""
SAME = 2
"""Levels. A profile that moves no colour of a grid by more than this is sRGB under whatever name."""

ENOUGH = 1.9
"""A picture may come with a shorter side of this many times `min_side`: whatever is resized from there is
the same to a cosine of 0.9995. A little less than 2 lets 24 megapixels be decoded at an eighth for 260."""

_AVERAGED = ("L", "RGB", "LA", "RGBA", "CMYK", "LAB", "YCbCr")
"""The modes whose values can be averaged as they stand."""


def reduced(image: Image, min_side: int | None) -> Image:
    """The picture averaged down by a whole factor, its shorter side at least ENOUGH times `min_side`."""
    factor = whole_factor(image.size, min_side)
    return image.reduce(factor) if factor > 1 else image


def whole_factor(size: tuple[int, int], min_side: int | None) -> int:
    """The whole factor a picture may shrink by: its shorter side stays at least ENOUGH times `min_side`."""
    return max(1, int(min(size) / (ENOUGH * min_side))) if min_side else 1


def to_srgb(image: Image, min_side: int | None = None) -> Image:
    """A loaded picture of any mode as a new 8-bit RGB one, reduced where `min_side` allows.

    Its ICC profile (`image.info`) is followed with perceptual intent; without one, or with one that is
    damaged, too long or of another colour space, RGB and grey count as sRGB and CMYK is converted plainly.
    Transparency is flattened on white. Deeper than 8 bits is scaled to 8: 16-bit integers by their full
    range, 32-bit integers and floats beyond it by their own least and greatest.
    """
    from PIL import Image as pil

    profile, given = image.info.get("icc_profile"), image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = _to_8_bits(np.asarray(image))
        image = pil.fromarray(values)
    elif image.mode not in _AVERAGED:
        image = image.convert("RGBA" if _transparent(image) else "RGB")
    elif image.mode in ("L", "RGB") and "transparency" in image.info:  # one colour that is not there
        image = image.convert("RGBA")
    image = reduced(image, min_side)
    alpha = image.getchannel("A") if image.mode in ("RGBA", "LA") else None
    if alpha is not None:
        image = image.convert("RGB" if image.mode == "RGBA" else "L")
    flat = _by_profile(image, profile)
    if alpha is not None:
        below = pil.new("RGB", flat.size, BACKGROUND)
        below.paste(flat, mask=alpha)
        flat = below
    flat = flat.copy() if flat is given else flat  # whose file is about to be closed
    flat.info = {}
    return flat


def _transparent(image: Image) -> bool:
    return image.has_transparency_data or image.mode in ("PA", "La", "RGBa")


def _by_profile(image: Image, profile: object) -> Image:
    """A picture of mode L, RGB, CMYK, LAB or YCbCr in sRGB."""
    if image.mode == "LAB":
        return _applied(_lab(), image)
    if isinstance(profile, bytes) and 128 <= len(profile) <= MAX_PROFILE:
        for mode in ("L", "RGB") if image.mode == "L" else (image.mode,):  # grey often carries an RGB profile
            follow = _followed(profile, mode)
            if follow is not None:
                return follow(image.convert(mode))
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=1)
def _lab() -> Any:
    from PIL import ImageCms

    return ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )


_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}


@lru_cache(maxsize=8)
def _followed(profile: bytes, mode: str) -> Callable[[Image], Image] | None:
    """What takes colours of `mode` to sRGB by a profile; None where there is nothing to follow."""
    from io import BytesIO

    from PIL import Image as pil
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if source.profile.xcolor_space.strip() != _SPACES.get(mode):
            return None
        # Left to optimise it, lcms puts 33 straight lines for a curve of greys: 10 levels off in the shadows.
        flags = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE
        transform = ImageCms.buildTransform(
            source, ImageCms.createProfile("sRGB"), mode, "RGB", ImageCms.Intent.PERCEPTUAL, flags
        )
        bands = 1 if mode == "L" else len(mode)
        steps = np.linspace(0, 255, 256 if bands == 1 else 6).astype(np.uint8)
        grid = np.stack(np.meshgrid(*[steps] * bands, indexing="ij"), -1)
        colours = pil.frombytes(mode, (grid.size // bands, 1), grid.tobytes())
        turned = _applied(transform, colours)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None
    seen = np.asarray(turned, np.int16)
    if np.abs(seen - np.asarray(colours.convert("RGB"), np.int16)).max() <= SAME:
        return None
    return partial(_looked_up, seen[0].T.tolist()) if bands == 1 else partial(_applied, transform)


def _applied(transform: Any, image: Image) -> Image:
    from PIL import ImageCms

    turned = ImageCms.applyTransform(image, transform)
    assert turned is not None  # None only where it works in place
    return turned


def _looked_up(tables: list[list[int]], grey: Image) -> Image:
    from PIL import Image as pil

    return pil.merge("RGB", [grey.point(table) for table in tables])


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
