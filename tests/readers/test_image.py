"""Pictures: upright, RGB, on white, no larger than needed, whole or refused."""

from __future__ import annotations

import io
import pickle
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from multimodal.errors import ReadError, UnwantedModality
from multimodal.readers import read
from multimodal.types import Clip, ReadOptions
from tests import media, media_images


def one(path: Path, **options: Any) -> Image.Image:
    (segment,) = read(path, ReadOptions(**options))
    assert segment.modality == "image" and segment.start is None and segment.end is None
    assert isinstance(segment.content, Image.Image)
    assert segment.content.mode == "RGB"
    return segment.content


def error(a: Image.Image, b: Image.Image) -> float:
    """Mean absolute difference in levels of two pictures of one size."""
    assert a.size == b.size
    return float(np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).mean())


@pytest.mark.parametrize("extension", [e for e in media.IMAGE_EXTENSIONS if e not in (".svg", ".dng")])
def test_each_format_gives_back_the_picture(extension: str, tmp_path: Path) -> None:
    picture = media.picture(5, 192, 144)  # icons end at 256
    got = one(media.write_image(tmp_path / f"x{extension}", picture))
    lossless = extension in (".png", ".bmp", ".tif", ".tiff", *media_images.LOSSLESS)
    assert error(got, picture) <= (0 if lossless else 4)


def test_the_picture_stands_alone(tmp_path: Path) -> None:
    path = media.write_image(tmp_path / "x.jpg")
    image = one(path)
    path.unlink()
    assert type(image) is Image.Image
    assert error(pickle.loads(pickle.dumps(image)), image) == 0


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".tif"])
def test_exif_orientation_is_obeyed(orientation: int, extension: str, tmp_path: Path) -> None:
    upright = media.picture(3, 240, 320)
    stored = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }[orientation]
    image = upright
    for turn in stored:
        image = image.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = media.write_image(tmp_path / f"x{extension}", image, exif=exif)
    assert error(one(path), upright) < 5
    assert error(one(path, min_side=60), upright.reduce(2)) < 5


@pytest.mark.parametrize("extension", [".png", ".webp", ".tif", ".gif"])
def test_transparency_shows_white(extension: str, tmp_path: Path) -> None:
    image = Image.new("RGBA", (40, 40), (200, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 20, 40))
    save = {"lossless": True} if extension == ".webp" else {}
    got = one(media.write_image(tmp_path / f"x{extension}", image, **save))
    assert got.getpixel((5, 20)) == (255, 255, 255)
    assert got.getpixel((30, 20)) == (200, 0, 0)


def test_half_transparent_is_mixed_with_white(tmp_path: Path) -> None:
    for mode, colour in (("RGBA", (0, 0, 0, 128)), ("LA", (0, 128))):
        got = one(media.write_image(tmp_path / f"{mode}.png", Image.new(mode, (8, 8), colour)))
        assert got.getpixel((4, 4)) == (127, 127, 127)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_png_of_any_mode(mode: str, tmp_path: Path) -> None:
    grey = media.picture(2).convert("L")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(grey, np.uint16) * 257)
    elif mode == "P":
        image = media.picture(2).quantize(256)
    else:
        image = media.picture(2).convert(mode)
    got = one(media.write_image(tmp_path / "x.png", image))
    if mode in ("L", "LA", "I;16"):
        assert error(got, grey.convert("RGB")) <= 1
    elif mode != "1":
        assert error(got, media.picture(2)) <= 3


