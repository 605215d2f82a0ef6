"""Every format of pictures beyond those of the web: its picture, its colours, its way up, its own traps."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from multimodal import readers
from multimodal.errors import NeedsExtra, ReadError, UnsupportedFile
from multimodal.readers import read
from multimodal.readers.extras import EXTRAS
from tests import media, media_images
from tests.readers.test_image import error, one


def on_white(seed: int, width: int = 320, height: int = 240) -> Image.Image:
    """A picture with a white edge: what a camera's exposure is set by."""
    image = Image.new("RGB", (width, height), (255, 255, 255))
    image.paste(media.picture(seed, width - 40, height - 40), (20, 20))
    return image


# ------------------------------------------------------------------------------------------ extras

_KINDS = {".heic": "heic", ".jxl": "jxl", ".dng": "raw", ".svg": "svg"}


@pytest.mark.parametrize(("extension", "extra"), _KINDS.items())
def test_a_missing_extra_is_named(
    extension: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = media.write(tmp_path / f"x{extension}")
    assert readers.reader_for(path).modality == "image"
    found = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> Any:
        return None if name == EXTRAS[extra] else found(name, package)

    monkeypatch.setattr("multimodal.readers.extras.find_spec", without)
    for name in (path.name, "named.jpg", "bare"):  # by content, whatever the name
        path = path.rename(tmp_path / name)
        with pytest.raises(NeedsExtra, match=rf"^needs multimodal\[{extra}\]$"):
            read(path)
    assert one(media.write(tmp_path / "x.avif")).size == (320, 240)


@pytest.mark.parametrize("extension", [".avif", ".jp2", ".webp"])
def test_a_pillow_without_a_codec_says_so(
    extension: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = media.write(tmp_path / f"x{extension}")
    monkeypatch.setattr("PIL.features.check", lambda feature: False)
    with pytest.raises(UnsupportedFile, match="this Pillow was built without"):
        one(path)


@pytest.mark.parametrize("extension", media_images.EXTENSIONS)
def test_content_tells_the_format_without_a_name(extension: str, tmp_path: Path) -> None:
    path = media.write(tmp_path / f"x{extension}")
    named = [segment.modality for segment in read(path)]
    bare = path.rename(tmp_path / "bare")
    assert [segment.modality for segment in read(bare)] == named == ["image"]


@pytest.mark.parametrize("extension", media_images.UNMADE_EXTENSIONS)
def test_a_tiff_named_as_raw_is_never_shown_as_its_thumbnail(extension: str, tmp_path: Path) -> None:
    path = media.write(tmp_path / "x.tif").rename(tmp_path / f"x{extension}")
    with pytest.raises(ReadError, match="camera that LibRaw does not know"):
        list(read(path))


# ------------------------------------------------------------------------- HEIC, AVIF, JPEG XL, JPEG 2000


@pytest.mark.parametrize("extension", [".heic", ".avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_phone_picture_stands_upright(extension: str, orientation: int, tmp_path: Path) -> None:
    stored = media.picture(3, 240, 180)
    path = media.write_image(
        tmp_path / f"x{extension}", stored, exif=media_images.exif(orientation=orientation)
    )
    jpeg = media.write_image(tmp_path / "x.jpg", stored, exif=media_images.exif(orientation=orientation))
    assert error(one(path), one(jpeg)) < 5
    assert error(one(path, min_side=60), one(jpeg).reduce(1)) < 5


def test_a_thumbnail_serves_where_it_is_large_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = media.write_image(tmp_path / "x.heic", media.picture(3, 1600, 1200), thumbnails=[400])
    assert one(path, min_side=100).size == (400, 300)
    assert error(one(path, min_side=100), media.picture(3, 400, 300)) < 4
    assert one(path, min_side=200).size == (534, 400)
    assert one(path).size == (1600, 1200)


def test_transparency_of_the_newer_formats_shows_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (64, 64), (200, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 32, 64))
    for extension in (".heic", ".avif", ".jxl", ".jp2", ".ico", ".svg"):
        got = one(media.write_image(tmp_path / f"x{extension}", image)).resize((64, 64))
        assert np.allclose(got.getpixel((16, 32)), 255, atol=3), extension
        assert np.allclose(got.getpixel((48, 32)), (200, 0, 0), atol=9), extension


def test_ten_bits_of_heic(tmp_path: Path) -> None:
    deep = np.asarray(media.picture(4).convert("L"), np.uint16) * 257
    path = media.write_image(tmp_path / "x.heic", Image.fromarray(deep))
    assert error(one(path), media.picture(4).convert("L").convert("RGB")) < 3


@pytest.mark.parametrize("extension", [".jxl", ".jp2", ".j2k"])
def test_sixteen_bits_of_grey(extension: str, tmp_path: Path) -> None:
    levels = np.tile(np.arange(256, dtype=np.uint16) * 257, (64, 1))
    save = {"lossless": True} if extension == ".jxl" else {}
    got = np.asarray(one(media.write_image(tmp_path / f"x{extension}", Image.fromarray(levels), **save)))
    wanted = np.arange(256) / 255
    if extension == ".jxl":  # its encoder declares 16 bits to be linear light, in a profile
        wanted = np.where(wanted <= 0.0031308, 12.92 * wanted, 1.055 * wanted ** (1 / 2.4) - 0.055)
    assert np.abs(got[32, :, 0] - 255 * wanted).max() <= 2


def test_a_jpeg_inside_jpeg_xl_keeps_its_orientation(tmp_path: Path) -> None:
    stored = media.picture(3, 240, 180)
    jpeg = media.write_image(tmp_path / "x.jpg", stored, exif=media_images.exif(orientation=6))
    with Image.open(jpeg) as image:
        media_images.write_image(tmp_path / "x.jxl", image, lossless_jpeg=True)
    assert error(one(tmp_path / "x.jxl"), one(jpeg)) < 1
    # What is coded as JPEG XL is stored upright: there Exif does not count (ISO 18181-2).
    direct = media.write_image(tmp_path / "y.jxl", stored, exif=media_images.exif(orientation=6))
    assert error(one(direct), stored) < 4


@pytest.mark.parametrize("boxed", [False, True])
@pytest.mark.parametrize(
    "size", [(320, 240), (321, 241), (256, 256), (1600, 900), (1, 1), (1, 3000), (2056, 8)]
)
def test_the_size_of_a_jpeg_xl_is_known_before_it_is_decoded(
    boxed: bool, size: tuple[int, int], tmp_path: Path
) -> None:
    from multimodal.readers.openers import _jxl_size

    path = media.write_image(tmp_path / "x.jxl", Image.new("RGB", size), use_container=boxed)
    with path.open("rb") as file:
        assert _jxl_size(file) == size


@pytest.mark.parametrize("extension", [".jp2", ".j2k"])
def test_jpeg_2000_is_decoded_at_a_fraction(extension: str, tmp_path: Path) -> None:
    picture = media.picture(1, 1600, 1200)
    path = media.write_image(tmp_path / f"x{extension}", picture, num_resolutions=6)
    assert one(path, min_side=140).size == (400, 300)
    assert error(one(path, min_side=140), picture.reduce(4)) < 3
    shallow = media.write_image(tmp_path / f"y{extension}", picture, num_resolutions=1)
    assert one(shallow, min_side=140).size == (400, 300)  # without halvings inside it is averaged down


# --------------------------------------------------------------------------------------------- raw


@pytest.mark.parametrize(
    ("orientation", "size"), [(1, (320, 240)), (3, (320, 240)), (6, (240, 320)), (8, (240, 320))]
)
def test_a_raw_file_is_developed_upright(orientation: int, size: tuple[int, int], tmp_path: Path) -> None:
    seen = on_white(3)
    path = media.write_image(tmp_path / "x.dng", seen, orientation=orientation)
    jpeg = media.write_image(tmp_path / "x.jpg", seen, exif=media_images.exif(orientation=orientation))
    assert one(path).size == size
    assert error(one(path).reduce(4), one(jpeg).reduce(4)) < 5


def test_half_of_a_raw_file_is_developed_where_that_is_enough(tmp_path: Path) -> None:
    path = media.write_image(tmp_path / "x.dng", on_white(3, 640, 480))
    assert one(path, min_side=126).size == (320, 240)
    assert one(path, min_side=127).size == (640, 480)
    assert error(one(path, min_side=120), on_white(3, 640, 480).reduce(2)) < 6


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("upright", [False, True])
def test_a_preview_large_enough_stands_for_a_raw_file(
    orientation: int, upright: bool, tmp_path: Path
) -> None:
    if upright and orientation == 3:
        pytest.skip("nothing tells a preview that is upright already")
    seen, shown = on_white(3, 640, 480), media.picture(7, 480, 360)
    turned = shown.rotate({1: 0, 3: 180, 6: -90, 8: 90}[orientation], expand=True)
    path = media.write_image(
        tmp_path / "x.dng", seen, orientation=orientation, preview=turned if upright else shown
    )
    assert error(one(path, min_side=189), turned) < 4
    developed = one(path, min_side=190)
    assert developed.size == ((640, 480) if orientation in (1, 3) else (480, 640))
    assert error(developed.reduce(8), turned.resize(developed.reduce(8).size)) > 20
    assert one(path).size == developed.size  # a smaller preview is not the picture


def test_a_preview_of_full_size_is_the_picture(tmp_path: Path) -> None:
    path = media.write_image(tmp_path / "x.dng", on_white(3, 640, 480), preview=media.picture(7, 620, 464))
    assert error(one(path), media.picture(7, 620, 464)) < 4


def test_a_damaged_preview_leaves_the_raw_data(tmp_path: Path) -> None:
    path = media.write_image(tmp_path / "x.dng", on_white(3, 640, 480), preview=media.picture(7, 480, 360))
    data = bytearray(path.read_bytes())
    at = data.index(b"\xff\xd8\xff") + 600
    data[at : at + 3000] = bytes(3000)
    path.write_bytes(data)
    assert error(one(path, min_side=120), on_white(3, 640, 480).reduce(2)) < 6


# --------------------------------------------------------------------------------------- Photoshop


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "LAB"])
def test_photoshop_files_of_any_mode(packed: bool, bits: int, mode: str, tmp_path: Path) -> None:
    image = media.picture(2)
    if mode == "LAB":
        from PIL import ImageCms

        lab = ImageCms.profileToProfile(
            image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
        assert lab is not None
        path = media.write_image(tmp_path / "x.psd", lab, packed=packed, bits=bits)
    else:
        path = media.write_image(tmp_path / "x.psd", image.convert(mode), packed=packed, bits=bits)
    wanted = image.convert("L").convert("RGB") if mode == "L" else image
    assert error(one(path), wanted) <= (4 if mode == "LAB" else 0)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_selection_kept_in_a_photoshop_file_is_no_transparency(bits: int, tmp_path: Path) -> None:
    image = Image.new("RGBA", (40, 40), (200, 0, 0, 0))
    for layers, shown in ((-1, (255, 255, 255)), (1, (200, 0, 0)), (0, (200, 0, 0))):
        got = one(media.write_image(tmp_path / "x.psd", image, layers=layers, bits=bits))
        assert got.getpixel((20, 20)) == shown


def test_a_photoshop_file_of_layers_only_says_so(tmp_path: Path) -> None:
    blank = Image.new("RGB", (40, 40), (255, 255, 255))
    said = {True: struct.pack(">IB", 1, 1), False: struct.pack(">IB", 1, 0)}
    path = media.write_image(tmp_path / "x.psd", blank, resources={1057: said[False] + bytes(9)})
    with pytest.raises(ReadError, match="holds layers only"):
        one(path)
    assert one(
        media.write_image(tmp_path / "x.psd", blank, resources={1057: said[True] + bytes(9)})
    ).size == (40, 40)


def test_kinds_of_photoshop_files_that_are_not_read_say_so(tmp_path: Path) -> None:
    data = bytearray(media_images.psd(media.picture(1)))
    (tmp_path / "deep.psd").write_bytes(data[:22] + b"\0\x20" + data[24:])
    with pytest.raises(ReadError, match="32 bits a channel"):
        one(tmp_path / "deep.psd")
    (tmp_path / "large.psd").write_bytes(data[:5] + b"\2" + data[6:])
    with pytest.raises(ReadError, match="large Photoshop document"):
        one(tmp_path / "large.psd")


# -------------------------------------------------------------------------------------------- icons


@pytest.mark.parametrize("bitmap", ["bmp", "png"])
def test_an_icon_is_its_largest_picture(bitmap: str, tmp_path: Path) -> None:
    sizes = [(256, 256), (32, 32), (64, 64)]
    path = tmp_path / "x.ico"
    media.picture(3, 256, 256).save(path, sizes=sizes, bitmap_format=bitmap)
    assert error(one(path), media.picture(3, 256, 256)) == 0


def test_of_two_icons_of_a_size_the_deeper_is_read(tmp_path: Path) -> None:
    colour, plain = media.picture(3, 48, 48), media.picture(3, 48, 48).convert("1")
    path = tmp_path / "x.ico"
    colour.convert("RGBA").save(path, sizes=[(48, 48)], append_images=[plain], bitmap_format="bmp")
    assert struct.unpack("<H", path.read_bytes()[4:6]) == (2,)
    assert error(one(path), colour) == 0
