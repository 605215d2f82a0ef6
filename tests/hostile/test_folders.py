"""Folders that fight back: loops of links, closed doors, pipes and devices, odd patterns, crowds."""

from __future__ import annotations

import os
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests import media
from tests.hostile.harness import contents, permissions_hold, report, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links, permissions and pipes of POSIX")


def indexed(folder: Path, *options: str, code: int = 0, **how: Any) -> dict[str, tuple[str, str | None]]:
    """Index a folder: what became of each file, by its path from there."""
    note = folder.parent / f"{folder.name}.jsonl"
    done = run("index", folder, "--report", note, "--quiet", *options, **how)
    assert "Traceback" not in done.stderr
    assert done.returncode == code, done.stderr
    records = report(note)
    told = {os.path.relpath(r["path"], folder): (r["status"], r["reason"]) for r in records}
    assert len(told) == len(records)
    return told


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    (folder / "apple.txt").write_text("apple tree")
    (folder / "below" / "boat.txt").write_text("boat on a lake")
    return folder


def test_links_that_go_round_end(folder: Path) -> None:
    (folder / "self").symlink_to("self")
    (folder / "self.txt").symlink_to("self.txt")
    (folder / "a.txt").symlink_to("b.txt")
    (folder / "b.txt").symlink_to("a.txt")
    (folder / "up").symlink_to("..")
    (folder / "below" / "top").symlink_to(folder)
    (folder / "below" / "here").symlink_to(".")
    (folder / "root").symlink_to("/")
    (folder / "gone.txt").symlink_to("nowhere/at all")
    (folder / "chain0.txt").symlink_to("apple.txt")
    for number in range(60):  # Linux follows 40
        (folder / f"chain{number + 1}.txt").symlink_to(f"chain{number}.txt")
    told = indexed(folder)
    assert told.pop("apple.txt") == ("added", None)
    assert told.pop("below/boat.txt") == ("added", None)
    links = {name: told.pop(name) for name in list(told) if name.startswith("chain")}
    assert len(links) == 61 and links["chain0.txt"] == ("reused", None)
    assert Counter(status for status, _ in links.values()) == {"reused": 40, "skipped": 21}
    assert set(told.values()) == {
        ("skipped", "the link leads nowhere"),
        ("skipped", "a link to a folder is not followed"),
    }
    assert len(told) == 9
    again = indexed(folder)
    assert Counter(status for status, _ in again.values()) == {"unchanged": 42, "skipped": 30}


@pytest.mark.parametrize("arguments", [["index", "loop"], ["doctor", "loop"], ["index", "loop/deeper"]])
def test_a_loop_that_is_given_by_name(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "loop").symlink_to("loop")
    done = run(arguments[0], tmp_path / arguments[1])
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_a_link_to_the_folder_is_the_folder(folder: Path) -> None:
    link = folder.parent / "link"
    link.symlink_to(folder)
    assert run("index", link, "--quiet").returncode == 0
    done = run("index", folder, "--quiet")
    assert "2 unchanged" in done.stderr


