"""Patches and sub-words of open_clip's transformers, on tiny random models in the real format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from multimodal import Space, load_space
from multimodal.explain import clip
from multimodal.explain.clip import aligned
from multimodal.towers.base import unit
from tests.models import write_model

PATCHES = {"clip": 4, "siglip": 100, "clipa": 4, "resnet": 36, "mobileclip": 36, "coca": 36, "pe": 36}
"""Patches seen of a picture of the models' own shape; 36 crops where the inside is not known."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def made(folder: Path, family: str) -> Space:
    if not (folder / family).exists():
        write_model(folder / family, family)
    return load_space(folder / family, precision="fp32")


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("family", PATCHES)
def test_every_make_of_vision_tower_has_patches(folder: Path, family: str) -> None:
    space = made(folder, family)
    seen = space.tokens(noise(160, 160))
    assert seen.embeddings.shape == (PATCHES[family], 32)
    np.testing.assert_allclose(np.linalg.norm(seen.embeddings, axis=1), 1, atol=1e-5)
    assert seen.weights.sum() == pytest.approx(1, abs=1e-5)
    assert seen.boxes[0, :2].tolist() == [0, 0] and seen.boxes[-1, 2:].tolist() == [160, 160]


def test_patches_lie_in_the_crop_the_model_sees(folder: Path) -> None:
    space = made(folder, "clip")
    boxes = space.tokens(noise(200, 100)).boxes
    assert boxes[0].tolist()[:2] == [50, 0] and boxes[-1].tolist()[2:] == [150, 100]  # the middle of it
    assert len(space.explain(noise(200, 100), "a cat")) == 54 * 54
    padded = made(folder, "clipa").tokens(noise(200, 40)).boxes  # on grey above and below
    assert len(padded) == 4 and padded[0].tolist() == [0, 0, 100, 20]


@pytest.mark.parametrize("family", ["clip", "mobileclip", "pe"])
def test_sub_words_stand_where_they_say(folder: Path, family: str) -> None:
    space = made(folder, family)
    text = "A photo of unfathomable Zebras!"
    seen = space.tokens(text)
    assert [text[slice(*place.chars)].lower() for place in seen] == seen.strings  # type: ignore[misc]
    assert "".join(seen.strings) == text.lower().replace(" ", "")
    assert seen.weights.sum() == pytest.approx(1, abs=1e-5)
    long = space.tokens("a zebra and a cat " * 30)
    assert len(long) == 150 and long.places[-1].chars == (536, 539)


@pytest.mark.parametrize("family", ["siglip", "clipa", "coca", "roberta"])
def test_every_make_of_text_tower_has_sub_words(folder: Path, family: str) -> None:
    seen = made(folder, family).tokens("a cat and a dog")
    assert len(seen) >= 3 and seen.embeddings.shape[1] == 32
    assert seen.weights.sum() == pytest.approx(1, abs=1e-5)
    begins = [place.chars[0] for place in seen]  # type: ignore[index]
    assert begins == sorted(begins)


def test_the_attention_is_the_one_of_the_forward_pass(folder: Path) -> None:
    """Values weighed by the attention are what the class token takes in the last block."""
    import torch

    tower: Any = made(folder, "clip")["image"].tower
    model = clip.network(tower)
    inputs = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    block, caught = model.visual.transformer.resblocks[-1], []
    with torch.inference_mode():
        block.attn.num_heads = 1  # with one head the mean over heads is the attention itself
        block.attn.head_dim = block.attn.embed_dim
        hook = block.attn.register_forward_hook(lambda _, __, out: caught.append(out[0]))
        values, attention = clip._last(model.visual.transformer, lambda: model.visual(inputs), 0)
        hook.remove()
        bias = block.attn.out_proj.bias
        taken = attention @ (values - bias) + bias
    torch.testing.assert_close(taken, caught[0][0, 0], atol=1e-5, rtol=1e-4)


def test_a_token_alone_through_the_pool_is_its_row(folder: Path) -> None:
    import torch

    tower: Any = made(folder, "siglip")["image"].tower
    flat = np.full((160, 160, 3), 128, np.uint8)
    features, attention = clip.image_tokens(tower, flat)  # type: ignore[misc]
    trunk = clip.network(tower).visual.trunk
    with torch.inference_mode():
        seen = trunk.forward_features(torch.full((1, 3, 160, 160), 128 / 255 * 2 - 1))
        patches = seen[:, trunk.num_prefix_tokens :]
        alone = clip.network(tower).visual.head(trunk.head(trunk.fc_norm(trunk.attn_pool(patches[:, 3:4]))))
    np.testing.assert_allclose(unit(features[3:4]), unit(alone.numpy()), atol=1e-5)
    assert attention.shape == (100,) and attention.sum() == pytest.approx(1, abs=1e-5)


def test_pieces_are_found_in_their_order() -> None:
    assert aligned("The cat, the Cat", ["the", "cat", ",", "the", "cat"]) == [
        (0, 3), (4, 7), (7, 8), (9, 12), (13, 16),
    ]  # fmt: skip
    assert aligned("é!", ["\ufffd", "\ufffd", "!"]) == [(0, 0), (0, 0), (1, 2)]
