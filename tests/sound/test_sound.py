"""Audio towers for other spaces, on files in the published formats made at random."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest

from multimodal import Audio, Library, load_space
from multimodal.errors import NoMediaFile, SpaceError
from multimodal.sound import clap, fitting, registry, wav2clip, with_audio
from multimodal.space import Space
from tests.fakes import FakeSource
from tests.media import tone, write_sound

torch = pytest.importorskip("torch")


def sound(seconds: float, rate: int = 16_000, seed: int = 0) -> Audio:
    rng = np.random.default_rng(seed)
    return Audio(rng.uniform(-0.5, 0.5, max(1, round(seconds * rate))).astype(np.float32), rate)


def checkpoint(path: Path, **changes: Any) -> Path:
    """Wav2CLIP's file: its published names and shapes, with the leftovers of training, random values."""
    torch.manual_seed(0)
    state: dict[str, Any] = {"audio_encoder.spectrogram.window": torch.hann_window(512)}

    def conv(name: str, outside: int, inside: int, size: int) -> None:
        state[f"audio_encoder.{name}.weight"] = torch.randn(outside, inside, size, size) / (
            size * inside**0.5
        )

    def norm(name: str, size: int) -> None:
        state[f"audio_encoder.{name}.weight"] = torch.rand(size) + 0.5
        state[f"audio_encoder.{name}.bias"] = torch.randn(size) / 10
        state[f"audio_encoder.{name}.running_mean"] = torch.randn(size) / 10
        state[f"audio_encoder.{name}.running_var"] = torch.rand(size) + 0.5
        state[f"audio_encoder.{name}.num_batches_tracked"] = torch.tensor(7)

    conv("conv1", 64, 1, 7)
    norm("bn1", 64)
    inside = 64
    for number, outside in enumerate((64, 128, 256, 512), 1):
        for block in (0, 1):
            at = f"layer{number}.{block}"
            conv(f"{at}.conv1", outside, inside, 3)
            norm(f"{at}.bn1", outside)
            conv(f"{at}.conv2", outside, outside, 3)
            norm(f"{at}.bn2", outside)
            if inside != outside:
                conv(f"{at}.downsample.0", outside, inside, 1)
                norm(f"{at}.downsample.1", outside)
            inside = outside
    state["audio_encoder.fc.weight"], state["audio_encoder.fc.bias"] = torch.randn(309, 512), torch.randn(309)
    for number in (0, 3):
        state[f"audio_transform.sequential.{number}.weight"] = torch.randn(512, 512) / 22
        state[f"audio_transform.sequential.{number}.bias"] = torch.randn(512) / 10
        state[f"image_transform.sequential.{number}.weight"] = torch.randn(512, 512)
    state.update(changes)
    torch.save({"state_dict": {n: t for n, t in state.items() if t is not None}, "epoch": 3}, path)
    return path


class Wide(FakeSource):
    """A space of 512 dimensions under a name of open_clip's."""

    name = "ViT-B-32-quickgelu/openai"
    modalities = ("text", "image", "video")

    def build(self, modality: Any) -> Any:
        from multimodal.encoder import Encoder

        class Padded:
            tower_id, feature_dim = f"wide-{modality}", 512

            def __init__(self, inner: Any) -> None:
                self._inner, self.preprocess = inner, inner.preprocess

            def forward(self, batch: Any) -> Any:
                return np.pad(self._inner.forward(batch), ((0, 0), (0, 480)))

        return Encoder(modality, Padded(super().build(modality).tower))

    def save(self, folder: Path) -> None:
        (folder / "base").write_text("wide")


def test_spectrograms_of_wav2clip_are_librosas() -> None:
    for seconds in (0.02, 0.7, 5.0):
        made = sound(seconds, seed=3)
        samples = np.pad(made.samples, (0, max(0, 512 - len(made.samples)))).astype(np.float64)
        stft = librosa.stft(
            samples, n_fft=512, hop_length=353, window="hann", center=True, pad_mode="reflect"
        )
        logs = np.log(np.abs(stft) ** 2 + 1e-7)
        expected = (logs - logs.mean()) / (logs.std(ddof=1) + 1e-9)
        np.testing.assert_allclose(wav2clip.LogSpectrogram()(made)[0], expected, atol=1e-4)


