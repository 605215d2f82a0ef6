"""LanguageBind's audio, on folders of its published names and settings made at random."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multimodal import Audio, load_space
from multimodal.errors import NoMediaFile, SpaceError
from multimodal.sound import fitting, languagebind, with_audio
from tests.sound.test_imagebind import kaldi, listed, sound

torch = pytest.importorskip("torch")
SPACE = "ViT-L-14/datacomp_xl_s13b_b90k"
VISION: dict[str, Any] = {
    "audio_mean": -4.2677393,
    "audio_sample_rate": 16_000,
    "audio_std": 4.5689974,
    "add_time_attn": False,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "lora_alpha": 16,
    "lora_r": 0,
    "num_attention_heads": 2,
    "num_mel_bins": 28,
    "patch_size": 14,
    "target_length": 70,
}
"""Of the published config.json, but for the small sizes."""
LAYER = "vision_model.encoder.layers"


def tensors(width: int = 32, depth: int = 2, tokens: int = 11) -> dict[str, Any]:
    """The published names and shapes, with what belongs to texts."""
    torch.manual_seed(0)
    stem = "vision_model.embeddings."
    shapes: dict[str, tuple[int, ...]] = {
        f"{stem}class_embedding": (width,),
        f"{stem}patch_embedding.weight": (width, 3, 14, 14),
        f"{stem}position_embedding.weight": (tokens, width),
        "visual_projection.weight": (768, width),
        "text_projection.weight": (768, 8),
        "text_model.final_layer_norm.weight": (8,),
        "logit_scale": (),
    }
    for name in ("vision_model.pre_layrnorm", "vision_model.post_layernorm"):
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    for number in range(depth):
        at = f"{LAYER}.{number}"
        for one in "kvq":
            shapes |= {f"{at}.self_attn.{one}_proj.weight": (width, width)}
            shapes |= {f"{at}.self_attn.{one}_proj.bias": (width,)}
        shapes |= {
            f"{at}.self_attn.out_proj.weight": (width, width),
            f"{at}.self_attn.out_proj.bias": (width,),
        }
        shapes |= {f"{at}.mlp.fc1.weight": (4 * width, width), f"{at}.mlp.fc1.bias": (4 * width,)}
        shapes |= {f"{at}.mlp.fc2.weight": (width, 4 * width), f"{at}.mlp.fc2.bias": (width,)}
        for name in ("layer_norm1", "layer_norm2"):
            shapes |= {f"{at}.{name}.weight": (width,), f"{at}.{name}.bias": (width,)}
    state = {name: torch.randn(shape) * 0.1 for name, shape in shapes.items()}
    return {**state, f"{stem}position_ids": torch.arange(tokens)[None]}


def low_rank(state: dict[str, Any], rank: int = 4, based: bool = False) -> dict[str, Any]:
    """As peft keeps it: the encoder under base_model.model, two small matrices beside each projection."""
    made = {}
    for name, tensor in state.items():
        name = name.replace("vision_model.encoder.", "vision_model.encoder.base_model.model.")
        if name.endswith("_proj.weight") and "self_attn" in name:
            begin = name.removesuffix(".weight")
            made[f"{begin}.lora_A.default.weight"] = torch.randn(rank, tensor.shape[1]) * 0.3
            made[f"{begin}.lora_B.default.weight"] = torch.randn(tensor.shape[0], rank) * 0.3
            name = f"{begin}.base_layer.weight" if based else name
        made[name] = tensor
    return made


def written(folder: Path, state: dict[str, Any], file: str = "pytorch_model.bin", **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    vision = {name: value for name, value in {**VISION, **changes}.items() if value is not None}
    told = {"model_type": "LanguageBindAudio", "projection_dim": 768, "vision_config": vision}
    (folder / "config.json").write_text(json.dumps(told))
    if file.endswith(".safetensors"):
        from safetensors.torch import save_file

        save_file(state, str(folder / file))
    else:
        torch.save(state, folder / file)
    return folder


def written_out(state: dict[str, Any], windows: Any, act: str = "gelu") -> Any:
    """CLIP's vision transformer for windows (3, mels, frames), under the names of transformers."""
    from torch.nn import functional

    stem = "vision_model.embeddings."
    x = functional.conv2d(windows[None], state[f"{stem}patch_embedding.weight"], stride=14)[0].flatten(1).T
    width, wide = x.shape[1], x.shape[1] // 2

    def normed(x: Any, name: str) -> Any:
        return functional.layer_norm(x, (width,), state[f"{name}.weight"], state[f"{name}.bias"])

    def through(x: Any, name: str) -> Any:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    x = torch.cat([state[f"{stem}class_embedding"][None], x]) + state[f"{stem}position_embedding.weight"]
    x = normed(x, "vision_model.pre_layrnorm")
    for number in range(sum(name.endswith("mlp.fc1.bias") for name in state)):
        at = f"{LAYER}.{number}"
        seen = normed(x, f"{at}.layer_norm1")
        q, k, v = (through(seen, f"{at}.self_attn.{one}_proj").split(wide, dim=1) for one in "qkv")
        heads = [(q[n] @ k[n].T / wide**0.5).softmax(dim=1) @ v[n] for n in range(2)]
        x = x + through(torch.cat(heads, dim=1), f"{at}.self_attn.out_proj")
        inner = through(normed(x, f"{at}.layer_norm2"), f"{at}.mlp.fc1")
        inner = functional.gelu(inner) if act == "gelu" else inner * torch.sigmoid(1.702 * inner)
        x = x + through(inner, f"{at}.mlp.fc2")
    return normed(x[0], "vision_model.post_layernorm") @ state["visual_projection.weight"].T


