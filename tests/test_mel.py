"""Log-mel windows: librosa's values, any length and rate, silence, determinism, pickling."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

from multimodal.towers.mel import LogMel
from multimodal.types import Audio

RATE = 16_000


def noise(seconds: float, rate: int = RATE, level: float = 0.1, seed: int = 0) -> Audio:
    samples = np.random.default_rng(seed).standard_normal(max(1, round(seconds * rate)))
    return Audio((samples * level).astype(np.float32), rate)


def test_agrees_with_librosa() -> None:
    librosa = pytest.importorskip("librosa")
    mel = LogMel()
    samples = noise(1.5).samples
    power = librosa.feature.melspectrogram(
        y=samples, sr=RATE, n_fft=512, win_length=400, hop_length=160, center=False,
        n_mels=64, fmin=mel.fmin, fmax=mel.fmax,
    )  # fmt: skip
    expected = (np.log(power + mel.floor) - mel.offset) / mel.scale
    assert np.abs(mel.spectrum(samples) - expected).max() < 1e-4


def test_agrees_with_torch() -> None:
    torch = pytest.importorskip("torch")
    librosa = pytest.importorskip("librosa")
    mel = LogMel()
    samples = noise(1.5, seed=3).samples
    taper = torch.hann_window(mel.win_length, periodic=True)
    spectra = torch.stft(
        torch.from_numpy(samples), mel.n_fft, mel.hop_length, mel.win_length, taper,
        center=False, return_complex=True,
    )  # fmt: skip
    filters = librosa.filters.mel(sr=RATE, n_fft=512, n_mels=64, fmin=mel.fmin, fmax=mel.fmax)
    power = torch.from_numpy(filters) @ spectra.abs().square()
    expected = (torch.log(power + mel.floor) - mel.offset) / mel.scale
    assert np.abs(mel.spectrum(samples) - expected.numpy()).max() < 1e-4


@pytest.mark.parametrize("samples", [1, 2, 159, 512, 15_711, 15_712, 15_713, 80_000, 160_001])
def test_every_length_gives_whole_windows(samples: int) -> None:
    mel = LogMel()
    windows = mel(noise(samples / RATE))
    assert windows.dtype == np.float32
    assert windows.shape[1:] == mel.shape == (64, 96)
    room = max(0, 1 + (max(samples, mel.window_samples) - mel.n_fft) // mel.hop_length - mel.frames)
    assert len(windows) == 1 + -(-room // mel.hop_frames)
    assert np.isfinite(windows).all()


def test_no_samples_is_silence() -> None:
    windows = LogMel()(Audio(np.zeros(0, np.float32), RATE))
    assert windows.shape == (1, 64, 96)
    np.testing.assert_array_equal(windows, LogMel()(Audio(np.zeros(1, np.float32), RATE)))


def test_silence_stays_silence() -> None:
    mel = LogMel()
    silent = (np.log(mel.floor) - mel.offset) / mel.scale
    np.testing.assert_allclose(mel(Audio(np.zeros(48_000, np.float32), RATE)), silent, atol=1e-5)
    faint = mel(noise(2, level=1e-6))
    loud = mel(noise(2, level=0.1))
    assert faint.mean() < silent + 0.1
    assert loud.mean() > silent + 1.0


def test_loudness_does_not_matter_within_the_gain() -> None:
    mel = LogMel()
    loud, soft = mel(noise(3, level=0.3)), mel(noise(3, level=0.003))
    assert np.abs(loud - soft).max() < 1e-3


def test_silent_windows_are_left_out_and_the_loudest_stays() -> None:
    mel = LogMel()
    quiet_then_loud = np.concatenate([np.zeros(64_000, np.float32), noise(1.2).samples])
    windows = mel(Audio(quiet_then_loud, RATE))
    assert 1 <= len(windows) <= 5
    assert windows.max() > 0.5


def test_broken_samples_become_silence() -> None:
    samples = noise(1).samples.copy()
    samples[10:20] = np.nan
    samples[20] = np.inf
    assert np.isfinite(LogMel()(Audio(samples, RATE))).all()


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_other_rates_are_resampled(rate: int) -> None:
    mel = LogMel()
    seconds, tone = 2.0, 880.0
    here = np.sin(2 * np.pi * tone * np.arange(int(RATE * seconds)) / RATE).astype(np.float32)
    there = np.sin(2 * np.pi * tone * np.arange(int(rate * seconds)) / rate).astype(np.float32)
    a, b = mel(Audio(here, RATE)), mel(Audio(there, rate))
    assert a.shape == b.shape
    band = a[2].mean(axis=1).argmax()
    assert b[2].mean(axis=1).argmax() == band
    assert abs(a[2, band].mean() - b[2, band].mean()) < 0.02


def test_same_sound_same_windows_whatever_else() -> None:
    mel = LogMel()
    first = mel(noise(4, seed=1))
    mel(noise(9, seed=2))
    again = pickle.loads(pickle.dumps(mel))(noise(4, seed=1))
    np.testing.assert_array_equal(first, again)


def test_windows_of_a_long_sound_do_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = noise(6)
    whole = LogMel()(sound)
    monkeypatch.setattr("multimodal.towers.mel.BLOCK_FRAMES", 100)
    np.testing.assert_allclose(LogMel()(sound), whole, atol=1e-6)


def test_config_goes_through_json() -> None:
    mel = LogMel(hop_frames=96, gate_db=20.0)
    assert LogMel.from_config({**json.loads(json.dumps(mel.config())), "other": 1}) == mel


def test_takes_nothing_but_sound() -> None:
    with pytest.raises(TypeError, match="Audio"):
        LogMel()("a text")


def test_does_without_torch() -> None:
    code = (
        "import sys, numpy as np\n"
        "from multimodal.towers.mel import LogMel\n"
        "from multimodal.types import Audio\n"
        "LogMel()(Audio(np.ones(100, np.float32), 8000))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
