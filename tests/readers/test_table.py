"""Which reader takes a file, and the one clear reason where none does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from multimodal import readers
from multimodal.errors import NoMediaFile, ReadError, UnsupportedFile
from multimodal.types import Audio, Clip, ReadOptions, Segment
from tests import media, media_images


def modalities(path: Path) -> list[str]:
    return [segment.modality for segment in readers.read(path)]


def fingerprint(segment: Segment) -> tuple[object, ...]:
    content = segment.content
    if isinstance(content, Clip):
        data: object = (b"".join(frame.tobytes() for frame in content.frames), content.times.tobytes())
    elif isinstance(content, Audio):
        data = (content.samples.tobytes(), content.rate)
    elif isinstance(content, str):
        data = content
    else:
        data = (content.size, content.mode, content.tobytes())
    return segment.modality, segment.path, segment.start, segment.end, data


def test_the_table_covers_what_the_helpers_write() -> None:
    assert set(readers.EXTENSIONS) == {*media.ALL_EXTENSIONS, *media_images.UNMADE_EXTENSIONS}
    kinds = [kind for reader in readers.READERS for kind in reader.kinds]
    assert len(kinds) == len(set(kinds))


@pytest.mark.parametrize("extension", media.ALL_EXTENSIONS)
def test_every_format_reads_and_reads_the_same_again(extension: str, tmp_path: Path) -> None:
    path = media.write(tmp_path / f"x{extension}")
    first = list(readers.read(path, ReadOptions(min_side=100)))
    again = list(readers.read(path, ReadOptions(min_side=100)))
    assert first
    assert [fingerprint(s) for s in first] == [fingerprint(s) for s in again]
    assert first[0].modality == readers.EXTENSIONS[extension].modality
    assert all(segment.path == path for segment in first)
    for segment in first:
        if segment.start is not None:
            assert segment.end is not None and 0 <= segment.start < segment.end


def test_content_goes_before_the_extension(tmp_path: Path) -> None:
    for wrote, named, modality in (
        (".png", ".jpg", "image"),
        (".jpg", ".txt", "image"),
        (".mp4", ".jpg", "video"),
        (".wav", ".mp4", "audio"),
        (".mp3", ".wav", "audio"),
        (".m4a", ".mp4", "audio"),
        (".opus", ".mkv", "audio"),
        (".webm", ".ogg", "video"),
        (".vtt", ".txt", "text"),
        (".png", "", "image"),
        (".JPG", ".JPG", "image"),
    ):
        path = media.write(tmp_path / f"content{wrote}").rename(tmp_path / f"named{named}")
        assert readers.reader_for(path).modality == modality, (wrote, named)
        assert modality in modalities(path), (wrote, named)


def test_an_mp4_with_sound_only_reads_as_audio(tmp_path: Path) -> None:
    path = media.write_sound(tmp_path / "x.m4a").rename(tmp_path / "x.mp4")
    assert modalities(path) == ["audio"]


def test_cover_art_makes_no_video_of_a_song(tmp_path: Path) -> None:
    import av

    song, cover = media.write(tmp_path / "song.mp3"), media.write(tmp_path / "cover.jpg")
    path = tmp_path / "covered.mp3"
    with av.open(str(song)) as source, av.open(str(path), "w") as target:
        sound = target.add_stream_from_template(source.streams.audio[0])
        art = target.add_stream("mjpeg")
        art.width, art.height, art.pix_fmt = 320, 240, "yuvj420p"
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = sound
                target.mux(packet)
        packet = av.Packet(cover.read_bytes())
        packet.stream, packet.pts, packet.dts = art, 0, 0
        target.mux(packet)
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1
    assert modalities(path) == ["audio"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.jpg", b"", "the file is empty"),
        ("a.mp4", b"", "the file is empty"),
        ("a.txt", b"", "the file is empty"),
        ("a.jpg", b"this is no picture", "not a picture: its content looks like text"),
        ("a.mp4", b"<html>not found</html>", "not a video: its content looks like a web page"),
        ("a.wav", b"hello", "not a sound: its content looks like text"),
        ("a.jpg", b"1\n00:00:01,000 --> 00:00:02,000\nHi", "not a picture: its content looks like subtitles"),
        ("a.jpg", b"%PDF-1.7\n%\xe2\xe3", "the document is damaged"),
        ("a.txt", b"%PDF-1.7\n%\xe2\xe3", "the document is damaged"),
        ("a.pdf", b"hello", "not a PDF document: its content looks like text"),
        ("a.docx", b"hello", "not a Word document: its content looks like text"),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "before 2007 or one locked by a password"),
        ("a.png", b"PK\x03\x04\x00\x00\x00", "not a picture: its content looks like a zip archive"),
        ("a.png", b"\x00\x00\x00\x1cftypheic\x00\x00", "the picture is damaged"),
        ("a.txt", bytes(range(256)), "not a text: its content is binary"),
        ("a.srt", b"no cues in here", "the file holds no subtitles"),
        ("a.txt", b" \n\n \t\n", "the file holds no text"),
        ("a.jpg", bytes(2000), "not a picture: its content is of no known kind"),
        ("a.mp4", bytes(2000), "not of a kind FFmpeg can read"),
    ],
)
def test_a_bad_file_has_one_clear_reason(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ReadError) as caught:
        list(readers.read(path))
    assert reason in str(caught.value)
    assert str(tmp_path) not in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_file_or_of_no_kind(tmp_path: Path) -> None:
    with pytest.raises(NoMediaFile, match="no such file"):
        readers.read(tmp_path / "missing.jpg")
    with pytest.raises(NoMediaFile, match="a folder"):
        readers.read(tmp_path)
    (tmp_path / "x.xyz").write_bytes(bytes(range(256)))
    with pytest.raises(UnsupportedFile, match=r"\.xyz files"):
        readers.read(tmp_path / "x.xyz")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.mp4")
    with pytest.raises(NoMediaFile, match="regular"):
        readers.read(tmp_path / "x.mp4")


@pytest.mark.parametrize(
    "extension", [e for e in media.ALL_EXTENSIONS if readers.EXTENSIONS[e].modality != "text"]
)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_truncated_file_gives_less_or_a_reason(extension: str, share: float, tmp_path: Path) -> None:
    path = media.write(tmp_path / f"x{extension}")
    whole = list(readers.read(path))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    try:
        part = list(readers.read(path))
    except ReadError as error:
        assert len(str(error)) < 150
    else:
        assert extension not in media.IMAGE_EXTENSIONS
        last = max(s.end for s in part if s.end is not None)
        assert last <= max(s.end for s in whole if s.end is not None) + 0.05


@pytest.mark.parametrize(
    "extension", [e for e in media.ALL_EXTENSIONS if readers.EXTENSIONS[e].modality != "text"]
)
def test_flipped_bytes_never_raise_anything_but_a_reason(extension: str, tmp_path: Path) -> None:
    sound = media.write(tmp_path / f"x{extension}").read_bytes()
    rng = np.random.default_rng(7)
    for _ in range(6):
        data = bytearray(sound)
        for place in rng.integers(0, len(data), 12):
            data[place] = rng.integers(256)
        for place in rng.integers(0, min(len(data), 400), 2):
            data[place] = rng.integers(256)
        path = tmp_path / f"y{extension}"
        path.write_bytes(data)
        try:
            list(readers.read(path))
        except ReadError as error:
            assert len(str(error)) < 150 and "\n" not in str(error)


def test_importing_the_readers_loads_no_decoder() -> None:
    code = (
        "import sys, time, numpy; t = time.process_time(); import multimodal.readers;"
        "s = time.process_time() - t;"
        "heavy = {'PIL', 'av', 'cv2', 'librosa', 'soundfile', 'torch', 'scipy'} & set(sys.modules);"
        "assert not heavy, heavy; assert s < 0.25, s; print(s)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize("extension", media.ALL_EXTENSIONS)
def test_a_file_is_let_go_when_the_reading_ends_or_stops(extension: str, tmp_path: Path) -> None:
    path = media.write(tmp_path / f"x{extension}")
    opened = Path("/proc/self/fd")
    if not opened.is_dir():
        pytest.skip("needs /proc")

    def held() -> bool:
        return any(os.path.realpath(fd) == str(path.resolve()) for fd in opened.iterdir())

    segments = readers.read(path)
    first = next(segments)
    segments.close()  # type: ignore[attr-defined]
    assert not held()
    if first.modality == "image":
        first.content.load()  # type: ignore[union-attr]
    list(readers.read(path))
    assert not held()


def test_text_is_read_under_the_names_of_texts_alone(tmp_path: Path) -> None:
    for name in ("README", "notes.txt", "notes.md"):
        (tmp_path / name).write_text("A page about lighthouses.", encoding="utf-8")
        assert modalities(tmp_path / name) == ["text"]
    for name in ("tool.py", "data.ini", "run.log"):
        (tmp_path / name).write_text("a = 1", encoding="utf-8")
        with pytest.raises(UnsupportedFile, match=rf"\.{name.split('.')[1]} files"):
            readers.reader_for(tmp_path / name)
