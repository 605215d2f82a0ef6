"""Folders as they are: sidecars, silence, what is passed over, what is told of every file."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multimodal import FileRecord, Library
from multimodal.library import jobs, migrations
from multimodal.library.doctor import examine
from multimodal.library.opening import DATABASE
from multimodal.library.scan import walk
from multimodal.readers import extras
from multimodal.space import Space
from tests import media
from tests.fakes import fake_space
from tests.library.serial import Serial


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A picture with a caption, a video with subtitles, a text, a silent sound."""
    folder = tmp_path / "album"
    folder.mkdir()
    Image.new("RGB", (64, 48), "red").save(folder / "beach.png")
    (folder / "beach.txt").write_text("grandmother at the seaside")
    media.write_video(folder / "walk.mp4", [media.picture(1), media.picture(2)], seconds=2.5)
    media.write_subtitles(folder / "walk.en.srt", [(1.0, 2.0, "mind the puddle")])
    (folder / "notes.txt").write_text("buy bread")
    media.write_sound(folder / "empty.wav", np.zeros(16_000 * 12, np.float32), 16_000)
    return folder


@pytest.fixture
def shelf(album: Path, space: Space, serial: Serial) -> Library:
    return Library(album / ".multimodal", space)


def told(records: list[FileRecord]) -> dict[str, tuple[str, str | None]]:
    return {record.path.name: (record.status, record.reason) for record in records}


def test_a_caption_beside_a_picture_belongs_to_it(shelf: Library, album: Path):
    report = shelf.add(album)
    assert told(list(report.records)) == {
        "beach.png": ("added", None),
        "beach.txt": ("added", "read with beach.png"),
        "walk.mp4": ("added", None),
        "walk.en.srt": ("added", "read with walk.mp4"),
        "notes.txt": ("added", None),
        "empty.wav": ("added", None),
    }
    hit = shelf.search("grandmother at the seaside", k=1)[0]
    assert (hit.path.name, hit.modality, hit.role) == ("beach.png", "text", "caption")
    hit = shelf.search("mind the puddle", k=1)[0]
    assert (hit.path.name, hit.role, hit.start, hit.end) == ("walk.mp4", "subtitles", 1.0, 2.0)
    assert shelf.stats().files == 4


def test_only_a_changed_caption_reads_its_picture_again(shelf: Library, album: Path, serial: Serial):
    shelf.add(album)
    serial.seen.clear()
    again = shelf.add(album)
    assert not serial.seen
    assert set(told(list(again.records)).values()) == {
        ("unchanged", None),
        ("unchanged", "read with beach.png"),
        ("unchanged", "read with walk.mp4"),
    }
    (album / "beach.txt").write_text("grandfather in the garden")
    shelf.add(album)
    assert [path.name for path in serial.seen] == ["beach.png"]
    assert shelf.search("grandfather in the garden", k=1)[0].path.name == "beach.png"
    (album / "beach.txt").unlink()
    shelf.add(album)
    assert shelf.search("grandfather in the garden", k=1, modality="text")[0].path.name != "beach.png"


def test_a_text_becomes_a_caption_when_its_picture_comes(shelf: Library, album: Path):
    shelf.add(album)
    Image.new("RGB", (64, 48), "blue").save(album / "notes.jpg")
    report = shelf.add(album)
    assert told(list(report.records))["notes.txt"] == ("added", "read with notes.jpg")
    assert report.count("removed") == 0
    hits = shelf.search("buy bread", k=10, modality="text")
    assert [hit.path.name for hit in hits if hit.text == "buy bread"] == ["notes.jpg"]
    (album / "notes.jpg").unlink()
    report = shelf.add(album)
    assert told(list(report.records))["notes.txt"] == ("added", None)
    assert told(list(report.records))["notes.jpg"] == ("removed", None)


def test_a_damaged_sidecar_takes_nothing_from_its_picture(shelf: Library, album: Path):
    (album / "beach.json").write_text("{ never closed")
    for expected in ("added", "unchanged"):
        told_of = told(list(shelf.add(album).records))
        assert told_of["beach.png"] == (expected, None)
        status, reason = told_of["beach.json"]
        assert status == "failed" and reason
    (album / "beach.json").write_text('{"caption": "sand and waves"}')
    assert told(list(shelf.add(album).records))["beach.json"] == ("added", "read with beach.png")
    assert shelf.search("sand and waves", k=1)[0].path.name == "beach.png"