def test_wav2clip_gives_a_space_sound(tmp_path: Path) -> None:
    space = with_audio(Space(Wide()), "wav2clip", checkpoint(tmp_path / "Wav2CLIP.pt"))
    assert list(space) == ["text", "image", "video", "audio"] and space.read_options.audio_rate == 16_000
    sounds = [sound(0.02), sound(5.0, seed=1), sound(60.0, seed=2)]
    together = space.embed(sounds)
    assert together.shape == (3, 512)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for one, row in zip(sounds, together, strict=True):
        np.testing.assert_allclose(space.embed(one)[0], row, atol=1e-5)  # whatever its neighbours
    assert pickle.loads(pickle.dumps(space["audio"].tower.preprocess)) == space["audio"].tower.preprocess


def test_a_part_is_kept_with_its_space(tmp_path: Path) -> None:
    part = wav2clip.read(checkpoint(tmp_path / "Wav2CLIP.pt"))
    section = part.save(tmp_path)
    again = registry.saved(tmp_path, section)
    assert again.tower().tower_id == part.tower().tower_id
    made = sound(1.0)
    batch = [part.tower().preprocess(made)]
    np.testing.assert_array_equal(part.tower().forward(batch), again.tower().forward(batch))
    assert not any("fc." in name or "spectrogram" in name for name in part.tensors)
    (tmp_path / section["weights"]).write_bytes(b"no tensors")
    with pytest.raises(SpaceError, match="cannot be read"):
        registry.saved(tmp_path, section)
    with pytest.raises(SpaceError, match="unknown kind"):
        registry.saved(tmp_path, {"kind": "drum"})


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    good = checkpoint(tmp_path / "Wav2CLIP.pt")
    assert fitting("ViT-B-32-quickgelu/openai") == ["wav2clip"] and fitting("ViT-L-14/openai") == []
    with pytest.raises(SpaceError, match="lands in"):
        with_audio(load_space(), "wav2clip", good)
    with pytest.raises(SpaceError, match="no audio encoder 'trumpet'"):
        with_audio(Space(Wide()), "trumpet", good)
    with pytest.raises(SpaceError, match="bridge_audio"):
        with_audio(Space(Wide()), "clap", good)
    with pytest.raises(NoMediaFile):
        with_audio(Space(Wide()), "wav2clip", tmp_path / "nowhere.pt")
    lacks = checkpoint(tmp_path / "lacks.pt", **{"audio_encoder.layer3.1.conv2.weight": None})
    with pytest.raises(SpaceError, match="no checkpoint of Wav2CLIP"):
        with_audio(Space(Wide()), "wav2clip", lacks)
    (tmp_path / "text.pt").write_text("no pickle")
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Path("/")))
    for name in ("text.pt", "evil.pt"):
        with pytest.raises(SpaceError, match="no checkpoint of Wav2CLIP"):
            with_audio(Space(Wide()), "wav2clip", tmp_path / name)


def test_a_library_hears_with_it(tmp_path: Path, serial: Any) -> None:
    space = with_audio(Space(Wide()), "wav2clip", checkpoint(tmp_path / "Wav2CLIP.pt"))
    folder = tmp_path / "sounds"
    folder.mkdir()
    write_sound(folder / "low.wav", tone(2.0, 44_100, 200), 44_100)
    with Library(folder / ".multimodal", space) as library:
        report = library.add(folder)
        assert report.count("added") == 1 and library.stats().segments == {"audio": 1}
        assert library.search(sound(1.0), min_confidence=0)[0].path.name == "low.wav"


@pytest.fixture
def serial(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    import sys

    from tests.library.serial import Serial

    made = Serial()
    monkeypatch.setitem(sys.modules, "multimodal.pipeline", made.module())
    yield made


def test_spectrograms_of_clap_are_those_of_its_feature_extractor() -> None:
    transformers = pytest.importorskip("transformers")
    extractor = transformers.ClapFeatureExtractor(
        truncation="rand_trunc", padding="repeatpad", frequency_min=50
    )
    for seconds in (0.02, 3.0, 10.0):
        made = sound(seconds, 48_000, seed=5)
        expected = extractor(made.samples, sampling_rate=48_000, return_tensors="np")["input_features"][0]
        np.testing.assert_allclose(clap.LogMel()(made)[0], expected, atol=1e-4)
    assert [len(clap.LogMel()(sound(s, 48_000))) for s in (9.9, 10.5, 12, 25)] == [1, 1, 2, 3]
