"""Pictures turned upright, as the Exif orientation of their files says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multimodal.readers.openers import quiet

if TYPE_CHECKING:
    from PIL.Image import Image

SIDEWAYS = (5, 6, 7, 8)
"""The orientations that swap width and height."""


def orientation(source: Image) -> int | None:
    """The Exif orientation (1 to 8) a picture's file states, None where it states none or is damaged."""
    try:
        with quiet():
            stated = source.getexif().get(0x0112)
    except Exception:  # whatever a damaged tag raises, the picture itself is there
        return None
    return stated if isinstance(stated, int) and 1 <= stated <= 8 else None


def turned(picture: Image, stated: int | None) -> Image:
    """`picture` turned upright from how it is stored by an Exif orientation; None and 1 leave it."""
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
    return picture.transpose(turns[stated]) if stated in turns else picture
