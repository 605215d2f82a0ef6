"""Silence apart from sound, and sound where its time stamps say it is."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from multimodal import load_space
from multimodal.errors import ReadError
from multimodal.readers import read
from multimodal.types import Audio, ReadOptions, Segment
from tests import media

RATE = 16_000


def told(path: Path, **options: object) -> list[tuple[str, object, object]]:
    """Role, start and end of each segment, to be compared to 30 ms."""
    found = list(read(path, ReadOptions(**options)))  # type: ignore[arg-type]
    for segment in found:
        assert segment.modality == "audio"
        assert isinstance(segment.content, Audio) if segment.role == "content" else segment.content == ""
    return [(s.role, s.start, s.end) for s in found]


def about(*segments: tuple[str, float, float], within: float = 0.03) -> list[tuple[str, object, object]]:
    return [(role, pytest.approx(a, abs=within), pytest.approx(b, abs=within)) for role, a, b in segments]


def sound(*parts: tuple[float, float], rate: int = RATE) -> NDArray[np.float32]:
    """Stretches of (seconds, level), one after the other."""
    return np.concatenate([media.tone(seconds, rate, 440, gain=level) for seconds, level in parts])


@pytest.mark.parametrize("extension", [".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus"])
def test_silence_between_sounds(extension: str, tmp_path: Path) -> None:
    path = media.write_sound(tmp_path / f"x{extension}", sound((3, 0.5), (4, 0), (1, 0.5)), RATE)
    assert told(path) == about(("content", 0, 3), ("blank", 3, 7), ("content", 7, 8), within=0.08)


@pytest.mark.parametrize("extension", [".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus", ".wma", ".amr"])
@pytest.mark.parametrize("seconds", [0.3, 1.9, 45.0])
def test_nothing_but_silence_is_one_segment(extension: str, seconds: float, tmp_path: Path) -> None:
    path = media.write_sound(tmp_path / f"x{extension}", sound((seconds, 0)), RATE)
    assert told(path) == about(("blank", 0, seconds), within=0.15)


def test_20_ms_of_silence(tmp_path: Path) -> None:
    assert told(media.write_sound(tmp_path / "x.wav", sound((0.02, 0)), RATE)) == about(("blank", 0, 0.02))


def test_a_pause_belongs_to_what_is_said(tmp_path: Path) -> None:
    path = media.write_sound(tmp_path / "x.wav", sound((1, 0), (1, 0.5), (1.9, 0), (1, 0.5), (1.5, 0)), RATE)
    assert told(path, audio_seconds=20) == about(("content", 0, 6.4))
    path = media.write_sound(
        tmp_path / "y.wav", sound((2.1, 0), (1, 0.5), (2.1, 0), (1, 0.5), (2.1, 0)), RATE
    )
    roles = ("blank", 0, 2.1), ("content", 2.1, 3.1), ("blank", 3.1, 5.2), ("content", 5.2, 6.2)
    assert told(path) == about(*roles, ("blank", 6.2, 8.3))


def test_the_segments_of_a_stretch_are_cut_from_its_beginning(tmp_path: Path) -> None:
    path = media.write_sound(tmp_path / "x.wav", sound((3, 0), (11, 0.5), (3, 0), (6, 0.5)), RATE)
    assert told(path) == about(
        ("blank", 0, 3), ("content", 3, 8), ("content", 8, 14), ("blank", 14, 17), ("content", 17, 23)
    )


def test_what_counts_as_silence(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    steps = np.zeros((3 * RATE, 1))
    dither = steps + np.rint(rng.triangular(-1, 0, 1, (3 * RATE, 1))) * 2 / 2**15
    offset = steps + 0.02
    for number, samples in enumerate((dither, offset, offset + dither, sound((3, 10 ** (-61 / 20))))):
        path = media.write_sound(tmp_path / f"{number}.wav", samples.astype(np.float32), RATE, "PCM_24")
        assert told(path) == about(("blank", 0, 3)), number


def test_what_is_quiet_is_no_silence(tmp_path: Path) -> None:
    quiet = sound((3, 10 ** (-58 / 20)))
    assert told(media.write_sound(tmp_path / "x.wav", quiet, RATE)) == about(("content", 0, 3))
    one = np.concatenate([np.zeros((3 * RATE, 1), np.float32), sound((3, 0.4))], axis=1)
    assert told(media.write_sound(tmp_path / "y.wav", one, RATE)) == about(("content", 0, 3))
    against = np.concatenate([sound((3, 0.4)), -sound((3, 0.4))], axis=1)
    assert told(media.write_sound(tmp_path / "z.wav", against, RATE)) == about(("content", 0, 3))
    click = sound((6, 0))
    click[3 * RATE] = 0.5
    roles = ("blank", 0, 3), ("content", 3, 3.02), ("blank", 3.02, 6)
    assert told(media.write_sound(tmp_path / "c.wav", click, RATE)) == about(*roles)


def test_a_silent_sound_track_of_a_video(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "x.mp4", [media.picture(1)], 12.0, sound=sound((12, 0), rate=44_100))
    audio = [s for s in read(path) if s.modality == "audio"]
    assert [(s.role, s.content) for s in audio] == [("blank", "")]
    assert (audio[0].start, audio[0].end) == (pytest.approx(0, abs=0.03), pytest.approx(12, abs=0.05))


def stamped(path: Path, blocks: Sequence[tuple[float, NDArray[np.float32]]]) -> Path:
    """A sound in Matroska of which each block has the time stamp (seconds) that it is given."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for start, samples in blocks:
            data = (samples[:, 0] * 32_767).astype("<i2").tobytes()
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts = packet.dts = round(1000 * start)
            packet.duration = len(samples) * 1000 // RATE
            container.mux(packet)
    return path


