"""What a run does: add, change, rename, copy, delete, refuse, and do nothing twice."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from multimodal import IndexReport, Library
from multimodal.encoder import Encoder
from multimodal.errors import LibraryError, NoMediaFile, WrongSpace
from multimodal.space import Space
from tests.fakes import FakeSource, FakeTower, Pitch, fake_space
from tests.library.conftest import TEXTS
from tests.library.serial import Serial
from tests.media import write_image


def counts(report: IndexReport) -> dict[str, int]:
    return dict(Counter(record.status for record in report.records))


def names(library: Library) -> list[str]:
    """All files that a search for anything finds."""
    home = library.path.parent
    return sorted(
        hit.path.relative_to(home).as_posix() for hit in library.search("apple", k=100, duplicates=True)
    )


def best(library: Library, query: str) -> str:
    return library.search(query, k=1)[0].path.name


def test_add_finds_every_file_and_a_second_run_encodes_nothing(
    library: Library, photos: Path, serial: Serial
):
    report = library.add(photos)
    assert counts(report) == {"added": 6}
    assert report.segments == 6 and report.seconds > 0
    assert names(library) == sorted(TEXTS)
    assert best(library, TEXTS["sub/fox.txt"]) == "fox.txt"
    assert len(serial.seen) == 6
    assert counts(library.add(photos)) == {"unchanged": 6}
    assert len(serial.seen) == 6


def test_nothing_is_created_before_the_first_add(photos: Path, space: Space):
    Library(photos / ".multimodal", space).close()
    assert not (photos / ".multimodal").exists()


def test_changed_file_is_read_again_and_its_old_rows_go(library: Library, photos: Path, serial: Serial):
    (photos / "cat.txt").write_text("cat\n\n" * 200)  # more than one passage
    library.add(photos)
    before = library.stats().segments["text"]
    (photos / "cat.txt").write_text("zebra")
    assert counts(library.add(photos)) == {"unchanged": 5, "added": 1}
    assert best(library, "zebra") == "cat.txt"
    assert before > 6 and library.stats().segments["text"] == 6


def test_touched_file_stays_as_it_is(library: Library, photos: Path, serial: Serial):
    library.add(photos)
    os.utime(photos / "cat.txt", (1, 1))
    assert counts(library.add(photos)) == {"unchanged": 6}
    os.utime(photos / "cat.txt", (2, 2))
    assert counts(library.add(photos)) == {"unchanged": 6}
    assert len(serial.seen) == 6 and len(names(library)) == 6


def test_renamed_and_copied_files_reuse_their_rows(library: Library, photos: Path, serial: Serial):
    library.add(photos)
    (photos / "cat.txt").rename(photos / "sub" / "tiger.txt")
    shutil.copy(photos / "dog.txt", photos / "wolf.txt")
    assert counts(library.add(photos)) == {"unchanged": 5, "reused": 2, "removed": 1}
    assert len(serial.seen) == 6
    assert names(library) == sorted({*TEXTS, "wolf.txt", "sub/tiger.txt"} - {"cat.txt"})
    assert best(library, TEXTS["cat.txt"]) == "tiger.txt"


def test_copies_within_one_run_are_encoded_once(library: Library, photos: Path, serial: Serial):
    for number in range(5):
        shutil.copy(photos / "dog.txt", photos / f"dog{number}.txt")
    (photos / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    shutil.copy(photos / "bad.png", photos / "worse.png")
    report = library.add(photos)
    assert counts(report) == {"added": 6, "reused": 5, "failed": 2}
    assert len(serial.seen) == 7
    assert len({record.reason for record in report.problems}) == 1


def test_files_that_swap_their_contents_swap_their_rows(library: Library, photos: Path):
    library.add(photos)
    (photos / "cat.txt").rename(photos / "kept")
    (photos / "dog.txt").rename(photos / "cat.txt")
    (photos / "kept").rename(photos / "dog.txt")
    os.utime(photos / "cat.txt", (5, 5))
    os.utime(photos / "dog.txt", (6, 6))
    library.add(photos)
    assert (best(library, TEXTS["cat.txt"]), best(library, TEXTS["dog.txt"])) == ("dog.txt", "cat.txt")


def test_gone_files_go_only_below_the_folder_that_was_added(library: Library, photos: Path):
    library.add(photos)
    (photos / "cat.txt").unlink()
    (photos / "sub" / "egg.txt").unlink()
    assert counts(library.add(photos / "sub")) == {"unchanged": 1, "removed": 1}
    assert "cat.txt" in names(library)
    assert counts(library.add(photos)) == {"unchanged": 4, "removed": 1}
    assert names(library) == sorted(set(TEXTS) - {"cat.txt", "sub/egg.txt"})


def test_missing_folder_raises_and_takes_nothing_away(library: Library, photos: Path, tmp_path: Path):
    away = shutil.copytree(photos, tmp_path / "disk")
    library.add([photos, away])
    shutil.rmtree(away)
    with pytest.raises(NoMediaFile, match="disk"):
        library.add([photos, away])
    assert len(library.search("apple", k=100, duplicates=True)) == 12


def test_empty_folder_on_another_device_counts_as_unmounted(
    library: Library, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    away = shutil.copytree(photos, tmp_path / "disk")
    library.add(away)
    for path in sorted(away.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    stat = Path.stat

    def elsewhere(path: Path, **how: bool) -> os.stat_result:
        fields = list(stat(path, **how))
        fields[2] += 1 if path == away else 0
        return os.stat_result(fields)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", elsewhere)
        with pytest.raises(LibraryError, match="mounted"):
            library.add(away)
    assert library.stats().files == 6
    assert counts(library.add(away)) == {"removed": 6}


def test_unlisted_folder_is_reported_and_keeps_its_files(
    library: Library, photos: Path, monkeypatch: pytest.MonkeyPatch
):
    library.add(photos)
    scandir = os.scandir

    def closed(path: str | Path) -> object:
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    report = library.add(photos)
    assert counts(report) == {"unchanged": 4, "failed": 1}
    assert "permission denied" in str(report.problems[0].reason)
    assert names(library) == sorted(TEXTS)


def test_refused_files_are_told_of_every_time_but_tried_once(library: Library, photos: Path, serial: Serial):
    (photos / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (photos / "empty.jpg").touch()
    (photos / "strange.xyz").write_bytes(bytes(range(256)))
    first = library.add(photos)
    assert counts(first) == {"added": 6, "failed": 2, "skipped": 1}
    assert all(record.reason for record in first.problems)
    tried = len(serial.seen)
    second = library.add(photos)
    assert counts(second) == {"unchanged": 6, "failed": 2, "skipped": 1}
    reasons = {record.path.name: record.reason for record in first.problems}
    assert {record.path.name: record.reason for record in second.problems} == reasons
    assert len(serial.seen) == tried
    write_image(photos / "bad.png")
    assert counts(library.add(photos)) == {"unchanged": 6, "failed": 1, "skipped": 1, "added": 1}


def test_file_that_could_not_be_opened_is_tried_again(
    library: Library, photos: Path, monkeypatch: pytest.MonkeyPatch
):
    opened = os.open

    def closed(path: str, *how: object, **more: object) -> int:
        if Path(path).name == "cat.txt":
            raise PermissionError(13, "Permission denied")
        return opened(path, *how, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", closed)
        report = library.add(photos)
    assert counts(report) == {"added": 5, "failed": 1}
    assert report.problems[0].reason == "permission denied"
    assert counts(library.add(photos)) == {"unchanged": 5, "added": 1}


def test_file_that_changes_while_it_is_read_is_read_again(library: Library, photos: Path, serial: Serial):
    def grow(path: Path) -> None:
        if path.name == "cat.txt" and len(serial.seen) <= 6:
            path.write_text("cat and mouse")

    serial.before = grow
    library.add(photos)
    assert counts(library.add(photos)) == {"unchanged": 5, "added": 1}
    assert best(library, "cat and mouse") == "cat.txt"


def test_file_that_vanishes_while_it_is_read_is_a_failure_then_gone(
    library: Library, photos: Path, serial: Serial
):
    serial.before = lambda path: path.unlink() if path.name == "cat.txt" else None
    assert counts(library.add(photos)) == {"added": 5, "failed": 1}
    assert counts(library.add(photos)) == {"unchanged": 5, "removed": 1}


def test_hidden_and_junk_are_passed_over_and_links_told_of(library: Library, photos: Path):
    for name in (".hidden.txt", "Thumbs.db", "desktop.ini", ".DS_Store"):
        (photos / name).write_text("hidden")
    (photos / ".git").mkdir()
    (photos / ".git" / "x.txt").write_text("hidden")
    (photos / "loop").symlink_to(photos)
    (photos / "link.txt").symlink_to(photos / "sub" / "egg.txt")
    (photos / "broken.txt").symlink_to(photos / "nowhere")
    os.mkfifo(photos / "pipe.txt")
    report = library.add(photos)
    assert counts(report) == {"added": 6, "reused": 1, "skipped": 3}
    reasons = {record.path.name: str(record.reason) for record in report.problems}
    assert "link" in reasons["loop"] and "nowhere" in reasons["broken.txt"]
    assert "regular" in reasons["pipe.txt"]
    assert names(library) == sorted([*TEXTS, "link.txt"])


@pytest.mark.skipif(os.name == "nt" or os.uname().sysname == "Darwin", reason="names are Unicode there")
def test_names_that_are_no_unicode(library: Library, photos: Path):
    odd = os.fsdecode(b"caf\xe9 \xff'%.txt")
    (photos / odd).write_text("coffee")
    folder = photos / os.fsdecode(b"\xfe\xfe")
    folder.mkdir()
    (folder / "new\nline 😀.txt").write_text("tea")
    assert counts(library.add(photos)) == {"added": 8}
    assert best(library, "coffee") == odd
    assert library.search("tea", k=1)[0].path.is_file()
    assert counts(library.add(photos)) == {"unchanged": 8}
    assert library.remove(folder) == 1
    (photos / odd).unlink()
    (folder / "new\nline 😀.txt").unlink()
    assert counts(library.add(photos)) == {"unchanged": 6, "removed": 1}


def test_remove_takes_files_and_folders_out(library: Library, photos: Path):
    library.add(photos)
    assert library.remove(photos / "sub") == 2
    assert library.remove(photos / "cat.txt") == 1
    assert library.remove(photos / "cat.txt") == 0
    assert names(library) == ["apple.txt", "boat.txt", "dog.txt"]
    assert counts(library.add(photos)) == {"unchanged": 3, "added": 3}


def test_single_files_and_a_folder_above_are_one(
    library: Library, photos: Path, tmp_path: Path, serial: Serial
):
    other = tmp_path / "elsewhere" / "deep"
    other.mkdir(parents=True)
    (other / "a.txt").write_text("anchor")
    (other / "b.txt").write_text("bridge")
    assert counts(library.add([photos / "cat.txt", other / "a.txt"])) == {"added": 2}
    assert counts(library.add([other, other.parent, photos])) == {"added": 6, "unchanged": 2}
    (other / "c.txt").write_text("castle")
    assert counts(library.add(other)) == {"unchanged": 2, "added": 1}
    assert len(serial.seen) == 9
    assert library.search("anchor", k=1)[0].path == other / "a.txt"
    assert library.stats().files == 9


def test_moved_folder_keeps_everything(library: Library, photos: Path, tmp_path: Path, serial: Serial):
    library.add(photos)
    library.close()
    moved = photos.rename(tmp_path / "moved")
    with Library(Library.find(moved / "sub"), fake_space()) as found:
        hit = found.search(TEXTS["sub/fox.txt"], k=1)[0]
        assert hit.path == moved / "sub" / "fox.txt" and hit.path.is_file()
        assert counts(found.add(moved)) == {"unchanged": 6}
    assert len(serial.seen) == 6


def test_library_elsewhere_and_inside_under_any_name(
    photos: Path, tmp_path: Path, space: Space, serial: Serial
):
    for place in (tmp_path / "index", photos / "index"):
        with Library(place, space) as library:
            assert counts(library.add(photos)) == {"added": 6}
            assert counts(library.add(photos)) == {"unchanged": 6}
            assert library.search(TEXTS["sub/fox.txt"], k=1)[0].path == photos / "sub" / "fox.txt"
            with pytest.raises(LibraryError, match="library itself"):
                library.add(place)
        shutil.rmtree(place)


def test_another_space_is_refused_and_both_are_named(library: Library, photos: Path, space: Space):
    library.add(photos)
    other = fake_space(2)
    with Library(library.path, other) as wrong:
        for call in (lambda: wrong.add(photos), lambda: wrong.search("fox")):
            with pytest.raises(WrongSpace) as caught:
                call()
            assert space.space_id in str(caught.value) and other.space_id in str(caught.value)
    assert counts(library.add(photos)) == {"unchanged": 6}


class Retrained(FakeSource):
    """The fake space with another audio encoder: the same space, its sounds stale."""

    def __init__(self) -> None:
        super().__init__()
        self._encoders["audio"] = Encoder("audio", FakeTower("audio-retrained", Pitch()))


def test_new_encoder_makes_only_its_rows_stale(library: Library, photos: Path, serial: Serial):
    from tests.media import write

    write(photos / "tone.wav")
    library.add(photos)
    with Library(library.path, Space(Retrained())) as later:
        assert counts(later.add(photos)) == {"unchanged": 6, "added": 1}
        assert serial.seen[-1].name == "tone.wav"
        assert counts(later.add(photos)) == {"unchanged": 7}


def test_progress_tells_of_every_record_after_it_is_stored(library: Library, photos: Path):
    told = []

    def listen(progress: object) -> None:
        told.append(progress)
        record = progress.record  # type: ignore[attr-defined]
        if record is not None:
            with Library(library.path, fake_space()) as other:
                assert record.path in {hit.path for hit in other.search("apple", k=100, duplicates=True)}

    library.add(photos, progress=listen)
    assert [one.done for one in told] == list(range(7))
    assert {one.total for one in told} == {6}
    assert told[-1].segments == 6


def test_interrupt_keeps_what_was_done(library: Library, photos: Path, serial: Serial):
    def stop(path: Path) -> None:
        if len(serial.seen) == 4:
            raise KeyboardInterrupt

    serial.before = stop
    with pytest.raises(KeyboardInterrupt):
        library.add(photos)
    assert library.stats().files == 3
    assert counts(library.add(photos)) == {"unchanged": 3, "added": 3}


def test_missing_path_raises(library: Library, tmp_path: Path):
    with pytest.raises(NoMediaFile, match="nowhere"):
        library.add(tmp_path / "nowhere")
    assert not library.path.exists()


def test_what_the_ignore_file_names_is_passed_over_and_goes(library: Library, photos: Path):
    library.add(photos)
    (photos / ".multimodalignore").write_text("# not these\nsub/\nb*.txt\n!boat.txt\n", encoding="utf-8")
    (photos / "bear.txt").write_text("bear in the woods")
    assert counts(library.add(photos)) == {"unchanged": 4, "removed": 2}
    assert names(library) == ["apple.txt", "boat.txt", "cat.txt", "dog.txt"]
