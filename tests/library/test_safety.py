"""What must never happen: a lost file, a double one, a stale vector, a blocked reader, a traceback."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from multimodal import Library, LibraryBusy, LibraryError, NoLibrary
from multimodal.library import migrations, vectors
from multimodal.library import writing as module
from multimodal.library.opening import DATABASE
from multimodal.library.sqlite import SqliteStore
from multimodal.space import Space
from tests.fakes import fake_space
from tests.library.conftest import TEXTS
from tests.library.serial import Serial

HERE = Path(__file__).parents[2]


def contents(library: Path) -> list[tuple[object, ...]]:
    """Every row of a library, in an order that does not depend on how it was made."""
    db = sqlite3.connect(library / DATABASE)
    try:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        return db.execute(
            "SELECT hex(segments.id), files.path, ordinal, modality, text, hex(vector) FROM segments"
            " JOIN vectors ON segment = number JOIN files ON files.id = file ORDER BY 2, 3"
        ).fetchall()
    finally:
        db.close()


def start(library: Path, folder: Path, seconds: str = "0.005") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.library.indexer", str(library), str(folder), seconds]
    return subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, text=True)


def test_kill_at_any_moment_loses_and_doubles_nothing(tmp_path: Path, space: Space, serial: Serial):
    photos, calm = tmp_path / "photos", tmp_path / "calm"
    photos.mkdir()
    for number in range(60):
        (photos / f"{number:02}.txt").write_text(f"word{number} and more\n\n" * (1 + number % 3))
    shutil.copytree(photos, calm)
    with Library(calm / ".multimodal", space) as library:
        library.add(calm)
    expected = contents(calm / ".multimodal")

    chance = random.Random(1)
    library_path = photos / ".multimodal"
    for _ in range(5):
        process = start(library_path, photos)
        assert process.stdout is not None
        told = {process.stdout.readline().strip()}  # the run has begun
        time.sleep(chance.uniform(0, 0.12))
        process.kill()
        told |= {
            line.strip() for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")
        }
        process.wait()
        process.stdout.close()
        kept = {str(row[1]) for row in contents(library_path)}
        assert told - {"-", "done"} <= kept
    serial.seen.clear()
    with Library(library_path, fake_space()) as library:
        library.add(photos)
        assert 0 < len(serial.seen) < 60  # it went on where it was killed
        hits = library.search("word7 and more", k=100, duplicates=True)
        assert sorted(hit.path.name for hit in hits) == sorted(path.name for path in photos.glob("*.txt"))
    assert contents(library_path) == expected


def test_second_writer_is_told_who_writes_and_readers_are_not_blocked(
    library: Library, photos: Path, monkeypatch: pytest.MonkeyPatch
):
    library.add(photos)
    (photos / "new.txt").write_text("new")
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.05)
    process = start(library.path, photos, "3")
    try:
        assert process.stdout is not None and process.stdout.readline().strip() == "-"
        with pytest.raises(LibraryBusy, match=str(process.pid)):
            library.add(photos)
        with pytest.raises(LibraryBusy):
            library.remove(photos)
        assert len(library.search("apple", k=100, duplicates=True)) == 6
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
    library.add(photos)
    assert len(library.search("apple", k=100, duplicates=True)) == 7


def derived(library: Library) -> dict[str, tuple[int, int]]:
    files = (library.path / "vectors").iterdir()
    return {path.name: (path.stat().st_ino, path.stat().st_size) for path in files if path.suffix == ".f16"}


def test_vector_files_grow_in_place_and_are_remade_when_rows_go(library: Library, photos: Path):
    library.add(photos)
    before = derived(library)
    (photos / "new.txt").write_text("zebra")
    library.add(photos)
    after = derived(library)
    assert before.keys() == after.keys() and len(before) == 1
    (old,), (new,) = before.values(), after.values()
    assert old[0] == new[0] and new[1] == old[1] + 64
    (photos / "cat.txt").unlink()
    library.add(photos)
    assert derived(library).keys() != after.keys() and len(derived(library)) == 1
    assert len(library.search("zebra", k=100, duplicates=True)) == 6


@pytest.mark.parametrize("harm", ["lost", "cut", "stamp", "other", "behind"])
def test_vector_files_that_do_not_match_are_made_anew(library: Library, photos: Path, harm: str):
    library.add(photos)
    expected = library.search(TEXTS["dog.txt"], k=6)
    folder = library.path / "vectors"
    library.close()
    (vectors_file,) = folder.glob("*.f16")
    stamp = folder / "stamp.json"
    if harm == "lost":
        shutil.rmtree(folder)
    elif harm == "cut":
        os.truncate(vectors_file, 70)
    elif harm == "stamp":
        stamp.write_text("{")
    elif harm == "other":
        stamp.write_text(stamp.read_text().replace('"library": "', '"library": "0'))
        vectors_file.write_bytes(b"\0" * vectors_file.stat().st_size)
    else:  # the database was put back from an older copy
        stamp.write_text(stamp.read_text().replace('"generation": ', '"generation": 9'))
        vectors_file.write_bytes(b"\0" * vectors_file.stat().st_size)
    assert library.search(TEXTS["dog.txt"], k=6) == expected


def test_open_library_sees_what_another_process_adds(library: Library, photos: Path, serial: Serial):
    library.add(photos)
    with Library(library.path, fake_space()) as other:
        assert len(other.search("apple", k=100, duplicates=True)) == 6
        (photos / "new.txt").write_text("zebra")
        library.add(photos)
        assert other.search("zebra", k=1)[0].path.name == "new.txt"
        library.remove(photos / "new.txt")
        assert len(other.search("zebra", k=100, duplicates=True, min_confidence=0)) == 6


def test_half_written_tail_of_a_vector_file_is_written_over(library: Library, photos: Path):
    library.add(photos)
    (file,) = (library.path / "vectors").glob("*.f16")
    with file.open("ab") as stream:
        stream.write(b"\x7f" * 100)
    (photos / "new.txt").write_text("zebra")
    library.add(photos)
    assert library.search("zebra", k=1)[0].path.name == "new.txt"


def run_as_nobody(code: str) -> subprocess.CompletedProcess[str]:
    """The interpreter itself may be root's alone, so what is needed is imported before it lets go."""
    lines = (
        "import os, mmap, filelock, threadpoolctl, safetensors.numpy\n"
        "from multimodal import Library, LibraryError\n"
        "from tests.fakes import fake_space\n"
        "fake_space().space_id; os.getuid() or (os.setgid(65534), os.setuid(65534))\n" + code
    )
    return subprocess.run(
        [sys.executable, "-c", lines],
        cwd=HERE,
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": "/"},
    )


