"""The starter's sound tower, trained itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from multimodal import load_space
from multimodal.errors import QueryError
from multimodal.training import learn, sounds
from multimodal.types import Audio
from tests.fakes import fake_space

NAMES = ("flarb", "quizzle", "drongo", "mimsy")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pairs() -> list[tuple[str, Audio]]:
    """Made-up words for a tone, a chirp, noise and clicks; six of each."""
    rng = np.random.default_rng(0)
    seconds = np.arange(16_000) / 16_000
    made = []
    for number in range(6):
        high = 300 + 100 * number
        clicks = np.zeros(16_000)
        clicks[:: 1_000 + 300 * number] = 1
        kinds = (
            np.sin(2 * np.pi * high * seconds),
            np.sin(2 * np.pi * high * (1 + 3 * seconds) * seconds),
            rng.normal(size=16_000),
            clicks,
        )
        for name, samples in zip(NAMES, kinds, strict=True):
            made.append((f"{name} number {number}", Audio((0.3 * samples).astype(np.float32), 16_000)))
    return made


def test_the_sound_tower_learns_and_is_saved_with_its_own_weights(tmp_path: Path) -> None:
    base, quick = load_space(), {"epochs": 12, "rate": 5e-4, "lose": 0.99, "validation": 0.25, "batch": 16}
    learned = learn(base, pairs(), "audio.tower", **quick)
    assert learned.point.alpha > 0 and learned.points[-1].mrr > learned.points[0].mrr
    space, items = learned.space, [sound for _, sound in pairs()[:6]]
    assert space["audio"].encoder_id != base["audio"].encoder_id and space.space_id == base.space_id
    loaded = load_space(space.save(tmp_path / "mine"))
    assert loaded["audio"].encoder_id == space["audio"].encoder_id
    np.testing.assert_allclose(loaded.embed(items), space.embed(items), atol=1e-4)
    assert np.abs(loaded.embed(items) - base.embed(items)).max() > 1e-3
    np.testing.assert_array_equal(loaded.embed("a bee"), base.embed("a bee"))
    graph = (tmp_path / "mine" / "audio.onnx").read_bytes()
    assert graph == load_space()["audio"].tower.windows.weights.with_suffix(".onnx").read_bytes()
    assert loaded.bank is not None and space.bank is not None and base.bank is not None
    np.testing.assert_allclose(loaded.bank["audio"], space.bank["audio"], atol=1e-3)
    assert np.abs(loaded.bank["audio"] - base.bank["audio"]).max() > 1e-3
    np.testing.assert_array_equal(loaded.bank["text"], base.bank["text"])


def test_a_trained_sound_tower_learns_on(tmp_path: Path) -> None:
    quick = {"epochs": 1, "lose": 0.99, "validation": 0.0, "batch": 16}
    first = learn(load_space(), pairs(), "audio.tower", output=tmp_path / "one", **quick)
    again = learn(first.space, pairs(), "audio.tower", output=tmp_path / "two", **quick)
    assert again.space["audio"].encoder_id != first.space["audio"].encoder_id
    assert "Trained: audio.tower." in (tmp_path / "two" / "README.md").read_text(encoding="utf-8")


def test_the_torch_module_gives_what_the_space_gives() -> None:
    space = load_space()
    tower = space["audio"].tower
    trunk = sounds.trunk(tower.windows.weights)
    windows = tower.preprocess(pairs()[2][1])
    with torch.no_grad():
        rows = trunk.encode["audio"](windows, torch.device("cpu")).numpy()
    np.testing.assert_allclose(rows, tower.windows.forward(list(windows)), atol=1e-4)


def test_what_has_no_sound_tower_is_told_so() -> None:
    with pytest.raises(QueryError, match="needs the starter's sound tower"):
        learn(fake_space(), pairs(), "audio.tower")
    with pytest.raises(QueryError, match="cannot learn from pairs of text only"):
        learn(load_space(), [(f"a {n}", f"b {n}") for n in range(9)], "audio.tower", validation=0.0)