def test_a_sidecar_of_what_cannot_be_read_is_no_second_failure(shelf: Library, album: Path):
    (album / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (album / "broken.txt").write_text("what it should have shown")
    report = shelf.add(album)
    assert told(list(report.records))["broken.txt"] == (
        "skipped",
        "it belongs to broken.jpg, which was not read",
    )
    assert report.count("failed") == 1


def test_a_picture_moved_with_its_caption_is_reused(shelf: Library, album: Path, serial: Serial):
    shelf.add(album)
    serial.seen.clear()
    (album / "2024").mkdir()
    for suffix in (".png", ".txt"):
        (album / f"beach{suffix}").rename(album / "2024" / f"sea{suffix}")
    report = shelf.add(album)
    assert not serial.seen
    assert told(list(report.records))["sea.png"] == ("reused", None)
    assert shelf.search("grandmother at the seaside", k=1)[0].path.name == "sea.png"


def test_silence_is_remembered_and_found_by_nothing(shelf: Library, album: Path):
    shelf.add(album)
    db = sqlite3.connect(shelf.path / DATABASE)
    rows = db.execute('SELECT start, "end", vector FROM segments LEFT JOIN vectors ON segment = number'
                      " WHERE role = 'blank'").fetchall()  # fmt: skip
    db.close()
    assert rows == [(0.0, 12.0, None)]
    assert "audio" not in shelf.stats().segments
    assert all(hit.path.name != "empty.wav" for hit in shelf.search("low", k=100, all_segments=True))


def test_frames_of_a_video_are_kept_with_their_times(shelf: Library, album: Path):
    shelf.add(album)
    db = sqlite3.connect(shelf.path / DATABASE)
    kept = db.execute('SELECT start, "end", times, frames.vectors, vector FROM frames'
                      " JOIN segments ON number = segment JOIN vectors USING (segment)"
                      " ORDER BY start").fetchall()  # fmt: skip
    db.close()
    assert len(kept) == 2  # two shots
    for start, end, times, vectors, pooled in kept:
        seconds = np.frombuffer(times, "<f4")
        frames = np.frombuffer(vectors, "<f2").reshape(len(seconds), shelf.space.dim).astype(np.float32)
        assert 1 <= len(seconds) <= 8
        assert start <= seconds[0] and seconds[-1] <= end
        np.testing.assert_allclose(np.linalg.norm(frames, axis=1), 1, atol=2e-3)
        mean = frames.mean(axis=0)
        assert mean @ np.frombuffer(pooled, "<f2").astype(np.float32) / np.linalg.norm(mean) > 0.99


def test_what_a_pattern_excludes_is_passed_over(shelf: Library, album: Path):
    report = shelf.add(album, exclude=["*.mp4", "empty.*"])
    assert set(told(list(report.records))) == {"beach.png", "beach.txt", "notes.txt", "walk.en.srt"}
    report = shelf.add(album)
    assert report.count("added") == 3  # the video with its subtitles, and the sound
    assert shelf.search("mind the puddle", k=1)[0].path.name == "walk.mp4"


def test_every_record_is_told_of_as_it_is_made(shelf: Library, album: Path):
    (album / "odd.xyz").write_bytes(bytes(range(256)))
    noted: list[FileRecord] = []
    report = shelf.add(album, on_record=noted.append)
    assert noted == list(report.records)
    seen = Counter(record.path.name for record in noted)
    assert seen == {name.name: 1 for name in album.iterdir() if name.name != ".multimodal"}
    assert all(record.reason for record in noted if record.status == "skipped")


def test_doctor_knows_what_would_be_skipped_and_what_would_help(album: Path, monkeypatch: pytest.MonkeyPatch):
    (album / "drawing.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    (album / "odd.xyz").write_bytes(bytes(range(256)))
    (album / "void.jpg").touch()
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    found = {finding.path.name: finding for finding in examine(album)}
    assert set(found) == {path.name for path in album.iterdir()}
    assert (found["drawing.svg"].outlook, found["drawing.svg"].extra) == ("skipped", "svg")
    assert found["drawing.svg"].reason == "needs multimodal[svg]"
    assert found["odd.xyz"].outlook == "skipped" and found["odd.xyz"].extra is None
    assert (found["void.jpg"].outlook, found["void.jpg"].reason) == ("failed", "the file is empty")
    assert (found["walk.mp4"].outlook, found["walk.mp4"].modality) == ("readable", "video")
    assert (found["beach.txt"].outlook, found["beach.txt"].reason) == ("companion", "read with beach.png")
    assert not (album / ".multimodal").exists()


def test_an_extra_installed_later_brings_its_files_in(
    shelf: Library, album: Path, monkeypatch: pytest.MonkeyPatch
):
    (album / "drawing.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'
    )
    with monkeypatch.context() as without:
        without.setattr(extras, "find_spec", lambda name: None)
        assert told(list(shelf.add(album).records))["drawing.svg"] == ("skipped", "needs multimodal[svg]")
        assert told(list(shelf.add(album).records))["drawing.svg"] == ("skipped", "needs multimodal[svg]")
    assert told(list(shelf.add(album).records))["drawing.svg"] == ("added", None)


def test_an_older_library_is_brought_up_to_date(tmp_path: Path, serial: Serial):
    """A database of the first format, as its migration made it, keeps its rows."""
    home = tmp_path / ".multimodal"
    home.mkdir()
    note = tmp_path / "note.txt"
    note.write_text("red apple")
    space = fake_space()
    vector = space.embed("red apple")[0].astype("<f2").tobytes()
    db = sqlite3.connect(home / DATABASE, isolation_level=None)
    for statement in migrations._statements(migrations.MIGRATIONS[0]):
        db.execute(statement)
    db.execute("PRAGMA user_version = 1")
    settings = {"library": "x", "space": "fake", "space_id": space.space_id, "dim": space.dim}
    rows = {**settings, "generation": 1, "deletions": 0}.items()
    db.executemany("INSERT INTO settings VALUES (?, ?)", list(rows))
    db.execute("INSERT INTO roots VALUES (1, '..', ?)", (tmp_path.stat().st_dev,))
    encoder = space["text"].encoder_id
    state = note.stat()
    db.execute(
        "INSERT INTO files VALUES (1, 1, 'note.txt', ?, ?, ?, 'indexed', NULL, 'old', ?, 1, 0.1)",
        (state.st_size, state.st_mtime_ns, jobs.content_hash(note), encoder),
    )
    db.execute("INSERT INTO segments VALUES (1, x'00', 1, 'text', 0, NULL, NULL, 'red apple', ?)", (encoder,))
    db.execute("INSERT INTO vectors VALUES (1, ?)", (vector,))
    db.close()
    with Library(home, space) as library:
        hit = library.search("red apple", k=1)[0]
        assert (hit.path, hit.text, hit.role, hit.page) == (note, "red apple", "content", None)
        assert library.stats().segments == {"text": 1}
        assert library.add(tmp_path).count("added") == 1  # read by today's readers
        assert library.search("red apple", k=1)[0].chars == (0, 9)


def test_sidecars_of_one_file_are_found_when_it_is_added_alone(tmp_path: Path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "a.txt").touch()
    (tmp_path / "b.txt").touch()
    [found] = walk(tmp_path, "a.jpg").files
    assert [one.path for one in found.companions] == ["a.txt"]
    [found] = walk(tmp_path, "b.txt").files
    assert (found.path, found.companions) == ("b.txt", ())
    assert [found.path for found in walk(tmp_path).files] == ["a.jpg", "b.txt"]


def test_what_is_remembered_of_sidecars_is_plain_json(album: Path):
    found = next(one for one in walk(album).files if one.path == "beach.png")
    assert json.loads(jobs.written(found, {"beach.txt": "torn"}))[0][3] == "torn"
    assert jobs.problems_in(jobs.written(found, {"beach.txt": "torn"})) == {"beach.txt": "torn"}
    assert jobs.written(found._replace(companions=()), {}) == ""
