"""Attention over frames, learned from videos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from multimodal import load_space
from multimodal.errors import QueryError, SpaceError
from multimodal.towers.base import unit
from multimodal.towers.video import TemporalPooler
from multimodal.training import fit_pooler, learn
from multimodal.training.pooling import Seen, WithPooler, pooled_rows, train_pooler
from multimodal.types import Clip, Item
from tests.fakes import fake_space

DIM = 24


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def made(count: int, seed: int) -> tuple[list[Seen], np.ndarray]:
    """Two frames near the target among nine near one direction that all distractors share."""
    rng = np.random.default_rng(seed)
    targets = unit(rng.normal(size=(count, DIM)) * (np.arange(DIM) > 0))
    videos = []
    for target in targets:
        good = unit(target + 0.2 * rng.normal(size=(2, DIM)))
        strange = unit(6 * np.eye(DIM)[0] + rng.normal(size=(9, DIM)))
        frames = np.concatenate([good, strange])[rng.permutation(11)]
        videos.append(Seen(frames.astype(np.float32), np.arange(11, dtype=np.float32) / 2))
    return videos, targets


def test_attention_learns_to_pass_over_what_says_little() -> None:
    pooler = train_pooler(*made(200, 0), epochs=150, rate=1e-2)
    videos, targets = made(40, 1)
    mean = TemporalPooler.mean(DIM)
    before, after = ((pooled_rows(one, videos) * targets).sum(axis=1).mean() for one in (mean, pooler))
    assert after > before + 0.1


def test_without_anything_to_learn_it_stays_the_mean() -> None:
    rng = np.random.default_rng(0)
    frames = unit(rng.normal(size=(20, DIM)))
    videos = [Seen(np.repeat(frame[None], 3, axis=0), np.arange(3, dtype=np.float32)) for frame in frames]
    assert not train_pooler(videos, frames, epochs=5).w.any()


def test_a_space_keeps_its_pooler(tmp_path: Path) -> None:
    base = load_space()
    rng = np.random.default_rng(0)
    start = TemporalPooler.mean(base.dim)
    pooler = TemporalPooler(start.W, start.U, start.b, rng.normal(size=start.w.shape).astype(np.float32))
    space = type(base)(WithPooler(base._source, pooler))
    pictures = [Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(3)]
    clip = Clip([*pictures, Image.new("RGB", (64, 64), "red")], np.arange(4) / 2)
    loaded = load_space(space.save(tmp_path / "mine"))
    np.testing.assert_allclose(loaded.embed(clip), space.embed(clip), atol=1e-6)
    assert loaded["video"].encoder_id == space["video"].encoder_id != base["video"].encoder_id
    assert loaded.space_id == base.space_id and loaded["image"].encoder_id == base["image"].encoder_id
    with pytest.raises(SpaceError, match="made from another space"):
        fit_pooler(space, [])


def test_pairs_of_clips_and_words() -> None:
    space = fake_space()
    clips = [
        (
            colour,
            Clip([Image.new("RGB", (40, 40), colour), Image.new("RGB", (40, 40), "white")], np.arange(2) / 2),
        )
        for colour in ("red", "green", "blue") * 4
    ]
    learned = fit_pooler(space, clips, epochs=3)
    assert learned.embed(clips[0][1]).shape == (1, space.dim)
    with pytest.raises(QueryError, match="one video and one thing"):
        fit_pooler(space, [("red", "blue")] * 9)
    with pytest.raises(QueryError, match="at least 8 videos"):
        fit_pooler(space, clips[:3])


def test_a_pooler_is_a_part_that_learns(tmp_path: Path) -> None:
    """Each clip shows its colour once, among frames of one colour that all share."""
    colours = [(r, g, b) for r in (0, 120, 250) for g in (0, 120, 250) for b in (0, 120, 250)]
    still = [Image.new("RGB", (40, 40), "white"), Image.new("RGB", (40, 40), (240, 200, 160))]
    pairs: list[tuple[Item, Item]] = [
        (picture, Clip([still[0], picture, still[1]], np.arange(3) / 2))
        for picture in (Image.new("RGB", (40, 40), colour) for colour in colours[:-1])
    ]
    learned = learn(fake_space(), pairs, "pooler", epochs=60, rate=3e-2, validation=0.3)
    assert learned.counts["image and video"]["validation"] >= 2
    assert [point.alpha for point in learned.points] == [0.0, 1.0] and len(learned.history) == 60
    reached = [point.recall + point.mrr for point in learned.points]
    assert learned.point.alpha == (1.0 if reached[1] > reached[0] else 0.0)
    with pytest.raises(QueryError, match="one video and one thing"):
        learn(fake_space(), [(f"a{n}", f"b{n}") for n in range(9)], "pooler", validation=0.0)
    base = load_space()
    with pytest.raises(SpaceError, match="made from another space"):
        learn(type(base)(WithPooler(base._source, TemporalPooler.mean(base.dim))), pairs, "pooler")
