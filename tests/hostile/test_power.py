"""What is told of is on the disk: a batch is synced before its files are acknowledged."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from multimodal import Library
from multimodal.library import opening
from multimodal.space import Space
from tests.fakes import fake_space
from tests.hostile.harness import ROOT


def test_the_writing_connection_waits_for_the_disk(tmp_path: Path) -> None:
    db = opening.for_writing(tmp_path)
    try:
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: the log is synced by each commit
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA foreign_keys").fetchone() == (1,)
    finally:
        db.close()


def test_derived_files_are_synced_before_a_stamp_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As seen through the calls of Python, on every system."""
    (tmp_path / "note.txt").write_text("red apple")
    synced: list[str] = []
    replaced: list[tuple[str, list[str]]] = []
    fsync, replace = os.fsync, os.replace

    def sync(descriptor: int) -> None:
        synced.append(_name(descriptor))
        fsync(descriptor)

    def put(source: Path, target: Path) -> None:
        replaced.append((Path(target).name, sorted(synced)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", put)
    with Library(tmp_path / ".multimodal", fake_space()) as library:
        library.add(tmp_path)
    [(_, before)] = [one for one in replaced if one[0] == "stamp.json"]
    if sys.platform == "linux":
        assert {Path(path).suffix for path in before} >= {".f16", ".i64", ".tmp"}
    assert len(before) >= 3


def _name(descriptor: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return str(descriptor)


LASTING = ("library.db", "library.db-wal")
"""What the library is made of; all else (the index of the log, the vectors) can be made again from them."""
_CALL = re.compile(r"^(?:\[pid +)?(\d+)\]? +(\w+)\((.*)\) += (-?\d+)")
_DESCRIPTOR = re.compile(r"^\d+<(.*?)>")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass
class Disk:
    """Which files below a folder, and which entries of its folders, a power cut would now take back."""

    folder: str
    existing: set[str]
    dirty: set[str] = field(default_factory=set)
    entries: set[str] = field(default_factory=set)
    """Files with content whose folder has not been synced since they were made or put in place of another."""

    def follow(self, call: str, given: str) -> None:
        on = _DESCRIPTOR.match(given)
        if call in ("write", "pwrite64", "ftruncate") and on and on[1].startswith(self.folder):
            self.dirty.add(on[1])
            if on[1] not in self.existing:
                self.entries.add(on[1])
                self.existing.add(on[1])
        elif call in ("fsync", "fdatasync") and on:
            self.dirty.discard(on[1])
            self.entries = {path for path in self.entries if os.path.dirname(path) != on[1]}
        elif call in ("rename", "renameat", "renameat2"):
            source, target = _QUOTED.findall(given)[-2:]
            if target.startswith(self.folder):
                assert source not in self.dirty, f"{source} is put in place before it is on the disk"
                self.entries.discard(source)
                self.entries.add(target)
        elif call in ("unlink", "unlinkat"):
            path = _QUOTED.findall(given)[-1]
            for files in (self.dirty, self.entries, self.existing):
                files.discard(path)


def calls(log: Path) -> Iterator[tuple[str, str]]:
    """Name and arguments of each call that strace saw succeed, in their order."""
    unfinished: dict[str, str] = {}
    for line in log.read_text(errors="surrogateescape").splitlines():
        pid = line.split(maxsplit=1)[0]
        if line.endswith("<unfinished ...>"):
            unfinished[pid] = line.removesuffix("<unfinished ...>").rstrip()
            continue
        if "resumed>" in line:
            line = unfinished.pop(pid, "") + line.partition("resumed>")[2]
        found = _CALL.match(line)
        if found and int(found[4]) >= 0:
            yield found[2], found[3]


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_nothing_is_told_of_that_a_power_cut_would_take_back(tmp_path: Path) -> None:
    """Every call to the system of an index run, in order: when a line of the report is written, no byte of
    the library may wait to be written, and no file of it may miss in its folder."""
    folder, note, log = tmp_path / "notes", tmp_path / "report.jsonl", tmp_path / "calls"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number:02}.txt").write_text(f"word{number}")
    traced = "trace=mkdir,write,pwrite64,ftruncate,fsync,fdatasync,rename,renameat,renameat2,unlink"
    command = ["strace", "-f", "-y", "-s", "0", "-o", log, "-e", traced]
    command += [sys.executable, "-m", "tests.hostile.command", "index", folder]
    command += ["--report", note, "--workers", "1"]
    for _ in range(2):  # a new library, and one that grows
        environment = {**os.environ, "HOSTILE_BATCH": "8"}
        given = list(map(str, command))
        existing = {str(path) for path in (folder / ".multimodal").rglob("*")}
        done = subprocess.run(given, cwd=ROOT, env=environment, capture_output=True, text=True)
        if "PTRACE" in done.stderr or "ptrace" in done.stderr:
            pytest.skip("processes may not be traced here")
        assert done.returncode == 0, done.stderr
        home = str(folder / ".multimodal")
        disk, told, stamps = Disk(home, existing), 0, 0
        made = not _has_been_made(log, home)
        for call, given in calls(log):
            if call == "write" and f"<{note}>" in given:
                told += 1
                waiting = {path for path in disk.dirty if path.endswith(LASTING)}
                assert not waiting, f"{waiting} when line {told} of the report was written"
                missing = {path for path in disk.entries if path.endswith(LASTING)}
                assert not missing, f"{missing} when line {told} of the report was written"
                assert made, "the folder of the library may be gone after a power cut"
            disk.follow(call, given)
            made = made or (call in ("fsync", "fdatasync") and f"<{folder}>" in given)
            stamps += call.startswith("rename") and "stamp.json" in given
        assert told >= 40 and stamps == 1
        for number in range(40, 60):
            (folder / f"{number:02}.txt").write_text(f"word{number}")
        (folder / "00.txt").unlink(missing_ok=True)


def _has_been_made(log: Path, home: str) -> bool:
    return any(call == "mkdir" and home in given for call, given in calls(log))


def test_a_log_that_was_not_folded_in_is_read(tmp_path: Path) -> None:
    """What a power cut leaves: the database as it was, the commits in the log beside it."""
    notes, copy = tmp_path / "notes", tmp_path / "copy"
    notes.mkdir()
    (notes / "note.txt").write_text("red apple")
    space: Space = fake_space()
    with Library(notes / ".multimodal", space) as library:
        library.add(notes)
        (notes / "other.txt").write_text("green pear")

        def snapshot(*_: object) -> None:
            if not copy.exists():
                shutil.copytree(notes, copy)

        library.add(notes, on_record=lambda record: snapshot() if record.status == "added" else None)
    assert (copy / ".multimodal" / "library.db-wal").stat().st_size
    with Library(copy / ".multimodal", space) as library:
        assert library.search("green pear", k=1)[0].path == copy / "other.txt"
        assert library.add(copy).count("unchanged") == 2
