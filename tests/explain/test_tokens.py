"""Tokens: what a tower sees, where it lies, what it looks like and how much it counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multimodal import Audio, Clip, QueryError, Space, load_space
from multimodal.explain import dense
from multimodal.towers.base import unit
from multimodal.towers.onnx import OnnxTower, WindowedTower
from tests.fakes import fake_space

SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.fixture(scope="module")
def space() -> Space:
    return load_space()


def check(space: Space, seen: object) -> None:
    assert seen.embeddings.shape == (len(seen), space.dim)  # type: ignore[attr-defined,arg-type]
    np.testing.assert_allclose(np.linalg.norm(seen.embeddings, axis=1), 1, atol=1e-5)  # type: ignore[attr-defined]
    assert seen.weights.min() >= 0 and seen.weights.sum() == pytest.approx(1, abs=1e-5)  # type: ignore[attr-defined]


def test_sub_words_are_those_of_the_text_and_their_mean_is_its_vector(space: Space) -> None:
    text = "Zebras, unfathomable!"
    seen = space.tokens(text)
    check(space, seen)
    for string, place in zip(seen.strings, seen.places, strict=True):
        assert place.chars is not None
        assert text[slice(*place.chars)].lower() == string.removeprefix("##")
    assert "," in seen.strings and len(seen) > 4
    tower = space["text"].tower
    ids = tower.preprocess(text)
    hidden, attention = tower.last_layer(ids[None], np.ones((1, len(ids)), np.float32))  # type: ignore[attr-defined]
    np.testing.assert_allclose(unit(hidden.mean(axis=1)), space.embed(text), atol=1e-5)
    np.testing.assert_allclose(attention.sum(axis=-1), 1, atol=1e-5)
    assert attention[0].mean(axis=(0, 1))[1:-1] == pytest.approx(
        seen.weights * attention[0].mean(axis=(0, 1))[1:-1].sum(), abs=1e-6
    )


def test_a_text_of_several_windows_keeps_its_offsets(space: Space) -> None:
    text = "A cat sat on a mat. " * 60  # 420 tokens of 254
    seen = space.tokens(text)
    check(space, seen)
    assert len(seen) == 420
    assert all(text[slice(*place.chars)].lower() == place.text for place in seen)  # type: ignore[misc]


def test_patches_tile_the_picture_and_know_what_is_where(space: Space) -> None:
    page = Image.new("RGB", (600, 300), "white")
    for name, left in (("castle.jpg", 0), ("drum-kit.png", 300)):
        page.paste(Image.open(SAMPLES / "pictures" / name).convert("RGB").resize((300, 300)), (left, 0))
    seen = space.tokens(page)
    check(space, seen)
    boxes = seen.boxes
    assert len(seen) == 81 and boxes.min() == 0 and boxes[:, 2].max() == 600 and boxes[:, 3].max() == 300
    assert ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sum() == pytest.approx(600 * 300)
    drums = boxes[int((seen.embeddings @ space.embed("a drum kit")[0]).argmax())]
    castle = boxes[int((seen.embeddings @ space.embed("a castle")[0]).argmax())]
    assert drums[0] >= 300 > castle[0]


def test_boxes_are_in_pixels_of_the_file(space: Space, tmp_path: Path) -> None:
    Image.linear_gradient("L").convert("RGB").resize((3000, 2000)).save(tmp_path / "large.jpg")
    assert space.tokens(tmp_path / "large.jpg").boxes[-1].tolist()[2:] == [3000, 2000]


def test_the_modules_looked_into_are_the_towers_graphs(space: Space) -> None:
    import torch

    image, audio = space["image"].tower, space["audio"].tower
    assert isinstance(image, OnnxTower) and isinstance(audio, WindowedTower)
    pixels = image.preprocess(Image.open(SAMPLES / "pictures/cow.webp"))
    with torch.inference_mode():
        row = dense.image_module(image.weights)(torch.from_numpy(np.array(pixels)[None])).numpy()
    assert (unit(row) @ unit(image.forward([pixels])).T).item() > 0.9999  # type: ignore[list-item]
    window = audio.preprocess(Audio(np.sin(np.arange(16_000) / 9).astype(np.float32), 16_000))[:1]
    with torch.inference_mode():
        row = dense.audio_module(audio.windows.weights)(torch.from_numpy(window)).numpy()
    assert (unit(row) @ unit(audio.windows.forward(list(window))).T).item() > 0.9999


def test_patches_of_a_sound_have_seconds_and_hertz(space: Space) -> None:
    seen = space.tokens(SAMPLES / "sounds/rooster-crowing.ogg")
    check(space, seen)
    assert seen.hertz[:, 0].min() == pytest.approx(50) and seen.hertz[:, 1].max() == pytest.approx(7800)
    np.testing.assert_allclose(np.diff(seen.times), 0.16, atol=1e-9)
    assert not np.isnan(seen.times).any() and np.isnan(seen.boxes).all()


def test_frames_have_the_times_and_weights_of_the_clip() -> None:
    space = fake_space()
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "red", "black", "blue")]
    clip = Clip(frames, np.array([3.0, 3.5, 4.0, 4.5]))
    seen = space.tokens(clip)
    check(space, seen)
    assert seen.times.tolist() == [[3, 3.5], [3.5, 4], [4, 4.5], [4.5, 5]]
    np.testing.assert_allclose(seen.weights, space.frame_weights(clip))
    assert seen.weights[2] == 0 and (seen.weights > 0).sum() == 2


def test_towers_of_unknown_make_are_asked_about_crops_words_and_slices() -> None:
    space = fake_space()
    page = Image.new("RGB", (90, 60), "red")
    page.paste("blue", (45, 0, 90, 60))
    patches = space.tokens(page)
    check(space, patches)
    blue = patches.embeddings @ space.embed("blue")[0]
    assert len(patches) == 36 and patches.boxes[int(blue.argmax())][0] >= 45
    words = space.tokens("red and blue")
    check(space, words)
    assert words.strings == ["red", "and", "blue"]
    time = np.arange(32_000) / 16_000
    tones = np.sin(2 * np.pi * np.where(time < 1, 200, 3000) * time).astype(np.float32)
    sound = space.tokens(Audio(tones, 16_000))
    check(space, sound)
    high = sound.embeddings @ space.embed("high")[0]
    assert sound.times[int(high.argmax())].tolist() == [1, 2]


def test_a_stretch_of_a_file_is_its_own_and_wrong_ones_say_so(space: Space) -> None:
    video = SAMPLES / "videos/day-out.mp4"
    seen = space.tokens(video, start=5, end=7)
    assert seen.times.min() >= 5 and seen.times[:, 0].max() < 7
    for start, end, reason in ((7, 5, "ends after it starts"), (900, None, "nothing to look at")):
        with pytest.raises(QueryError, match=reason):
            space.tokens(video, start, end)
    with pytest.raises(QueryError, match="has no times"):
        space.tokens(SAMPLES / "pictures/cow.webp", start=1)
    with pytest.raises(QueryError, match="Only a file"):
        space.tokens("a text", start=1)


def test_a_long_sound_is_asked_for_in_stretches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import soundfile

    from multimodal.explain import contents

    monkeypatch.setattr(contents, "MOST_SECONDS", 12.0)
    tone = np.sin(np.arange(8000 * 20) / 5).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", tone, 8000)
    space = fake_space()
    with pytest.raises(QueryError, match="More than 0 minutes"):
        space.tokens(tmp_path / "long.wav")
    assert space.tokens(tmp_path / "long.wav", start=10).times[0, 0] == 10


def test_a_shorter_space_gives_shorter_tokens(space: Space) -> None:
    small = space.truncate(64)
    for item in ("a zebra", SAMPLES / "pictures/cow.webp"):
        check(small, small.tokens(item))
