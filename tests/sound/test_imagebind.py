"""ImageBind's audio, on files of its published names and shapes made at random."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from multimodal import Audio, load_space
from multimodal.errors import SpaceError
from multimodal.sound import fitting, imagebind, with_audio
from multimodal.space import Space
from tests import models

torch = pytest.importorskip("torch")
Floats = NDArray[np.float64]
SPACE = "ViT-H-14/laion2b_s32b_b79k"


def sound(seconds: float, seed: int = 0) -> Audio:
    rng = np.random.default_rng(seed)
    return Audio(rng.uniform(-0.5, 0.5, max(1, round(seconds * 16_000))).astype(np.float32), 16_000)


def listed(folder: Path, name: str, dim: int, monkeypatch: pytest.MonkeyPatch) -> Space:
    """A tiny open_clip model that says it was made from a listed one."""
    monkeypatch.setattr(models, "DIM", dim)
    models.write_model(folder, "clip")
    (folder / "config.json").write_text(json.dumps({"kind": "open_clip", "made_from": name}))
    return load_space(str(folder))


def kaldi(samples: NDArray[Any], bins: int) -> Floats:
    """torchaudio.compliance.kaldi.fbank as its documentation has it, a frame and a band at a time."""

    def mel(hertz: float) -> float:
        return 1127.0 * float(np.log(1 + hertz / 700))

    step = (mel(8000) - mel(20)) / (bins + 1)
    banks = np.zeros((bins, 257))
    for band in range(bins):
        left, centre, right = (mel(20) + (band + part) * step for part in range(3))
        for number in range(256):
            at = mel(number * 16_000 / 512)
            banks[band, number] = max(
                0.0, min((at - left) / (centre - left), (right - at) / (right - centre))
            )
    rows = []
    for begin in range(0, len(samples) - 399, 160):
        frame = samples[begin : begin + 400].astype(np.float64)
        frame = frame - frame.mean()
        frame = np.array([frame[n] - 0.97 * frame[max(n - 1, 0)] for n in range(400)])
        frame *= 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)
        power = np.abs(np.fft.fft(frame, 512)[:257]) ** 2
        rows.append(np.log(np.maximum(banks @ power, 1.1920928955078125e-07)))
    return np.array(rows)


def checkpoint(path: Path, width: int = 128, depth: int = 2, **changes: Any) -> Path:
    """imagebind_huge.pth: the published names and shapes of its audio, with some of another modality."""
    torch.manual_seed(0)
    stem, blocks = "modality_preprocessors.audio.", "modality_trunks.audio.blocks"
    shapes: dict[str, tuple[int, ...]] = {
        f"{stem}cls_token": (1, 1, width),
        f"{stem}rgbt_stem.proj.weight": (width, 1, 16, 16),
        f"{stem}rgbt_stem.norm_layer.weight": (width,),
        f"{stem}rgbt_stem.norm_layer.bias": (width,),
        f"{stem}pos_embedding_helper.pos_embed": (1, 229, width),
        "modality_heads.audio.0.weight": (width,),
        "modality_heads.audio.0.bias": (width,),
        "modality_heads.audio.2.weight": (1024, width),
        "modality_postprocessors.audio.1.log_logit_scale": (),
        "modality_heads.text.proj.1.weight": (1024, width),
    }
    for number in range(depth):
        at = f"{blocks}.{number}"
        for name in ("norm_1", "norm_2"):
            shapes |= {f"{at}.{name}.weight": (width,), f"{at}.{name}.bias": (width,)}
        shapes |= {f"{at}.attn.in_proj_weight": (3 * width, width), f"{at}.attn.in_proj_bias": (3 * width,)}
        shapes |= {f"{at}.attn.bias_k": (1, 1, width), f"{at}.attn.bias_v": (1, 1, width)}
        shapes |= {f"{at}.attn.out_proj.weight": (width, width), f"{at}.attn.out_proj.bias": (width,)}
        shapes |= {f"{at}.mlp.fc1.weight": (4 * width, width), f"{at}.mlp.fc1.bias": (4 * width,)}
        shapes |= {f"{at}.mlp.fc2.weight": (width, 4 * width), f"{at}.mlp.fc2.bias": (width,)}
    state = {name: torch.randn(shape) * 0.1 for name, shape in shapes.items()} | changes
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(state, str(path))
    else:
        torch.save(state, path)
    return path


def written_out(state: dict[str, Any], clip: Any) -> Any:
    """ImageBind's audio for one clip (1, 128, 204), step by step from its paper and tensors."""
    from torch.nn import functional

    stem, at_head = "modality_preprocessors.audio.", "modality_heads.audio."
    x = functional.conv2d(clip[None], state[f"{stem}rgbt_stem.proj.weight"], stride=10)[0].flatten(1).T
    width = x.shape[1]

    def normed(x: Any, name: str, eps: float = 1e-6) -> Any:
        return functional.layer_norm(x, (width,), state[f"{name}.weight"], state[f"{name}.bias"], eps)

    x = normed(x, f"{stem}rgbt_stem.norm_layer", 1e-5)
    x = torch.cat([state[f"{stem}cls_token"][0], x]) + state[f"{stem}pos_embedding_helper.pos_embed"][0]
    for number in range(sum(name.endswith("bias_k") for name in state)):
        at = f"modality_trunks.audio.blocks.{number}."
        both = (
            normed(x, f"{at}norm_1") @ state[f"{at}attn.in_proj_weight"].T + state[f"{at}attn.in_proj_bias"]
        )
        q, k, v = both.split(width, dim=1)
        k = torch.cat([k, state[f"{at}attn.bias_k"][0]])
        v = torch.cat([v, state[f"{at}attn.bias_v"][0]])
        heads = []
        for begin in range(0, width, 64):
            some = slice(begin, begin + 64)
            heads.append((q[:, some] @ k[:, some].T / 8).softmax(dim=1) @ v[:, some])
        x = x + torch.cat(heads, 1) @ state[f"{at}attn.out_proj.weight"].T + state[f"{at}attn.out_proj.bias"]
        inner = normed(x, f"{at}norm_2") @ state[f"{at}mlp.fc1.weight"].T + state[f"{at}mlp.fc1.bias"]
        x = x + functional.gelu(inner) @ state[f"{at}mlp.fc2.weight"].T + state[f"{at}mlp.fc2.bias"]
    return normed(x, f"{at_head}0")[0] @ state[f"{at_head}2.weight"].T


