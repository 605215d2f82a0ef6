"""Several tracks in one video: which sound is read, what its subtitles say, and what is not decoded."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multimodal.errors import ReadError, UnsupportedFile, UnwantedModality
from multimodal.readers import read, reader_for, tracks
from multimodal.types import Audio, ReadOptions, Segment
from tests import media
from tests.media_video import Texts, remux

CUES = [
    (0.5, 2.0, "Good evening, Lisbon."),
    (2.2, 3.5, "The last train has left."),
    (7.0, 8.5, "Who is there?"),
]


@pytest.fixture
def film(tmp_path: Path) -> Path:
    scenes = [media.picture(1), media.picture(2)]
    return media.write_video(tmp_path / "film.mp4", scenes, seconds=5.0, sound=media.tone(10.0, hz=300))


def said(path: Path, **options: object) -> list[tuple[float | None, float | None, object]]:
    segments = [s for s in read(path, ReadOptions(**options)) if s.modality == "text"]  # type: ignore[arg-type]
    assert all(s.role == "subtitles" and s.path == path for s in segments)
    return [(s.start, s.end, s.content) for s in segments]


@pytest.mark.parametrize(
    ("extension", "codec"),
    [(".mp4", "mov_text"), (".mov", "mov_text"), (".mkv", "subrip"), (".mkv", "ass"), (".mkv", "webvtt")],
)
def test_subtitles_inside_a_video(extension: str, codec: str, film: Path, tmp_path: Path) -> None:
    path = remux(film, tmp_path / f"x{extension}", texts=[Texts(codec, CUES)])
    segments = list(read(path))
    assert [s.modality for s in segments] == ["video"] * 2 + ["audio"] * 2 + ["text"] * 2
    assert said(path) == [
        (
            pytest.approx(0.5, abs=0.03),
            pytest.approx(3.5, abs=0.03),
            "Good evening, Lisbon. The last train has left.",
        ),
        (pytest.approx(7.0, abs=0.03), pytest.approx(8.5, abs=0.03), "Who is there?"),
    ]


def test_tags_and_drawings_of_subtitles_are_left_out(film: Path, tmp_path: Path) -> None:
    cues = [
        (1.0, 2.0, r"{\an8}{\i1}Fish{\i0} \Nand\hchips {a note}"),
        (5.0, 6.0, r"{\p1}m 0 0 l 100 0 100 100{\p0}"),
        (9.0, 9.5, r"{\p1}m 0 0 l 1 0{\p0}A sign"),
    ]
    path = remux(film, tmp_path / "x.mkv", texts=[Texts("ass", cues)])
    assert [text for _, _, text in said(path)] == ["Fish and chips", "A sign"]


def test_every_language_is_given_and_the_same_words_once(film: Path, tmp_path: Path) -> None:
    french = [(start, end, f"Bonsoir, {number}.") for number, (start, end, _) in enumerate(CUES)]
    late = [(start + 0.04, end + 0.04, text) for start, end, text in CUES]
    forced = CUES[2:]
    path = remux(
        film,
        tmp_path / "x.mkv",
        texts=[
            Texts("subrip", CUES), Texts("subrip", french, "fra"), Texts("ass", late), Texts("subrip", forced)
        ],
    )  # fmt: skip
    texts = [text for _, _, text in said(path)]
    assert texts == [
        "Good evening, Lisbon. The last train has left.", "Bonsoir, 0. Bonsoir, 1.",
        "Who is there?", "Bonsoir, 2.",
    ]  # fmt: skip


def test_passages_of_subtitles_keep_to_the_limit(film: Path, tmp_path: Path) -> None:
    cues = [(0.0, 9.0, "One word follows the other. " * 40)]
    path = remux(film, tmp_path / "x.mkv", texts=[Texts("subrip", cues)])
    passages = said(path, passage_chars=200)
    assert len(passages) >= 6 and all(len(str(text)) <= 200 for _, _, text in passages)
    assert passages[0][0] == pytest.approx(0, abs=0.03)
    assert passages[-1][1] == pytest.approx(9.0, abs=0.03)


def test_subtitles_without_end_in_number_stay_bounded(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cues = [(0.01 * number, 0.01 * number + 0.005, f"word{number}") for number in range(900)]
    path = remux(film, tmp_path / "x.mkv", texts=[Texts("subrip", cues)])
    monkeypatch.setattr(tracks, "MOST_CUES", 50)
    words = " ".join(str(text) for _, _, text in said(path)).split()
    assert words == [f"word{number}" for number in range(50)]
    monkeypatch.setattr(tracks, "MOST_CUES", 10_000)
    monkeypatch.setattr(tracks, "MOST_CHARS", 60)
    assert len(" ".join(str(text) for _, _, text in said(path))) < 100


def test_a_cue_at_an_impossible_time_is_left_out(film: Path, tmp_path: Path) -> None:
    cues = [(1.0, 2.0, "Here."), (500_000.0, 500_001.0, "Nowhere.")]
    path = remux(film, tmp_path / "x.mkv", texts=[Texts("subrip", cues)])
    assert said(path) == [(pytest.approx(1.0, abs=0.03), pytest.approx(2.0, abs=0.03), "Here.")]


def test_subtitles_of_a_sound(tmp_path: Path) -> None:
    song = media.write_sound(tmp_path / "song.m4a", media.tone(10.0))
    path = remux(song, tmp_path / "x.mkv", texts=[Texts("subrip", CUES)]).rename(tmp_path / "x.mka")
    assert [s.modality for s in read(path)] == ["audio", "audio", "text", "text"]
    assert [s.modality for s in read(path, ReadOptions(modalities=("text",)))] == ["text", "text"]


@pytest.mark.parametrize("default", [0, 1])
@pytest.mark.parametrize("extension", [".mp4", ".mkv"])
def test_of_two_sound_tracks_the_default_is_read(
    extension: str, default: int, film: Path, tmp_path: Path
) -> None:
    dubbed = media.write_sound(tmp_path / "dub.m4a", media.tone(10.0, hz=900))
    path = remux(film, tmp_path / f"x{extension}", sounds=[dubbed], default_sound=default)
    heard = [s.content for s in read(path) if s.modality == "audio"]
    assert len(heard) == 2
    for sound in heard:
        assert isinstance(sound, Audio)
        spectrum = np.abs(np.fft.rfft(sound.samples))
        assert spectrum.argmax() * 16_000 / len(sound.samples) == pytest.approx((300, 900)[default], abs=5)


def decoded_streams(path: Path, modalities: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The types of the streams of which any frame was decoded, reading for these modalities."""
    from multimodal.readers import audio, sparse

    seen: set[str] = set()

    def watched(container: object, stream: object, *rest: object) -> object:
        seen.add(stream.type)  # type: ignore[attr-defined]
        return original[len(rest) > 0](container, stream, *rest)

    original = audio.decoded, sparse.frames
    monkeypatch.setattr(audio, "decoded", watched)
    monkeypatch.setattr(sparse, "frames", watched)
    given = {s.modality for s in read(path, ReadOptions(modalities=modalities))}  # type: ignore[arg-type]
    assert given == set(modalities)
    return seen


