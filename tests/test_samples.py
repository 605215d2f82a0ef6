"""samples/: enough of every kind, small, licensed file by file, and none of it in the starter's training."""

from __future__ import annotations

import re
import struct
import wave
from pathlib import Path

import av
import pytest
from PIL import Image

from recipes.samples import EXCLUDE, licences
from recipes.samples_list import FILMS, SOUNDS
from recipes.split import held_out

SAMPLES = Path(__file__).parent.parent / "samples"
KINDS = ("pictures", "videos", "sounds", "texts")
STAMPS = "usr/share/tuxpaint/stamps/"


def media() -> list[Path]:
    return sorted(path for kind in KINDS for path in (SAMPLES / kind).iterdir())


def names() -> list[str]:
    return [path.relative_to(SAMPLES).as_posix() for path in media()]


def rows() -> dict[str, list[str]]:
    """The cells of the licence table by file, without the heading."""
    lines = (SAMPLES / "LICENSES.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return {row[0]: row[1:] for row in cells[1:]}


def test_there_are_30_to_60_files_of_all_kinds_in_less_than_25_megabytes() -> None:
    files = media()
    assert 30 <= len(files) <= 60
    assert sum(path.stat().st_size for path in files) < 25e6
    counts = {kind: sum(path.parent.name == kind for path in files) for kind in KINDS}
    assert min(counts.values()) >= 3, counts
    assert min(counts["pictures"], counts["sounds"]) >= 15, counts
    assert 3 <= counts["videos"] <= 6, counts


def test_many_formats_are_there() -> None:
    endings = {path.suffix for path in media()}
    assert {".jpg", ".png", ".webp", ".gif", ".bmp", ".tiff"} <= endings
    assert {".mp4", ".mkv", ".webm", ".avi"} <= endings
    assert {".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus"} <= endings
    assert {".txt", ".md", ".srt"} <= endings


def test_every_file_has_a_source_an_author_and_a_licence() -> None:
    table = rows()
    assert sorted(table) == sorted(names())
    free = re.compile(r"CC0-1\.0|CC-BY(-SA)?-\d\.0|GPL-2|MIT|public domain")
    for name, (what, source, author, licence, changes) in table.items():
        assert what and source and author and changes, name
        assert free.search(licence), (name, licence)
        assert "NC" not in licence and "ND" not in licence, (name, licence)


def test_the_licence_table_is_the_one_that_the_recipe_writes() -> None:
    texts = sorted(path.name for path in (SAMPLES / "texts").iterdir())
    assert (SAMPLES / "LICENSES.md").read_text(encoding="utf-8") == licences(texts)


def test_every_source_is_kept_out_of_training() -> None:
    """Each row of the licence table names files that the list for the training recipes names too."""
    lines = EXCLUDE.read_text(encoding="utf-8").splitlines()
    listed = {tuple(line.split()) for line in lines if not line.startswith("#")}
    assert all(len(row) == 3 and re.fullmatch("[0-9a-f]{64}", row[2]) for row in listed)
    kept = {(package, path) for package, path, _ in listed}
    own = "written for this project"
    for name, (_, source, *_) in rows().items():
        if source == own:
            assert name.startswith("texts/"), name
            continue
        for part in source.split("; "):
            match = re.fullmatch(r"([\w-]+) \((?:Debian|PyPI)\): (\S+)", part)
            assert match, (name, part)
            package, path = match.groups()
            assert any(p == package and inside.endswith("/" + path) for p, inside in kept), (name, part)


def test_most_stamps_are_of_the_test_split() -> None:
    lines = EXCLUDE.read_text(encoding="utf-8").splitlines()
    stamps = {line.split()[1][len(STAMPS) :].rsplit(".", 1)[0] for line in lines if STAMPS in line}
    drawn = {key for key in stamps if held_out(key)}
    assert len(drawn) >= 12
    assert stamps - drawn == {
        "animals/birds/rooster",
        "animals/mammals/bovines/cow",
        "animals/mammals/dogs/dog",
        "hobbies/music/string/guitar_classical",
    }


def test_pictures_open_and_are_at_most_1280_pixels_a_side() -> None:
    modes = set()
    for path in (SAMPLES / "pictures").iterdir():
        with Image.open(path) as picture:
            picture.load()
            assert 100 <= max(picture.size) <= 1280, path.name
            modes.add((path.suffix, picture.mode))
    assert (".png", "RGBA") in modes
    with Image.open(SAMPLES / "videos" / "chameleon.gif") as gif:
        assert getattr(gif, "n_frames", 1) > 10


@pytest.mark.parametrize("name", sorted(SOUNDS))
def test_a_sound_plays_for_at_most_ten_seconds(name: str) -> None:
    path = SAMPLES / "sounds" / name
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    seconds = sum(frame.samples for frame in frames) / frames[0].rate
    assert 0.9 <= seconds <= 10.1
    assert max(float(abs(frame.to_ndarray()).max()) for frame in frames) > 0


def test_wav_files_are_plain_pcm() -> None:
    for path in (SAMPLES / "sounds").glob("*.wav"):
        with wave.open(str(path)) as sound:
            assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, 44100)
            data = sound.readframes(sound.getnframes())
        assert max(abs(value) for (value,) in struct.iter_unpack("<h", data)) > 16000


@pytest.mark.parametrize("name", sorted(FILMS))
def test_a_film_lasts_four_seconds_a_scene(name: str) -> None:
    expected = 4.0 * len(FILMS[name].scenes)
    with av.open(str(SAMPLES / "videos" / name)) as container:
        assert bool(container.streams.audio) == any(sound for _, sound in FILMS[name].scenes)
        last = None
        for frame in container.decode(video=0):
            assert (frame.width, frame.height) == (640, 360)
            last = frame.time
    assert last == pytest.approx(expected, abs=0.11)


def test_subtitles_cover_the_day_out_scene_by_scene() -> None:
    text = (SAMPLES / "texts" / "day-out.srt").read_text(encoding="utf-8")
    times = re.findall(r"00:00:(\d\d),000 --> 00:00:(\d\d),000", text)
    assert [(int(a), int(b)) for a, b in times] == [
        (4 * n, 4 * n + 4) for n in range(len(FILMS["day-out.mp4"].scenes))
    ]


def test_passages_have_a_readable_length() -> None:
    for path in (SAMPLES / "texts").iterdir():
        words = len(path.read_text(encoding="utf-8").split())
        assert 60 <= words <= 200, (path.name, words)
