"""Fetching spaces from a hub and pushing them there, against a server on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from multimodal import Space, SpaceError, load_space
from multimodal.cli import app
from tests.hub_server import Repositories, serving
from tests.models import config_of, write_model

NAME = "Tiny-SigLIP/webli"
WEIGHTS = "open_clip_model.safetensors"
BLOCK = 1 << 16


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("siglip"), "siglip")


@pytest.fixture(scope="module")
def own_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("roberta"), "roberta")


def files_of(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


@pytest.fixture
def hub(
    model: Path, own_text: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Repositories]:
    """A hub with the tiny SigLIP, which is on open_clip's list, and its tokenizer in another repository."""
    import huggingface_hub.constants as constants
    import open_clip.factory
    import open_clip.pretrained

    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Tiny-SigLIP", config_of("siglip")[0])
    tag = open_clip.pretrained._slpcfg(hf_hub="somewhere/tiny-siglip/")
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "Tiny-SigLIP", {"webli": tag})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # whatever the environment says
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    contents = {path.name: path.read_bytes() for path in model.iterdir()}
    roberta = {str(path.relative_to(own_text).as_posix()): path.read_bytes() for path in files_of(own_text)}
    tokens = {name: content for name, content in contents.items() if name.startswith("token")}
    with serving() as (address, repositories):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        weights = {WEIGHTS: contents[WEIGHTS], "README.md": b"---\nlicense: mit\n---\n"}
        repositories.files = {
            "somewhere/tiny-siglip": weights,
            "somewhere/tokens": tokens,
            "somewhere/whole": {**contents, "config.json": b"{}"},
            "somewhere/roberta": roberta,
        }
        yield repositories


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words))
    if isinstance(result.exception, SpaceError):
        return 2, str(result.exception)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_fetch_brings_what_a_space_needs_and_nothing_comes_unasked(hub: Repositories, model: Path) -> None:
    with pytest.raises(SpaceError, match="spaces fetch Tiny-SigLIP/webli"):
        load_space(NAME, precision="fp32")
    assert not hub.asked
    code, said = run("spaces", "fetch", NAME, "-q")
    assert code == 0 and "multimodal index FOLDER --space Tiny-SigLIP/webli" in said
    seen = len(hub.asked)
    space = load_space(NAME, precision="fp32")
    assert space.space_id == load_space(model).space_id
    assert len(hub.asked) == seen
    assert run("spaces", "fetch", NAME, "-q")[0] == 0  # what is there is not asked for again
    assert len(hub.asked) == seen


@pytest.mark.parametrize("into_folder", [False, True])
def test_a_repository_with_its_own_text_model_needs_no_other(
    hub: Repositories, own_text: Path, tmp_path: Path, into_folder: bool
) -> None:
    del hub.files["somewhere/tokens"]
    where = ["-o", str(tmp_path / "out")] if into_folder else []
    assert run("spaces", "fetch", "hf-hub:somewhere/roberta", "-q", *where)[0] == 0
    space = load_space(tmp_path / "out" if into_folder else "hf-hub:somewhere/roberta")
    assert space.space_id == load_space(own_text).space_id


def test_python_downloads_on_request(hub: Repositories, model: Path) -> None:
    space = load_space("hf-hub:somewhere/whole", download=True, precision="fp32")
    assert space.space_id == load_space(model).space_id
    rows = load_space(model, precision="fp32").embed("the red dog")
    np.testing.assert_array_equal(space.embed("the red dog"), rows)
    again = load_space("hf-hub:somewhere/whole")
    assert again.name == "hf-hub:somewhere/whole"


