"""Towers by themselves: pixels as open_clip prepares them, the pooler's mean, the numpy transformer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multimodal import Audio, Clip, load_space
from multimodal.towers.base import unit
from multimodal.towers.minilm import _erf
from multimodal.towers.pixels import ResizeCrop
from multimodal.towers.video import KEPT, TemporalPooler, VideoTower, spread, time_code, voting, without_bars
from tests.fakes import fake_space


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (9, 13, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [(640, 427), (427, 640), (224, 224), (100, 30), (31, 470), (225, 224)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_pixels_equal_open_clips_transform(mode: str, size: tuple[int, int], interpolation: str) -> None:
    from open_clip.transform import image_transform

    mean, std = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
    theirs = image_transform(
        224, is_train=False, mean=mean, std=std, resize_mode=mode, interpolation=interpolation, fill_color=7
    )(picture(*size))
    ours = ResizeCrop((224, 224), mean, std, interpolation, mode, fill_color=7)(picture(*size))
    normalised = (ours.astype(np.float32) / 255 - mean) / std
    np.testing.assert_allclose(normalised.transpose(2, 0, 1), theirs.numpy(), atol=1e-5)


def test_pixels_refuse_what_is_no_picture() -> None:
    pixels = ResizeCrop((8, 8), (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(TypeError, match="expected a picture, got str"):
        pixels("a cat")


def frames(count: int, dim: int = 24) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return unit(rng.normal(size=(count, dim))), np.cumsum(rng.uniform(0.1, 2, count)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 2, 17])
def test_a_new_pooler_is_exactly_the_mean(count: int) -> None:
    vectors, times = frames(count)
    pooler = TemporalPooler.mean(24)
    np.testing.assert_array_equal(
        pooler.weights(vectors, times), np.full(count, np.float32(1) / np.float32(count))
    )
    np.testing.assert_allclose(pooler.pool(vectors, times), vectors.mean(axis=0), atol=1e-7)


def test_a_trained_pooler_prefers_what_it_learned(tmp_path: Path) -> None:
    vectors, times = frames(9)
    start = TemporalPooler.mean(24)
    towards = np.linalg.pinv(start.W.T) @ vectors[4]
    pooler = TemporalPooler(start.W, start.U * 0, start.b, (40 * towards).astype(np.float32))
    weights = pooler.weights(vectors, times)
    assert weights.argmax() == 4 and weights.sum() == pytest.approx(1)
    pooler.save(tmp_path / "pooler.safetensors")
    again = TemporalPooler.load(tmp_path / "pooler.safetensors")
    np.testing.assert_array_equal(again.weights(vectors, times), weights)


def test_the_pooler_follows_time() -> None:
    vectors = np.repeat(frames(1)[0], 5, axis=0)
    start = TemporalPooler.mean(24)
    pooler = TemporalPooler(start.W * 0, start.U, start.b, np.ones(128, np.float32))
    weights = pooler.weights(vectors, np.array([0.0, 1.3, 2.9, 4.1, 5.2], np.float32))
    assert np.ptp(weights) > 1e-3
    assert time_code(np.zeros(1, np.float32), 16).shape == (1, 16)


def test_erf_is_right_to_six_digits() -> None:
    import math

    x = np.linspace(-5, 5, 2001, dtype=np.float32)
    exact = np.array([math.erf(value) for value in x])
    np.testing.assert_allclose(_erf(x), exact, atol=1e-6)


def test_the_numpy_text_tower_equals_torchs_own_layers() -> None:
    torch = pytest.importorskip("torch")
    tower = load_space()["text"].tower
    weights = tower._weights  # type: ignore[attr-defined]

    def tensor(name: str) -> object:
        return torch.from_numpy(np.array(weights[name]))

    layer = torch.nn.TransformerEncoderLayer(384, 12, 1536, 0.0, "gelu", 1e-12, batch_first=True)
    ids = tower.preprocess("The captain chose to save the pirate, against all advice.")
    hidden = sum(
        tensor(f"embeddings.{part}.weight")[rows]
        for part, rows in [
            ("word_embeddings", torch.from_numpy(ids.astype(np.int64))),
            ("position_embeddings", torch.arange(len(ids))),
            ("token_type_embeddings", torch.zeros(1, dtype=torch.long)),
        ]
    )
    norm = [tensor(f"embeddings.LayerNorm.{part}") for part in ("weight", "bias")]
    hidden = torch.nn.functional.layer_norm(hidden, (384,), *norm, eps=1e-12)[None]
    names = {
        "self_attn.out_proj": "attention.output.dense",
        "linear1": "intermediate.dense",
        "linear2": "output.dense",
        "norm1": "attention.output.LayerNorm",
        "norm2": "output.LayerNorm",
    }
    with torch.inference_mode():
        for number in range(6):
            prefix = f"encoder.layer.{number}."
            state = {
                f"{ours}.{part}": tensor(f"{prefix}{theirs}.{part}")
                for ours, theirs in names.items()
                for part in ("weight", "bias")
            }
            for part in ("weight", "bias"):
                heads = [
                    tensor(f"{prefix}attention.self.{name}.{part}") for name in ("query", "key", "value")
                ]
                state[f"self_attn.in_proj_{part}"] = torch.cat(heads)
            layer.load_state_dict(state)
            hidden = layer.eval()(hidden)
    expected = hidden[0].mean(dim=0).numpy()
    np.testing.assert_allclose(tower.forward([ids])[0], expected, atol=2e-5)


def test_a_texts_row_does_not_depend_on_its_batch() -> None:
    encoder = load_space()["text"]
    long = "A very long passage about a lighthouse keeper. " * 20
    together = encoder.encode(["a dog", long, "rain on a tin roof"])
    alone = np.concatenate([encoder.encode([text]) for text in ("a dog", long, "rain on a tin roof")])
    assert (together * alone).sum(axis=1).min() > 0.99999
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_content_types_state_what_is_wrong_with_them() -> None:
    with pytest.raises(ValueError, match="mono"):
        Audio(np.zeros((2, 100), np.float32), 16_000)
    with pytest.raises(ValueError, match="as many times as frames"):
        Clip([picture(8, 8)], np.zeros(2))


def test_bars_are_cut_off_alike_in_every_frame() -> None:
    first, second = Image.new("RGB", (160, 90), "black"), Image.new("RGB", (160, 90), "black")
    first.paste(picture(80, 60), (40, 15))
    second.paste(picture(70, 50, seed=1), (45, 20))
    cropped = without_bars([first, second])
    assert [frame.size for frame in cropped] == [(80, 60), (80, 60)]
    assert [frame.size for frame in without_bars([picture(64, 48)])] == [(64, 48)]
    blank = [Image.new("RGB", (64, 48), "white")]
    assert without_bars(blank) == blank
    speck = Image.new("RGB", (160, 90), "white")
    speck.paste(picture(9, 9), (80, 40))
    assert without_bars([speck]) == [speck]


def black() -> Image.Image:
    return Image.new("RGB", (64, 48))


def noisy(frame: Image.Image, seed: int, sigma: float = 16) -> Image.Image:
    pixels = np.asarray(frame, np.float32)
    return Image.fromarray(
        np.clip(pixels + np.random.default_rng(seed).normal(0, sigma, pixels.shape), 0, 255).astype(np.uint8)
    )


def video_tower() -> VideoTower:
    tower = fake_space()["video"].tower
    assert isinstance(tower, VideoTower)
    return tower


def clip_of(shown: list[Image.Image], start: float = 10.0) -> Clip:
    return Clip(shown, start + 0.5 * np.arange(len(shown)))


def test_one_frame_votes_for_all_that_look_like_it() -> None:
    a, b = picture(640, 480), picture(640, 480, seed=1)
    assert voting([a]).tolist() == [0]
    assert voting([noisy(a, seed) for seed in range(5)]).tolist() == [2]
    assert voting([a, a, a, b, a, b]).tolist() == [2, 5]  # the middle one of either kind
    speck = a.copy()
    speck.paste((255, 0, 255), (200, 200, 260, 260))
    assert voting([a, speck]).tolist() == [0, 1]


def test_black_frames_do_not_vote_unless_all_are_black() -> None:
    a = picture(64, 48)
    dim = Image.blend(black(), a, 0.05)
    assert voting([black(), dim, a, noisy(black(), 0, 8)]).tolist() == [2]
    assert voting([black(), black(), dim]).tolist() == [0, 1, 2]
    white = Image.new("RGB", (64, 48), "white")
    assert voting([black(), white]).tolist() == [1]


def test_a_fade_in_gives_the_vector_of_what_it_fades_to() -> None:
    tower, shown = video_tower(), [picture(64, 48, seed) for seed in (1, 2)]
    faded = tower.forward([tower.preprocess(clip_of([black()] * 4 + shown))])
    np.testing.assert_array_equal(faded, tower.forward([tower.preprocess(clip_of(shown))]))


def test_frame_weights_are_of_the_frames_given() -> None:
    a, b = picture(64, 48), picture(64, 48, seed=1)
    weights = video_tower().frame_weights(clip_of([black(), a, a, a, b]))
    np.testing.assert_allclose(weights, [0, 0, 0.5, 0, 0.5])
    assert weights.dtype == np.float32


def test_a_still_clip_costs_one_frame_and_is_its_vector() -> None:
    tower, still = video_tower(), picture(64, 48)
    frames, times, places = tower.preprocess(clip_of([still] * 30))
    assert len(frames) == 1 and times.tolist() == [7.5] and places.tolist() == [15]
    np.testing.assert_allclose(
        tower.forward([(frames, times, places)])[0],
        tower.image.encode([still])[0],
        atol=1e-6,
    )


def test_kept_frames_are_unit_vectors_spread_over_time() -> None:
    tower = video_tower()
    colours = [Image.new("RGB", (64, 48), (12 * i, 255 - 12 * i, 128)) for i in range(20)]
    long, short = clip_of(colours), clip_of([colours[0], colours[0], colours[9]])
    batch = [tower.preprocess(long), tower.preprocess(short)]
    pooled, kept = tower.forward_kept(batch)
    np.testing.assert_array_equal(pooled, tower.forward(batch))
    assert [len(one.times) for one in kept] == [KEPT, 2]
    assert kept[0].times[0] == 0 and kept[0].times[-1] == 9.5 and np.diff(kept[0].times).min() >= 1
    assert kept[1].times.tolist() == [0.5, 1.0]
    for frames_of, shown in zip(kept, (long, short), strict=True):
        assert frames_of.times.dtype == np.float64 and frames_of.vectors.dtype == np.float32
        at = np.searchsorted(shown.times, frames_of.times + shown.times[0])
        expected = tower.image.encode([shown.frames[place] for place in at])
        np.testing.assert_allclose(frames_of.vectors, expected, atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(frames_of.vectors, axis=1), 1, atol=1e-6)


def test_spread_takes_the_nearest_to_even_steps() -> None:
    assert spread(np.arange(5, dtype=np.float32), 8).tolist() == [0, 1, 2, 3, 4]
    assert spread(np.arange(15, dtype=np.float32), 8).tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
    crowded = np.array([0, 0.1, 0.2, 0.3, 5, 10], np.float32)
    assert spread(crowded, 3).tolist() == [0, 4, 5]