def onset(path: Path) -> float:
    """Where the loud tone begins, in seconds, by the times of the segments."""
    for segment in read(path):
        if isinstance(segment.content, Audio):
            loud = np.flatnonzero(np.abs(segment.content.samples) > 0.3)
            if len(loud):
                return (segment.start or 0.0) + loud[0] / RATE
    raise AssertionError("no sound was heard")


@pytest.mark.parametrize("pace", [0.995, 1.0, 1.005, 1.02])
def test_times_follow_the_stamps_where_the_clock_of_the_samples_drifts(pace: float, tmp_path: Path) -> None:
    """Ten minutes in which the samples run slower or faster than the time stamps: seconds at the end."""
    block = sound((0.5, 0.05))
    blocks = [(0.5 * pace * i, block) for i in range(1200)]
    blocks[1100:] = [(start, sound((0.5, 0.6))) for start, _ in blocks[1100:]]
    path = stamped(tmp_path / "x.mkv", blocks)
    assert onset(path) == pytest.approx(550 * pace, abs=0.1)
    assert len(told(path)) < 130


def test_a_short_hole_is_filled_and_a_long_one_is_not(tmp_path: Path) -> None:
    tone = sound((1, 0.5))
    path = stamped(tmp_path / "x.mkv", [(0, tone), (1, tone), (3, tone), (10, tone), (15, tone)])
    assert told(path) == about(("content", 0, 4), ("content", 10, 11), ("content", 15, 16), within=0.01)


@pytest.mark.parametrize("leap", [1e6, 9e9])
def test_after_an_impossible_leap_the_sound_goes_on(leap: float, tmp_path: Path) -> None:
    first = [(float(i), sound((1, 0.5))) for i in range(10)]
    second = [(leap + start, block) for start, block in first]
    found = told(stamped(tmp_path / "x.mkv", first + second))
    assert found[0][1] == 0 and found[-1][2] == pytest.approx(20, abs=0.2)
    assert len(found) == 4


