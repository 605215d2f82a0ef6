"""The recipe of the picture tower: what it shows the product's loop, and what of the tower learns there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from multimodal.towers.base import unit
from multimodal.towers.image_module import STAGE_MEANS, ResidualSizes, StarterImageModule
from multimodal.training import Settings
from multimodal.training.loop import train

pytest.importorskip("timm")
from recipes.image_data import Labelled, Rows
from recipes.image_train import Learner, Tower, joined, pairs

SIZES = ResidualSizes(hidden=16, pooled=8, heads=2)


def module_of(seed: int) -> StarterImageModule:
    torch.manual_seed(seed)
    module = StarterImageModule(SIZES).requires_grad_(False)
    module.residual.requires_grad_(True)
    torch.nn.init.normal_(module.class_vectors, std=0.05)
    return module.eval()


def lessons() -> tuple[Labelled, Rows]:
    """Three pictures with 2, 1 and 2 rows, out of order, and 2, 1 and 3 wordings."""
    rng = np.random.default_rng(0)

    def rows(item: list[int]) -> Rows:
        places = rng.uniform(0, 1, (len(item), 9, 1280)).astype(np.float16)
        means = rng.normal(size=(len(item), STAGE_MEANS)).astype(np.float16)
        return Rows(places, means, np.array(item))

    share = np.array([0.25, 0.2, 0.1, 0.25, 0.2])
    texts = unit(rng.normal(size=(6, 384)))
    data = Labelled(rows([0, 2, 1, 0, 2]), [None] * 3, np.array([0, 2, 3, 6]), texts, share)  # type: ignore[list-item]
    return data, rows([0, 1, 2, 3])


def test_a_picture_is_drawn_as_often_as_its_source_wants_and_with_its_best_caption_first() -> None:
    (kind,) = pairs(lessons()[0], 0.4).kinds
    chance = kind.weight / kind.weight.sum()
    np.testing.assert_array_equal(kind.right, [0, 0, 1, 2, 2, 2])
    np.testing.assert_allclose(chance, [0.35, 0.15, 0.1, 0.24, 0.08, 0.08], atol=1e-6)


def test_only_the_residual_learns_and_pictures_are_judged_as_they_are() -> None:
    data, photos = lessons()
    module = module_of(0)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    learner = Learner(module, data, photos, Tower(sizes=SIZES, strength=1.0)).eval()
    first = data.rows.first()
    with torch.no_grad():
        shown = [torch.from_numpy(values.astype(np.float32)) for values in (first.places, first.means)]
        torch.testing.assert_close(learner.embed("image", np.arange(3)), module.embed(*shown))
    settings = Settings(epochs=2, batch=4, drawn=8, hard=0, average=0.9, alike=0.8, pull=1.0, device="cpu")
    found = train(learner, pairs(data, 0.4), settings)  # type: ignore[arg-type]
    assert found.history[-1]["step"] == 4
    changed = {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed and all(name.startswith("residual.") for name in changed)
    assert not any(name.startswith("residual.mean_") for name in changed)  # how features are standardised


def test_joined_towers_say_the_mean_of_what_each_says() -> None:
    modules = [module_of(seed) for seed in (0, 1, 2)]
    for module in modules:
        for name in ("norm.weight", "norm.bias", "query.weight", "query.bias"):
            torch.nn.init.normal_(module.residual.get_parameter(name))
        module.residual.mean_shift.normal_()
        module.residual.mean_scale.uniform_(0.5, 2.0)
    places, means, mixed = torch.rand(4, 9, 1280), torch.randn(4, STAGE_MEANS), 0.05 * torch.randn(4, 384)
    with torch.no_grad():
        each = [module.residual(places, means, mixed) for module in modules]
        one = joined(modules).residual(places, means, mixed)
    torch.testing.assert_close(one, torch.stack(each).mean(0), atol=1e-4, rtol=1e-4)
