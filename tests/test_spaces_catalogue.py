"""The table of spaces: true to open_clip's own lists, and quick to look through."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from multimodal.catalogue import TABLE, about, spaces
from multimodal.cli import app
from multimodal.errors import UnknownSpace


def test_the_table_has_what_open_clip_lists() -> None:
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg

    table = json.loads(TABLE.read_text(encoding="utf-8"))
    rows = {row[0]: dict(zip(table["columns"], row, strict=True)) for row in table["rows"]}
    # a later open_clip lists more: what is in the table must be right
    assert set(rows) <= {f"{model}/{tag}" for model, tag in open_clip.list_pretrained()}
    assert len(rows) == len(table["rows"]) == 196
    for name, row in rows.items():
        model, tag = name.split("/")
        config = open_clip.get_model_config(model)
        assert (row["dim"], row["size"]) == (config["embed_dim"], config["vision_cfg"]["image_size"]), name
        assert row["repo"] == get_pretrained_cfg(model, tag)["hf_hub"], name
        assert row["licence"] and 10 < row["params"] < 6000, name


@pytest.mark.parametrize(  # as the projects' papers and pages give them, in percent
    ("name", "imagenet", "coco"),
    [
        ("ViT-B-32/openai", 63.3, 30.4),
        ("ViT-B-32/laion2b_s34b_b79k", 66.6, 39.3),
        ("ViT-B-32/datacomp_xl_s13b_b90k", 69.2, 37.1),
        ("ViT-SO400M-14-SigLIP-384/webli", 83.1, 54.2),
    ],
)
def test_figures_are_the_published_ones(name: str, imagenet: float, coco: float) -> None:
    space = about(name)
    assert space.imagenet == pytest.approx(imagenet, abs=0.051)
    assert space.coco_t2i == pytest.approx(coco, abs=0.051)


@pytest.mark.slow
def test_parameters_are_those_of_the_architectures() -> None:
    import open_clip
    import torch
    from open_clip.coca_model import CoCa

    counted: dict[str, float] = {}
    for model in open_clip.list_models():
        config = copy.deepcopy(open_clip.get_model_config(model))
        if "hf_model_name" in config["text_cfg"]:  # its configuration is on a hub
            continue
        if "timm_model_name" in config["vision_cfg"]:
            config["vision_cfg"]["timm_model_pretrained"] = False
        custom = config.pop("custom_text", False)
        made = CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP if custom else open_clip.CLIP
        with torch.device("meta"):
            counted[model] = sum(tensor.numel() for tensor in made(**config).parameters())
    assert len(counted) > 130
    for space in spaces():
        if space.name.partition("/")[0] in counted and space.parameters:
            assert space.parameters == pytest.approx(counted[space.name.partition("/")[0]], abs=1e4)


def test_words_choose_and_the_best_come_first() -> None:
    found = spaces(["siglip", "Apache"])
    assert len(found) == 26 and all("siglip" in space.name.lower() for space in found)
    figures = [space.imagenet or 0 for space in found]
    assert figures == sorted(figures, reverse=True)
    with pytest.raises(UnknownSpace):
        about("ViT-B-32/nothing")
    listed = about("ViT-B-32/laion2b_s34b_b79k")
    assert (listed.dim, listed.size, listed.licence) == (512, 224, "mit")
    assert listed.download == pytest.approx(605e6, rel=0.01)  # the file of that repository


def test_the_command_lists_and_prints_json() -> None:
    def said(*words: str) -> str:
        return CliRunner().invoke(app, ["spaces", *words], catch_exceptions=False).output

    lines = said("mobileclip2").splitlines()
    assert lines[0].split()[:2] == ["space", "dim"] and len(lines) == 7
    assert "ViT-H-14-378-quickgelu/dfn5b" in said() and "more: multimodal spaces --all" in said()
    rows = json.loads(said("--json", "ViT-B-32/openai"))
    assert rows[0]["name"] == "ViT-B-32/openai" and rows[0]["imagenet"] == 63.32
    assert json.loads(said("list", "--json", "no such space")) == []


def test_looking_through_it_loads_no_model_library() -> None:
    code = (
        "import sys; from multimodal.catalogue import spaces; print(len(spaces()));"
        "print(sorted({'torch', 'open_clip', 'transformers', 'timm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == "[]"
