"""The image tower's torch definition, against the graph that ships and against itself."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from multimodal.towers.image_module import (  # noqa: E402
    CHANNELS,
    SIZE,
    STAGE_MEANS,
    Backbone,
    Residual,
    ResidualSizes,
    SameConv,
    StarterImageModule,
    load_image_module,
)

STARTER = Path(importlib.util.find_spec("multimodal").origin).parent / "starter"  # type: ignore[union-attr,arg-type]
WEIGHTS = STARTER / "image.safetensors"
needs_weights = pytest.mark.skipif(not WEIGHTS.is_file(), reason="the starter's image weights are not here")


def pictures(count: int, seed: int = 0) -> Tensor:
    """Smooth random pictures: noise would leave every class equally unlikely."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((count, 3, 6, 6), dtype=np.float32))
    fine = torch.nn.functional.interpolate(coarse, (SIZE, SIZE), mode="bicubic").clamp(0, 1)
    return (fine * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


@pytest.fixture(scope="module")
def module() -> StarterImageModule:
    torch.manual_seed(0)
    return StarterImageModule(ResidualSizes(hidden=32, pooled=16)).eval()


@pytest.fixture(scope="module")
def shipped() -> StarterImageModule:
    return load_image_module(WEIGHTS)


class TestSameConv:
    @pytest.mark.parametrize("side", [8, 9])
    @pytest.mark.parametrize("kernel", [3, 5])
    def test_stride_two_covers_every_pixel(self, side: int, kernel: int) -> None:
        convolution = SameConv(1, 1, kernel, stride=2)
        torch.nn.init.ones_(convolution.weight)
        out = convolution(torch.ones(1, 1, side, side))
        assert out.shape[-1] == -(-side // 2)
        assert out.max() == kernel * kernel

    def test_an_even_side_is_padded_after(self) -> None:
        convolution = SameConv(1, 1, 3, stride=2)
        torch.nn.init.ones_(convolution.weight)
        out = convolution(torch.ones(1, 1, 8, 8))[0, 0]
        assert out[0, 0] == 9  # nothing is padded before the first pixel
        assert out[-1, -1] == 4  # one row and column is padded after the last


class TestBackbone:
    def test_shapes_and_range(self) -> None:
        places, means = Backbone().eval()(torch.zeros(2, 3, SIZE, SIZE))
        assert places.shape == (2, 9, CHANNELS)
        assert means.shape == (2, STAGE_MEANS)


class TestModule:
    def test_rows_are_unit_whatever_the_batch(self, module: StarterImageModule) -> None:
        torch.manual_seed(1)
        places, means = torch.rand(5, 9, CHANNELS), torch.rand(5, STAGE_MEANS)
        with torch.inference_mode():
            together = module.embed(places, means)
            alone = torch.cat([module.embed(p[None], m[None]) for p, m in zip(places, means, strict=True)])
        assert torch.allclose(together.norm(dim=1), torch.ones(5), atol=1e-5)
        assert torch.allclose(together, alone, atol=1e-5)

    def test_without_a_residual_it_is_conse(self, module: StarterImageModule) -> None:
        bare = StarterImageModule(ResidualSizes(hidden=32, pooled=16)).eval()
        bare.load_state_dict(module.state_dict())
        torch.nn.init.normal_(bare.class_vectors)
        torch.nn.init.zeros_(bare.residual.out.weight)
        torch.nn.init.zeros_(bare.residual.out.bias)
        places, means = torch.rand(2, 9, CHANNELS), torch.rand(2, STAGE_MEANS)
        with torch.inference_mode():
            expected = torch.nn.functional.normalize(bare.conse(places), dim=-1)
            assert torch.allclose(bare.embed(places, means), expected, atol=1e-6)

    def test_a_sure_classifier_gives_the_class_name(self, module: StarterImageModule) -> None:
        sure = StarterImageModule(ResidualSizes(hidden=32, pooled=16)).eval()
        torch.nn.init.normal_(sure.class_vectors)
        torch.nn.init.zeros_(sure.classifier.weight)
        torch.nn.init.zeros_(sure.classifier.bias)
        sure.classifier.bias.data[7] = 50.0
        mixed = sure.conse(torch.rand(1, 9, CHANNELS))[0]
        assert torch.allclose(mixed, sure.class_vectors[7], atol=1e-4)

    def test_the_pool_starts_even(self) -> None:
        residual = Residual(ResidualSizes())
        weights = residual.query(residual.norm(torch.rand(1, 9, CHANNELS))).softmax(1)
        assert torch.allclose(weights, torch.full_like(weights, 1 / 9), atol=1e-6)

    def test_gradients_reach_the_pixels(self, module: StarterImageModule) -> None:
        x = (pictures(1).permute(0, 3, 1, 2).float() / 127.5 - 1).requires_grad_()
        for parameter in module.backbone.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
        module.embed(*module.backbone(x))[0, 0].backward()
        assert x.grad is not None
        assert float(x.grad.abs().max()) > 0


@needs_weights
class TestShipped:
    def test_torch_and_onnx_give_the_same_rows(self, shipped: StarterImageModule) -> None:
        onnxruntime = pytest.importorskip("onnxruntime")
        graph = str(STARTER / "image.onnx")
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        pixels = pictures(3)
        (given,) = session.run(None, {"pixels": pixels.numpy()})
        with torch.inference_mode():
            assert np.abs(shipped(pixels).numpy() - given).max() < 1e-3
        assert given.dtype == np.float32
        assert np.allclose(np.linalg.norm(given, axis=1), 1, atol=1e-4)

    def test_onnx_rows_do_not_depend_on_the_batch(self) -> None:
        onnxruntime = pytest.importorskip("onnxruntime")
        graph = str(STARTER / "image.onnx")
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        pixels = pictures(4).numpy()
        (together,) = session.run(None, {"pixels": pixels})
        alone = np.concatenate([session.run(None, {"pixels": p[None]})[0] for p in pixels])
        assert (together * alone).sum(1).min() > 0.99999

    def test_the_config_names_what_the_graph_takes(self) -> None:
        section = json.loads((STARTER / "config.json").read_text(encoding="utf-8"))["image"]
        assert section["preprocess"]["size"] == SIZE
        assert section["preprocess"]["resize_mode"] in {"shortest", "longest", "squash"}
        for name in ("graph", "weights"):
            assert (STARTER / section[name]).is_file()

    def test_weights_of_another_module_are_refused(self) -> None:
        with pytest.raises(RuntimeError):
            load_image_module(WEIGHTS, ResidualSizes(hidden=7))