def published(samples: Any, frames: int, mels: int) -> Any:
    """The three windows as LanguageBind's own code cuts them: from the filter banks of the whole sound."""
    fits = frames * 160
    if len(samples) <= fits:
        samples = np.tile(samples, fits // len(samples))
        samples = np.concatenate([samples, np.zeros(fits - len(samples))])
        whole = kaldi(samples - samples.mean(), mels)
        picked = [whole] * 3
    else:
        whole = kaldi(samples - samples.mean(), mels)
        possible = list(range(len(whole) - frames + 1))
        first, second = -(-len(possible) // 3), -(-(len(possible) - 1) // 3)
        picked = [whole[begin : begin + frames] for begin in (0, first, first + second)]
    padded = [np.concatenate([one, np.zeros((frames - len(one), mels))]) for one in picked]
    return (np.stack([one.T for one in padded]) + 4.2677393) / 4.5689974


@pytest.mark.parametrize("seconds", [0.03, 0.3, 0.7, 0.9, 2.03])
def test_windows_are_those_of_the_published_code(seconds: float) -> None:
    preprocess = languagebind.Windows(28, 70, -4.2677393, 4.5689974)
    made = sound(seconds, seed=4)
    found = preprocess(made)
    assert found.shape == (3, 28, 70) and found.dtype == np.float32
    np.testing.assert_allclose(found, published(made.samples.astype(np.float64), 70, 28), atol=1e-4)
    assert np.array_equal(found[0], found[2]) == (seconds <= 0.7)
    assert pickle.loads(pickle.dumps(preprocess)) == preprocess


def test_windows_of_odd_lengths_and_rates() -> None:
    preprocess = languagebind.Windows(112, 1036, -4.2677393, 4.5689974)
    for samples in (0, 1, 165_760, 165_761, 166_000, 166_160):  # at 10.36 s the published code fails
        found = preprocess(Audio(np.ones(samples, np.float32) * 0.1, 16_000))
        assert found.shape == (3, 112, 1036) and np.isfinite(found).all()
    long = preprocess(sound(40.0))
    assert not np.allclose(long[0], long[1]) and not np.allclose(long[1], long[2])
    with pytest.raises(ValueError, match="16000 Hz"):
        preprocess(Audio(np.zeros(100, np.float32), 8_000))
    with pytest.raises(TypeError, match="expected a sound"):
        preprocess("a bell")


@pytest.mark.parametrize("act", ["gelu", "quick_gelu"])
def test_the_transformer_is_languagebinds(tmp_path: Path, act: str) -> None:
    state = tensors()
    part = languagebind.read(written(tmp_path / "audio", state, hidden_act=act))
    tower = part.tower()
    windows = tower.preprocess(sound(2.0))
    expected = written_out(state, torch.from_numpy(windows), act).numpy()
    np.testing.assert_allclose(tower.forward([windows])[0], expected, atol=1e-5)
    assert not any("text" in name or "position_ids" in name for name in part.tensors)


@pytest.mark.parametrize("based", [False, True])
def test_low_rank_updates_are_merged(tmp_path: Path, based: bool) -> None:
    plain = tensors()
    state = low_rank(plain, rank=4, based=based)
    part = languagebind.read(written(tmp_path / "audio", state, lora_r=4, lora_alpha=8))
    name = f"{LAYER}.1.self_attn.v_proj"
    kept = name.replace("encoder.", "encoder.base_model.model.")
    update = state[f"{kept}.lora_B.default.weight"] @ state[f"{kept}.lora_A.default.weight"]
    np.testing.assert_allclose(
        part.tensors[f"{name}.weight"], plain[f"{name}.weight"] + 2 * update, atol=1e-5
    )
    assert set(part.tensors) == set(languagebind.read(written(tmp_path / "plain", plain)).tensors)
    windows = part.tower().preprocess(sound(1.0))
    merged = {**plain, **{n: torch.from_numpy(t) for n, t in part.tensors.items()}}
    expected = written_out(merged, torch.from_numpy(windows)).numpy()
    np.testing.assert_allclose(part.tower().forward([windows])[0], expected, atol=1e-4)
    del state[f"{kept}.lora_A.default.weight"]
    with pytest.raises(SpaceError, match=r"low-rank update of .*v_proj does not fit"):
        languagebind.read(written(tmp_path / "half", state))


def test_languagebind_gives_its_space_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = listed(tmp_path / "base", SPACE, 768, monkeypatch)
    space = with_audio(base, "languagebind-audio", written(tmp_path / "audio", tensors()))
    sounds = [sound(0.01), sound(0.7, 1), sound(12.0, 2)]
    together = space.embed(sounds)
    assert together.shape == (3, 768) and space.read_options.audio_rate == 16_000
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for one, row in zip(sounds, together, strict=True):
        np.testing.assert_allclose(space.embed(one)[0], row, atol=1e-6)  # whatever its neighbours
    space.save(tmp_path / "kept")
    again = load_space(str(tmp_path / "kept"))
    assert again.space_id == space.space_id
    np.testing.assert_array_equal(again.embed(sounds), together)


def test_safetensors_are_the_same_and_settings_count(tmp_path: Path) -> None:
    state = tensors()
    first = languagebind.read(written(tmp_path / "pickled", state)).tower().tower_id
    safe = written(tmp_path / "safe", state, "model.safetensors")
    assert languagebind.read(safe).tower().tower_id == first
    assert languagebind.read(written(safe, state, audio_std=9.0)).tower().tower_id != first
    assert languagebind.read(written(safe, state, num_attention_heads=4)).tower().tower_id != first


def test_what_is_no_languagebind_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fitting(SPACE) == ["languagebind-audio"] and fitting("ViT-L-14/laion2b_s32b_b82k") == []
    base, state = listed(tmp_path / "base", SPACE, 768, monkeypatch), tensors()
    with pytest.raises(SpaceError, match="lands in ViT-L-14/datacomp_xl_s13b_b90k"):
        with_audio(load_space(), "languagebind-audio", written(tmp_path / "good", state))
    with pytest.raises(NoMediaFile):
        with_audio(base, "languagebind-audio", tmp_path / "nowhere")
    wrong: list[dict[str, Any]] = [
        {"audio_mean": None},
        {"target_length": 84},
        {"num_attention_heads": 5},
        {"num_attention_heads": 0},
        {"audio_sample_rate": 48_000},
        {"hidden_act": "relu"},
        {"add_time_attn": True},
        {"num_mel_bins": "many"},
        {"lora_alpha": []},
    ]
    for number, changes in enumerate(wrong):
        with pytest.raises(SpaceError, match="no folder of LanguageBind's audio"):
            languagebind.read(written(tmp_path / f"wrong{number}", state, **changes))
    lacks = {name: t for name, t in state.items() if not name.endswith("1.mlp.fc2.bias")}
    more = {**state, "vision_model.extra": torch.zeros(1)}
    foreign = {"visual_projection.weight": torch.zeros(768, 8)}
    other = {**state, "visual_projection.weight": torch.zeros(512, 32)}
    for number, held in enumerate((lacks, more, foreign, other, {"weight": torch.zeros(1)})):
        with pytest.raises(SpaceError, match="no folder of LanguageBind's audio"):
            languagebind.read(written(tmp_path / f"other{number}", held))
    folder = written(tmp_path / "bare", state)
    for name, text in (("pytorch_model.bin", "no pickle"), ("config.json", "[]"), ("config.json", "{")):
        (folder / name).write_text(text)
        with pytest.raises(SpaceError, match="no folder of LanguageBind's audio"):
            languagebind.read(folder)
    (folder / "config.json").unlink()
    with pytest.raises(SpaceError, match="no folder of LanguageBind's audio"):
        languagebind.read(folder)
    empty = written(tmp_path / "empty", state)
    (empty / "pytorch_model.bin").unlink()
    with pytest.raises(SpaceError, match=r"it has no model.safetensors or pytorch_model.bin"):
        languagebind.read(empty)


@pytest.mark.slow
@pytest.mark.parametrize(("mels", "rank"), [(112, 0), (126, 16)])
def test_the_published_shapes_are_read(tmp_path: Path, mels: int, rank: int) -> None:
    state = tensors(width=1024, depth=24, tokens=1 + mels // 14 * 74)
    sizes = {"num_mel_bins": mels, "target_length": 1036, "num_attention_heads": 16, "lora_r": rank}
    held = low_rank(state, rank) if rank else state
    tower = languagebind.read(written(tmp_path / "audio", held, **sizes)).tower()
    windows = tower.preprocess(sound(12.0))
    assert windows.shape == (3, mels, 1036) and tower.forward([windows]).shape == (1, 768)
