"""Camera raw files through LibRaw: the camera's own preview where it is large enough, else developed.

Tested with DNG files made for it; the formats of the camera makers (CR2, CR3, NEF, ARW, ORF, RAF, RW2, PEF,
SRW) cannot be made without a camera, and are left to what LibRaw knows of them.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

from multimodal.errors import ReadError
from multimodal.readers.colour import ENOUGH, reduced, to_srgb
from multimodal.readers.openers import MAX_PIXELS, MAX_SCALED_PIXELS, check_size, open_picture, read_whole
from multimodal.readers.orientation import SIDEWAYS, orientation, turned

if TYPE_CHECKING:
    from PIL.Image import Image

WHOLE = 0.9
"""A preview is the whole picture with this share of the sensor's sides: cameras crop a little."""
_TURNS = {3: 3, 5: 8, 6: 6}
"""How LibRaw says that the sensor was held -> Exif orientation."""


def develop(file: BinaryIO, min_side: int | None) -> Image:
    """The picture of a raw file: RGB, upright, its shorter side at least 1.9 times `min_side` if it has that.

    The embedded preview is taken if it is that large; without `min_side` only one of the sensor's own
    size. Otherwise the sensor's data are developed with the camera's white balance into sRGB, at half the
    size where that is enough. Raises ReadError for a file that is truncated, damaged, too large or unknown
    to LibRaw.
    """
    import rawpy

    with rawpy.RawPy() as raw:
        try:
            raw.open_buffer(BytesIO(read_whole(file)))
            picture = _preview(raw, min_side)
            if picture is not None:
                return picture
            return _developed(raw, min_side)
        except rawpy.LibRawFileUnsupportedError as error:
            raise ReadError("the picture is damaged, or of a camera that LibRaw does not know") from error
        except (rawpy.LibRawIOError, rawpy.LibRawInputClosedError) as error:
            raise ReadError("the picture is truncated") from error
        except (rawpy.LibRawUnsufficientMemoryError, rawpy.LibRawTooBigError) as error:
            raise ReadError("the picture is too large to decode safely") from error
        except rawpy.LibRawError as error:
            raise ReadError("the picture is damaged") from error


def _developed(raw: Any, min_side: int | None) -> Image:
    from PIL import Image as pil

    sizes = raw.sizes
    half = min_side is not None and min(sizes.width, sizes.height) // 2 >= ENOUGH * min_side
    check_size((sizes.raw_width, sizes.raw_height), MAX_SCALED_PIXELS if half else MAX_PIXELS)
    # LibRaw turns the picture upright itself. Its own default curve is that of television, not sRGB's.
    values = raw.postprocess(use_camera_wb=True, half_size=half, output_bps=8, gamma=(2.4, 12.92))
    return reduced(pil.fromarray(values), min_side)


def _preview(raw: Any, min_side: int | None) -> Image | None:
    """The embedded picture where it is large enough and whole, upright."""
    import rawpy

    try:
        found = raw.extract_thumb()
        if found.format != rawpy.ThumbFormat.JPEG:
            return None  # an uncompressed one is the thumbnail of an old camera
        whole = open_picture("jpeg", BytesIO(found.data), None)
        if not _large_enough(whole.size, raw.sizes, min_side):
            return None
        image = open_picture("jpeg", BytesIO(found.data), min_side)
        image.load()
        return turned(to_srgb(image, min_side), _held(whole, raw.sizes))
    except (rawpy.LibRawError, ReadError, OSError, SyntaxError, ValueError):
        return None  # the sensor's data may still be good


def _large_enough(size: tuple[int, int], sizes: Any, min_side: int | None) -> bool:
    if min_side is not None:
        return min(size) >= ENOUGH * min_side
    shorter, longer = sorted((sizes.width, sizes.height))
    return min(size) >= WHOLE * shorter and max(size) >= WHOLE * longer


def _held(preview: Image, sizes: Any) -> int:
    """The orientation of a preview: its own where that fits the sensor's, else the sensor's.

    Previews come upright or as the sensor saw them, and cameras do not always say which; a picture taken
    on end tells by its sides.
    """
    sensor = _TURNS.get(sizes.flip, 1)
    upright = (sizes.width > sizes.height) != (sensor in SIDEWAYS)  # whether it lies, once upright
    lies = preview.width > preview.height
    for stated in (orientation(preview), sensor):
        if stated is not None and (lies != (stated in SIDEWAYS)) == upright:
            return stated
    return 1
