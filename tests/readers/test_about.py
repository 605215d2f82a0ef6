"""What files say of themselves."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from multimodal import readers
from multimodal.readers.about import _date
from multimodal.types import Facts
from tests import media


def test_a_picture_tells_its_upright_size_and_when_it_was_taken(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    inner = exif.get_ifd(0x8769)
    inner[0x9003], inner[0x9011] = "2021:07:14 09:30:00", "+02:00"
    path = media.write_image(tmp_path / "a.jpg", media.picture(1, 320, 200), exif=exif)
    assert readers.facts(path) == Facts(200, 320, None, "2021-07-14T09:30:00+02:00")
    plain = media.write_image(tmp_path / "b.png", media.picture(1, 30, 20))
    assert readers.facts(plain) == Facts(30, 20, None, None)


def test_a_camera_whose_clock_was_never_set_says_nothing(tmp_path: Path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "0000:00:00 00:00:00"
    assert readers.facts(media.write_image(tmp_path / "a.jpg", exif=exif)).taken is None


def test_a_video_tells_its_upright_size_and_length(tmp_path: Path):
    path = media.write_video(tmp_path / "a.mp4", [media.picture(1, 320, 240)], seconds=2.0, rotation=90)
    told = readers.facts(path)
    assert (told.width, told.height) == (240, 320)
    assert told.duration == pytest.approx(2.0, abs=0.1)


def test_a_video_tells_when_it_was_made(tmp_path: Path):
    import av

    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        container.metadata["creation_time"] = "2019-03-02T01:02:03.000000Z"
        stream: Any = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        frame = av.VideoFrame.from_image(media.picture(1, 64, 48))
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert readers.facts(path).taken == "2019-03-02T01:02:03+00:00"


def test_a_sound_tells_its_length(tmp_path: Path):
    told = readers.facts(media.write_sound(tmp_path / "a.flac", media.tone(1.5)))
    assert told == Facts(None, None, pytest.approx(1.5, abs=0.01), None)


@pytest.mark.parametrize("name", ["a.txt", "a.srt", "gone.jpg", "torn.jpg"])
def test_what_says_nothing_gives_nothing(tmp_path: Path, name: str):
    if name == "torn.jpg":
        (tmp_path / name).write_bytes(b"\xff\xd8\xff\xe0 torn")
    elif name != "gone.jpg":
        media.write(tmp_path / name)
    assert readers.facts(tmp_path / name) == Facts()


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2024-05-03", "2024-05-03"),
        ("2024-05-03 17:20:00", "2024-05-03T17:20:00"),
        ("2024-05-03T17:20:00.123Z", "2024-05-03T17:20:00+00:00"),
        ("2024-05-03T17:20:00+0200", "2024-05-03T17:20:00+02:00"),
        ("2024-13-03", None),
        ("1601-01-01T00:00:00Z", None),
        ("May 2024", None),
        ("", None),
    ],
)
def test_dates_are_written_one_way(said: str, meant: str | None):
    assert _date(said) == meant
