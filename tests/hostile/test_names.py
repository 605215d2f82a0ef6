"""File names as people and other systems make them: each is indexed, found, shown and removed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import unicodedata
from contextlib import suppress
from pathlib import Path

import pytest

from multimodal.errors import plain
from tests.hostile.harness import ROOT, contents, report, run

pytestmark = pytest.mark.skipif(
    sys.platform in ("win32", "darwin"),
    reason="names are valid Unicode there, and some of these are reserved",
)

NAMES = [
    b"plain.txt",
    b"caf\xe9 latin one.txt",
    b"\xff\xfe\x80.txt",
    b"odd extension.\xff\xfe",
    b"no extension \xe9",
    b"shift jis \x93\xfa\x96{.txt",
    b"new\nline.txt",
    b"return\rover.txt",
    b"tab\tbell\x07.txt",
    b"\x1b[31mred\x1b[0m\x1b]0;title\x07.txt",
    b"delete\x7f.txt",
    "c1 \x85 \x9b31m.txt".encode(),
    "סרט מהחופשה.txt".encode(),
    "\u202egnp.txt".encode(),
    "👩‍👩‍👧‍👦 😀.txt".encode(),
    unicodedata.normalize("NFC", "Ångström é.txt").encode(),
    unicodedata.normalize("NFD", "Ångström é.txt").encode(),
    b"-rf.txt",
    b"--help.txt",
    b"con.txt",
    b"aux",
    b"nul.txt.",
    b" leading space.txt",
    b"trailing space.txt ",
    b"quote ' \" `id` $(id).txt",
    b"back\\slash.txt",
    b"star * ? [a-z] {b}.txt",
    b"percent %s %n %00.txt",
    b"[bold]markup[-bold].txt",
    b"~tilde.txt",
    b"#hash !bang.txt",
    b"a" * 251 + b".txt",
    "日".encode() * 83 + b".txt",
    b"x." + b"y" * 253,
]
"""Bytes, as the file system keeps them. Each file holds the word of its place in this list."""


def make(folder: Path) -> dict[str, Path]:
    """Files of all those names, by the word that each holds."""
    made = {}
    for number, name in enumerate(NAMES):
        path = folder / os.fsdecode(name)
        path.write_text(f"w{number}w and some words")
        made[f"w{number}w"] = path
    return made


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of such a name itself, below another one, indexed."""
    folder = tmp_path_factory.mktemp("names") / os.fsdecode(b"\xe9\n-rf") / "\u202e \x1b[2J"
    folder.mkdir(parents=True)
    make(folder)
    done = run("index", folder, "--report", folder.parent / "report.jsonl", "--quiet")
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr
    return folder


def unread(name: bytes) -> bool:
    """Whether no reader takes a text of that name."""
    suffix = Path(os.fsdecode(name)).suffix
    return suffix not in ("", ".txt")


def test_every_name_is_told_of_once(odd: Path) -> None:
    told = report(odd.parent / "report.jsonl")
    assert len(told) == len(NAMES)
    status = {record["path"]: record["status"] for record in told}
    for name in NAMES:
        shown = os.fsencode(odd / os.fsdecode(name)).decode("utf-8", "backslashreplace")
        assert status.pop(shown) == ("skipped" if unread(name) else "added"), name
    assert not status


def test_every_name_is_found(odd: Path) -> None:
    from multimodal import Library
    from tests.fakes import fake_space

    with Library(odd / ".multimodal", fake_space()) as library:
        for number, name in enumerate(NAMES):
            if not unread(name):
                words = f"w{number}w and some words"  # the fake space tells few words apart
                [hit] = [hit for hit in library.search(words, k=100, duplicates=True) if hit.text == words]
                assert hit.path == odd / os.fsdecode(name) and hit.path.is_file()
                assert hit.path in [
                    one.path for one in library.search(hit.path, k=100, duplicates=True) if one.cosine > 0.999
                ]


def test_a_second_run_changes_nothing(odd: Path) -> None:
    before = contents(odd / ".multimodal")
    done = run("index", odd, "--quiet")
    assert done.returncode == 0 and done.stderr.startswith("0 files added")
    assert contents(odd / ".multimodal") == before