def test_joined_recordings_follow_each_other(tmp_path: Path) -> None:
    """Two transport streams in one file, as recorders join them: the times of the second begin anew."""
    parts = [
        media.write_video(
            tmp_path / f"{i}.ts", [media.picture(3 * i), media.picture(3 * i + 1)], 3.0, sound=media.tone(6.0)
        )
        for i in range(3)
    ]
    path = tmp_path / "x.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    found = list(read(path))
    shots = [s for s in found if s.modality == "video"]
    assert [s.start for s in shots] == pytest.approx([0, 3, 6, 9, 12, 15], abs=0.2)
    assert shots[-1].end == pytest.approx(18, abs=0.2)
    heard = [s for s in found if s.modality == "audio"]
    assert heard[0].start == pytest.approx(0, abs=0.03) and heard[-1].end == pytest.approx(18, abs=0.3)


@pytest.mark.parametrize("rate", [1000, 8000, 48_000, 384_000, 768_000])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "FLOAT", "DOUBLE"])
def test_the_ends_of_the_scale(rate: int, subtype: str, tmp_path: Path) -> None:
    path = media.write_sound(tmp_path / "x.wav", media.tone(2.0, rate, 100), rate, subtype)
    (segment,) = read(path)
    assert isinstance(segment.content, Audio) and segment.content.rate == RATE
    spectrum = np.abs(np.fft.rfft(segment.content.samples * np.hanning(len(segment.content.samples))))
    assert spectrum.argmax() / 2 == pytest.approx(100, abs=1)
    assert segment.end == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("channels", [16, 24, 64])
def test_many_channels(channels: int, tmp_path: Path) -> None:
    samples = media.tone(1.0, RATE, 500, channels, gain=0.8)
    samples[:, 1:] = 0
    (segment,) = read(media.write_sound(tmp_path / "x.wav", samples, RATE))
    assert isinstance(segment.content, Audio)
    assert np.abs(segment.content.samples).max() == pytest.approx(0.8 / channels, rel=0.02)


@pytest.mark.parametrize("extension", [".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus"])
def test_20_ms_can_be_embedded(extension: str, tmp_path: Path) -> None:
    path = media.write_sound(tmp_path / f"x{extension}", media.tone(0.02, 48_000), 48_000)
    (segment,) = read(path)
    assert segment.role == "content"
    row = load_space()["audio"].encode([segment.content])
    assert np.isfinite(row).all() and np.linalg.norm(row) == pytest.approx(1, abs=1e-5)


def wav(channels: int = 1, rate: int = RATE, bits: int = 16, kind: int = 1, size: int | None = None) -> bytes:
    """A wav of a second of a tone whose header states what it is told to."""
    data = (media.tone(1.0, RATE)[:, 0] * 32_767).astype("<i2").tobytes()
    size = len(data) if size is None else size
    block = min(channels * bits // 8, 65_535)
    head = struct.pack("<HHIIHH", kind, channels, rate, rate * block & 0xFFFFFFFF, block, bits)
    body = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    "stated",
    [
        {"channels": 65_535}, {"channels": 0}, {"channels": 300}, {"rate": 4_294_967_295}, {"rate": 0},
        {"rate": 2_147_483_647}, {"rate": 7_000_000}, {"rate": 5}, {"bits": 65_535}, {"bits": 0},
        {"bits": 48}, {"kind": 0xFFFE}, {"kind": 0x2000}, {"kind": 0xFFFF}, {"size": 0xFFFFFFFF}, {"size": 0},
        {"channels": 255, "rate": 768_000, "bits": 8}, {"rate": 6_143_999}, {"rate": 999_983},
    ],
)  # fmt: skip
def test_a_header_that_states_the_absurd(stated: dict[str, int], tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(wav(**stated))
    try:
        found: list[Segment] = list(read(path))
    except ReadError as error:
        assert len(str(error)) < 120
    else:
        assert len(found) <= 2 and (found[-1].end or 0) <= 17
