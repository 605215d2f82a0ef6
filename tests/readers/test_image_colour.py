"""Colours: ICC profiles are followed, damaged ones ignored, and nothing moves that is sRGB already."""

from __future__ import annotations

import io
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from multimodal.readers import colour
from tests import media, profiles
from tests.readers.test_image import error, one

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
WIDE = profiles.rgb_profile(profiles.P3_TO_XYZ, 1.8)
PATCHES = ((200, 100, 50), (60, 160, 90), (90, 90, 200), (128, 128, 128), (255, 0, 0))

INKS = {
    inks: (
        100 * (1 - 0.6 * inks[0]) * (1 - 0.5 * inks[1]) * (1 - 0.1 * inks[2]) * (1 - inks[3]),
        (60 * inks[1] - 40 * inks[0]) * (1 - inks[3]),
        (80 * inks[2] - 30 * inks[0]) * (1 - inks[3]),
    )
    for inks in product((0, 1), repeat=4)
}
"""Lab of each overprint of a press whose inks are duller than the screen's primaries."""
PRESS = profiles.cmyk_profile(INKS)  # type: ignore[arg-type]


def patches() -> Image.Image:
    image = Image.new("RGB", (64 * len(PATCHES), 64))
    for number, patch in enumerate(PATCHES):
        image.paste(patch, (64 * number, 0, 64 * number + 64, 64))
    return image


def centres(image: Image.Image) -> np.ndarray:
    width = image.width // len(PATCHES)
    return np.array(
        [image.getpixel((width * i + width // 2, image.height // 2)) for i in range(len(PATCHES))]
    )


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".tif", ".heic", ".avif"])
@pytest.mark.parametrize("min_side", [None, 16])
def test_colours_of_a_wide_space_come_as_srgb(extension: str, min_side: int | None, tmp_path: Path) -> None:
    save = {".jpg": {"quality": 98, "subsampling": 0}, ".webp": {"lossless": True}}.get(extension, {})
    path = media.write_image(tmp_path / f"x{extension}", patches(), icc_profile=WIDE, **save)
    wanted = [profiles.seen_in_srgb(patch, profiles.P3_TO_XYZ, 1.8) for patch in PATCHES]
    assert np.abs(centres(one(path, min_side=min_side)) - wanted).max() <= (
        8 if extension in (".heic", ".avif") else 3
    )
    assert np.abs(centres(patches()) - wanted).max() > 10


def test_transparency_and_a_profile(tmp_path: Path) -> None:
    image = patches().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 320, 20))
    got = one(media.write_image(tmp_path / "x.png", image, icc_profile=WIDE))
    assert got.getpixel((100, 5)) == (255, 255, 255)
    assert (
        np.abs(got.getpixel((32, 40)) - profiles.seen_in_srgb(PATCHES[0], profiles.P3_TO_XYZ, 1.8)).max() <= 2
    )


def test_a_palette_and_a_profile(tmp_path: Path) -> None:
    got = one(media.write_image(tmp_path / "x.png", patches().quantize(8), icc_profile=WIDE))
    wanted = [profiles.seen_in_srgb(patch, profiles.P3_TO_XYZ, 1.8) for patch in PATCHES]
    assert np.abs(centres(got) - wanted).max() <= 4


@pytest.mark.parametrize("bits", [8, 16])
def test_grey_of_another_gamma(bits: int, tmp_path: Path) -> None:
    levels = np.tile(np.arange(256, dtype=np.uint8), (16, 1))
    image = Image.fromarray(levels if bits == 8 else levels.astype(np.uint16) * 257)
    got = one(media.write_image(tmp_path / "x.png", image, icc_profile=profiles.grey_profile(1.0)))
    shown = np.asarray(got)[8, :, 0]
    wanted = np.arange(256) / 255
    wanted = 255 * np.where(wanted <= 0.0031308, 12.92 * wanted, 1.055 * wanted ** (1 / 2.4) - 0.055)
    assert np.abs(shown - wanted).max() <= 1


def test_grey_with_the_profile_of_a_screen(tmp_path: Path) -> None:
    path = media.write_image(tmp_path / "x.jpg", Image.new("L", (32, 32), 128), icc_profile=WIDE)
    assert (
        abs(one(path).getpixel((16, 16))[0] - profiles.seen_in_srgb((128,) * 3, profiles.P3_TO_XYZ, 1.8)[0])
        <= 2
    )  # type: ignore[index]