def test_what_is_printed_is_safe_for_a_terminal(odd: Path) -> None:
    """One line for each hit, and no byte that a terminal obeys."""
    done = run("search", "some words", "-k", "100", "--duplicates", "--library", odd / ".multimodal")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == sum(not unread(n) for n in NAMES)
    for shown in (done.stdout, run("doctor", odd).stdout, run("index", odd, "--quiet").stderr):
        odd_ones = {c for c in shown if unicodedata.category(c) in ("Cc", "Cs") and c != "\n"}
        assert not odd_ones and "\u202e" not in shown


@pytest.mark.parametrize("command", ["search", "doctor"])
def test_json_is_valid_and_names_every_file(odd: Path, command: str) -> None:
    if command == "search":
        done = run(
            "search", "some words", "-k", "100", "--duplicates", "--json", "--library", odd / ".multimodal"
        )
        told = json.loads(done.stdout)
    else:
        done = run("doctor", odd, "--json")
        told = [json.loads(line) for line in done.stdout.split("\n")[:-1]]
    assert done.returncode == 0, done.stderr
    expected = [name for name in NAMES if command == "doctor" or not unread(name)]
    assert {entry["path"] for entry in told} == {
        os.fsencode(odd / os.fsdecode(name)).decode("utf-8", "backslashreplace") for name in expected
    }


def test_a_table_of_them_can_be_written(odd: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    files = [odd / os.fsdecode(name) for name in NAMES if not unread(name)]
    from multimodal.export import write_parquet
    from tests.fakes import fake_space

    written = write_parquet(files, tmp_path / "vectors.parquet", fake_space())
    assert written.count("added") == len(files)
    assert pq.read_table(tmp_path / "vectors.parquet").num_rows == len(files)


def test_a_narrow_encoding_of_the_output_is_no_error(odd: Path) -> None:
    for arguments in (
        ["search", "some words", "-k", "100", "--duplicates", "--library", odd / ".multimodal"],
        ["doctor", odd],
    ):
        done = run(*arguments, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
        assert done.returncode == 0, done.stderr
        assert done.stdout.isascii() and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["[red].txt", "[bold]", "[link=x]\x1b[2J.txt", "\\[.txt"])
def test_a_progress_bar_shows_a_name_as_it_is(tmp_path: Path, name: str) -> None:
    """Square brackets are markup to what draws the bar; control characters are orders to the terminal."""
    import pty

    (tmp_path / name).write_text("words")
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "tests.hostile.command", "index", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=child, env={**os.environ, "TERM": "xterm"})
    os.close(child)
    shown = b""
    with suppress(OSError):  # the end of a terminal on Linux
        while block := os.read(parent, 65536):
            shown += block
    os.close(parent)
    assert process.wait(30) == 0, shown
    assert b"Traceback" not in shown and b"1 files added" in shown and b"\x1b[2J" not in shown
    assert plain(name).encode() in shown


def test_a_name_that_looks_like_an_option_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "-rf"
    folder.mkdir()
    (folder / "--help.txt").write_text("red apple")
    done = run("index", "--quiet", "--", folder)
    assert done.returncode == 0 and "1 files added" in done.stderr


def test_paths_of_any_length(tmp_path: Path) -> None:
    """Up to what the system takes they are read; what lies beyond is told of, with exit code 3."""
    folder = tmp_path / "deep"
    folder.mkdir()
    here = os.open(folder, os.O_RDONLY)
    depths = []
    try:
        length = len(os.fsencode(folder))
        for level in range(25):
            name = f"{level:02}" + "d" * 248
            os.mkdir(name, dir_fd=here)
            below = os.open(name, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
            length += len(name) + 1
            with open(os.open("a.txt", os.O_WRONLY | os.O_CREAT, dir_fd=here), "w") as file:
                file.write(f"level {level}")
            depths.append(length + len("/a.txt"))
        note = tmp_path / "report.jsonl"
        done = run("index", folder, "--report", note, "--quiet")
        assert done.returncode == 3 and "Traceback" not in done.stderr
        added = [record for record in report(note) if record["status"] == "added"]
        failed = [record for record in report(note) if record["status"] == "failed"]
        assert len(added) == sum(depth < 4096 for depth in depths) and any(d > 260 for d in depths)
        assert [record["reason"] for record in failed] == ["the folder cannot be listed: file name too long"]
        assert len(added) < len(depths) == 25
        again = run("index", folder, "--quiet")
        assert again.returncode == 3 and "0 files added" in again.stderr and "0 removed" in again.stderr
    finally:
        os.close(here)
        shutil.rmtree(folder)
