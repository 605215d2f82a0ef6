"""Files that grow, shrink, vanish or become something else while they are being read."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import media
from tests.hostile.harness import check_derived, contents, report, run, start, wait_for

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be replaced there")


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(path.read_bytes())


def shrink(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 3)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def vanish(path: Path) -> None:
    path.unlink()


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside.txt").write_text("words inside")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def other(path: Path) -> None:
    new = path.with_name(f".new{path.suffix}")
    media.write(new, 5)
    new.replace(path)


def rewritten(path: Path) -> None:
    """Other bytes of the same number in the same file."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(os.urandom(min(1000, size // 4)))


CHANGES: list[Callable[[Path], None]] = [grow, shrink, empty, vanish, folder, pipe, loop, other, rewritten]
WRITERS: dict[str, Callable[[Path], object]] = {
    ".txt": lambda path: media.write_text(path, "\n\n".join(f"passage {n} " * 40 for n in range(400))),
    ".wav": lambda path: media.write_sound(path, media.tone(90.0, 8000), 8000),
    ".mp4": lambda path: media.write_video(path, [media.picture(n, 320, 240) for n in range(12)], 4.0, 10),
    ".gif": lambda path: media.write_animation(path, [media.picture(n, 640) for n in range(9)], [3.0] * 9),
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of each kind that is read piece by piece, with more than one piece."""
    made = tmp_path_factory.mktemp("originals")
    for suffix, write in WRITERS.items():
        write(made / f"gate{suffix}")
    return made


def quiet(path: Path) -> Path:
    """A folder of forty texts."""
    path.mkdir()
    for number in range(40):
        (path / f"note{number:02}.txt").write_text(f"word{number} and more")
    return path


def index_while(place: Path, name: str, change: Callable[[], object]) -> dict[str, str]:
    """Index a folder; when the first piece of the file `name` is there, `change` is called and the rest is
    read. Gives the status of every file."""
    gate, note = place.parent / "gate", place.parent / "report.jsonl"
    gate.mkdir()
    process = start("index", place, "--report", note, "--quiet", "--workers", "1", HOSTILE_GATE=str(gate))
    wait_for((gate / f"{name}.begun").exists)
    change()
    (gate / f"{name}.go").touch()
    _, said = process.communicate(timeout=60)
    assert process.returncode in (0, 3) and "Traceback" not in said, said
    told = {Path(record["path"]).name: record for record in report(note)}
    assert len(told) == len(report(note))
    assert all(record["reason"] for record in told.values() if record["status"] in ("skipped", "failed"))
    assert (process.returncode == 3) == any(record["status"] == "failed" for record in told.values())
    return {name: str(record["status"]) for name, record in told.items()}


def check_repaired(place: Path) -> None:
    """After another run the library is what a new one would be."""
    again = run("index", place, "--quiet")
    assert again.returncode in (0, 3) and "Traceback" not in again.stderr
    calm = place.parent / "calm"
    ignored = shutil.ignore_patterns(".multimodal")
    pipes = [path for path in place.rglob("*") if path.is_fifo()]
    for path in pipes:  # cannot be copied
        path.unlink()
    shutil.copytree(place, calm, ignore=ignored, symlinks=True)
    assert run("index", calm, "--quiet").returncode == again.returncode
    assert contents(place / ".multimodal") == contents(calm / ".multimodal")
    assert check_derived(place / ".multimodal") >= 40


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("suffix", [".txt", pytest.param(".gif", marks=pytest.mark.slow), ".wav",
                                    pytest.param(".mp4", marks=pytest.mark.slow)])  # fmt: skip
def test_while_it_is_read(
    tmp_path: Path, originals: Path, suffix: str, change: Callable[[Path], None]
) -> None:
    place = quiet(tmp_path / "place")
    path = place / f"gate{suffix}"
    shutil.copy2(originals / path.name, path)
    status = index_while(place, path.name, lambda: change(path))
    assert status.pop(path.name) in ("added", "failed")
    assert set(status.values()) == {"added"} and len(status) == 40
    check_repaired(place)


@pytest.mark.parametrize("change", CHANGES)
def test_before_its_turn_comes(tmp_path: Path, originals: Path, change: Callable[[Path], None]) -> None:
    """The folder was listed, the file not yet opened."""
    place = quiet(tmp_path / "place")
    shutil.copy2(originals / "gate.wav", place / "gate.wav")
    shutil.copy2(originals / "gate.gif", place / "zoo.gif")
    media.write_sound(place / "sound.wav", media.tone(1.0, 8000, 700.0), 8000)
    for number in range(30):  # the files behind these are not even hashed while the first is read
        (place / f"more{number:02}.txt").write_text(f"thing{number}")
    status = index_while(place, "gate.wav", lambda: change(place / "zoo.gif"))
    assert status.pop("zoo.gif") in ("added", "failed")
    assert set(status.values()) == {"added"} and len(status) == 72
    check_repaired(place)


@pytest.mark.parametrize("change", CHANGES)
def test_a_caption_that_changes(tmp_path: Path, originals: Path, change: Callable[[Path], None]) -> None:
    place = quiet(tmp_path / "place")
    shutil.copy2(originals / "gate.wav", place / "gate.wav")
    (place / "gate.txt").write_text("what is heard in there, in many words " * 30)
    status = index_while(place, "gate.wav", lambda: change(place / "gate.txt"))
    assert status.pop("gate.wav") == "added"
    assert status.pop("gate.txt") in ("added", "failed", "skipped")
    assert set(status.values()) == {"added"} and len(status) == 40
    check_repaired(place)


@pytest.mark.parametrize("change", [shrink, vanish, other])
def test_its_copy_is_not_taken_for_what_it_became(
    tmp_path: Path, originals: Path, change: Callable[[Path], None]
) -> None:
    place = quiet(tmp_path / "place")
    for name in ("gate.wav", "later.wav"):
        shutil.copy2(originals / "gate.wav", place / name)
    status = index_while(place, "gate.wav", lambda: change(place / "gate.wav"))
    assert status.pop("gate.wav") in ("added", "failed")
    assert set(status.values()) == {"added"} and len(status) == 41
    check_repaired(place)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of one process")
def test_what_failed_for_want_of_time_is_tried_with_more(tmp_path: Path) -> None:
    place = quiet(tmp_path / "place")
    media.write_sound(place / "slow.wav", media.tone(2.0, 8000), 8000)
    pace = {"HOSTILE_SLOW": "3"}
    first = run("index", place, "--quiet", "--timeout", "1", **pace)
    assert first.returncode == 3 and "the decoder gave nothing for 1 s" in first.stderr
    again = run("index", place, "--quiet", "--timeout", "1", **pace)
    assert again.returncode == 3 and "40 unchanged" in again.stderr and "in 0." in again.stderr
    more = run("index", place, "--quiet", "--timeout", "20", **pace)
    assert more.returncode == 0 and "1 files added" in more.stderr


def test_the_whole_folder_vanishes(tmp_path: Path, originals: Path) -> None:
    """As when a disk is pulled out; the library lies elsewhere and keeps what it had."""
    place, gate = quiet(tmp_path / "place"), tmp_path / "gate"
    shutil.copy2(originals / "gate.wav", place / "gate.wav")
    gate.mkdir()
    note, home = tmp_path / "report.jsonl", tmp_path / "home"
    process = start(
        "index", place, "--library", home, "--report", note, "--workers", "1", HOSTILE_GATE=str(gate)
    )
    wait_for((gate / "gate.wav.begun").exists)
    place.rename(tmp_path / "away")
    (gate / "gate.wav.go").touch()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 3 and "Traceback" not in said
    records = report(note)
    assert len(records) == 41
    gone = {"no such file or directory", "there is no such file", "the file is gone"}
    assert {record["reason"] for record in records if record["path"].endswith(".txt")} <= gone
    missing = run("index", place, "--library", home)
    assert missing.returncode == 2 and "does not exist" in missing.stderr
    (tmp_path / "away").rename(place)
    assert run("index", place, "--library", home, "--quiet").returncode == 0
    assert len(contents(home)[0]) == 41
