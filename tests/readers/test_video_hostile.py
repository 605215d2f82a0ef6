"""Videos that state what is not so: bounded time, bounded memory, and what decodes or a reason."""

from __future__ import annotations

import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from multimodal.errors import ReadError
from multimodal.readers import container, read
from multimodal.readers.container import LONGEST, Clock, may_follow
from multimodal.types import Clip, ReadOptions, Segment
from tests import media
from tests.media_video import Texts, remux
from tests.pace import within


def outcome(path: Path, **options: Any) -> list[Segment] | str:
    """The segments, or the reason; never anything else."""
    try:
        return list(read(path, ReadOptions(**options)))
    except ReadError as error:
        assert len(str(error)) < 150 and "\n" not in str(error)
        return str(error)


def motion_jpeg(path: Path, width: int, height: int, header: bool = True) -> Path:
    """An avi of three JPEG frames that state another size than they have, in the file's header too or not."""
    media.write_video(path, [media.picture(1)], 0.12, codec="mjpeg", pixels="yuvj420p")
    data = path.read_bytes()
    frame = struct.pack(">HH", 240, 320)
    assert b"\xff\xc0\x00\x11\x08" + frame in data
    data = data.replace(b"\x08" + frame, b"\x08" + struct.pack(">HH", height, width))
    if header:
        data = data.replace(struct.pack("<II", 320, 240), struct.pack("<II", width, height))
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("size", [(16_000, 16_000), (65_500, 65_500), (65_500, 1100)])
def test_frames_that_state_a_huge_size_are_not_allocated(size: tuple[int, int], tmp_path: Path) -> None:
    path = motion_jpeg(tmp_path / "x.avi", *size)
    code = (
        "import resource, sys; from pathlib import Path; from multimodal.readers import read;"
        "from multimodal.errors import ReadError; import av, PIL.Image, multimodal.readers.clips\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: print(len(list(read(Path(sys.argv[1])))))\n"
        "except ReadError as error: print(error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True, timeout=60
    )
    said, added = done.stdout.splitlines()
    assert "too large" in said or "no picture" in said
    assert int(added) < 60 if sys.platform == "linux" else True


def test_the_limit_is_the_decoders_own_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame that is larger than the header states is refused where it would be allocated."""
    from multimodal.readers import video

    for module in (container, video):
        monkeypatch.setattr(module, "MAX_PIXELS", 320 * 240)
    path = motion_jpeg(tmp_path / "x.avi", 320, 240)
    assert isinstance(outcome(path), list)
    assert isinstance(outcome(motion_jpeg(tmp_path / "y.avi", 640, 480)), str)
    assert isinstance(outcome(motion_jpeg(tmp_path / "z.avi", 640, 480, header=False)), str)


def test_one_frame(tmp_path: Path) -> None:
    for extension in (".mp4", ".mkv", ".avi", ".ts", ".wmv"):
        path = media.write_video(tmp_path / f"x{extension}", [media.picture(1)], 0.04)
        (segment,) = read(path)
        assert isinstance(segment.content, Clip) and segment.start == 0 and 0 < (segment.end or 0) <= 0.2


@pytest.mark.parametrize("extension", [".mp4", ".mkv", ".avi", ".ts", ".wmv", ".flv", ".mpg", ".mxf"])
def test_streams_of_no_length(extension: str, tmp_path: Path) -> None:
    """Headers with nothing after them."""
    path = media.write(tmp_path / f"x{extension}")
    data = path.read_bytes()
    for size in (1, 64, 600, 2000):
        path.write_bytes(data[:size])
        assert isinstance(outcome(path), str) or size > 64
    path.write_bytes(data[:300] + bytes(5000))
    outcome(path)


def test_an_aspect_ratio_asks_for_no_picture_that_is_too_large(tmp_path: Path) -> None:
    import av

    path = tmp_path / "x.mkv"
    for ratio in (Fraction(65_535, 1), Fraction(1, 65_535), Fraction(4, 3)):
        with av.open(str(path), "w") as target:
            stream = target.add_stream("ffv1", rate=10)
            stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
            stream.sample_aspect_ratio = stream.codec_context.sample_aspect_ratio = ratio
            for _ in range(3):
                target.mux(stream.encode(av.VideoFrame.from_image(media.picture(1))))
            target.mux(stream.encode(None))
        found = outcome(path)
        assert isinstance(found, list) and isinstance(found[0].content, Clip)
        width, height = found[0].content.frames[0].size
        assert width * height <= 320 * 240 * 4096


@pytest.mark.parametrize("leap", [700.0, 200_000.0, 9e9])
def test_leaps_of_time_are_bounded(leap: float, tmp_path: Path) -> None:
    """Every frame a leap later than the one before: no more segments than the frames' share of LONGEST."""
    scenes = [media.picture(i) for i in range(2)]
    times = [leap * i for i in range(20)]
    path = media.write_frames(tmp_path / "x.mkv", [(t, scenes[i % 2]) for i, t in enumerate(times)])
    found = outcome(path)
    assert isinstance(found, list)
    assert len(found) <= LONGEST / 7.5
    assert (found[-1].end or 0) <= LONGEST + 601


