"""What the tests of this folder share: the command as a process, its memory, what a library holds."""

from __future__ import annotations

import ctypes
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from multimodal.library.opening import DATABASE

ROOT = Path(__file__).parents[2]
STARTED: list[subprocess.Popen[str]] = []
"""Every process of `start`; what a failed test leaves of them is ended after it (see conftest.py)."""


def start(
    *arguments: str | Path, module: str = "tests.hostile.command", limited: bool = False, **environment: str
) -> subprocess.Popen[str]:
    """The command as a process of its own, by default with the fake space. What `limited` means, see
    `without_override`."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="surrogateescape",
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        preexec_fn=without_override if limited else None,
    )
    STARTED.append(process)
    return process


def end_started() -> None:
    """End what still runs of the processes started, and close their pipes."""
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def run(
    *arguments: str | Path, module: str = "tests.hostile.command", seconds: float = 120, **environment: Any
) -> subprocess.CompletedProcess[str]:
    """The same, waited for; one that takes longer than `seconds` raises TimeoutExpired."""
    process = start(*arguments, module=module, **environment)
    out, err = process.communicate(timeout=seconds)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, PR_CAPBSET_DROP = 1, 2, 24


def without_override() -> None:
    """In a child, before it runs a program: root, too, may then open only what permissions allow.

    Raises OSError where that cannot be done. Nothing has to be done for any other user.
    """
    if os.getuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "the capability cannot be dropped")


def permissions_hold() -> bool:
    """Whether this machine can run a process to which permissions apply."""
    try:
        done = subprocess.run(["cat", "/dev/null"], preexec_fn=without_override, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def report(path: Path) -> list[dict[str, Any]]:
    """The records that `--report` has written so far; a last line that is not finished is left out."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines[:-1]]


FILES = (
    "SELECT roots.path, files.path, size, mtime_ns, hex(hash), status, reason, recipe, encoders, segments,\
 companions, width, height, duration, taken FROM files JOIN roots ON roots.id = root ORDER BY 1, 2"
)
SEGMENTS = 'SELECT hex(segments.id), files.path, modality, ordinal, start, "end", text, page, begin_char,\
 end_char, role, encoder, hex(vectors.vector), hex(times), hex(frames.vectors) FROM segments\
 JOIN files ON files.id = file LEFT JOIN vectors ON vectors.segment = number\
 LEFT JOIN frames ON frames.segment = number ORDER BY 2, 4'


def contents(library: Path) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """All files and all segments of a library, in an order that does not depend on how it was made."""
    db = sqlite3.connect(library / DATABASE)
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        return db.execute(FILES).fetchall(), db.execute(SEGMENTS).fetchall()
    finally:
        db.close()


def check_derived(library: Path) -> int:
    """Assert that the vector files show just what the database holds; gives the number of rows."""
    folder, total = library / "vectors", 0
    stamp = json.loads((folder / "stamp.json").read_text(encoding="utf-8"))
    db = sqlite3.connect(library / DATABASE)
    try:
        settings = dict(db.execute("SELECT name, value FROM settings"))
        assert all(stamp[key] == settings[key] for key in ("library", "generation", "deletions", "dim"))
        stored: dict[str, dict[int, tuple[int, bytes]]] = {}
        query = "SELECT modality, number, file, vector FROM segments JOIN vectors ON segment = number"
        for modality, number, file, vector in db.execute(query):
            stored.setdefault(modality, {})[number] = (file, vector)
    finally:
        db.close()
    assert stamp["parts"].keys() == stored.keys()
    for modality, part in stamp["parts"].items():
        rows, stem = part["rows"], folder / part["name"]
        vectors = np.fromfile(stem.with_suffix(".f16"), "<f2", rows * stamp["dim"]).reshape(rows, -1)
        numbers = np.fromfile(stem.with_suffix(".i64"), "<i8", rows * 2).reshape(rows, 2)
        shown = {int(n): (int(f), v.tobytes()) for (n, f), v in zip(numbers, vectors, strict=True)}
        assert len(shown) == rows and shown == stored[modality]
        total += rows
    return total


class Tree:
    """Watches the memory of a process and of all it starts, 20 times a second."""

    def __init__(self, pid: int) -> None:
        self.base = _resident(psutil.Process(pid))
        """Bytes that the first had when the watch began."""
        self.peak = 0
        """Most bytes of resident memory of all together."""
        self.largest = 0
        """Most bytes of any one but the first."""
        self.processes: set[psutil.Process] = set()
        self._root = psutil.Process(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            try:
                below = self._root.children(recursive=True)
            except psutil.NoSuchProcess:
                return
            self.processes.update(below)
            sizes = [_resident(process) for process in (self._root, *below)]
            self.peak = max(self.peak, sum(sizes))
            self.largest = max([self.largest, *sizes[1:]])

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def descendants(pid: int) -> list[psutil.Process]:
    """The processes that one has started, at this moment."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def survivors(processes: Sequence[psutil.Process], seconds: float = 5.0) -> list[psutil.Process]:
    """Those that still run after `seconds`."""
    until = time.monotonic() + seconds
    while alive := [process for process in processes if _runs(process)]:
        if time.monotonic() > until:
            return alive
        time.sleep(0.02)
    return []


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What `condition` gives once it is true. Raises AssertionError when it does not become so."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.005)
    return found