@pytest.mark.parametrize("mode", ["CMYK", "LAB", "I", "F", "YCbCr", "I;16", "I;16B", "1", "L", "P"])
def test_tiff_of_any_mode(mode: str, tmp_path: Path) -> None:
    if mode == "YCbCr" and int(PIL.__version__.split(".")[0]) < 13:
        pytest.skip("Pillow before 13 does not read what it writes: raw YCbCr")
    colour, grey = media.picture(2), media.picture(2).convert("L")
    values = np.asarray(grey)
    if mode == "I":
        image = Image.fromarray(values.astype(np.int32) * 257)
    elif mode == "F":
        image = Image.fromarray(values.astype(np.float32) / 255)
    elif mode.startswith("I;16"):
        image = Image.fromarray(values.astype("<u2" if mode == "I;16" else ">u2") * 257)
    elif mode == "LAB":
        from PIL import ImageCms

        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        converted = ImageCms.profileToProfile(colour, srgb, lab, outputMode="LAB")
        assert converted is not None
        image = converted
    else:
        image = colour.convert(mode)
    got = one(media.write_image(tmp_path / "x.tif", image))
    if mode in ("I", "F", "I;16", "I;16B", "L"):
        assert error(got, grey.convert("RGB")) <= 1
    elif mode in ("CMYK", "LAB", "YCbCr"):
        assert error(got, colour) <= 4


def test_cmyk_jpeg(tmp_path: Path) -> None:
    path = media.write_image(tmp_path / "x.jpg", media.picture(2).convert("CMYK"), quality=95)
    assert error(one(path), media.picture(2)) < 4


def test_16_bit_colour_png(tmp_path: Path) -> None:
    rows = np.asarray(media.picture(4), np.uint16) * 257
    height, width, _ = rows.shape

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    path = tmp_path / "x.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )
    assert error(one(path), media.picture(4)) <= 1


@pytest.mark.parametrize("extension", [".jpg", ".png", ".bmp", ".webp", ".tif"])
@pytest.mark.parametrize(("size", "min_side"), [((1600, 1200), 224), ((1000, 449), 224), ((447, 900), 224)])
def test_a_smaller_picture_keeps_enough_of_the_side_asked_for(
    extension: str, size: tuple[int, int], min_side: int, tmp_path: Path
) -> None:
    path = media.write_image(tmp_path / f"x{extension}", media.picture(1, *size))
    got = one(path, min_side=min_side)
    assert min(got.size) >= min(1.9 * min_side, min(size))
    assert min(size) < 4 * min_side or min(got.size) < 4 * min_side
    assert got.width / got.height == pytest.approx(size[0] / size[1], rel=0.01)
    box = (224, round(224 * size[1] / size[0]))
    assert error(got.resize(box, 3), media.picture(1, *size).resize(box, 3)) < 3


def test_without_min_side_the_picture_is_whole(tmp_path: Path) -> None:
    assert one(media.write_image(tmp_path / "x.jpg", media.picture(1, 1600, 1200))).size == (1600, 1200)


