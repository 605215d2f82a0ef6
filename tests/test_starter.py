"""The shipped weights, pinned: canonical values, hashes, determinism, and a few things it must know."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import multimodal
from multimodal import Space, load_space

ROOT = Path(__file__).parent.parent
STARTER = Path(multimodal.__file__).parent / "starter"
SAMPLES = ROOT / "samples"

# First five numbers of each row.
CANONICAL = {
    "a photo of a cat": [0.0312, 0.0916, 0.0283, 0.0222, -0.0537],
    "pictures/castle.jpg": [0.0652, 0.0734, -0.0707, 0.0428, -0.0113],
    "sounds/church-bell.m4a": [0.1322, -0.0462, -0.0593, -0.0641, -0.0892],
    "videos/to-the-moon.avi": [-0.0763, 0.1281, -0.0390, 0.0228, -0.0721],
}


@pytest.fixture(scope="module")
def space() -> Space:
    return load_space()


@pytest.mark.parametrize("name", CANONICAL)
def test_canonical_values(space: Space, name: str) -> None:
    path = SAMPLES / name
    row = space.embed(path if path.is_file() else name)[0]
    # decoders of other versions differ by a grey level here and there
    np.testing.assert_allclose(row[:5], CANONICAL[name], atol=1e-3 if name.endswith("cat") else 4e-3)


def test_the_config_names_the_weights_that_are_there() -> None:
    config = json.loads((STARTER / "config.json").read_text(encoding="utf-8"))
    for part in (config["text"], config["image"], config["audio"]):
        digest = hashlib.blake2b(digest_size=8)
        for key in ("graph", "weights", "tokenizer"):
            if key in part:
                digest.update((STARTER / part[key]).read_bytes())
        assert digest.hexdigest() == part["weights_hash"]


def test_it_is_small_and_documented() -> None:
    assert sum(path.stat().st_size for path in STARTER.iterdir() if path.is_file()) < 60e6
    card = (STARTER / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert all(
        word in card for word in ("CC-BY-SA-4.0", "YAMNet", "EfficientNet-Lite2", "text to image", "n |")
    )


def test_one_file_one_vector_whatever_the_batch_the_order_the_process(space: Space, tmp_path: Path) -> None:
    names = ("pictures/castle.jpg", "sounds/cow-mooing.mp3", "videos/music-room.webm")
    paths = [SAMPLES / name for name in names]
    paths += sorted((SAMPLES / "pictures").iterdir())[:5]
    together, reverse = space.embed(paths), space.embed(paths[::-1])[::-1]
    alone = np.concatenate([space.embed(path) for path in paths])
    code = (
        "import sys; from pathlib import Path; import numpy as np; from multimodal import load_space;"
        "np.save(sys.argv[1], load_space().embed([Path(p) for p in sys.argv[2:]]))"
    )
    target = tmp_path / "elsewhere.npy"
    subprocess.run([sys.executable, "-c", code, str(target), *map(str, paths)], check=True)
    elsewhere = np.load(target)
    for other in (reverse, alone, elsewhere):
        assert (together * other).sum(axis=1).min() >= 0.99999


def test_a_saved_starter_loads_the_same(space: Space, tmp_path: Path) -> None:
    again = load_space(space.save(tmp_path / "copy"))
    assert again.space_id == space.space_id
    assert {again[m].encoder_id for m in again} == {space[m].encoder_id for m in space}
    picture = SAMPLES / "pictures" / "castle.jpg"
    np.testing.assert_allclose(again.embed(picture), space.embed(picture), atol=1e-6)


def test_it_knows_its_samples_in_every_direction(space: Space) -> None:
    things = ["castle", "rooster", "trumpet", "horse"]
    pictures = [next((SAMPLES / "pictures").glob(f"{thing}.*")) for thing in things]
    captions = [f"a {thing}" for thing in things]
    assert space.similarity(captions, pictures).argmax(axis=1).tolist() == [0, 1, 2, 3]
    heard = ("cow", "trumpet", "thunder", "rooster")
    sounds = [next((SAMPLES / "sounds").glob(f"{thing}*")) for thing in heard]
    wanted = ["a cow mooing", "a trumpet", "thunder", "a rooster crowing"]
    assert space.similarity(wanted, sounds).argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_the_best_caption_of_a_clip_of_moments(space: Space) -> None:
    moments = [s for s in space.read(SAMPLES / "videos" / "to-the-moon.avi") if s.modality == "video"]
    times = [(round(s.start or 0, 1), round(s.end or 0, 1)) for s in moments]
    assert times == [(0, 4), (4, 8), (8, 12), (12, 16)]
    rocket = space.similarity("a rocket on the launch pad", moments)[0]
    assert rocket.argmax() == 1
    weights = space.frame_weights(moments[0].content)  # type: ignore[arg-type]
    np.testing.assert_allclose(weights, 1 / len(weights), atol=1e-6)
