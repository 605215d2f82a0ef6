"""The sound tower in torch: folding, shapes, independence of the batch, export to the graph that ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from multimodal.towers.audio_module import (  # noqa: E402
    CLASSES,
    DIM,
    FEATURES,
    StarterAudioModule,
    Tagger,
    folded,
)
from multimodal.towers.mel import LogMel  # noqa: E402
from multimodal.types import Audio  # noqa: E402

STARTER = Path(__file__).parents[1] / "multimodal" / "starter"


@pytest.fixture
def module() -> StarterAudioModule:
    torch.manual_seed(0)
    made = StarterAudioModule()
    made.place.class_vectors.copy_(torch.nn.functional.normalize(torch.randn(CLASSES, DIM), dim=1))
    return made.eval()


def windows(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, *LogMel().shape, generator=torch.Generator().manual_seed(seed))


def test_shapes_and_unit_rows(module: StarterAudioModule) -> None:
    with torch.inference_mode():
        features, logits = module.tagger(windows(3))
        rows = module(windows(3))
    assert features.shape == (3, FEATURES) and logits.shape == (3, CLASSES)
    assert float(features.min()) >= 0
    np.testing.assert_allclose(rows.norm(dim=1).numpy(), 1, atol=1e-5)


def test_rows_do_not_depend_on_the_batch(module: StarterAudioModule) -> None:
    batch = windows(5)
    with torch.inference_mode():
        together = module(batch)
        alone = torch.cat([module(one[None]) for one in batch])
    np.testing.assert_allclose(together.numpy(), alone.numpy(), atol=1e-5)


def test_batch_norms_fold_into_convolutions() -> None:
    torch.manual_seed(0)
    trained = Tagger(batch_norm=True)
    trained.train()
    for seed in range(3):
        trained(windows(8, seed) * 2 + 1)
    trained.eval()
    shipped = Tagger().eval()
    shipped.load_state_dict(folded(trained))
    with torch.inference_mode():
        for given, expected in zip(shipped(windows(4)), trained(windows(4)), strict=True):
            np.testing.assert_allclose(given.numpy(), expected.numpy(), atol=1e-4)


def test_only_the_ten_likeliest_classes_place_a_window(module: StarterAudioModule) -> None:
    logits = torch.full((1, CLASSES), -3.0)
    logits[0, :10] = torch.arange(10).float()
    changed = logits.clone()
    changed[0, 10:] = -1.0
    torch.testing.assert_close(module.place.conse(logits), module.place.conse(changed))
    changed[0, 0] = 9.5
    assert (module.place.conse(logits) - module.place.conse(changed)).abs().max() > 1e-3


def test_without_the_residual_a_row_is_its_classes(module: StarterAudioModule) -> None:
    module.place.alpha.zero_()
    with torch.inference_mode():
        features, logits = module.tagger(windows(2))
        torch.testing.assert_close(module.place(features, logits), module.place.conse(logits))


def test_export_gives_what_torch_gives(module: StarterAudioModule, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    from safetensors.torch import load_file

    from recipes.export import export

    export(module, windows(2), tmp_path, "audio", "mel")
    session = onnxruntime.InferenceSession(str(tmp_path / "audio.onnx"))
    (given,) = session.run(None, {"mel": windows(3, 1).numpy()})
    again = StarterAudioModule().eval()
    again.load_state_dict({k: v.float() for k, v in load_file(tmp_path / "audio.safetensors").items()})
    with torch.inference_mode():
        np.testing.assert_allclose(given, again(windows(3, 1)).numpy(), atol=1e-3)


@pytest.mark.skipif(not (STARTER / "audio.onnx").is_file(), reason="the starter has no sound tower yet")
def test_shipped_torch_weights_give_what_the_shipped_graph_gives() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from safetensors.torch import load_file

    module = StarterAudioModule().eval()
    state = load_file(STARTER / "audio.safetensors")
    module.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    samples = np.random.default_rng(0).standard_normal(40_000).astype(np.float32) * np.float32(0.1)
    mel = LogMel()(Audio(samples, 16_000))
    session = onnxruntime.InferenceSession(str(STARTER / "audio.onnx"))
    (given,) = session.run(None, {"mel": mel})
    with torch.inference_mode():
        np.testing.assert_allclose(given, module(torch.from_numpy(mel)).numpy(), atol=1e-3)