@pytest.mark.parametrize("extension", media.IMAGE_EXTENSIONS)
def test_truncated_pictures_are_refused(extension: str, tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8))
    path = media.write_image(tmp_path / f"x{extension}", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(ReadError, match=r"^the (picture|drawing) is (truncated|damaged)"):
        one(path, min_side=50)


def png_of_size(path: Path, width: int, height: int) -> Path:
    """A valid black PNG of one bit a pixel; its bytes are few whatever its size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer, row, data = zlib.compressobj(9), bytes(1 + (width + 7) // 8), io.BytesIO()
    for _ in range(height):
        data.write(packer.compress(row))
    data.write(packer.flush())
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data.getvalue()) + chunk(b"IEND", b"")
    )
    return path


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    path = png_of_size(tmp_path / "x.png", 30_000, 30_000)
    assert path.stat().st_size < 200_000
    with pytest.raises(ReadError, match="too large to decode safely: 30000 x 30000"):
        one(path)


def test_a_very_large_jpeg_is_read_at_a_fraction(tmp_path: Path) -> None:
    path = media.write_image(tmp_path / "x.jpg", Image.new("L", (16_320, 6_000), 90))  # 98 megapixels
    assert one(path, min_side=224).size == (2040, 750)
    with pytest.raises(ReadError, match="too large"):
        one(path)


def test_only_what_is_asked_for_is_given(tmp_path: Path) -> None:
    still = media.write_image(tmp_path / "x.png", pnginfo=_title("A red kite"))
    moving = media.write_animation(tmp_path / "x.gif", [media.picture(1), media.picture(2)], [1.0, 1.0])

    def given(path: Path, *modalities: Any) -> list[str]:
        return [segment.modality for segment in read(path, ReadOptions(modalities=modalities))]

    assert given(still, "image") == ["image"]
    assert given(still, "text") == ["text"]
    assert given(still, "video", "text", "image") == ["image", "text"]
    assert given(moving, "video", "image") == ["video", "video"]
    with pytest.raises(UnwantedModality, match="it holds image only"):
        given(still, "video")
    for unwanted in ("image", "text"):
        with pytest.raises(UnwantedModality, match="it holds video only"):
            given(moving, unwanted)


def test_nothing_is_decoded_for_words_alone(tmp_path: Path) -> None:
    path = media.write_image(tmp_path / "x.png", pnginfo=_title("A red kite"))
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"IDAT") + 20])
    (words,) = read(path, ReadOptions(modalities=("text",)))
    assert words.content == "A red kite"
    with pytest.raises(ReadError, match="truncated"):
        list(read(path))


def _title(text: str) -> PngInfo:
    info = PngInfo()
    info.add_text("Title", text)
    return info


def test_a_damaged_exif_leaves_the_picture(tmp_path: Path) -> None:
    path = media.write_image(tmp_path / "x.jpg", media.picture(1), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff\xff")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert one(path).size == (320, 240)


def test_an_mpo_is_its_first_view(tmp_path: Path) -> None:
    for extension in (".jpg", ".mpo"):
        path = tmp_path / f"x{extension}"
        media.picture(1).save(path, format="MPO", save_all=True, append_images=[media.picture(2)])
        assert error(one(path), media.picture(1)) < 4


@pytest.mark.parametrize("extension", [".gif", ".webp", ".png", ".avif"])
def test_an_animation_is_a_video(extension: str, tmp_path: Path) -> None:
    scenes = [media.picture(seed, 160, 120) for seed in (0, 1, 2)]
    path = media.write_animation(tmp_path / f"x{extension}", scenes, [0.8, 1.2, 0.5])
    segments = list(read(path))
    assert [segment.modality for segment in segments] == ["video"] * 3
    times = [(segment.start, segment.end) for segment in segments]
    assert times == [pytest.approx(pair) for pair in ((0, 0.8), (0.8, 2.0), (2.0, 2.5))]
    for segment, scene in zip(segments, scenes, strict=True):
        assert isinstance(segment.content, Clip)
        assert error(segment.content.frames[0], scene) < 4


def test_an_animation_is_sampled_by_time(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (64, 64), (4 * i, 100, 100)) for i in range(40)]
    path = media.write_animation(tmp_path / "x.png", frames, [0.1] * 40)
    (segment,) = read(path, ReadOptions(frame_rate=2))
    assert isinstance(segment.content, Clip)
    assert np.allclose(segment.content.times, np.arange(0, 4, 0.5))
    assert [frame.getpixel((3, 3))[0] for frame in segment.content.frames] == list(range(0, 160, 20))  # type: ignore[index]


def test_frames_too_short_to_be_meant_last_as_in_a_browser(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (64, 64), (0, 4 * i, 0)) for i in range(10)]
    path = media.write_animation(tmp_path / "x.gif", frames, [0.0] * 10)
    (segment,) = read(path)
    assert segment.end == pytest.approx(1.0)


def test_transparent_frames_stand_on_white(tmp_path: Path) -> None:
    frames = []
    for i in range(2):
        frame = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
        frame.paste((0, 0, 255, 255), (20 * i, 0, 20 * i + 20, 40))
        frames.append(frame)
    path = media.write_animation(tmp_path / "x.png", frames, [1.0, 1.0], disposal=1)
    first, second = (s.content.frames[0] for s in read(path))  # type: ignore[union-attr]
    assert first.getpixel((5, 5)) == (0, 0, 255) and first.getpixel((30, 5)) == (255, 255, 255)
    assert second.getpixel((5, 5)) == (255, 255, 255) and second.getpixel((30, 5)) == (0, 0, 255)
