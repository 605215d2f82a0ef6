"""Pictures made to hurt: what a header states costs nothing, and whatever is damaged has a reason."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multimodal.errors import ReadError
from multimodal.readers import image, read
from multimodal.types import ReadOptions
from tests import media, media_images
from tests.pace import within

ROOT = Path(__file__).parents[2]
WIDTH, HEIGHT = 160, 120
STATED = (
    ".jpg", ".png", ".gif", ".bmp", ".webp", ".avif", ".heic", ".jp2", ".j2k", ".jxl", ".psd", ".ico", ".cur",
    ".tif", ".dng",
)  # fmt: skip


def restated(path: Path, width: int, height: int) -> Path:
    """A file of 160 x 120 pixels in the format of the extension, whose header states another size."""
    kind = path.suffix
    data = bytearray(media.write_image(path, media.picture(1, WIDTH, HEIGHT)).read_bytes())
    wide, tall = struct.pack(">II", width, height), struct.pack(">II", height, width)
    little = struct.pack("<ii", width, height)
    if kind == ".png":
        data[16:24] = wide
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif kind == ".jpg":
        _put(data, b"\xff\xc0", 5, struct.pack(">HH", min(height, 65_500), min(width, 65_500)))
    elif kind == ".gif":
        data[6:10] = struct.pack("<HH", min(width, 65_535), min(height, 65_535))
    elif kind == ".bmp":
        data[18:26] = little
    elif kind == ".webp":
        _put(data, b"\x9d\x01\x2a", 3, struct.pack("<HH", min(width, 16_383), min(height, 16_383)))
    elif kind in (".avif", ".heic"):
        _put(data, b"ispe", 8, wide)
    elif kind in (".jp2", ".j2k"):
        for offset in (6, 22):  # of the picture, and of its tiles
            _put(data, b"\xff\x51", offset, wide)
        if kind == ".jp2":
            _put(data, b"ihdr", 4, tall)
    elif kind == ".jxl":
        # No small size, height of 30 bits, no ratio, width of 30 bits; what follows does not matter.
        bits = 0 | 3 << 1 | (height - 1) << 3 | 3 << 36 | (width - 1) << 38
        data[2:11] = (bits & (1 << 72) - 1).to_bytes(9, "little")
    elif kind == ".psd":
        data[14:22] = tall
    elif kind in (".ico", ".cur"):
        entry = 6 if kind == ".cur" else 22  # the larger picture of the icon is its second
        at = struct.unpack("<I", data[entry + 12 : entry + 16])[0]
        if kind == ".cur":
            data[at + 4 : at + 12] = struct.pack("<ii", width, min(2 * height, 2**31 - 1))
        else:
            data[at + 16 : at + 24] = wide
            data[at + 29 : at + 33] = struct.pack(">I", zlib.crc32(data[at + 12 : at + 29]))
    else:
        for tag, before, value in ((256, WIDTH, width), (257, HEIGHT, height), (278, HEIGHT, height)):
            if kind == ".dng" or tag != 278:
                _put(data, *_tag(data, tag, before), struct.pack("<I", value))
    path.write_bytes(data)
    return path


def _put(data: bytearray, marker: bytes, offset: int, value: bytes) -> None:
    at = data.index(marker) + offset
    data[at : at + len(value)] = value


def _tag(data: bytearray, tag: int, value: int) -> tuple[bytes, int]:
    for kind, layout in ((4, "<HHII"), (3, "<HHIH")):
        entry = struct.pack(layout, tag, kind, 1, value)
        if entry in data:
            data[data.index(entry) + 2] = 4  # as a long whatever it was
            return entry[:2] + b"\4" + entry[3:], 8
    raise AssertionError(f"no tag {tag}")


@pytest.mark.parametrize("extension", STATED)
@pytest.mark.parametrize("size", [(60_000, 50_000), (2_000_000_000, 1), (1, 2_000_000_000)])
def test_a_size_that_is_only_stated_is_refused(extension: str, size: tuple[int, int], tmp_path: Path) -> None:
    if extension in (".jpg", ".gif") and 1 in size:
        pytest.skip("its header cannot state that much")
    path = restated(tmp_path / f"x{extension}", *size)
    with within(2):
        for options in (ReadOptions(), ReadOptions(min_side=260)):
            with pytest.raises(ReadError, match=r"^the picture is (too large|damaged|truncated)"):
                list(read(path, options))


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_DATA")
def test_what_headers_state_is_not_allocated(tmp_path: Path) -> None:
    """All of them in 900 MB; 3 billion pixels, and 64 million, which a picture may have."""
    script = (
        "import resource, sys; from pathlib import Path; from multimodal.errors import ReadError\n"
        "from multimodal.readers import read; from multimodal.types import ReadOptions\n"
        "import PIL.Image, pillow_heif, pillow_jxl, rawpy\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (900 << 20, 900 << 20))\n"
        "for path in sys.argv[1:]:\n"
        "    try: print([s.content.size for s in read(Path(path), ReadOptions(min_side=260))])\n"
        "    except ReadError as error: print(error)\n"
    )
    paths = [
        str(restated(tmp_path / f"{width}{extension}", width, height))
        for extension in STATED
        for width, height in ((60_000, 50_000), (8_000, 8_000))
    ]
    done = subprocess.run(
        [sys.executable, "-c", script, *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    said = done.stdout.splitlines()
    assert len(said) == len(paths)
    for path, line in zip(paths, said, strict=True):
        assert "more memory" not in line, (path, line)


def test_an_icon_that_states_a_picture_it_has_not(tmp_path: Path) -> None:
    data = bytearray(media_images.icon(media.picture(1, 64, 64)))
    for offset in (len(data), 2**32 - 1, 3):
        data[34:38] = struct.pack("<I", offset)
        (tmp_path / "x.ico").write_bytes(data)
        with pytest.raises(ReadError):
            list(read(tmp_path / "x.ico"))
    (tmp_path / "x.ico").write_bytes(b"\0\0\1\0\xff\xff" + data[6:])  # 65,535 of them
    with pytest.raises(ReadError):
        list(read(tmp_path / "x.ico"))


def test_an_animation_of_a_million_frames_is_refused(tmp_path: Path) -> None:
    frame = bytes.fromhex("21f90404010000002c0000000001000100000202440100")
    path = tmp_path / "x.gif"
    for side, count in ((2, image.MAX_FRAMES + 1), (9_000, 200)):
        head = b"GIF89a" + struct.pack("<HH", side, side) + b"\x80\0\0\0\0\0\xff\xff\xff"
        path.write_bytes(head + frame * count + b";")
        with within(5), pytest.raises(ReadError, match="the animation is too long to decode safely"):
            list(read(path))
    data = media.write_animation(tmp_path / "x.png", [media.picture(i, 40, 30) for i in (1, 2)], [1.0, 1.0])
    png = bytearray(data.read_bytes())
    at = png.index(b"acTL")
    png[at + 4 : at + 8] = struct.pack(">I", 2**31 - 1)
    png[at + 12 : at + 16] = struct.pack(">I", zlib.crc32(png[at : at + 12]))
    data.write_bytes(png)
    with pytest.raises(ReadError, match="the animation is too long"):
        list(read(data))


def test_words_of_a_png_are_no_bomb(tmp_path: Path) -> None:
    words = b"Description\0\0" + zlib.compress(b"x" * (200 << 20), 9)
    chunk = struct.pack(">I", len(words)) + b"zTXt" + words + struct.pack(">I", zlib.crc32(b"zTXt" + words))
    data = media.write_image(tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(data[:33] + chunk + data[33:])
    with pytest.raises(ReadError, match="the picture is damaged"):
        list(read(tmp_path / "x.png"))


@pytest.mark.parametrize(
    "head", [".jpg", ".png", ".tif", ".heic", ".avif", ".jxl", ".jp2", ".psd", ".ico", ".webp"]
)
def test_the_head_of_one_format_on_the_body_of_another(head: str, tmp_path: Path) -> None:
    front = media.write(tmp_path / f"head{head}").read_bytes()
    for body in (".png", ".heic", ".tif", ".jxl"):
        back = media.write(tmp_path / f"body{body}").read_bytes()
        for size in (12, 40, 200):
            if head == body:
                continue
            path = tmp_path / f"x{body}"
            path.write_bytes(front[:size] + back[size:])
            with pytest.raises(ReadError):
                list(read(path))


@pytest.mark.parametrize(
    "extension", [e for e in media.IMAGE_EXTENSIONS if e not in (".jpeg", ".jfif", ".tiff", ".heif", ".hif")]
)
def test_mutated_pictures_are_read_or_have_a_reason(extension: str, tmp_path: Path) -> None:
    sources = [media.write(tmp_path / f"a{extension}", 3).read_bytes()]
    if extension in (".jpg", ".heic", ".avif", ".webp", ".jxl"):
        rich = {"exif": media_images.exif("A heron", orientation=6), "xmp": media_images.xmp("Low tide")}
        sources.append(
            media.write_image(tmp_path / f"b{extension}", media.picture(4, 160, 120), **rich).read_bytes()
        )
    if extension == ".dng":
        sources.append(media_images.dng(media.picture(3, 160, 120), 6, media.picture(4, 150, 110)))
    rng = np.random.default_rng(len(extension) + sum(extension.encode()))
    path = tmp_path / f"x{extension}"
    for turn in range(8 if extension == ".svg" else 30):
        data = bytearray(sources[turn % len(sources)])
        if turn % 3 == 0:
            data = data[: int(rng.integers(1, len(data)))]
        for place in rng.integers(0, len(data) if turn % 3 == 1 else min(len(data), 600), 5):
            data[place] = rng.choice([0, 255, 127, 128, int(rng.integers(256))])
        path.write_bytes(data)
        with within(20):
            try:
                list(read(path, ReadOptions(min_side=60)))
            except ReadError as error:
                assert (
                    0 < len(str(error)) < 150 and "\n" not in str(error) and str(tmp_path) not in str(error)
                )


def test_a_file_that_vanishes_or_may_not_be_read_has_its_reason(tmp_path: Path) -> None:
    path = media.write(tmp_path / "x.heic")
    segments = read(path)
    path.unlink()
    with pytest.raises(ReadError, match="the file is gone"):
        next(segments)


def test_a_picture_of_one_pixel(tmp_path: Path) -> None:
    for extension in (".png", ".jpg", ".webp", ".avif", ".jxl", ".jp2", ".psd", ".bmp", ".tif", ".svg"):
        path = media.write_image(tmp_path / f"x{extension}", Image.new("RGB", (1, 1), (200, 0, 0)))
        (segment,) = read(path, ReadOptions(min_side=224))
        assert np.allclose(segment.content.getpixel((0, 0)), (200, 0, 0), atol=6), extension  # type: ignore[union-attr]
