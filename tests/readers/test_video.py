"""Videos: the right times, the right cuts, the right way up, in flat memory."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multimodal.errors import ReadError
from multimodal.readers import read
from multimodal.types import Audio, Clip, ReadOptions, Segment
from tests import media


def shots(path: Path, options: ReadOptions = ReadOptions()) -> list[Segment]:  # noqa: B008 - frozen
    return [segment for segment in read(path, options) if segment.modality == "video"]


def edges(segments: list[Segment]) -> list[float]:
    """Where the segments begin, and where the last ends; checks that they join."""
    for one, next_one in pairwise(segments):
        assert one.end == next_one.start
    return [s.start or 0.0 for s in segments] + [segments[-1].end or 0.0]


def clip(segment: Segment) -> Clip:
    assert isinstance(segment.content, Clip)
    return segment.content


def pan(source: Image.Image, frames: int, step: int, size: tuple[int, int]) -> list[Image.Image]:
    return [source.crop((i * step, 0, i * step + size[0], size[1])) for i in range(frames)]


@pytest.mark.parametrize("extension", media.VIDEO_EXTENSIONS)
def test_cuts_are_found_to_the_frame_in_every_container(extension: str, tmp_path: Path) -> None:
    scenes = [media.picture(seed) for seed in range(4)]
    path = media.write_video(tmp_path / f"x{extension}", scenes, seconds=2.0, sound=media.tone(8.0))
    segments = list(read(path))
    assert [s.modality for s in segments] == ["video"] * 4 + ["audio"] * 2
    assert np.allclose(edges(segments[:4]), [0, 2, 4, 6, 8], atol=0.047)
    for segment, scene in zip(segments, scenes, strict=False):
        for frame in clip(segment).frames:
            assert frame.size == (320, 240) and frame.mode == "RGB"
            assert np.abs(np.asarray(frame, int) - np.asarray(scene, int)).mean() < 12
        times = clip(segment).times
        assert len(times) in (4, 5) and (np.diff(times) > 0.4).all()  # where the first is late, 5
        assert segment.start == times[0] and times[-1] < (segment.end or 0)
    sound = segments[4].content
    assert isinstance(sound, Audio) and sound.rate == 16_000


def test_objects_on_white_are_scenes_of_their_own(tmp_path: Path) -> None:
    scenes = []
    for seed in range(6):
        scene = Image.new("RGB", (320, 240), "white")
        scene.paste(media.picture(seed, 130, 110), (95, 65))
        scenes.append(scene)
    path = media.write_video(tmp_path / "x.mp4", scenes, seconds=3.0)
    assert np.allclose(edges(shots(path)), np.arange(0, 19, 3), atol=0.01)


@pytest.mark.parametrize("step", [1, 4, 10])
def test_a_moving_camera_is_no_cut_and_a_cut_within_its_motion_is(step: int, tmp_path: Path) -> None:
    size = (320, 240)
    one = pan(media.picture(1, 320 + 50 * step, 240), 50, step, size)
    other = pan(media.picture(2, 320 + 50 * step, 240), 50, step, size)
    frames = [(Fraction(i, 25), frame) for i, frame in enumerate(one + other)]
    path = media.write_frames(tmp_path / "x.mp4", frames)
    assert np.allclose(edges(shots(path)), [0, 2, 4], atol=0.01)


def test_a_flash_is_no_cut(tmp_path: Path) -> None:
    still, white = media.picture(3), Image.new("RGB", (320, 240), "white")
    frames = [(Fraction(i, 25), white if i in (30, 31) else still) for i in range(75)]
    assert edges(shots(media.write_frames(tmp_path / "x.mp4", frames))) == pytest.approx([0, 3])


def test_a_fade_is_no_hard_cut(tmp_path: Path) -> None:
    a, b = media.picture(3), media.picture(4)
    frames = [(Fraction(i, 25), Image.blend(a, b, min(1, max(0, (i - 25) / 50)))) for i in range(100)]
    assert edges(shots(media.write_frames(tmp_path / "x.mp4", frames))) == pytest.approx([0, 4])


def test_every_frame_shown_twice_makes_no_cuts(tmp_path: Path) -> None:
    source = media.picture(1, 320 + 40 * 12, 240)
    frames = [
        (Fraction(i, 24), f) for i, f in enumerate(f for f in pan(source, 40, 12, (320, 240)) for _ in "ab")
    ]
    assert edges(shots(media.write_frames(tmp_path / "x.mp4", frames, 24))) == pytest.approx(
        [0, 80 / 24], abs=0.01
    )


def test_noise_is_no_cut(tmp_path: Path) -> None:
    rng, still = np.random.default_rng(0), np.asarray(media.picture(3), np.int16)
    frames = []
    for i in range(75):
        noisy = still + rng.normal(0, 20, still.shape)
        frames.append((Fraction(i, 25), Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))))
    assert edges(shots(media.write_frames(tmp_path / "x.mp4", frames))) == pytest.approx([0, 3])


def test_a_slow_slide_show_is_cut_at_each_slide(tmp_path: Path) -> None:
    frames = [(float(i), media.picture(i)) for i in range(5)]
    assert edges(shots(media.write_frames(tmp_path / "x.mkv", frames, 1))) == pytest.approx(
        [0, 1, 2, 3, 4, 5]
    )


@pytest.mark.parametrize("seconds", [9, 10, 14, 19.6, 25, 47])
def test_a_long_shot_is_cut_into_parts(seconds: float, tmp_path: Path) -> None:
    frames = [(Fraction(i, 5), media.picture(1, 64, 48)) for i in range(round(5 * seconds))]
    segments = shots(media.write_frames(tmp_path / "x.mp4", frames, 5), ReadOptions(video_seconds=10))
    lengths = np.diff(edges(segments))
    assert lengths.sum() == pytest.approx(seconds, abs=0.01)
    assert lengths.max() <= 10 + 1e-6
    assert len(lengths) == 1 or lengths.min() >= 5 - 1e-6
    assert len(lengths) == int(np.ceil(seconds / 10 - 1e-6))
    for segment in segments:
        assert segment.start is not None and segment.end is not None
        times = clip(segment).times
        assert (times >= segment.start).all() and (times < segment.end).all()
        assert len(times) == pytest.approx(2 * (segment.end - segment.start), abs=1.1)


@pytest.mark.parametrize("extension", [".mp4", ".mkv", ".webm"])
def test_variable_frame_rate_times_are_right(extension: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    times = np.concatenate([[0], np.cumsum(rng.choice([0.02, 0.04, 0.15, 0.4], 120))]).round(3)
    # The picture tells its own time: bands of grey by the digits of its frame's number.
    frames = []
    for i, time in enumerate(times):
        image = Image.new("L", (160, 120), 128)
        image.paste(40 + 200 * (i % 11) // 10, (0, 0, 80, 120))
        image.paste(40 + 200 * (i // 11) // 10, (80, 0, 160, 120))
        frames.append((float(time), image.convert("RGB")))
    path = media.write_frames(tmp_path / f"x{extension}", frames, 25)
    segments = shots(path, ReadOptions(frame_rate=4))
    assert edges(segments)[-1] == pytest.approx(times[-1], abs=0.45)
    seen = 0
    for segment in segments:
        for frame, time in zip(clip(segment).frames, clip(segment).times, strict=True):
            levels = np.asarray(frame.convert("L"), float)
            digits = [round((levels[20:100, x : x + 40].mean() - 40) / 20) for x in (20, 100)]
            assert abs(times[digits[0] + 11 * digits[1]] - time) < 0.05
            seen += 1
    assert seen > 3 * times[-1] / 1.5


def test_an_impossible_time_stamp_asks_for_no_more_segments(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.08, 2_000_000.0, 2_000_000.04]
    path = media.write_frames(tmp_path / "x.mkv", [(time, media.picture(1)) for time in times])
    assert edges(shots(path))[-1] < 700


@pytest.mark.parametrize(("degrees", "size"), [(90, (240, 320)), (180, (320, 240)), (-90, (240, 320))])
def test_rotation_is_obeyed(degrees: int, size: tuple[int, int], tmp_path: Path) -> None:
    from av.video.stream import VideoStream

    if not hasattr(VideoStream, "set_display_rotation"):
        pytest.skip("PyAV before 18 writes no display matrix")
    path = media.write_video(tmp_path / "x.mp4", [media.picture(2)], rotation=degrees)
    frame = clip(shots(path)[0]).frames[0]
    upright = media.picture(2).rotate(degrees, expand=True)
    assert frame.size == size
    assert np.abs(np.asarray(frame, int) - np.asarray(upright, int)).mean() < 12


def test_frames_come_no_larger_than_needed(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "x.mp4", [media.picture(2, 1280, 720)], seconds=0.2)
    assert clip(shots(path, ReadOptions(min_side=224))[0]).frames[0].size == (459, 258)
    assert clip(shots(path, ReadOptions(min_side=700))[0]).frames[0].size == (1280, 720)
    assert clip(shots(path)[0]).frames[0].size == (1280, 720)


@pytest.mark.parametrize("pixels", ["yuv420p10le", "yuv444p", "yuv422p"])
def test_deeper_and_finer_pixels(pixels: str, tmp_path: Path) -> None:
    codec = "libx265" if "10" in pixels else "libx264"
    path = media.write_video(tmp_path / "x.mp4", [media.picture(2)], seconds=0.4, codec=codec, pixels=pixels)
    frame = clip(shots(path)[0]).frames[0]
    assert np.abs(np.asarray(frame, int) - np.asarray(media.picture(2), int)).mean() < 12


def test_the_sound_begins_where_the_picture_does(tmp_path: Path) -> None:
    sound = media.tone(6.0)
    sound[: 3 * 44_100] = 0
    path = media.write_video(tmp_path / "x.mp4", [media.picture(1)], seconds=6.0, sound=sound)
    heard = [s for s in read(path, ReadOptions(audio_seconds=1.0)) if s.modality == "audio"]
    loud = [s.start for s in heard if isinstance(s.content, Audio) and np.abs(s.content.samples).mean() > 0.1]
    assert loud[0] == pytest.approx(3.0, abs=0.05)


def test_a_broken_off_video_gives_what_it_holds(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "x.mkv", seconds=4.0)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 1.0 < edges(shots(path))[-1] < 11.0
    mp4 = media.write_video(tmp_path / "x.mp4", seconds=1.0)
    mp4.write_bytes(mp4.read_bytes()[: mp4.stat().st_size // 2])
    with pytest.raises(ReadError, match=r"incomplete: its index \(moov\) is missing"):
        shots(mp4)


def test_damage_in_the_middle_leaves_the_rest_in_its_place(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "x.mp4", [media.picture(i) for i in range(6)], seconds=2.0)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 300] = np.random.default_rng(0).integers(0, 256, 300, dtype=np.uint8).tobytes()
    path.write_bytes(data)
    assert edges(shots(path))[-1] == pytest.approx(12.0, abs=0.1)
