"""Precision of compute: what is chosen, what is refused, and that rows stay what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from multimodal import Space, load_space
from multimodal.errors import SpaceError
from multimodal.precision import (
    TOLERANCE,
    Compute,
    Precision,
    agreement,
    candidates,
    choose,
    probe_pictures,
)
from multimodal.towers import networks
from tests.models import FAMILIES, write_model

TEXTS = ["a dog", "the red square and the blue square, over and over again " * 3, "thunder", "", "a cat"]
CAUSAL = {"clip", "quickgelu", "resnet", "pe"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    return {family: write_model(place / family, family) for family in FAMILIES}


def picture(seed: int) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((90, 70), Image.Resampling.BICUBIC)


def chosen(space: Space, modality: str) -> Any:
    return space[modality].tower.chosen  # type: ignore[index, attr-defined]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_runs_in_bf16_and_auto_keeps_to_the_tolerance(
    folders: dict[str, Path], family: str
) -> None:
    exact = load_space(folders[family], precision="fp32")
    forced = load_space(folders[family], precision="bf16")
    free = load_space(folders[family])
    items = [*TEXTS[:3], picture(0), picture(1)]
    reference = exact.embed(items)
    assert (forced.embed(items) * reference).sum(axis=1).min() > 0.99
    for modality in ("text", "image"):
        assert chosen(forced, modality).precision == "bf16"
        assert 0.99 < chosen(forced, modality).cosine < 1
        assert chosen(exact, modality).precision == "fp32" and chosen(exact, modality).cosine == 1
        assert chosen(free, modality).cosine >= TOLERANCE
    assert chosen(free, "text").precision == "fp32"
    assert {space.space_id for space in (exact, forced, free)} == {exact.space_id}
    assert forced["image"].encoder_id == exact["image"].encoder_id


def test_the_residual_stream_of_a_transformer_stays_float32(folders: dict[str, Path]) -> None:
    import torch

    model = load_space(folders["clip"], precision="fp32")["image"].tower._model  # type: ignore[attr-defined]
    part = networks._part(model, ["visual"], torch.bfloat16, torch.device("cpu"))
    blocks = part.visual.transformer.resblocks
    seen: list[torch.dtype] = []
    blocks[1].register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))
    with torch.inference_mode():
        rows = part.encode_image(torch.zeros(1, 3, 32, 32))
    assert seen == [torch.float32] and rows.dtype == torch.float32
    assert blocks[0].mlp.c_fc.weight.dtype == torch.bfloat16
    assert part.visual.conv1.weight.dtype == part.visual.proj.dtype == torch.float32
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_is_left_away_only_where_nothing_looks_at_it(folders: dict[str, Path], family: str) -> None:
    import torch

    space = load_space(folders[family], precision="fp32")
    tower: Any = space["text"].tower
    ours = networks.TextPass(tower._model)
    assert ours.fits == (family not in ("coca", "roberta"))
    assert (ours.fits and ours.cuts) == (family in CAUSAL)
    ids = np.stack([tower.preprocess(text) for text in TEXTS if tower.preprocess(text).ndim == 1])
    with torch.inference_mode():
        plain = tower._model.encode_text(torch.from_numpy(ids)).numpy()
    np.testing.assert_allclose(tower.forward(list(ids)), plain, atol=3e-6)
    if family in CAUSAL:
        lengths = ours.lengths(ids)
        assert lengths.min() <= 3 < lengths.max() < ids.shape[1]
        with torch.inference_mode():
            cut = ours(torch.from_numpy(ids[:1, : lengths[0]])).numpy()
        np.testing.assert_allclose(cut, plain[:1], atol=3e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_row_does_not_depend_on_its_batch(folders: dict[str, Path], precision: Precision) -> None:
    space = load_space(folders["clip"], precision=precision)
    items: list[Any] = [picture(0), picture(1), picture(2)]
    if precision == "fp32":  # in bf16, 1 to 1e-12 at the width of ViT-B/32, but not at these 32
        items += TEXTS[:3]
    alone = np.concatenate([space.embed(item) for item in items])
    assert (space.embed(items) * alone).sum(axis=1).min() >= 0.99999


def test_texts_are_grouped_by_length() -> None:
    found = {
        length: places.tolist() for places, length in networks.groups(np.array([3, 8, 9, 77, 4, 70]), 77)
    }
    assert found == {8: [0, 1, 4], 16: [2], 72: [5], 77: [3]}


def test_auto_takes_the_first_that_agrees() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4, 64)).astype(np.float32)
    noise = {"fp32": 0.0, "bf16": 0.1, "fp16": 0.001}

    def build(precision: Precision) -> Any:
        if precision == "int8":
            raise RuntimeError("not implemented")
        return lambda _: rows + noise[precision] * rng.normal(size=rows.shape).astype(np.float32)

    probe = np.zeros(4)
    assert choose(["bf16", "fp32"], False, build, probe).precision == "fp32"
    assert choose(["bf16", "fp16", "fp32"], False, build, probe).precision == "fp16"
    assert choose(["int8", "fp32"], False, build, probe).precision == "fp32"
    kept = choose(["bf16"], True, build, probe)
    assert kept.precision == "bf16" and kept.cosine < TOLERANCE
    with pytest.raises(RuntimeError):
        choose(["int8"], True, build, probe)


def test_what_is_tried_on_which_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for has, first in ((True, ["bf16", "fp32"]), (False, ["fp32"])):
        monkeypatch.setattr("multimodal.precision.cpu_has_bf16", lambda has=has: has)
        assert candidates(Compute(), "cpu") == first
    assert candidates(Compute(), "cuda", "bf16") == ["bf16", "fp32"]
    assert candidates(Compute("fp16"), "cuda", "bf16") == ["fp16"]


def test_agreement_is_the_least_cosine_and_never_hides_nan() -> None:
    rows = np.eye(3, dtype=np.float32)
    assert agreement(rows, 2 * rows) == pytest.approx(1)
    assert agreement(rows, rows[[0, 1, 1]]) == 0
    assert agreement(np.where(rows == 1, np.nan, rows), rows) == -1


def test_probe_pictures_are_pictures_and_always_the_same() -> None:
    pictures = probe_pictures((48, 64))
    assert pictures.shape == (4, 48, 64, 3) and pictures.dtype == np.uint8
    np.testing.assert_array_equal(pictures, probe_pictures((48, 64)))
    assert pictures.std(axis=(1, 2)).min() > 20
    assert agreement(*(one.reshape(1, -1).astype(np.float32) - 128 for one in pictures[:2])) < 0.5


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"precision": "fp8"}, "precision is one of auto, fp32, bf16, fp16, int8, not 'fp8'"),
        ({"backend": "onnx"}, "backend is one of auto, torch, openvino, not 'onnx'"),
        ({"precision": "int8"}, "int8 needs the backend 'openvino'"),
        ({"backend": "openvino", "compiled": True}, "does not go with the backend"),
        ({"precision": "bf16"}, "computes in fp32 on onnxruntime"),
    ],
)
def test_what_is_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(SpaceError, match=reason):
        load_space("starter", **given)


def test_a_device_that_is_not_here_is_named(folders: dict[str, Path]) -> None:
    space = load_space(folders["clip"], device="cuda:99")
    with pytest.raises(SpaceError, match="'cuda:99' cannot be used"):
        space.embed("a dog")


@pytest.mark.slow
def test_a_compiled_tower_gives_the_same(folders: dict[str, Path]) -> None:
    items = [*TEXTS[:3], picture(0), picture(1)]
    exact = load_space(folders["clip"], precision="fp32").embed(items)
    compiled = load_space(folders["clip"], precision="fp32", compiled=True).embed(items)
    assert (exact * compiled).sum(axis=1).min() > 0.99999


def test_the_command_times_each_precision_beside_float32(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from multimodal.commands import benchmarking

    monkeypatch.setattr(benchmarking, "modes", lambda name: [Compute("fp32"), Compute("bf16")])
    benchmarking.benchmark(str(folders["clip"]), batch=2, seconds=0.01, as_json=True)
    told = json.loads(capsys.readouterr().out)
    lines = {(line["modality"], line["precision"]): line for line in told["speeds"]}
    assert set(lines) == {(modality, kind) for modality in ("image", "text") for kind in ("fp32", "bf16")}
    assert all(line["per_second"] > 0 and line["problem"] is None for line in lines.values())
    assert lines["image", "fp32"]["cosine"] == 1 > lines["image", "bf16"]["cosine"] > 0.99
    assert all(line["accepted"] == (line["cosine"] >= TOLERANCE) for line in lines.values())
    benchmarking.benchmark(str(folders["clip"]), batch=2, seconds=0.01, as_json=False)
    shown = capsys.readouterr().out
    assert "against fp32" in shown and "1.00 times" in shown


def test_the_starter_has_one_mode() -> None:
    from multimodal.commands import benchmarking

    assert [mode.precision for mode in benchmarking.modes("starter#192")] == ["fp32"]