@pytest.fixture
def open_to_all(tmp_path: Path) -> None:
    for folder in [tmp_path, *tmp_path.parents]:
        if folder != Path(folder.anchor) and folder.owner() == Path.home().owner() and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
    if os.getuid() == 0 and any(not folder.stat().st_mode & stat.S_IXOTH for folder in HERE.parents):
        pytest.skip("the checkout lies where only its owner may read")


@pytest.mark.skipif(os.name == "nt", reason="permissions of folders are POSIX")
@pytest.mark.parametrize("state", ["clean", "no vectors", "log"])
@pytest.mark.usefixtures("open_to_all")
def test_library_on_read_only_media_can_be_searched(library: Library, photos: Path, state: str):
    library.add(photos)
    library.close()
    if state == "no vectors":
        shutil.rmtree(library.path / "vectors")
    if state == "log":  # copied while it was written: the last batch is in the log alone
        db = sqlite3.connect(library.path / DATABASE, isolation_level=None)
        db.execute("DELETE FROM files WHERE path = 'cat.txt'")
        db.execute("UPDATE settings SET value = value + 1 WHERE name IN ('generation', 'deletions')")
        copies = {name: (library.path / name).read_bytes() for name in (DATABASE, DATABASE + "-wal")}
        db.close()
        for name, content in copies.items():
            (library.path / name).write_bytes(content)
    for folder in (library.path, *(path for path in library.path.rglob("*") if path.is_dir())):
        folder.chmod(0o555)
    try:
        done = run_as_nobody(
            f"library = Library({str(library.path)!r}, fake_space())\n"
            f"hits = library.search({TEXTS['dog.txt']!r}, k=100, duplicates=True)\n"
            "print(len(hits), hits[0].path.name, library.stats().files)\n"
        )
    finally:
        library.path.chmod(0o755)
        for path in library.path.rglob("*"):
            if path.is_dir():
                path.chmod(0o755)
    assert done.stdout.split() == (["5", "dog.txt", "5"] if state == "log" else ["6", "dog.txt", "6"]), (
        done.stderr
    )


@pytest.mark.skipif(os.name == "nt", reason="permissions of folders are POSIX")
@pytest.mark.usefixtures("open_to_all")
def test_folder_that_cannot_be_written_is_one_sentence(photos: Path):
    photos.chmod(0o555)
    try:
        done = run_as_nobody(
            "try:\n"
            f"    Library({str(photos / '.multimodal')!r}, fake_space()).add({str(photos)!r})\n"
            "except LibraryError as error: print(error)\n"
        )
    finally:
        photos.chmod(0o755)
    assert "permission denied" in done.stdout, done.stderr