@pytest.mark.parametrize("into_folder", [False, True])
def test_an_interrupted_download_goes_on(
    hub: Repositories, tmp_path: Path, into_folder: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ["-o", str(tmp_path / "out")] if into_folder else []
    size = len(hub.files["somewhere/tiny-siglip"][WEIGHTS])
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", BLOCK)
    hub.cut_at = size // 2
    code, said = run("spaces", "fetch", NAME, "-q", *where)
    assert code == 2 and "The hub refuses somewhere/tiny-siglip" in said
    with pytest.raises(SpaceError, match="not on this machine"):
        load_space(NAME)
    hub.cut_at, hub.refuse = None, False
    hub.asked.clear()
    assert run("spaces", "fetch", NAME, "-q", *where)[0] == 0
    assert hub.downloads(WEIGHTS) == [f"bytes={size // 2 // BLOCK * BLOCK}-"]
    load_space(tmp_path / "out" if into_folder else NAME)


@pytest.mark.parametrize("into_folder", [False, True])
def test_what_came_damaged_is_not_kept(hub: Repositories, tmp_path: Path, into_folder: bool) -> None:
    where = ["-o", str(tmp_path / "out")] if into_folder else []
    hub.spoil = True
    code, said = run("spaces", "fetch", NAME, "-q", *where)
    assert code == 2 and "another hash than the hub names" in said and said.count("\n") == 0
    with pytest.raises(SpaceError, match="not on this machine"):
        load_space(NAME)
    hub.spoil = False
    assert run("spaces", "fetch", NAME, "-q", *where)[0] == 0
    load_space(tmp_path / "out" if into_folder else NAME)


def test_a_fetched_folder_is_whole_by_itself(
    hub: Repositories, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants as constants
    import open_clip

    code, said = run("spaces", "fetch", NAME, "-q", "-o", str(tmp_path / "out"))
    assert code == 0 and "give its path as the space" in said
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    hub.asked.clear()
    space = load_space(tmp_path / "out")
    assert space.space_id == load_space(model).space_id
    open_clip.create_model_from_pretrained(f"local-dir:{tmp_path / 'out'}")
    assert open_clip.get_tokenizer(f"local-dir:{tmp_path / 'out'}")(["red"]).shape == (1, 64)
    assert not hub.asked and not (tmp_path / "out" / ".cache").exists()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.txt").write_text("a", encoding="utf-8")
    assert "not empty" in run("spaces", "fetch", NAME, "-o", str(tmp_path / "photos"))[1]


def test_what_goes_wrong_is_one_sentence(
    hub: Repositories, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub.constants as constants

    assert "no repository somewhere/nothing" in run("spaces", "fetch", "hf-hub:somewhere/nothing")[1]
    assert "near it: Tiny-SigLIP/webli" in run("spaces", "fetch", "Tiny-SigLIP/web")[1]
    assert "nothing to fetch" in run("spaces", "fetch", "ViT-B-32@my.pt", "-o", str(tmp_path / "x"))[1]
    assert "nothing to fetch" in run("spaces", "fetch", "starter")[1]
    with monkeypatch.context() as full:
        full.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
        assert re.search(r"needs 0\.0 GB more, and 0\.0 GB are free", run("spaces", "fetch", NAME)[1])
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    said = run("spaces", "fetch", NAME)[1]
    assert "cannot be reached" in said and f"`multimodal spaces fetch {NAME} -o FOLDER` on another" in said


def test_the_list_knows_what_is_here(hub: Repositories) -> None:
    from multimodal.catalogue import spaces

    assert [space.name for space in spaces(local=True)] == ["starter"]
    assert run("spaces", "fetch", "hf-hub:somewhere/whole", "-q")[0] == 0
    names = [space.name for space in spaces(local=True)]
    assert names == ["hf-hub:somewhere/whole", "starter"]
    here = spaces(["whole"])[0]
    assert (here.dim, here.size, here.here) == (32, 160, True)


UPLOADS = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")  # huggingface_hub's own


@UPLOADS
@pytest.mark.parametrize("kind", ["open_clip", "starter"])
def test_a_pushed_space_comes_back(
    hub: Repositories, model: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants as constants
    from huggingface_hub import ModelCard

    space = load_space(model, precision="fp32") if kind == "open_clip" else load_space()
    address = space.push("somebody/space", licence="mit" if kind == "open_clip" else None, token="hf_x")
    assert address == f"{constants.ENDPOINT}/somebody/space"
    assert str(tmp_path) not in hub.files["somebody/space"]["config.json"].decode()
    again = Space.from_hub("somebody/space")
    assert again.name == "hf-hub:somebody/space"
    assert again.space_id == space.space_id and list(again) == list(space)
    assert again["image"].encoder_id == space["image"].encoder_id
    seen = len(hub.asked)
    assert load_space(again.name).space_id == Space.from_hub("somebody/space").space_id == space.space_id
    assert len(hub.asked) == seen  # it is on this machine now
    text = hub.files["somebody/space"]["README.md"].decode()
    data = ModelCard(text).data
    assert data.license == ("mit" if kind == "open_clip" else "cc-by-sa-4.0")
    assert space.space_id in text and ("open_clip.create_model_from_pretrained" in text) == (
        kind == "open_clip"
    )
    out = str(tmp_path / "out")
    assert run("spaces", "fetch", "hf-hub:somebody/space", "-q", "-o", out)[0] == 0
    assert load_space(out).space_id == space.space_id


@UPLOADS
def test_open_clip_loads_what_was_pushed(hub: Repositories, model: Path) -> None:
    import open_clip

    space = load_space(model, precision="fp32")
    space.push("somebody/space", token="hf_x")
    loaded = open_clip.create_model_from_pretrained("hf-hub:somebody/space", return_transform=False)
    import torch

    with torch.inference_mode():
        tokens = open_clip.get_tokenizer(f"local-dir:{model}")(["the red dog"])
        rows = loaded.eval().encode_text(tokens, normalize=True).numpy()
    np.testing.assert_allclose(space.embed("the red dog"), rows, atol=2e-6)
