"""Picture towers on OpenVINO: the same rows as torch's, and int8 from a quantised graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multimodal import Space, load_space
from multimodal.errors import SpaceError
from tests.models import write_model

pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "clip", "clip")


def pictures(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (count, 5, 7, 3), dtype=np.uint8)
    return [Image.fromarray(one).resize((50, 40), Image.Resampling.BICUBIC) for one in small]


def cosines(a: Space, b: Space, items: list[Image.Image]) -> np.ndarray:
    return (a.embed(items) * b.embed(items)).sum(axis=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "family",
    ["clip", *(pytest.param(name, marks=pytest.mark.slow) for name in ("coca", "mobileclip", "siglip"))],
)
def test_rows_are_torchs(tmp_path: Path, family: str) -> None:
    model = write_model(tmp_path / family, family)
    exact = load_space(model, precision="fp32")
    space = load_space(model, precision="fp32", backend="openvino")
    assert cosines(exact, space, pictures(3)).min() > 0.99999
    assert space["image"].encoder_id == exact["image"].encoder_id
    np.testing.assert_array_equal(space.embed("a dog"), exact.embed("a dog"))


def test_bf16_is_checked_and_rows_do_not_depend_on_their_batch(folder: Path) -> None:
    space = load_space(folder, precision="bf16", backend="openvino")
    exact = load_space(folder, precision="fp32")
    assert cosines(exact, space, pictures(3)).min() > 0.99
    alone = np.concatenate([space.embed(one) for one in pictures(3)])
    assert (space.embed(pictures(3)) * alone).sum(axis=1).min() >= 0.99999  # type: ignore[arg-type]


def test_what_it_cannot_do_is_said(folder: Path) -> None:
    with pytest.raises(SpaceError, match="not quantised"):
        load_space(folder, precision="int8", backend="openvino")["image"]
    with pytest.raises(SpaceError, match="not in fp16"):
        load_space(folder, precision="fp16", backend="openvino").embed(pictures(1))


@pytest.mark.slow
def test_a_quantised_space_has_rows_of_its_own_in_the_same_space(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    from multimodal.quantise import quantise

    exact = load_space(folder, precision="fp32")
    shown = pictures(60)
    captions = [f"picture number {number}" for number in range(60)]
    with pytest.raises(SpaceError, match="at least 8 pictures"):
        quantise(exact, tmp_path / "few", shown[:4], captions[:4])
    report = quantise(exact, tmp_path / "small", shown, captions, most_lost=1.0)
    assert report.pictures == 30 and 0.9 < report.cosine < 1
    space = load_space(tmp_path / "small", precision="int8", backend="openvino")
    assert space.space_id == exact.space_id
    assert space["image"].encoder_id != exact["image"].encoder_id
    assert cosines(exact, space, shown).min() > 0.9
    with pytest.raises(SpaceError, match="loses"):
        quantise(exact, tmp_path / "strict", shown, captions, most_lost=-2.0)
    assert not (tmp_path / "strict" / "image.int8.xml").exists()
