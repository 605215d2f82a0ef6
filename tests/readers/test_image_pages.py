"""TIFF files: every page, none twice, and no file that asks for more than it has."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from multimodal.errors import ReadError
from multimodal.readers import read
from multimodal.types import ReadOptions
from tests import media, media_images
from tests.pace import within
from tests.readers.test_image import error


def pages(path: Path, **options: Any) -> list[tuple[int | None, Image.Image]]:
    segments = list(read(path, ReadOptions(modalities=("image",), **options)))
    assert all(segment.role == "content" and segment.start is None for segment in segments)
    return [(segment.page, segment.content) for segment in segments]  # type: ignore[misc]


def scan(seed: int) -> Image.Image:
    """A page of black and white, as a fax has it."""
    return media.picture(seed, 400, 560).convert("L").point(lambda level: 255 * (level > 110)).convert("1")


@pytest.mark.parametrize(
    ("compression", "mode"),
    [
        (None, "RGB"), ("tiff_lzw", "RGB"), ("tiff_adobe_deflate", "RGB"), ("packbits", "L"), ("jpeg", "RGB"),
        ("group3", "1"), ("group4", "1"), ("zstd", "RGB"),
    ],
)  # fmt: skip
def test_a_scan_of_several_pages(compression: str | None, mode: str, tmp_path: Path) -> None:
    made = [scan(i) if mode == "1" else media.picture(i, 400, 560).convert(mode) for i in range(3)]
    path = tmp_path / "x.tif"
    made[0].save(path, save_all=True, append_images=made[1:], compression=compression)
    got = pages(path)
    assert [page for page, _ in got] == [1, 2, 3]
    for (_, picture), wanted in zip(got, made, strict=True):
        assert error(picture, wanted.convert("RGB")) <= (4 if compression == "jpeg" else 0)


def test_pages_of_different_sizes_modes_and_ways_up(tmp_path: Path) -> None:
    wide, tall = media.picture(1, 300, 200), media.picture(2, 200, 300)
    path = tmp_path / "x.tif"
    path.write_bytes(
        media_images.tiff(
            [
                media_images.page(wide),
                media_images.page(tall.transpose(Image.Transpose.ROTATE_90), t274=(3, [6])),
                media_images.page(wide.convert("L")),
                media_images.page(tall),
            ]
        )
    )
    got = pages(path)
    assert [page for page, _ in got] == [1, 2, 3, 4]
    for (_, picture), wanted in zip(got, (wide, tall, wide.convert("L").convert("RGB"), tall), strict=True):
        assert error(picture, wanted) == 0


def test_a_single_page_has_no_number_and_thumbnails_are_no_pages(tmp_path: Path) -> None:
    large, small = media.picture(1, 300, 200), media.picture(1, 30, 20)
    path = tmp_path / "x.tif"
    for aside in ({"t254": (4, [1])}, {"t254": (4, [4])}, {"t255": (3, [2])}, {"t254": (4, [5])}):
        path.write_bytes(media_images.tiff([media_images.page(large), media_images.page(small, **aside)]))
        ((page, picture),) = pages(path)
        assert page is None and picture.size == (300, 200)
        front = [media_images.page(small, **aside), media_images.page(large)]
        path.write_bytes(media_images.tiff(front))
        ((page, picture),) = pages(path)
        assert page is None and picture.size == (300, 200)
    path.write_bytes(media_images.tiff([media_images.page(small, t254=(4, [1]))]))
    assert [picture.size for _, picture in pages(path)] == [(30, 20)]  # better than nothing


def test_pages_of_a_multi_page_file_are_numbered_without_thumbnails(tmp_path: Path) -> None:
    made = [media.picture(i, 100, 80) for i in range(2)]
    directories = []
    for picture in made:
        directories += [media_images.page(picture), media_images.page(picture.reduce(4), t254=(4, [1]))]
    path = tmp_path / "x.tif"
    path.write_bytes(media_images.tiff(directories))
    got = pages(path)
    assert [page for page, _ in got] == [1, 2]
    assert all(error(picture, wanted) == 0 for (_, picture), wanted in zip(got, made, strict=True))


def test_big_tiff(tmp_path: Path) -> None:
    made = [media.picture(i, 100, 80) for i in range(2)]
    path = tmp_path / "x.tif"
    made[0].save(path, save_all=True, append_images=made[1:], big_tiff=True)
    assert path.read_bytes()[2] == 43
    assert [page for page, _ in pages(path)] == [1, 2]


def test_a_damaged_page_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    made = [media.picture(i, 400, 300) for i in range(3)]
    made[0].save(path, save_all=True, append_images=made[1:], compression="tiff_adobe_deflate")
    data = bytearray(path.read_bytes())
    at = data.index(b"\x78", len(data) // 3)
    data[len(data) // 2 - 200 : len(data) // 2 + 200] = bytes(400)
    assert at
    path.write_bytes(data)
    got = pages(path)
    assert 1 <= len(got) < 3
    assert all(any(error(picture, wanted) == 0 for wanted in made) for _, picture in got)


def test_a_loop_of_pages_ends(tmp_path: Path) -> None:
    data = bytearray(media_images.tiff([media_images.page(media.picture(1, 40, 30))]))
    count = struct.unpack("<H", data[8:10])[0]
    data[10 + 12 * count : 14 + 12 * count] = struct.pack("<I", 8)
    path = tmp_path / "x.tif"
    path.write_bytes(data)
    assert [page for page, _ in pages(path)] == [None]


def test_pages_that_share_their_data_are_one(tmp_path: Path) -> None:
    first = media_images.page(media.picture(1, 40, 30))
    shared = [({**first[0], 273: (4, [4096])}, b"")] * 50
    data = media_images.tiff([({**first[0], 273: (4, [4096])}, b""), *shared])
    path = tmp_path / "x.tif"
    path.write_bytes(data.ljust(70_000, b"\1"))
    assert len(pages(path)) == 1


def test_pages_that_overlap_are_refused(tmp_path: Path) -> None:
    """A thousand pages of 12 megapixels in a file of two, each begins a byte after the one before."""
    tags = dict(media_images.page(Image.new("L", (1, 1)))[0]) | {
        256: (4, [4000]),
        257: (4, [3000]),
        278: (4, [3000]),
    }
    data = media_images.tiff([({**tags, 273: (4, [200_000 + i])}, b"") for i in range(1000)])
    path = tmp_path / "x.tif"
    path.write_bytes(data.ljust(12_300_000, b"\1"))
    with within(2), pytest.raises(ReadError, match="claim more data than there are"):
        pages(path)


def test_a_chain_of_directories_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tags = {256: (4, [1]), 257: (4, [1])}
    path.write_bytes(media_images.tiff([({**tags, 273: (4, [i + 1])}, b"") for i in range(10_001)]))
    with within(5), pytest.raises(ReadError, match="more than 10,000 pages"):
        pages(path)


def test_a_kind_of_tiff_pillow_cannot_read_has_a_reason(tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((20, 30), np.uint8))
    tags, data = media_images.page(image)
    path = tmp_path / "x.tif"
    path.write_bytes(media_images.tiff([({**tags, 258: (3, [64]), 339: (3, [3])}, data * 8)]))
    with pytest.raises(ReadError, match="a depth or colour mode that is not read"):
        pages(path)
