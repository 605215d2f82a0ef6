"""open_clip models of every family, tiny and random, in the real format: they load as open_clip loads them,
from what lies on this machine, and come back from a saved folder the same."""

from __future__ import annotations

import json
import pickle
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from multimodal import Space, SpaceError, UnknownSpace, load_space
from tests.models import DIM, FAMILIES, config_of, write_model

TEXTS = ["a photo of a red square", "the blue DOG &amp; the cat", "again and again, it is over", ""]
LISTED = "Tiny-SigLIP"


def exactly(name: str | Path) -> Space:
    """The space in float32, as open_clip computes."""
    return load_space(name, precision="fp32")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    return {family: write_model(place / family, family) for family in FAMILIES}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    def refuse(self: socket.socket, address: Any) -> None:
        raise AssertionError(f"something asks the network: {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def picture(seed: int = 0, size: tuple[int, int] = (211, 97)) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def theirs(folder: Path) -> tuple[np.ndarray, np.ndarray, Any]:
    """Rows of TEXTS and of two pictures as open_clip gives them, and the model."""
    import open_clip
    import torch

    given: dict[str, Any] = {}
    config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))["model_cfg"]
    if "hf_model_name" in config["text_cfg"]:
        given["text_cfg"] = {**config["text_cfg"], "hf_model_name": str(folder / "text_model")}
        given["text_cfg"]["hf_model_pretrained"] = False
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}", **given)
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS[:3])
    pictures = torch.stack([transform(picture(0)), transform(picture(1, (60, 260)))])
    with torch.inference_mode():
        texts = model.eval().encode_text(tokens, normalize=True).numpy()
        return texts, model.encode_image(pictures, normalize=True).numpy(), model


QUICK = ("clip", "siglip")
SOME = [family if family in QUICK else pytest.param(family, marks=pytest.mark.slow) for family in FAMILIES]


@pytest.mark.parametrize("family", SOME)
def test_a_family_gives_what_open_clip_gives(folders: dict[str, Path], family: str) -> None:
    space = exactly(folders[family])
    texts, pictures, model = theirs(folders[family])
    assert space.dim == DIM and list(space) == ["text", "image", "video"]
    np.testing.assert_allclose(space.embed(TEXTS[:3]), texts, atol=2e-6)
    np.testing.assert_allclose(space.embed([picture(0), picture(1, (60, 260))]), pictures, atol=2e-6)
    assert space.logit_scale == pytest.approx(float(model.logit_scale.detach().exp()))
    bias = None if model.logit_bias is None else float(model.logit_bias.detach())
    assert space.logit_bias == (None if bias is None else pytest.approx(bias))
    assert np.std(pictures @ texts.T) > 0  # a dead tower would agree with itself


@pytest.mark.parametrize("family", SOME)
def test_a_saved_space_is_the_same_to_us_and_to_open_clip(
    folders: dict[str, Path], family: str, tmp_path: Path
) -> None:
    space = exactly(folders[family])
    saved = space.save(tmp_path / "saved")
    again = exactly(saved)
    assert again.space_id == space.space_id
    assert again["image"].encoder_id == space["image"].encoder_id
    np.testing.assert_array_equal(again.embed(TEXTS[:3]), space.embed(TEXTS[:3]))
    texts, pictures, _ = theirs(saved)
    np.testing.assert_allclose(space.embed(TEXTS[:3]), texts, atol=2e-6)
    np.testing.assert_allclose(space.embed(picture(0)), pictures[:1], atol=2e-6)


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_a_tokenizer_crosses_to_decoding_processes(folders: dict[str, Path], family: str) -> None:
    preprocess = exactly(folders[family])["text"].tower.preprocess
    again = pickle.loads(pickle.dumps(preprocess))
    np.testing.assert_array_equal(again("the red dog"), preprocess("the red dog"))


def test_a_sigmoid_space_judges_each_caption_by_itself(folders: dict[str, Path]) -> None:
    space = exactly(folders["siglip"])
    cosines = {text: float(space.similarity(picture(), text)[0, 0]) for text in TEXTS[:2]}
    alone = {text: space.match(picture(), [text])[0].probability for text in TEXTS[:2]}
    for match in space.match(picture(), TEXTS[:2]):
        logit = space.logit_scale * cosines[match.caption] + (space.logit_bias or 0)
        assert match.probability == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-4)
        assert match.probability == pytest.approx(alone[match.caption], rel=1e-4)