@pytest.mark.parametrize("bins", [112, 126, 128])
def test_filter_banks_are_kaldis(bins: int) -> None:
    made = sound(0.3, seed=1).samples
    made[1600:2400] = 0.0  # silence meets the floor
    np.testing.assert_allclose(imagebind.fbank(made, bins), kaldi(made, bins), atol=1e-4)
    np.testing.assert_allclose(imagebind.fbank(made - 0.3, bins), kaldi(made, bins), atol=1e-3)


def test_filter_banks_are_those_of_transformers() -> None:
    pytest.importorskip("transformers")
    from transformers import audio_utils

    with pytest.warns(UserWarning, match="all zero"):  # the lowest bands lie between two frequencies
        banks = audio_utils.mel_filter_bank(
            num_frequency_bins=257,
            num_mel_filters=128,
            min_frequency=20,
            max_frequency=8000,
            sampling_rate=16_000,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
    made = sound(1.0, seed=2).samples
    expected = audio_utils.spectrogram(
        made.astype(np.float64),
        audio_utils.window_function(400, "hann", periodic=False),
        frame_length=400,
        hop_length=160,
        fft_length=512,
        power=2.0,
        center=False,
        preemphasis=0.97,
        mel_filters=banks,
        log_mel="log",
        mel_floor=1.192092955078125e-07,
        remove_dc_offset=True,
    )
    np.testing.assert_allclose(imagebind.fbank(made, 128), expected.T, atol=1e-4)


def test_a_sound_is_its_first_middle_and_last_two_seconds() -> None:
    preprocess, long = imagebind.Clips(), sound(7.0)
    made = preprocess(long)
    assert made.shape == (3, 1, 128, 204) and made.dtype == np.float32
    for clip, begin in zip(made, (0, 40_000, 80_000), strict=True):
        bands = np.zeros((204, 128))
        bands[:198] = kaldi(long.samples[begin : begin + 32_000], 128)
        np.testing.assert_allclose(clip[0], (bands.T + 4.268) / 9.138, atol=1e-4)
    assert [preprocess(sound(s)).shape[0] for s in (0.001, 1.0, 2.0, 2.5)] == [1, 1, 1, 3]
    np.testing.assert_allclose(preprocess(sound(0.5))[0, 0, :, 48:], 4.268 / 9.138, atol=1e-6)
    assert pickle.loads(pickle.dumps(preprocess)) == preprocess
    with pytest.raises(ValueError, match="16000 Hz"):
        preprocess(Audio(np.zeros(100, np.float32), 8_000))


def test_the_trunk_is_imagebinds(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "imagebind_huge.pth")
    tower, state = imagebind.read(path).tower(), torch.load(path, weights_only=True)
    clips = tower.preprocess(sound(3.0))
    each = torch.stack([written_out(state, clip) for clip in torch.from_numpy(clips)])
    expected = torch.nn.functional.normalize(each, dim=1).mean(dim=0).numpy()
    np.testing.assert_allclose(tower.forward([clips])[0], expected, atol=1e-5)
    # the order of the attention's heads and its extra key and value matter to the last digits above
    silent = {n: torch.zeros_like(t) if n.endswith("bias_v") else t for n, t in state.items()}
    assert not torch.allclose(written_out(silent, torch.from_numpy(clips[0])), each[0], atol=1e-4)


def test_only_the_audio_is_kept_whatever_the_format(tmp_path: Path) -> None:
    pickled = imagebind.read(checkpoint(tmp_path / "imagebind_huge.pth"))
    safe = imagebind.read(checkpoint(tmp_path / "model.safetensors"))
    assert pickled.tower().tower_id == safe.tower().tower_id
    assert len(pickled.tensors) == 8 + 2 * 14 - 2 * 2 + 2 * 2
    assert not any("text" in name or "scale" in name for name in pickled.tensors)


def test_imagebind_gives_its_space_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = listed(tmp_path / "base", SPACE, 1024, monkeypatch)
    space = with_audio(base, "imagebind", checkpoint(tmp_path / "imagebind_huge.pth"))
    sounds = [sound(0.01), sound(5.0, 1), sound(30.0, 2)]
    together = space.embed(sounds)
    assert together.shape == (3, 1024) and "audio" in space and "audio" not in base
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for one, row in zip(sounds, together, strict=True):
        np.testing.assert_allclose(space.embed(one)[0], row, atol=1e-6)  # whatever its neighbours
    space.save(tmp_path / "kept")
    again = load_space(str(tmp_path / "kept"))
    assert again.space_id == space.space_id
    np.testing.assert_array_equal(again.embed(sounds), together)


def test_what_is_no_imagebind_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fitting(SPACE) == ["imagebind"] and "imagebind" not in fitting("ViT-H-14/metaclip_fullcc")
    base = listed(tmp_path / "base", SPACE, 1024, monkeypatch)
    with pytest.raises(SpaceError, match="lands in ViT-H-14/laion2b_s32b_b79k"):
        with_audio(load_space(), "imagebind", checkpoint(tmp_path / "good.pth"))
    head, block = "modality_heads.audio.2.weight", "modality_trunks.audio.blocks.1.attn.bias_k"
    broken = {
        "lacks.pth": {block: None},
        "other.pth": {head: torch.zeros(768, 128)},
        "position.pth": {
            "modality_preprocessors.audio.pos_embedding_helper.pos_embed": torch.zeros(1, 9, 128)
        },
        "stemless.safetensors": {"modality_preprocessors.audio.rgbt_stem.proj.weight": None},
        "more.safetensors": {"modality_trunks.audio.blocks.1.gate": torch.zeros(1)},
    }
    for name, changes in broken.items():
        with pytest.raises(SpaceError, match="no checkpoint of ImageBind"):
            with_audio(base, "imagebind", checkpoint(tmp_path / name, **changes))
    torch.save({"weight": torch.zeros(1)}, tmp_path / "foreign.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("no pickle")
    (tmp_path / "text.safetensors").write_text("no tensors")
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Path("/")))
    for name in ("foreign.pth", "list.pth", "text.pth", "text.safetensors", "evil.pth"):
        with pytest.raises(SpaceError, match="no checkpoint of ImageBind"):
            with_audio(base, "imagebind", tmp_path / name)


@pytest.mark.slow
def test_the_published_shapes_are_read(tmp_path: Path) -> None:
    part = imagebind.read(checkpoint(tmp_path / "imagebind_huge.pth", width=768, depth=12))
    assert part.tensors["modality_trunks.audio.blocks.11.attn.in_proj_weight"].shape == (2304, 768)
    tower = part.tower()
    assert tower.forward([tower.preprocess(sound(5.0))]).shape == (1, 1024)
