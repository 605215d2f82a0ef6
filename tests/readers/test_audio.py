"""Sounds: any rate, any channels, any depth; the right samples at the right times."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from multimodal.errors import ReadError
from multimodal.readers import read
from multimodal.types import Audio, ReadOptions, Segment
from tests import media


def sounds(path: Path, **options: Any) -> list[Segment]:
    segments = list(read(path, ReadOptions(**options)))
    assert all(s.modality == "audio" for s in segments)
    return segments


def samples(segments: list[Segment]) -> NDArray[np.float32]:
    parts = []
    for segment in segments:
        assert isinstance(segment.content, Audio)
        assert segment.content.samples.dtype == np.float32
        assert np.abs(segment.content.samples).max(initial=0) <= 1
        parts.append(segment.content.samples)
    return np.concatenate(parts)


def pitch(wave: NDArray[np.float32], rate: int = 16_000) -> float:
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return float(spectrum.argmax() * rate / len(wave))


@pytest.mark.parametrize("extension", media.AUDIO_EXTENSIONS)
def test_each_format_gives_back_the_tone(extension: str, tmp_path: Path) -> None:
    segments = sounds(media.write_sound(tmp_path / f"x{extension}", media.tone(3.0, hz=880)))
    wave = samples(segments)
    # FFmpeg leaves the two frames in which WMA begins where they are.
    assert segments[0].start == pytest.approx(0, abs=0.1 if extension == ".wma" else 0.03)
    assert len(wave) / 16_000 == pytest.approx(3.0, abs=0.06)
    assert pitch(wave) == pytest.approx(880, abs=2)
    loud = 0.2 if extension == ".amr" else 0.1  # a codec for speech
    assert np.sqrt((wave[8000:40_000] ** 2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=loud)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("audio_rate", [16_000, 48_000])
def test_any_sample_rate(rate: int, audio_rate: int, tmp_path: Path) -> None:
    path = media.write_sound(tmp_path / "x.wav", media.tone(1.0, rate, 1000), rate)
    (segment,) = sounds(path, audio_rate=audio_rate)
    wave = samples([segment])
    assert abs(len(wave) - audio_rate) <= 1
    assert pitch(wave, audio_rate) == pytest.approx(1000, abs=2)
    truth = media.tone(1.0, audio_rate, 1000)[:, 0]
    middle = slice(audio_rate // 10, audio_rate * 9 // 10)
    assert np.abs(wave[middle] - truth[middle]).max() < 0.01  # in place to a fraction of a sample


@pytest.mark.parametrize(
    ("extension", "subtype"),
    [
        (".wav", "PCM_U8"), (".wav", "PCM_16"), (".wav", "PCM_24"), (".wav", "PCM_32"),
        (".wav", "FLOAT"), (".wav", "DOUBLE"), (".wav", "ULAW"), (".wav", "ALAW"), (".wav", "IMA_ADPCM"),
        (".flac", "PCM_16"), (".flac", "PCM_24"), (".ogg", "VORBIS"), (".ogg", "OPUS"),
    ],
)  # fmt: skip
def test_any_depth_and_coding(extension: str, subtype: str, tmp_path: Path) -> None:
    path = media.write_sound(tmp_path / f"x{extension}", media.tone(1.0, 48_000), 48_000, subtype)
    assert pitch(samples(sounds(path))) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 6, 8, 12])
def test_channels_are_averaged_and_never_clip(channels: int, tmp_path: Path) -> None:
    loud = media.tone(1.0, 16_000, 500, channels, gain=0.99)
    wave = samples(sounds(media.write_sound(tmp_path / "x.wav", loud, 16_000)))
    assert np.abs(wave).max() == pytest.approx(0.99, abs=0.01)
    loud[:, 1:] = 0
    wave = samples(sounds(media.write_sound(tmp_path / "y.wav", loud, 16_000)))
    assert np.abs(wave).max() == pytest.approx(0.99 / channels, abs=0.01)


def test_channels_of_opposite_phase_do_not_vanish(tmp_path: Path) -> None:
    stereo = media.tone(1.0, 16_000, 500, 2)
    stereo[:, 1] *= -1
    assert np.abs(samples(sounds(media.write_sound(tmp_path / "x.wav", stereo, 16_000)))).max() > 0.49


def test_wild_floats_are_brought_into_range(tmp_path: Path) -> None:
    wild = media.tone(1.0, 16_000, gain=3.0)
    wild[100], wild[200] = np.nan, np.inf
    wave = samples(sounds(media.write_sound(tmp_path / "x.wav", wild, 16_000, "FLOAT")))
    assert np.isfinite(wave).all() and np.abs(wave).max() == 1


@pytest.mark.parametrize(
    ("seconds", "lengths"),
    [
        (0.02, [0.02]),
        (1.0, [1.0]),
        (5.0, [5.0]),
        (6.0, [6.0]),
        (6.3, [5.0, 1.3]),
        (10.0, [5.0, 5.0]),
        (11.0, [5.0, 6.0]),
        (12.0, [5.0, 5.0, 2.0]),
    ],
)
def test_segments_have_the_stated_length(seconds: float, lengths: list[float], tmp_path: Path) -> None:
    path = media.write_sound(tmp_path / "x.wav", media.tone(seconds, 16_000), 16_000)
    segments = sounds(path, audio_seconds=5.0)
    assert [s.content.seconds for s in segments] == pytest.approx(lengths, abs=1e-3)  # type: ignore[union-attr]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    assert [s.start for s in segments] == pytest.approx(starts[:-1], abs=1e-3)
    assert [s.end for s in segments] == pytest.approx(starts[1:], abs=1e-3)


@pytest.mark.parametrize("extension", media.AUDIO_EXTENSIONS)
@pytest.mark.parametrize("seconds", [0.02, 0.1])
def test_very_short_sounds(extension: str, seconds: float, tmp_path: Path) -> None:
    if extension in (".wma", ".ac3") and seconds < 0.1:
        pytest.skip("FFmpeg finds no sound in a file of one frame")
    wave = samples(sounds(media.write_sound(tmp_path / f"x{extension}", media.tone(seconds))))
    assert seconds - 0.015 <= len(wave) / 16_000 <= seconds + 0.15


@pytest.mark.parametrize("extension", media.AUDIO_EXTENSIONS)
def test_a_moment_is_where_it_was_put(extension: str, tmp_path: Path) -> None:
    sound = media.tone(12.0)
    sound[: 7 * 44_100] = 0
    silence, *loud = sounds(media.write_sound(tmp_path / f"x{extension}", sound), audio_seconds=1.0)
    assert (silence.role, silence.content) == ("blank", "")
    assert silence.start == pytest.approx(0, abs=0.1) and silence.end == pytest.approx(7.0, abs=0.05)
    onset = np.flatnonzero(np.abs(samples(loud)) > 0.2)[0]
    assert (loud[0].start or 0) + onset / 16_000 == pytest.approx(7.0, abs=0.05)


def test_times_stay_right_after_a_hole(tmp_path: Path) -> None:
    import av

    path = tmp_path / "x.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for start, hz in ((0, 400), (20, 800)):
            block = (media.tone(3.0, 16_000, hz).T * 32_767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, start * 16_000, Fraction(1, 16_000)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    segments = sounds(path)
    assert [(s.start, s.end) for s in segments] == [
        pytest.approx((0, 3), abs=0.01), pytest.approx((20, 23), abs=0.01)
    ]  # fmt: skip
    assert [round(pitch(samples([s])), -1) for s in segments] == [400, 800]


def test_an_impossible_rate_is_refused(tmp_path: Path) -> None:
    path = media.write_sound(tmp_path / "x.wav")
    data = bytearray(path.read_bytes())
    data[24:28] = (1).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(ReadError, match="impossible sample rate of 1 Hz"):
        sounds(path)


def test_a_sound_without_samples_is_refused(tmp_path: Path) -> None:
    path = media.write_sound(tmp_path / "x.wav", np.zeros((0, 1), np.float32))
    with pytest.raises(ReadError, match="no sound can be decoded"):
        sounds(path)