@pytest.mark.parametrize("extension", [".jpg", ".tif", ".psd"])
def test_a_print_looks_as_its_press_prints(extension: str, tmp_path: Path) -> None:
    """As Photoshop saves it: inverted in a JPEG, where Adobe's marker says so; as it is in a TIFF."""
    sheets = {
        (0, 0, 0, 0): (0,) * 4,
        (255, 0, 0, 0): (1, 0, 0, 0),
        (0, 255, 255, 0): (0, 1, 1, 0),
        (0, 0, 0, 255): (0, 0, 0, 1),
    }
    for values, inks in sheets.items():
        path = tmp_path / f"x{extension}"
        image = Image.new("CMYK", (32, 32), values)
        if extension == ".psd":
            media.write_image(path, image, resources={1039: PRESS})
        else:
            media.write_image(path, image, icc_profile=PRESS)
        wanted = profiles.lab_in_srgb(INKS[inks])
        got = one(path).getpixel((16, 16))
        assert np.abs(np.subtract(got, wanted)).max() <= 12, (inks, got, wanted)
    plain = one(
        media.write_image(tmp_path / "y.jpg", Image.new("CMYK", (32, 32), (255, 0, 0, 0)), quality=95)
    )
    assert np.abs(np.subtract(plain.getpixel((16, 16)), (0, 255, 255))).max() <= 3


@pytest.mark.parametrize(
    "profile",
    [
        SRGB,
        profiles.rgb_profile(profiles.SRGB_TO_XYZ, 2.2)[:300],
        b"none",
        bytes(500),
        SRGB[:-40],
        PRESS,
        WIDE + bytes(9 << 20),
    ],
    ids=["srgb", "cut", "short", "zeros", "cut short", "of a press", "huge"],
)
def test_a_profile_that_says_nothing_moves_nothing(profile: bytes, tmp_path: Path) -> None:
    path = media.write_image(tmp_path / "x.png", media.picture(2), icc_profile=profile)
    if len(profile) > 1 << 20:  # Pillow itself bounds what a PNG may unpack
        path = media.write_image(tmp_path / "x.tif", media.picture(2), icc_profile=profile)
    assert error(one(path), media.picture(2)) == 0


def test_a_damaged_profile_never_raises() -> None:
    rng = np.random.default_rng(3)
    for source in (WIDE, PRESS, SRGB):
        for _ in range(40):
            damaged = bytearray(source)
            for place in rng.integers(0, len(damaged), 8):
                damaged[place] = rng.integers(256)
            for mode in ("RGB", "L", "CMYK"):
                image = Image.new(mode, (4, 4), 100 if mode == "L" else (100,) * len(mode))
                image.info["icc_profile"] = bytes(damaged)
                assert colour.to_srgb(image).mode == "RGB"


def test_an_srgb_profile_costs_no_transform() -> None:
    assert colour._followed(SRGB, "RGB") is None
    assert colour._followed(WIDE, "RGB") is not None


def test_the_profile_of_a_photoshop_file_of_16_bits(tmp_path: Path) -> None:
    path = media.write_image(tmp_path / "x.psd", patches(), bits=16, resources={1039: WIDE})
    wanted = [profiles.seen_in_srgb(patch, profiles.P3_TO_XYZ, 1.8) for patch in PATCHES]
    assert np.abs(centres(one(path)) - wanted).max() <= 2


@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_sixteen_bits_of_colour(extension: str, tmp_path: Path) -> None:
    import cv2

    deep = np.asarray(media.picture(4))[:, :, ::-1].astype(np.uint16) * 257
    path = tmp_path / f"x{extension}"
    path.write_bytes(cv2.imencode(extension, deep)[1].tobytes())
    assert error(one(path), media.picture(4)) <= 1


def test_the_info_of_a_file_does_not_travel(tmp_path: Path) -> None:
    path = media.write_image(tmp_path / "x.jpg", patches(), icc_profile=WIDE, comment="x" * 1000)
    image = one(path)
    out = io.BytesIO()
    image.save(out, "PNG")
    assert image.info == {} and b"iCCP" not in out.getvalue()