@pytest.mark.skipif(not permissions_hold(), reason="this process may open whatever it wants")
def test_closed_doors_are_told_of_and_what_lies_behind_is_kept(folder: Path) -> None:
    (folder / "cat.txt").write_text("cat in a hat")
    (folder / "below" / "dog.txt").write_text("dog and bone")
    for name in ("list only", "enter only"):
        (folder / name).mkdir()
        (folder / name / "egg.txt").write_text(f"egg in {name}")
    media.write(folder / "photo.png")
    (folder / "photo.txt").write_text("a caption")
    first = indexed(folder, limited=True)
    assert set(first.values()) == {("added", None), ("added", "read with photo.png")}
    before = contents(folder / ".multimodal")
    shut = {"cat.txt": 0o000, "below": 0o000, "list only": 0o600, "enter only": 0o300}
    for name, mode in shut.items():
        (folder / name).chmod(mode)
    try:
        os.utime(folder / "cat.txt", (1, 1))  # else nothing would be opened
        told = indexed(folder, code=3, limited=True)
        assert told.pop("apple.txt") == told.pop("photo.png") == ("unchanged", None)
        assert told.pop("photo.txt")[0] == "unchanged"
        assert told == {
            "cat.txt": ("failed", "permission denied"),
            "below": ("failed", "the folder cannot be listed: permission denied"),
            "enter only": ("failed", "the folder cannot be listed: permission denied"),
            "list only/egg.txt": ("failed", "it cannot be looked at: permission denied"),
        }
        files, _ = contents(folder / ".multimodal")
        assert {row[1] for row in files} == {row[1] for row in before[0]}  # nothing counts as gone
    finally:
        for name in shut:
            (folder / name).chmod(0o700)
    told = indexed(folder, limited=True)
    assert {status for status, _ in told.values()} == {"unchanged", "added"}
    assert told["cat.txt"] == ("added", None)
    assert contents(folder / ".multimodal")[1] == before[1]


@pytest.mark.skipif(not permissions_hold(), reason="this process may open whatever it wants")
def test_a_caption_that_may_not_be_read_takes_nothing_from_its_picture(folder: Path) -> None:
    media.write(folder / "photo.png")
    (folder / "photo.txt").write_text("a caption")
    (folder / "photo.txt").chmod(0)
    told = indexed(folder, code=3, limited=True)
    assert told["photo.png"] == ("added", None)
    assert told["photo.txt"][0] == "failed" and "permission denied" in str(told["photo.txt"][1])
    (folder / "photo.txt").chmod(0o600)
    told = indexed(folder, limited=True)
    assert told["photo.txt"] == ("added", "read with photo.png")


