"""The space on a fake source (no weights) and on real open_clip models of tiny size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multimodal import Audio, Clip, NoEncoder, QueryError, SpaceError, UnknownSpace, load_space
from tests.fakes import fake_space

TINY_CLIP = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


def plain(colour: str) -> Image.Image:
    return Image.new("RGB", (40, 30), colour)


def tone(hertz: float, seconds: float = 1.0, rate: int = 16_000) -> Audio:
    return Audio(np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate).astype(np.float32), rate)


def test_embed_takes_anything_and_keeps_the_order() -> None:
    space = fake_space()
    clip = Clip([plain("red"), plain("red")], np.array([0.0, 0.5]))
    rows = space.embed(["red", plain("blue"), clip, tone(5000), "blue"])
    assert rows.shape == (5, space.dim) and rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    nearest = (rows @ space.embed(["red", "blue", "high"]).T).argmax(axis=1)
    assert nearest.tolist() == [0, 1, 0, 2, 1]
    assert space.embed("red").shape == (1, space.dim)
    assert space.embed([]).shape == (0, space.dim)


def test_embed_reads_files(tmp_path: Path) -> None:
    path = tmp_path / "green.png"
    plain("#00ff00").save(path)
    space = fake_space()
    assert space.similarity(path, ["red", "green"])[0].argmax() == 1
    np.testing.assert_allclose(space.embed(path), space.embed([plain("#00ff00")]), atol=1e-6)


@pytest.mark.parametrize("item", [3, b"bytes", np.zeros((8, 8, 3), np.uint8), {"a": 1}, None])
def test_what_is_no_item_is_refused_with_the_list_of_what_is(item: object) -> None:
    with pytest.raises(QueryError, match="PIL image"):
        fake_space().embed(item)  # type: ignore[arg-type]


def test_an_empty_text_is_refused() -> None:
    with pytest.raises(QueryError, match="empty"):
        fake_space().embed("  \n")


def test_match_ranks_captions_with_probabilities() -> None:
    matches = fake_space().match(plain("red"), ["blue", "red", "green"])
    assert matches[0].caption == "red"
    assert sum(match.probability for match in matches) == pytest.approx(1)
    assert matches[0].margin == pytest.approx(matches[0].cosine - matches[1].cosine)
    assert [match.cosine for match in matches] == sorted((match.cosine for match in matches), reverse=True)
    with pytest.raises(QueryError, match="at least one caption"):
        fake_space().match(plain("red"), [])


def test_frame_weights_of_the_mean_pooler() -> None:
    clip = Clip([plain("red"), plain("blue"), plain("green")], np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(fake_space().frame_weights(clip), [1 / 3] * 3, atol=1e-7)


def test_the_table_of_modalities() -> None:
    space = fake_space()
    assert list(space) == ["text", "image", "video", "audio"] and len(space) == 4 and "audio" in space
    ids = {space[modality].encoder_id for modality in space}
    assert len(ids) == 4
    assert space.space_id == space["text"].encoder_id != fake_space(version=2).space_id


@pytest.mark.parametrize(
    ("name", "near"),
    [("ViT-B-32/laion2b_s34b_b79", "ViT-B-32/laion2b_s34b_b79k"), ("vit-b-32/openai", "ViT-B-32/openai")],
)
def test_an_unknown_space_lists_near_matches(name: str, near: str) -> None:
    with pytest.raises(UnknownSpace, match=near):
        load_space(name)


def test_names_that_are_nothing_say_what_would_be(tmp_path: Path) -> None:
    with pytest.raises(UnknownSpace, match="MODEL/TAG"):
        load_space("startr")
    with pytest.raises(SpaceError, match=r"config\.json is missing"):
        load_space(tmp_path)


def test_weights_that_cannot_be_had_say_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(SpaceError, match="another machine"):
        load_space("ViT-B-32/laion2b_s34b_b79k")


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real open_clip local directory: random weights, real format."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("tiny-clip")
    torch.manual_seed(0)
    model = open_clip.CLIP(**TINY_CLIP)  # type: ignore[arg-type]
    preprocess = {
        "size": 64,
        "mean": [0.48, 0.46, 0.41],
        "std": [0.27, 0.26, 0.28],
        "interpolation": "bicubic",
    }
    document = {"model_cfg": TINY_CLIP, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(document), encoding="utf-8")
    save_file(model.state_dict(), str(folder / "open_clip_model.safetensors"))
    return folder


def test_an_open_clip_folder_is_a_space(tiny_folder: Path) -> None:
    import open_clip
    import torch

    space = load_space(tiny_folder, precision="fp32")
    assert list(space) == ["text", "image", "video"] and space.dim == 32
    with pytest.raises(NoEncoder, match="no audio encoder"):
        space["audio"]
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{tiny_folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{tiny_folder}")(["a red square", "x " * 75])
    with torch.inference_mode():
        text = model.eval().encode_text(tokens, normalize=True).numpy()
        image = model.encode_image(transform(plain("red"))[None], normalize=True).numpy()  # type: ignore[operator]
    np.testing.assert_allclose(space.embed(["a red square", "x " * 75]), text, atol=1e-5)
    np.testing.assert_allclose(space.embed(plain("red")), image, atol=1e-4)
    assert space.logit_scale == pytest.approx(1 / 0.07, rel=1e-4)


def test_a_saved_open_clip_space_loads_the_same(tiny_folder: Path, tmp_path: Path) -> None:
    space = load_space(tiny_folder)
    again = load_space(space.save(tmp_path / "saved"))
    assert again.space_id == space.space_id
    assert again["image"].encoder_id == space["image"].encoder_id
    np.testing.assert_allclose(
        again.embed(["a", plain("blue")]), space.embed(["a", plain("blue")]), atol=1e-6
    )
    with pytest.raises(SpaceError, match="not an empty folder"):
        space.save(tmp_path / "saved")


def test_damaged_weights_are_one_clear_error(tiny_folder: Path, tmp_path: Path) -> None:
    broken = load_space(tiny_folder).save(tmp_path / "broken")
    weights = broken / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(SpaceError, match="cannot be loaded"):
        load_space(broken)