def test_what_is_not_wanted_is_not_decoded(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = remux(film, tmp_path / "x.mkv", texts=[Texts("subrip", CUES)])
    assert decoded_streams(path, ("audio",), monkeypatch) == {"audio"}
    assert decoded_streams(path, ("video", "text"), monkeypatch) == {"video"}
    assert decoded_streams(path, ("text",), monkeypatch) == set()


def test_a_video_that_holds_nothing_wanted(film: Path, tmp_path: Path) -> None:
    silent = media.write_video(tmp_path / "silent.mp4", seconds=0.4)
    for path, modality in ((film, "text"), (silent, "audio"), (silent, "text")):
        with pytest.raises(UnwantedModality, match="video only"):
            list(read(path, ReadOptions(modalities=(modality,))))  # type: ignore[arg-type]
    with pytest.raises(UnwantedModality, match="video only"):
        read(film, ReadOptions(modalities=("image",)))
    with pytest.raises(UnwantedModality, match="audio only"):
        list(read(media.write(tmp_path / "x.mp3"), ReadOptions(modalities=("text",))))


def test_only_the_bytes_of_the_wanted_track_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (960, 1280, 3), dtype=np.uint8)) for _ in range(2)]
    path = media.write_video(
        tmp_path / "x.mp4", noise, 1.0, codec="mjpeg", pixels="yuvj420p", sound=media.tone(2.0)
    )
    read_bytes = 0

    class Counting(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            nonlocal read_bytes
            data = super().read(-1 if size is None else size)
            read_bytes += len(data)
            return data

    opened = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda self, mode="r", *rest: Counting(self) if self == path else opened(self, mode, *rest),
    )
    assert {s.modality for s in read(path, ReadOptions(modalities=("audio",)))} == {"audio"}
    import av.stream

    if hasattr(av.stream, "Discard"):
        assert read_bytes < path.stat().st_size / 2


@pytest.mark.parametrize("moved", [False, True])
def test_a_truncated_mp4(moved: bool, film: Path, tmp_path: Path) -> None:
    """With its index at the front, as for the web, it gives what is there; without, the reason."""
    options = {"movflags": "faststart"} if moved else {}
    path = remux(film, tmp_path / "x.mp4", options=options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    if not moved:
        with pytest.raises(ReadError, match=r"the file is incomplete: its index \(moov\) is missing"):
            list(read(path))
        return
    segments = list(read(path))
    last = {s.modality: s.end or 0 for s in segments}
    assert 3 < last["video"] < 9 and 3 < last["audio"] < 9
    assert segments[0].start == 0 and segments[0].end == pytest.approx(5.0)


def test_an_mp4_whose_index_is_broken_says_so(film: Path) -> None:
    data = film.read_bytes()
    place = data.rindex(b"moov") + 12
    film.write_bytes(data[:place] + bytes(len(data) - place))
    with pytest.raises(ReadError):
        list(read(film))


def test_a_fragmented_mp4(film: Path, tmp_path: Path) -> None:
    path = remux(
        film,
        tmp_path / "x.mp4",
        options={"movflags": "empty_moov+default_base_moof", "frag_duration": "2000000"},
    )
    assert path.read_bytes().count(b"moof") >= 2

    def times(segments: list[Segment]) -> list[float]:
        return [time or 0.0 for s in segments for time in (s.start, s.end)]

    assert times(list(read(path))) == pytest.approx(times(list(read(film))), abs=0.05)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    assert next(iter(read(path))).end == pytest.approx(5.0, abs=0.05)


def test_typescript_is_no_damaged_video(film: Path, tmp_path: Path) -> None:
    for name in ("tool.ts", "tool.mts"):
        (tmp_path / name).write_text("export const answer: number = 42;\n", encoding="utf-8")
        with pytest.raises(
            UnsupportedFile, match=rf"no reader takes \.{name.split('.')[1]} files that hold text"
        ):
            reader_for(tmp_path / name)
    assert reader_for(media.write(tmp_path / "x.m2ts").rename(tmp_path / "x.bin")).modality == "video"