def test_a_slide_that_is_shown_for_longer_than_a_leap_may_be(tmp_path: Path) -> None:
    """20 minutes between two frames are believed where the file's own length has room for them."""
    frames = [
        (0.0, media.picture(1)),
        (1.0, media.picture(2)),
        (1201.0, media.picture(3)),
        (1202.0, media.picture(4)),
    ]
    path = media.write_frames(tmp_path / "x.mkv", frames, 1)
    found = outcome(path)
    assert isinstance(found, list)
    assert [s.end for s in found][-2:] == [pytest.approx(1202.0, abs=0.1), pytest.approx(1203.0, abs=0.1)]
    assert len(found) == 1 + 80 + 2


def test_the_clock() -> None:
    clock = Clock(duration=100.0, step=0.04)
    told = [0.0, 0.04, None, 0.12, 0.1, 0.16, 5.0, 9000.0, 9000.04, 9000.08, 3.0, 3.04]
    shown = [clock.ascending(time) for time in told]
    assert shown == pytest.approx([0, 0.04, 0.08, 0.12, 0.16, 0.2, 5, 5.04, 5.08, 5.12, 5.16, 5.2])
    for first, start in ((-0.02, 0.0), (-50.0, 0.0), (3.0, 3.0), (300.0, 300.0), (1e9, 0.0), (None, 0.0)):
        clock = Clock(0.0, 0.1)
        assert clock.ascending(first) == start
        assert clock.ascending(None if first is None else first + 1) == pytest.approx(
            start + (0.98 if first == -0.02 else 0.1 if first is None else 1.0)
        )
    assert may_follow(900.0, 0.0, 1000.0) and not may_follow(900.0, 0.0, 800.0)
    assert not may_follow(LONGEST + 50, LONGEST - 1, 0.0) and may_follow(LONGEST + 5, LONGEST - 1, 0.0)


def test_all_time_stamps_alike(tmp_path: Path) -> None:
    import av

    path = tmp_path / "x.mkv"
    with av.open(str(path), "w") as target:
        stream = target.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuvj420p"
        for i in range(100):
            for packet in stream.encode(av.VideoFrame.from_image(media.picture(i // 50))):
                packet.pts = packet.dts = 0
                packet.duration = 0
                target.mux(packet)
    found = outcome(path)
    assert isinstance(found, list) and [s.end for s in found] == pytest.approx([2.0, 4.0], abs=0.1)


def test_a_rate_that_means_nothing(tmp_path: Path) -> None:
    for rate in (0, 1, 0xFFFFFFFF):
        path = media.write_video(tmp_path / "x.avi", [media.picture(1), media.picture(2)], 1.0)
        data = bytearray(path.read_bytes())
        place = data.index(b"vids") + 20  # dwScale and dwRate of the stream's header
        data[place : place + 8] = struct.pack("<II", 1, rate)
        data[32:36] = struct.pack("<I", 0)
        path.write_bytes(data)
        found = outcome(path)
        assert isinstance(found, str) or (len(found) < 200 and (found[-1].end or 0) < LONGEST)


def test_damaged_subtitles_take_nothing_from_the_rest(tmp_path: Path) -> None:
    film = media.write_video(tmp_path / "film.mp4", [media.picture(1)], 2.0, sound=media.tone(2.0))
    path = remux(film, tmp_path / "x.mkv", texts=[Texts("subrip", [(0.1, 0.4, "AAAA"), (3.0, 3.5, "Good.")])])
    data = path.read_bytes()
    path.write_bytes(data.replace(b"AAAA", b"\xff\xfe\xff\xc0"))
    found = outcome(path)
    assert isinstance(found, list)
    assert [s.modality for s in found[:2]] == ["video", "audio"] and found[-1].content in (
        "Good.",
        "\ufffd" * 4,
    )


def test_many_cues_take_seconds(tmp_path: Path) -> None:
    import av

    path = tmp_path / "x.mkv"
    with av.open(str(path), "w") as target:
        stream: Any = target.add_stream("subrip")
        stream.codec_context.subtitle_header = b"[Script Info]\n"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        picture = target.add_stream("mjpeg", rate=1)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuvj420p"
        target.mux(picture.encode(av.VideoFrame.from_image(Image.new("RGB", (64, 48), "red"))))
        for number in range(30_000):
            packet = av.Packet(b"{\\i1" * 30 + b"word %d" % number)
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts = packet.dts = number
            packet.duration = 1
            target.mux(packet)
    with within(20):
        found = outcome(path, modalities=("text",))
        assert isinstance(found, list) and "word 29999" in str(found[-1].content)


def test_what_a_picture_needs_does_not_grow_with_the_frame_rate(tmp_path: Path) -> None:
    """Looks that have passed keep no frame: 500 frames of a second at 500 a second."""
    held: list[int] = []
    from multimodal.readers.clips import Look, mark_cuts

    class Frame:
        def __init__(self, alive: list[int]) -> None:
            self.alive = alive
            alive.append(1)

        def __del__(self) -> None:
            self.alive.pop()

    def looks() -> Any:
        for number in range(500):
            frame = Frame(held)
            thumb = np.full((3, 16, 16), number % 7, np.int16)
            yield Look(number / 500, 1 / 500, thumb, lambda frame=frame: frame)  # type: ignore[misc]
            del frame
            assert len(held) <= 10

    for look, _ in mark_cuts(looks()):
        del look
    assert not held


def test_the_reason_names_the_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from multimodal.readers import video

    monkeypatch.setattr(video, "MAX_PIXELS", 100)
    path = media.write_video(tmp_path / "x.mp4", [media.picture(1)], 0.4)
    assert outcome(path) == "its pictures are too large to decode safely: 320 x 240"
