"""Shorter vectors: what truncation keeps, what it refuses, what it saves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multimodal import Audio, Clip, load_space
from multimodal.errors import SpaceError
from multimodal.small import Projection, projected_bank
from multimodal.space import Space
from multimodal.towers.base import unit
from tests.fakes import DIM, FakeSource, fake_space


def coloured(seed: int, size: int = 32) -> Image.Image:
    colour = tuple(np.random.default_rng(seed).integers(0, 256, 3).tolist())
    return Image.new("RGB", (size, size), colour)


def clip(seed: int) -> Clip:
    return Clip([coloured(seed + step) for step in range(4)], np.arange(4) / 2)


def noise(seed: int) -> Audio:
    return Audio(np.random.default_rng(seed).normal(0, 0.1, 16_000).astype(np.float32), 16_000)


def rows_of(space: Space) -> dict[str, np.ndarray]:
    return {
        "image": space.embed([coloured(seed) for seed in range(12)]),
        "audio": space.embed([noise(seed) for seed in range(5)]),
    }


def nearest(rows: np.ndarray, count: int = 10) -> list[set[int]]:
    cosines = rows @ rows.T - 2 * np.eye(len(rows), dtype=np.float32)
    return [set(found) for found in np.argsort(-cosines, axis=1)[:, :count].tolist()]


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    pairs = zip(nearest(a), nearest(b), strict=True)
    return float(np.mean([len(one & other) / len(one) for one, other in pairs]))


def test_half_the_starters_dimensions_keep_its_neighbours() -> None:
    full, half = load_space(), load_space("starter#192")
    assert half.dim == 192 and tuple(half) == tuple(full)
    assert full.bank is not None and half.bank is not None
    every = np.concatenate([unit(full.bank[name]) for name in ("text", "image", "video", "audio")])
    short = np.concatenate([half.bank[name] for name in ("text", "image", "video", "audio")])
    cut = overlap(every, unit(every[:, :192]))
    assert overlap(every, short) > max(0.8, cut + 0.05)
    rows = half.embed(["a dog", "a puppy", "a combine harvester"])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.3


def test_a_truncated_space_is_another_one_and_always_the_same() -> None:
    ids = {load_space(name).space_id for name in ("starter", "starter#192", "starter#96")}
    assert len(ids) == 3
    assert load_space().truncate(192).space_id == load_space("starter#192").space_id


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    space = load_space("starter#64")
    again = load_space(space.save(tmp_path / "small"))
    assert again.space_id == space.space_id and again.dim == 64
    np.testing.assert_array_equal(again.embed("a bell"), space.embed("a bell"))
    (tmp_path / "small" / "truncate.safetensors").write_bytes(b"no tensors")
    with pytest.raises(SpaceError, match=r"truncate\.safetensors cannot be read"):
        load_space(tmp_path / "small")


def test_a_mean_row_is_scaled_as_its_rows_are() -> None:
    rng = np.random.default_rng(0)
    rows = unit(rng.normal(size=(400, 16)) + np.arange(16) / 8)
    projection = Projection.fitted({"image": rows}, 8)
    made = projected_bank({"image": rows, "centre.image": rows.mean(axis=0)}, projection)
    np.testing.assert_allclose(made["centre.image"], made["image"].mean(axis=0), atol=0.02)


def test_every_modality_of_a_space_without_a_bank_is_shortened() -> None:
    space = fake_space()
    small = space.truncate(20, rows_of(space))
    items = ["red apple", coloured(3), clip(5), noise(7)]
    rows = small.embed(items)
    assert rows.shape == (4, 20) and rows.dtype == np.float32
    projection = small._source.projection  # type: ignore[attr-defined]
    np.testing.assert_allclose(rows, projection(space.embed(items)), atol=1e-6)
    encoder = small["video"]
    _, (kept,) = encoder.embed_kept([encoder.tower.preprocess(clip(5))])
    assert kept is not None and kept.vectors.shape == (4, 20)
    np.testing.assert_allclose(kept.vectors, small.embed(list(clip(5).frames)), atol=1e-6)
    assert small.frame_weights(clip(5)).sum() == pytest.approx(1)
    assert small.bank is None


def test_first_dimensions_where_the_model_was_trained_for_it() -> None:
    class Nested(FakeSource):
        matryoshka = True

    space = Space(Nested())
    for small in (space.truncate(8), fake_space().truncate(8, matryoshka=True)):
        rows = small.embed(["red high", "green low"])
        np.testing.assert_allclose(rows, unit(space.embed(["red high", "green low"])[:, :8]), atol=1e-6)


@pytest.mark.parametrize(
    ("dim", "rows", "reason"),
    [
        (DIM, None, f"1 to {DIM - 1} dimensions, not to {DIM}"),
        (0, None, "not to 0"),
        (8, None, "ships no rows"),
        (8, {"image": np.zeros((4, 7), np.float32)}, rf"shape \(n, {DIM}\), not \(4, 7\)"),
    ],
)
def test_what_it_refuses(dim: int, rows: Mapping[str, np.ndarray] | None, reason: str) -> None:
    with pytest.raises(SpaceError, match=reason):
        fake_space().truncate(dim, rows)


def test_more_directions_than_rows_are_refused_and_so_is_twice() -> None:
    with pytest.raises(SpaceError, match="8 directions cannot be found in 5 rows"):
        Projection.fitted({"image": np.eye(16, dtype=np.float32)[:5]}, 8)
    with pytest.raises(SpaceError, match="truncated already"):
        fake_space().truncate(8, matryoshka=True).truncate(4)
