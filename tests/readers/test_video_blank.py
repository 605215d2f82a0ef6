"""Shots within their bounds, and black apart from what is seen."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multimodal.readers import read
from multimodal.readers.clips import Look, is_black, segments
from multimodal.types import Clip, ReadOptions, Segment
from tests import media

SIZE = (160, 120)
BLACK = Image.new("RGB", SIZE)


def film(path: Path, parts: Iterable[tuple[float, Image.Image | tuple[Image.Image, Image.Image]]]) -> Path:
    """A video of 20 frames a second: each part stands for its seconds, a pair of pictures is a fade."""
    frames = []
    for seconds, shown in parts:
        count = round(20 * seconds)
        for number in range(count):
            frame = shown if isinstance(shown, Image.Image) else Image.blend(*shown, number / count)
            frames.append((Fraction(len(frames), 20), frame))
    return media.write_frames(path, frames, 20)


def shots(path: Path, **options: object) -> list[tuple[str, float | None, float | None]]:
    found = list(read(path, ReadOptions(**options)))  # type: ignore[arg-type]
    for one, following in pairwise(found):
        assert one.end == following.start
    for segment in found:
        assert segment.modality == "video"
        assert (segment.content == "") if segment.role == "blank" else isinstance(segment.content, Clip)
    return [(s.role, s.start, s.end) for s in found]


def expected(*segments: tuple[str, float, float]) -> list[tuple[str, object, object]]:
    return [(role, pytest.approx(a, abs=0.051), pytest.approx(b, abs=0.051)) for role, a, b in segments]


def scene(seed: int) -> Image.Image:
    return media.picture(seed, *SIZE)


def test_black_between_two_scenes_is_blank(tmp_path: Path) -> None:
    path = film(tmp_path / "x.mp4", [(3, scene(1)), (1, BLACK), (3, scene(2))])
    assert shots(path) == expected(("content", 0, 3), ("blank", 3, 4), ("content", 4, 7))


def test_a_long_fade_is_blank_and_a_short_one_stays_in_its_shot(tmp_path: Path) -> None:
    fade = [(3, BLACK), (1, (BLACK, scene(1))), (3, scene(1)), (1, (scene(1), BLACK)), (1, BLACK)]
    role, start, end = shots(film(tmp_path / "x.mp4", fade))[0]
    assert (role, start) == ("blank", 0) and 3.0 <= (end or 0) <= 3.3
    assert [role for role, *_ in shots(tmp_path / "x.mp4")] == ["blank", "content"]
    assert shots(tmp_path / "x.mp4")[-1][2] == pytest.approx(9.0)
    short = film(tmp_path / "y.mp4", [(1, BLACK), *fade[1:]])
    assert shots(short) == expected(("content", 0, 7))
    assert [role for role, *_ in shots(short, video_min_seconds=0.5)] == ["blank", "content", "blank"]


def test_black_of_any_length_is_one_segment(tmp_path: Path) -> None:
    path = film(tmp_path / "x.mp4", [(50, BLACK)])
    assert shots(path) == expected(("blank", 0, 50))
    grey = Image.new("RGB", SIZE, (14, 14, 14))
    path = film(tmp_path / "y.mp4", [(4, BLACK), (4, grey), (4, BLACK), (2, scene(1)), (40, BLACK)])
    assert shots(path) == expected(("blank", 0, 12), ("content", 12, 14), ("blank", 14, 54))


def test_one_black_frame_that_stands_for_long(tmp_path: Path) -> None:
    frames = [(0.0, scene(1)), (4.0, BLACK), (64.0, scene(2)), (68.0, scene(3))]
    found = shots(media.write_frames(tmp_path / "x.mkv", frames, 1))
    assert found[:3] == expected(("content", 0, 4), ("blank", 4, 64), ("content", 64, 68))


def test_what_is_dark_or_of_one_colour_is_no_black(tmp_path: Path) -> None:
    night = Image.blend(BLACK, scene(5), 0.3)
    star = BLACK.copy()
    star.paste((255, 255, 255), (70, 50, 76, 56))
    for number, shown in enumerate(
        (night, star, Image.new("RGB", SIZE, "white"), Image.new("RGB", SIZE, "navy"))
    ):
        assert shots(film(tmp_path / f"{number}.mp4", [(3, shown)])) == expected(("content", 0, 3))


def test_noise_on_black_is_black(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [
        (
            Fraction(i, 20),
            Image.fromarray(np.abs(rng.normal(0, 8, (120, 160, 3))).clip(0, 255).astype(np.uint8)),
        )
        for i in range(60)
    ]
    assert shots(media.write_frames(tmp_path / "x.mp4", frames, 20)) == expected(("blank", 0, 3))


def test_an_animation_of_black_is_blank(tmp_path: Path) -> None:
    path = media.write_animation(tmp_path / "x.gif", [BLACK, scene(1), scene(2)], [3.0, 2.0, 2.0])
    assert shots(path)[0] == ("blank", 0.0, 3.0)


def still(count: int, step: float, black: Iterable[int] = ()) -> Iterable[Look]:
    dark = set(black)
    seen = np.zeros((3, 16, 16), np.int16) + np.array([120, 140, 110], np.int16)[:, None, None]
    night = np.zeros((3, 16, 16), np.int16) + np.array([16, 128, 128], np.int16)[:, None, None]
    for number in range(count):
        yield Look(number * step, step, night if number in dark else seen, lambda: Image.new("RGB", (4, 3)))


def cut(looks: Iterable[Look], **options: object) -> list[Segment]:
    return list(segments(looks, Path("x"), ReadOptions(**options)))  # type: ignore[arg-type]


@pytest.mark.parametrize("most", [1.0, 4.0, 10.0, 15.0])
@pytest.mark.parametrize("least", [0.0, 0.5, 2.0])
def test_parts_keep_to_the_bounds(most: float, least: float) -> None:
    for seconds in np.arange(0.2, 70, 1.7):
        parts = cut(still(round(seconds * 5), 0.2), video_seconds=most, video_min_seconds=least)
        lengths = np.array([(p.end or 0) - (p.start or 0) for p in parts])
        total = round(seconds * 5) * 0.2
        assert lengths.sum() == pytest.approx(total) and lengths.max() <= most + 1e-9
        assert len(lengths) == max(1, np.ceil(total / most - 1e-6))
        assert len(lengths) == 1 or lengths.min() >= max(min(least, most / 2), most / 2) - 1e-9
        assert all(isinstance(p.content, Clip) and len(p.content.frames) for p in parts)


def test_the_least_length_gives_way_to_the_greatest() -> None:
    for least in (6.0, 10.0, 1000.0, float("nan"), -3.0):
        parts = cut(still(55, 0.2), video_seconds=10, video_min_seconds=least)
        assert [(p.start, p.end) for p in parts] == [(0, 5.5), (5.5, pytest.approx(11))]


@pytest.mark.parametrize(
    "bad", [{"video_seconds": 0}, {"video_seconds": -1}, {"frame_rate": 0}, {"frame_rate": float("inf")}]
)
def test_lengths_and_rates_that_mean_nothing_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        cut(still(3, 0.2), **bad)


def test_black_in_a_long_shot_leaves_no_short_rest() -> None:
    """Wherever 3 s of black begin in a shot, no part before it is shorter than half the greatest length,
    unless the shot was, and no part holds a black frame."""
    for begin in range(0, 300, 7):
        black = range(begin, begin + 15)
        found = cut(still(400, 0.2, black), video_seconds=10, frame_rate=5)
        blank = [s for s in found if s.role == "blank"]
        assert [(s.start, s.end) for s in blank] == [
            (pytest.approx(begin * 0.2), pytest.approx(begin * 0.2 + 3))
        ]
        for s in found:
            if isinstance(s.content, Clip):
                assert (s.end or 0) <= blank[0].start + 1e-9 or (s.start or 0) >= blank[0].end - 1e-9  # type: ignore[operator]
                assert (s.end or 0) - (s.start or 0) >= min(5.0, begin * 0.2) - 1e-9
                at = np.rint(s.content.times / 0.2).astype(int)
                assert not set(at) & set(black)


def test_the_level_of_black() -> None:
    def flat(y: int, u: int = 128, v: int = 128) -> np.ndarray:
        return np.zeros((3, 16, 16), np.int16) + np.array([y, u, v], np.int16)[:, None, None]

    assert is_black(flat(16)) and is_black(flat(0)) and is_black(flat(32, 130, 126))
    assert not is_black(flat(33)) and not is_black(flat(28, 184, 118))
    one = flat(16)
    one[0, 3, 4] = 60
    assert not is_black(one)