def test_ids_follow_weights_activation_tokens_and_pixels(folders: dict[str, Path], tmp_path: Path) -> None:
    def changed(name: str, family: str, *keys: str, to: object) -> Path:
        folder = exactly(folders[family]).save(tmp_path / name)
        document = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
        place = document
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to
        (folder / "open_clip_config.json").write_text(json.dumps(document), encoding="utf-8")
        return folder

    def ids(folder: Path) -> tuple[str, str]:
        space = exactly(folder)
        return space["text"].encoder_id, space["image"].encoder_id

    clip, siglip = ids(folders["clip"]), ids(folders["siglip"])
    quick = ids(changed("quick", "clip", "model_cfg", "quick_gelu", to=True))
    assert quick[0] != clip[0] and quick[1] != clip[1]
    pixels = ids(changed("pixels", "clip", "preprocess_cfg", "interpolation", to="bilinear"))
    assert pixels[0] == clip[0] and pixels[1] != clip[1]
    plain = ids(changed("plain", "siglip", "model_cfg", "text_cfg", "tokenizer_kwargs", to={}))
    assert plain[0] != siglip[0] and plain[1] == siglip[1]
    assert ids(write_model(tmp_path / "other", "clip", seed=1))[0] != clip[0]


def test_training_one_tower_keeps_the_other_ones_rows(folders: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    space = exactly(folders["clip"])
    folder = space.save(tmp_path / "tuned")
    weights = folder / "open_clip_model.safetensors"
    state = load_file(str(weights))
    state["visual.proj"] = state["visual.proj"] * 1.5 + 0.01
    state["logit_scale"] = state["logit_scale"] + 0.1
    save_file(state, str(weights))
    tuned = exactly(folder)
    assert tuned.space_id == space.space_id
    assert tuned["image"].encoder_id != space["image"].encoder_id


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> str:
    """The tiny SigLIP under a name of open_clip's list, with the preprocessing that its tag says."""
    import open_clip.factory
    import open_clip.pretrained

    config, _ = config_of("siglip")
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, LISTED, config)
    tag = open_clip.pretrained._slpcfg(hf_hub="somewhere/tiny-siglip/")
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, LISTED, {"webli": tag})
    return LISTED


def cached(repo: str, folder: Path) -> None:
    """Put a folder's files into the hub's cache as a download would."""
    import huggingface_hub.constants

    place = Path(huggingface_hub.constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40, encoding="ascii")
    snapshot = place / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    for path in folder.iterdir():
        if path.is_file():
            (snapshot / path.name).write_bytes(path.read_bytes())


def test_a_listed_model_loads_from_the_cache_and_says_what_is_missing(
    folders: dict[str, Path], listed: str
) -> None:
    name = f"{listed}/webli"
    wanted = r"`multimodal spaces fetch Tiny-SigLIP/webli`.*another machine.*copy FOLDER"
    with pytest.raises(SpaceError, match=wanted):
        exactly(name)
    cached("somewhere/tiny-siglip", folders["siglip"])
    with pytest.raises(SpaceError, match=wanted):  # the tokenizer is another repository's
        exactly(name)
    cached("somewhere/tokens", folders["siglip"])
    space, folder = exactly(name), exactly(folders["siglip"])
    np.testing.assert_array_equal(space.embed(TEXTS[:2]), folder.embed(TEXTS[:2]))
    assert space.name == name and space.space_id == folder.space_id
    assert space["image"].tower.preprocess.resize_mode == "squash"
    np.testing.assert_allclose(space.embed(picture()), folder.embed(picture()), atol=1e-6)


def test_a_repository_loads_from_the_cache(folders: dict[str, Path]) -> None:
    with pytest.raises(SpaceError, match="spaces fetch hf-hub:somewhere/roberta-clip"):
        exactly("hf-hub:somewhere/roberta-clip")
    cached("somewhere/roberta-clip", folders["siglip"])
    space = exactly("hf-hub:somewhere/roberta-clip")
    assert space.space_id == exactly(folders["siglip"]).space_id


