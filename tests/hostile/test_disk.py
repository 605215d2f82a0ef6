"""A full disk: one sentence, exit code 2, a library that is whole and goes on when there is room again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import media
from tests.hostile.harness import check_derived, contents, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a disk of any size can be had on Linux")


class SmallDisk:
    """A file system of its own in memory."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def mount(self, kibibytes: int) -> None:
        command = ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(self.place)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")

    def resize(self, kibibytes: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={kibibytes}k", str(self.place)], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", str(self.place)], check=False, capture_output=True)


def fill(disk: SmallDisk) -> None:
    with (disk.place / "filler").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(b"x" * 4096)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command")
    (tmp_path / "disk").mkdir()
    disk = SmallDisk(tmp_path / "disk")
    yield disk
    disk.unmount()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(60):
        text = "\n\n".join(f"word{number} passage{part} " * 25 for part in range(6))
        (folder / f"{number:02}.txt").write_text(text)
    media.write(folder / "photo.png")
    return folder


@pytest.mark.parametrize("kibibytes", [8, 64, 140, 300, 420, 600])
def test_the_library_is_on_a_full_disk(tmp_path: Path, folder: Path, disk: SmallDisk, kibibytes: int) -> None:
    disk.mount(kibibytes)
    home = disk.place / "library"
    done = run("index", folder, "--library", home, "--quiet", HOSTILE_BATCH="4")
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert "full" in done.stderr or "space" in done.stderr or "i/o" in done.stderr
    searched = run("search", "word3", "--library", home)
    if searched.returncode == 0:
        assert len(contents(home)[0]) < 61
    else:
        assert "no library" in searched.stderr or "cannot be used" in searched.stderr
    assert "Traceback" not in searched.stderr
    again = run("index", folder, "--library", home, "--quiet")
    assert again.returncode == 2 and again.stderr.count("\n") == 1
    disk.resize(8192)
    assert run("index", folder, "--library", home, "--quiet").returncode == 0
    assert run("index", folder, "--library", tmp_path / "calm", "--quiet").returncode == 0
    assert contents(home) == contents(tmp_path / "calm")
    assert check_derived(home) == check_derived(tmp_path / "calm")


def test_a_disk_that_fills_while_a_library_lies_on_it(folder: Path, disk: SmallDisk) -> None:
    """Search goes on: the vectors that cannot be written are kept in memory."""
    disk.mount(8192)
    home = disk.place / "library"
    assert run("index", folder, "--library", home, "--quiet").returncode == 0
    shutil.rmtree(home / "vectors")
    fill(disk)
    done = run("search", "word3", "--library", home, "-k", "70", "--duplicates")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 61
    assert run("info", "--library", home).returncode == 0
    (folder / "new.txt").write_text("\n\n".join("new words " * 50 for _ in range(200)))
    done = run("index", folder, "--library", home, "--quiet")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    (disk.place / "filler").unlink()
    assert run("index", folder, "--library", home, "--quiet").returncode == 0
    assert len(contents(home)[0]) == 62


def test_the_media_are_on_a_full_disk(tmp_path: Path, folder: Path, disk: SmallDisk) -> None:
    disk.mount(600)
    place = disk.place / "folder"
    shutil.copytree(folder, place)
    fill(disk)
    assert run("index", place, "--library", tmp_path / "home", "--quiet").returncode == 0


def test_what_is_written_beside_a_library(folder: Path, tmp_path: Path) -> None:
    """The report, the table, the output: each ends in one sentence, and nothing of the library is lost."""
    home = tmp_path / "home"
    done = run("index", folder, "--library", home, "--report", "/dev/full", HOSTILE_BATCH="4")
    assert done.returncode == 2
    assert done.stderr == (
        "multimodal: The report cannot be written to /dev/full: no space left on device.\n"
    )
    assert run("index", folder, "--library", home, "--quiet").returncode == 0
    assert len(contents(home)[0]) == 61
    for arguments in (["search", "word3", "--library", home], ["doctor", folder, "--json"]):
        command = [sys.executable, "-m", "tests.hostile.command", *map(str, arguments)]
        with Path("/dev/full").open("wb") as full:
            wrote = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
        assert wrote.returncode == 2, wrote.stderr
        assert wrote.stderr == "multimodal: The output cannot be written: no space left on device.\n"


def test_a_table_that_does_not_fit(folder: Path, disk: SmallDisk) -> None:
    disk.mount(64)
    files = sorted(folder.glob("*.txt"))
    done = run("embed", *files, "-o", disk.place / "x.parquet", module="multimodal.cli")
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "cannot be written" in done.stderr and "Traceback" not in done.stderr
    assert not list(disk.place.iterdir())