@pytest.mark.skipif(not Path("/dev/shm").is_dir() or os.name == "nt", reason="limits the size of files")
def test_full_disk_is_one_sentence_and_leaves_a_sound_library(photos: Path, space: Space, serial: Serial):
    for number in range(40):
        (photos / f"{number}.txt").write_text(f"many words {number} " * 30)
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from multimodal import Library, LibraryError; from multimodal.library import indexing\n"
        "from tests.fakes import fake_space; from tests.library.serial import Serial\n"
        "Serial().install(); indexing.BATCH_FILES = 2\n"
        f"library = Library({str(photos / '.multimodal')!r}, fake_space())\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"  # no file may grow beyond
        "try:\n"
        f"    library.add({str(photos)!r})\n"
        "except LibraryError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True)
    assert "cannot be used" in done.stdout, done.stderr
    assert done.stdout.count("\n") == 1 and not done.stderr
    kept = contents(photos / ".multimodal")
    with Library(photos / ".multimodal", space) as library:
        library.add(photos)
        assert library.stats().files == 46 and 0 < len(kept) < library.stats().segments["text"]


def test_damaged_and_newer_databases_are_one_sentence(library: Library, photos: Path):
    library.add(photos)
    library.close()
    db = sqlite3.connect(library.path / DATABASE)
    db.execute(f"PRAGMA user_version = {migrations.LATEST + 1}")
    db.close()
    for call in (lambda: library.search("apple"), lambda: library.add(photos)):
        with pytest.raises(LibraryError, match="newer version"):
            call()
    (library.path / DATABASE).write_bytes(b"no database at all, only words" * 100)
    for call in (lambda: library.search("apple"), lambda: library.add(photos), library.stats):
        with pytest.raises(LibraryError, match="not a database"):
            call()


def test_library_whose_making_was_killed_is_made(library: Library, photos: Path):
    library.path.mkdir()
    (library.path / DATABASE).write_bytes(b"")
    with pytest.raises(NoLibrary):
        library.search("apple")
    library.add(photos)
    assert len(library.search("apple", k=100, duplicates=True)) == 6


def test_older_library_is_migrated_when_it_is_opened(
    library: Library, photos: Path, monkeypatch: pytest.MonkeyPatch
):
    library.add(photos)
    library.close()
    later = (
        *migrations.MIGRATIONS,
        "ALTER TABLE files ADD COLUMN note TEXT;\nCREATE INDEX n ON files (note);",
    )
    monkeypatch.setattr(migrations, "MIGRATIONS", later)
    monkeypatch.setattr(migrations, "LATEST", len(later))
    assert len(library.search("apple", k=100, duplicates=True)) == 6
    library.close()
    store = SqliteStore.open(library.path)
    try:
        assert migrations.version(store._db) == len(later)
        assert store._db.execute("SELECT count(*) FROM files WHERE note IS NULL").fetchone() == (6,)
    finally:
        store.close()


def test_stats_count_files_segments_and_bytes(library: Library, photos: Path, space: Space):
    (photos / "long.txt").write_text("\n\n".join("word " * 110 for _ in range(3)))
    library.add(photos)
    stats = library.stats()
    assert stats.files == 7 and stats.segments == {"text": 9}
    assert (stats.space, stats.space_id, stats.dim) == ("fake", space.space_id, 32)
    assert stats.bytes == sum(path.stat().st_size for path in library.path.rglob("*") if path.is_file())


def test_find_goes_upwards(library: Library, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(NoLibrary, match="any folder above"):
        Library.find(photos)
    library.add(photos)
    assert Library.find(photos / "sub") == photos / ".multimodal"
    monkeypatch.chdir(photos / "sub")
    assert Library.find() == photos / ".multimodal"
    with pytest.raises(NoLibrary):
        Library.find(tmp_path)


def test_importing_the_library_loads_nothing_heavy():
    code = "import multimodal.library, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, check=True)
    heavy = {
        "torch",
        "onnxruntime",
        "faiss",
        "PIL",
        "av",
        "cv2",
        "filelock",
        "librosa",
        "open_clip",
        "tokenizers",
    }
    assert not heavy & set(done.stdout.split())


def test_vectors_are_kept_in_memory_where_their_files_cannot_be_written(
    library: Library, photos: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(vectors, "_append", full)
    library.add(photos)
    assert len(library.search("apple", k=100, duplicates=True)) == 6
