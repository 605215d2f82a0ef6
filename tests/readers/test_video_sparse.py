"""Few frames are decoded, and they are those that a reader of every frame would have taken."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from multimodal.readers import read, sparse
from multimodal.types import Clip, ReadOptions, Segment
from tests import media

RATE = 25


def coded(number: int, scene: int) -> Image.Image:
    """A picture of a scene whose top left tells its number in eleven black or white squares."""
    image = media.picture(scene, 320, 240).copy()
    for bit in range(11):
        image.paste("white" if number >> bit & 1 else "black", (bit * 8, 0, bit * 8 + 8, 8))
    return image


def number_of(image: Image.Image) -> int:
    pixels = np.asarray(image.convert("L"))
    return sum(1 << bit for bit in range(11) if pixels[2:6, bit * 8 + 2 : bit * 8 + 6].mean() > 128)


def film(path: Path, scenes: list[int], **options: str) -> Path:
    """A frame for each entry, 25 a second, of that scene."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(options.pop("codec", "libx264"), rate=RATE)
        stream.width, stream.height, stream.pix_fmt = (
            320,
            240,
            "yuv420p" if stream.name != "mjpeg" else "yuvj420p",
        )
        plain = {"preset": "veryfast", "crf": "18"} if stream.name == "libx264" else {}
        stream.options = plain | options
        for number, scene in enumerate(scenes):
            frame = av.VideoFrame.from_image(coded(number, scene))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def shots(path: Path, rate: float) -> list[Segment]:
    found = list(read(path, ReadOptions(frame_rate=rate, modalities=("video",), video_seconds=60)))
    assert all(isinstance(one.content, Clip) for one in found)
    return found


KINDS = {
    "key frames each second": {"g": "25", "keyint_min": "25", "bf": "0", "sc_threshold": "0"},
    "groups of two seconds": {"g": "50", "bf": "3", "sc_threshold": "0"},
    "open groups": {"g": "30", "bf": "3", "x264opts": "open-gop", "sc_threshold": "0"},
    "one long group": {"g": "1000", "bf": "3", "b-pyramid": "none", "sc_threshold": "0"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_the_frames_are_those_of_a_full_read(kind: str, rate: float, tmp_path: Path) -> None:
    path = film(tmp_path / "x.mp4", [1] * 210, **KINDS[kind])
    (shot,) = shots(path, rate)
    times = shot.content.times
    assert np.allclose(times, np.arange(len(times)) / rate, atol=1 / RATE + 0.001)
    assert len(times) == int(209 / RATE * rate) + 1
    numbers = [number_of(frame) for frame in shot.content.frames]
    assert np.abs(np.array(numbers) - times * RATE).max() < 0.5  # each picture is that of its time
    assert shot.end == pytest.approx(210 / RATE, abs=0.05)


@pytest.mark.parametrize("at", [30, 43, 49, 50, 67])
def test_a_cut_in_what_would_be_left_out_is_found(at: int, tmp_path: Path) -> None:
    path = film(tmp_path / "x.mp4", [1] * at + [2] * (150 - at), **KINDS["key frames each second"])
    _, second = shots(path, 1.0)
    assert second.start == pytest.approx(at / RATE, abs=0.001)
    numbers = [number_of(frame) for frame in second.content.frames]
    assert all(number >= at for number in numbers)


def drawing(number: int, width: int = 320, height: int = 240) -> Image.Image:
    """A drawing on white, of which others differ little: by 13 to 25 of a thumbnail's levels."""
    picture = Image.new("RGB", (width, height), "white")
    left, top = 40 * (number % 5) + 20, 50 * (number % 3) + 20
    picture.paste(("navy", "teal", "maroon", "olive", "gray")[number % 5], (left, top, left + 70, top + 90))
    return picture


@pytest.mark.parametrize(
    "held", [24, 36, 40]
)  # cuts at key frames and between them, of which each second has one
@pytest.mark.parametrize("moves", [0, 1])  # levels a frame by which the picture darkens
def test_drawings_on_white_are_told_apart(held: int, moves: int, tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=12)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 320, 240, "yuv420p", 2_000_000
        for number in range(8 * held):
            shown = drawing(number // held).point(
                [max(0, level - moves * (number % held)) for level in range(256)] * 3
            )
            container.mux(stream.encode(av.VideoFrame.from_image(shown)))
        container.mux(stream.encode())
    starts = [shot.start for shot in shots(path, 2.0)]
    assert np.allclose(starts, np.arange(8) * held / 12, atol=0.001)


def test_most_frames_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = film(tmp_path / "x.mp4", [1] * 250, **KINDS["key frames each second"])
    given = 0
    original = sparse._Sampler._given

    def counted(self: sparse._Sampler, found: list[object]):
        nonlocal given
        given += len(found)
        yield from original(self, found)

    monkeypatch.setattr(sparse._Sampler, "_given", counted)
    assert len(shots(path, 1.0)[0].content.frames) == 10
    assert given < 90  # the first group and the last are read whole


def test_a_codec_that_is_not_known_is_read_whole(tmp_path: Path) -> None:
    path = film(tmp_path / "x.avi", [1] * 60, codec="mjpeg")
    (shot,) = shots(path, 1.0)
    assert np.allclose(shot.content.times, [0, 1, 2], atol=0.05)


def test_a_damaged_group_loses_no_other(tmp_path: Path) -> None:
    path = film(tmp_path / "x.mp4", [1] * 250, **KINDS["groups of two seconds"])
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    path.write_bytes(bytes(data))
    found = [time for shot in shots(path, 1.0) for time in shot.content.times]
    assert (
        found[0] == 0 and found[-1] == pytest.approx(9, abs=0.05) and len(found) >= 8
    )  # of ten, two were in it
