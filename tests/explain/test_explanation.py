"""Explanations: what speaks for a query, and the pictures of it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multimodal import Audio, Clip, QueryError, Space, load_space
from tests.fakes import fake_space

SAMPLES = Path(__file__).parents[2] / "samples"
TALE = (
    "The captain, against the suggestions of his crew, chose to save the pirate because he was touched by"
    " his tale."
)


@pytest.fixture(scope="module")
def space() -> Space:
    return load_space()


def test_the_words_that_carry_a_sentence_stand_out(space: Space) -> None:
    why = space.explain(TALE)
    assert {place.text for place, _ in why.top(3)} == {"captain", "save", "pirate"}
    assert why.cosine == 1 and why.relevance.sum() <= 1


def test_words_count_by_what_is_lost_without_them(space: Space) -> None:
    why = space.explain(TALE, "a captain saves a pirate")
    assert {place.text for place, _ in why.top(3)} == {"captain", "save", "pirate"}
    place, relevance = why.top(1)[0]
    begin, end = place.chars  # type: ignore[misc]
    without = space.similarity(TALE[:begin] + TALE[end + 1 :], "a captain saves a pirate").item()
    assert relevance == pytest.approx(why.cosine - without, abs=1e-5)


def test_places_of_a_picture_are_found_again_and_again_the_same(space: Space) -> None:
    page = Image.new("RGB", (500, 500), "white")
    names = ("castle.jpg", "drum-kit.png", "honey-bee.jpg", "husky.png")
    for n, name in enumerate(names):
        stamp = Image.open(SAMPLES / "pictures" / name).convert("RGB").resize((230, 230))
        page.paste(stamp, (n % 2 * 250 + 10, n // 2 * 250 + 10))
    why, again = space.explain(page, "a drum kit"), space.explain(page, "a drum kit")
    left, top, right, bottom = why.top(1)[0][0].box  # type: ignore[misc]
    assert (left + right) / 2 > 250 > (top + bottom) / 2
    np.testing.assert_array_equal(again.relevance, why.relevance)


def test_the_moment_of_a_video_is_in_the_scene_that_shows_it(space: Space) -> None:
    why = space.explain(SAMPLES / "videos/day-out.mp4", "bales of hay in a field", start=2, end=10)
    assert all(4 <= place.seconds[0] < 8 for place, _ in why.top(5))  # type: ignore[index]
    assert why.weights is not None and why.weights.sum() == pytest.approx(1, abs=1e-5)
    fake = fake_space()
    assert fake.explain(red_and_blue(), "blue").cosine == pytest.approx(
        fake.similarity(red_and_blue(), "blue").item(), abs=1e-6
    )


@pytest.mark.slow
def test_the_sound_that_is_asked_for_is_heard_where_it_is(space: Space) -> None:
    parts = []
    for name in ("cow-mooing.mp3", "dog-barking.wav", "rooster-crowing.ogg"):
        sound = next(iter(space.read(SAMPLES / "sounds" / name))).content
        assert isinstance(sound, Audio)
        parts.append(sound.samples[: 2 * sound.rate] / np.abs(sound.samples).max())
    both = Audio(np.concatenate(parts).astype(np.float32), 16_000)
    ends = np.cumsum([len(part) for part in parts]) / 16_000
    for n, query in enumerate(("a cow", "a dog", "a rooster")):
        seconds = space.explain(both, query).top(1)[0][0].seconds
        assert seconds is not None and int(np.searchsorted(ends, np.mean(seconds))) == n, query


def test_a_query_may_be_anything_and_a_sum(space: Space) -> None:
    bee = SAMPLES / "pictures/honey-bee.jpg"
    why = space.explain("One bee visits a hundred flowers on a flight.", bee)
    assert why.top(1)[0][0].text == "bee" and why.query == "honey-bee.jpg"
    summed = space.explain("a bee on a flower", space.query("bee") - "flower")
    assert summed.relevance[1] > summed.relevance[4]
    assert space.explain("a bee", Image.open(bee)).query == "the image"


def red_and_blue() -> Clip:
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue", "green")]
    return Clip(frames, np.array([0.0, 0.5, 1.0]))


def items() -> list[object]:
    page = Image.new("RGB", (60, 90), "red")
    page.paste("blue", (0, 45, 60, 90))
    tone = np.sin(np.arange(24_000) / 3).astype(np.float32)
    return ["red $5 and blue $6 " * 20, "語の赤 red", page, red_and_blue(), Audio(tone, 16_000)]


@pytest.mark.parametrize("number", range(5))
def test_every_modality_is_drawn_and_saved(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    why = fake_space().explain(items()[number], "blue")  # type: ignore[arg-type]
    target = why.save(tmp_path / "why.png")
    with Image.open(target) as drawn:
        assert drawn.width > 500 and len(drawn.convert("RGB").getcolors(1 << 24) or []) > 20
    assert why._repr_png_() == why.plot()._repr_png_()  # type: ignore[attr-defined]
    import sys

    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_where_blue_is_asked_for_the_drawing_is_bright(tmp_path: Path) -> None:
    """The drawing itself: the lower half of the map is the brighter one."""
    why = fake_space().explain(items()[2], "blue")  # type: ignore[arg-type]
    assert why.top(1)[0][0].box[1] >= 45  # type: ignore[index]
    with Image.open(why.save(tmp_path / "why.png")) as drawn:
        pixels = np.asarray(drawn.convert("L"), float)
    right = pixels[60:, pixels.shape[1] * 2 // 3 : -40]
    assert right[len(right) * 3 // 5 : -30].mean() > right[30 : len(right) * 2 // 5].mean()


def test_a_figure_that_cannot_be_written_says_so_at_once(tmp_path: Path) -> None:
    why = fake_space().explain("red")
    with pytest.raises(QueryError, match=r"not as 'why\.txt'"):
        why.save(tmp_path / "why.txt")
    with pytest.raises(QueryError, match="There is no folder"):
        why.save(tmp_path / "gone" / "why.png")
    assert os.listdir(tmp_path) == []