@pytest.mark.skipif(not permissions_hold(), reason="this process may open whatever it wants")
@pytest.mark.parametrize("mode", [0o000, 0o300])
def test_a_folder_that_may_not_be_looked_into(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    try:
        done = run("index", folder, "--library", folder.parent / "home", limited=True)
        looked = run("doctor", folder, limited=True)
    finally:
        folder.chmod(0o700)
    for said in (done.stderr, looked.stdout + looked.stderr):
        assert "permission denied" in said or "not readable" in said
        assert "Traceback" not in said
    assert done.returncode in (2, 3)


@pytest.fixture
def zoo(folder: Path) -> Path:
    """A folder with what is no file at all, under names of files."""
    os.mkfifo(folder / "pipe.txt")
    os.mkfifo(folder / "pipe")
    (folder / "zero.wav").symlink_to("/dev/zero")
    (folder / "terminal.txt").symlink_to("/dev/tty")
    (folder / "null.jpg").symlink_to("/dev/null")
    here = os.getcwd()
    os.chdir(folder)  # the path of a socket is limited to 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket.mp4")
    finally:
        os.chdir(here)
    try:
        os.mknod(folder / "disk.png", 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        (folder / "disk.png").symlink_to("/dev/zero")
    (folder / "folder.jpg").mkdir()
    (folder / "empty.jpg").touch()
    (folder / "photo.png").mkdir()
    (folder / "photo.txt").write_text("a caption of a folder")
    return folder


def test_pipes_sockets_and_devices_are_told_of_and_never_opened(zoo: Path) -> None:
    told = indexed(zoo, code=3, seconds=30)
    expected = dict.fromkeys(
        ("pipe", "pipe.txt", "socket.mp4", "disk.png", "zero.wav", "terminal.txt", "null.jpg"),
        ("skipped", "not a regular file"),
    )
    if not Path("/dev/tty").exists():
        expected["terminal.txt"] = ("skipped", "the link leads nowhere")
    assert told == {
        **expected,
        "apple.txt": ("added", None),
        "below/boat.txt": ("added", None),
        "photo.txt": ("added", None),
        "empty.jpg": ("failed", "the file is empty"),
    }


@pytest.mark.parametrize("name", ["pipe.txt", "pipe", "socket.mp4", "disk.png", "zero.wav", "null.jpg"])
def test_one_that_is_given_by_name_is_refused_at_once(zoo: Path, name: str) -> None:
    for arguments in (
        ["index", zoo / name],
        ["doctor", zoo / name],
        ["embed", zoo / name, "-o", zoo / "x.parquet"],
    ):
        done = run(*arguments, seconds=20)
        said = done.stdout + done.stderr
        assert "regular file" in said or "not a file" in said, said
        assert done.returncode in (0, 2) and "Traceback" not in said
        assert done.returncode == 2 or arguments[0] != "embed"


@pytest.mark.parametrize("what", ["pipe", "folder", "loop", "zero", "binary", "huge", "wild"])
def test_an_ignore_file_of_any_kind(folder: Path, what: str) -> None:
    ignore = folder / ".multimodalignore"
    if what == "pipe":
        os.mkfifo(ignore)
    elif what == "folder":
        ignore.mkdir()
    elif what == "loop":
        ignore.symlink_to(ignore)
    elif what == "zero":
        ignore.symlink_to("/dev/zero")
    elif what == "binary":
        ignore.write_bytes(bytes(range(256)))
    elif what == "huge":
        with ignore.open("wb") as file:
            file.truncate(5 << 30)
    else:
        lines = [
            "!",
            "\\",
            "***",
            "[",
            "[]",
            "[!]",
            "a**/b",
            "/",
            "//",
            "!!",
            "\\!",
            "# no",
            "  ",
            "(",
            "*" * 2000,
        ]
        ignore.write_text("\n".join(["boat.txt", *lines]))
    done = run("index", folder, "--quiet", seconds=30)
    assert "Traceback" not in done.stderr
    if what in ("huge", "wild"):
        assert done.returncode == 2 and "ignore" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    else:
        assert done.returncode == 0 and "2 files added" in done.stderr, done.stderr


def test_patterns_of_what_to_pass_over(folder: Path) -> None:
    for name in ("cat.TXT", "dog.tmp", "dog.txt", "below/egg.txt", "cache/fox.txt", "below/cache/gnu.txt",
                 "below/deep/hen.txt", "é.txt", "a b.txt", "#x.txt", "!y.txt", "old.txt"):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"words of {name}")
    (folder / ".multimodalignore").write_bytes(
        b"\xef\xbb\xbf# a comment\r\n*.tmp\r\ncache/\r\nbelow/*\r\n!below/egg.txt\r\n"
        b"\xc3\xa9.txt\r\n\\#x.txt\r\n\\!y.txt\r\n"
    )
    told = indexed(folder, "--exclude", "dog.*", "--exclude", "/old.txt")
    assert set(told) == {"apple.txt", "cat.TXT", "below/egg.txt", "a b.txt"}
    told = indexed(folder, "--exclude", "a b.txt", "--exclude", "below")
    assert {name: status for name, (status, _) in told.items()} == {
        "apple.txt": "unchanged", "cat.TXT": "unchanged", "dog.txt": "added", "old.txt": "added",
        "below/egg.txt": "removed", "a b.txt": "removed",
    }  # fmt: skip
    done = run("index", folder, "--exclude", "!", "--quiet")
    assert done.returncode in (0, 2) and "Traceback" not in done.stderr


@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", [2_000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_a_folder_of_very_many_files(tmp_path: Path, count: int) -> None:
    folder = tmp_path / "crowd"
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:05}.txt").write_bytes(f"note {number}".encode())
    done = run("index", folder, "--quiet", seconds=500)
    assert done.returncode == 0, done.stderr
    assert f"{count} files added ({count} segments)" in done.stderr
    files, segments = contents(folder / ".multimodal")
    assert len(files) == len(segments) == count
    again = run("index", folder, "--quiet", seconds=60)
    assert again.returncode == 0 and f"{count} unchanged" in again.stderr
    print(done.stderr, again.stderr)
