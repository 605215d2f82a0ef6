from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from multimodal import readers
from multimodal.space import Space
from tests.fakes import DIM, fake_space
from tests.pipeline import hazards

Script = Callable[..., Path]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Writes a file of the lines given, which the pipeline reads with `hazards.read`."""
    monkeypatch.setattr(readers, "read", hazards.read)

    def write(name: str, *lines: str) -> Path:
        path = tmp_path / name
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    return write


@pytest.fixture
def heavy_space(monkeypatch: pytest.MonkeyPatch) -> Space:
    """A space whose sounds travel whole: each `big` weighs 4 MB on its way."""
    space = fake_space()
    monkeypatch.setattr(space["audio"].tower, "preprocess", hazards.Whole())
    monkeypatch.setattr(space["audio"].tower, "forward", lambda batch: np.stack([a[:DIM] for a in batch]))
    return space


def pids(path: Path, count: int = 1, seconds: float = 20.0) -> list[int]:
    """The process ids that `pid PATH` lines have written, once there are `count` of them."""
    lines: list[str] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        lines = path.read_text().splitlines() if path.exists() else []
        if len(lines) >= count:
            return [int(line) for line in lines]
        time.sleep(0.02)
    raise AssertionError(f"{path} holds {lines}")


def gone(pid: int, seconds: float = 0.0) -> bool:
    """Whether a process has ended by now, or ends within `seconds`."""
    until = time.monotonic() + seconds
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if _is_zombie(pid):
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(0.02)


def _is_zombie(pid: int) -> bool:
    """A child of another process than this one that has ended, where only its parent may bury it."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False