def test_a_checkpoint_of_ones_own_keeps_the_familys_preprocessing(
    folders: dict[str, Path], listed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import load_file

    cached("somewhere/tokens", folders["siglip"])
    state = load_file(str(folders["siglip"] / "open_clip_model.safetensors"))
    state["visual.head.proj.weight"] = state["visual.head.proj.weight"] * 1.1 + 0.01
    wrapped = {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}
    torch.save(wrapped, tmp_path / "epoch_3.pt")
    monkeypatch.chdir(tmp_path)
    alone, tagged = exactly(f"{listed}@epoch_3.pt"), exactly(f"{listed}/webli@epoch_3.pt")
    assert alone.name == f"{listed}@{(tmp_path / 'epoch_3.pt').resolve()}"
    for space in (alone, tagged):
        assert space["image"].tower.preprocess.resize_mode == "squash"
        assert space["image"].tower.preprocess.mean == (0.5, 0.5, 0.5)
    assert alone["image"].encoder_id == tagged["image"].encoder_id
    assert alone["image"].encoder_id != exactly(folders["siglip"])["image"].encoder_id
    assert alone.space_id == exactly(folders["siglip"]).space_id  # its text tower was not trained
    with pytest.raises(SpaceError, match="no file"):
        exactly(f"{listed}@epoch_4.pt")
    with pytest.raises(UnknownSpace):
        exactly("Tiny-SigLop@epoch_3.pt")


def test_a_tags_activation_is_used(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip.factory
    import open_clip.pretrained

    config, _ = config_of("clip")
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Tiny", config)
    tag = open_clip.pretrained._pcfg(hf_hub="somewhere/tiny/", quick_gelu=True)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "Tiny", {"openai": tag})
    cached("somewhere/tiny", folders["quickgelu"])
    quick = exactly(folders["quickgelu"])
    np.testing.assert_array_equal(exactly("Tiny/openai").embed(TEXTS[:2]), quick.embed(TEXTS[:2]))
    saved = exactly(exactly("Tiny/openai").save(tmp_path / "saved"))
    np.testing.assert_array_equal(saved.embed(TEXTS[:2]), quick.embed(TEXTS[:2]))


def test_a_folder_without_weights_is_no_random_space(folders: dict[str, Path], tmp_path: Path) -> None:
    config = (folders["clip"] / "open_clip_config.json").read_text(encoding="utf-8")
    (tmp_path / "open_clip_config.json").write_text(config, encoding="utf-8")
    with pytest.raises(SpaceError, match="holds no weights"):
        exactly(tmp_path)
    (tmp_path / "open_clip_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SpaceError, match="cannot be loaded"):
        exactly(tmp_path)


def test_a_tokenizer_of_transformers_names_the_extra(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SpaceError, match=r"multimodal\[transformers\]"):
        load_space(folders["siglip"])
    load_space(folders["clip"])


def test_a_trained_pooler_travels_with_the_space(folders: dict[str, Path], tmp_path: Path) -> None:
    from multimodal.towers.video import TemporalPooler

    folder = exactly(folders["clip"]).save(tmp_path / "one")
    TemporalPooler.mean(DIM).save(folder / "pooler.safetensors")
    again = exactly(folder).save(tmp_path / "two")
    assert (again / "pooler.safetensors").read_bytes() == (folder / "pooler.safetensors").read_bytes()


@pytest.mark.slow
def test_pixels_are_open_clips_for_every_published_preprocessing() -> None:
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg
    from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict

    from multimodal.towers.pixels import ResizeCrop

    seen: set[str] = set()
    for model, tag in open_clip.list_pretrained():
        size = open_clip.get_model_config(model)["vision_cfg"]["image_size"]
        config = merge_preprocess_dict({"size": size}, get_pretrained_cfg(model, tag))
        key = json.dumps(config, sort_keys=True)
        if key in seen:
            continue
        seen.add(key)
        transform = image_transform_v2(PreprocessCfg(**config), is_train=False)
        ours = ResizeCrop.from_config(config)
        for number, sides in enumerate([(331, 127), (97, 403), (224, 224), (13, 700)]):
            given = picture(number, sides)
            normalised = (ours(given).astype(np.float32) / 255 - ours.mean) / ours.std
            wanted = transform(given).numpy().transpose(1, 2, 0)
            np.testing.assert_allclose(normalised, wanted, atol=1e-3, err_msg=f"{model}/{tag} {sides}")
    assert len(seen) >= 25
