"""What harmful and damaged files come to: each is accounted for, once, with a reason; nothing stops, hangs or
grows without bound."""

from __future__ import annotations

import os
import re
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from multimodal.pipeline import EncodedFile, Limits, encode_files
from tests.fakes import fake_space
from tests.hostile import bombs, damage
from tests.hostile.harness import Tree

LIMITS = Limits(seconds_without_progress=30.0, worker_memory=1 << 30)
MOST = 2 << 30
"""Bytes of resident memory of this process and two workers, each of which may ask for 1 GiB: what is seen
is about half."""
LEAK = re.compile(r"\b[A-Za-z]*(?:Error|Exception|Warning)\b|Traceback|0x[0-9a-f]{6}|/tmp/")
"""A reason is a sentence for the owner of the file, not what a program says of itself."""


def run(paths: list[Path]) -> tuple[dict[str, EncodedFile], Tree, float]:
    tree, began = Tree(os.getpid()), time.monotonic()
    try:
        files = list(encode_files(paths, fake_space(), workers=2, limits=LIMITS))
    finally:
        tree.stop()
    assert Counter(file.path for file in files) == Counter(paths)
    return {file.path.name: file for file in files}, tree, time.monotonic() - began


def check(files: dict[str, EncodedFile], tree: Tree) -> None:
    for name, file in files.items():
        if file.status == "added":
            assert file.rows, name
        else:
            assert not file.rows and file.reason, name
    leaks = {name: file.reason for name, file in files.items() if file.reason and LEAK.search(file.reason)}
    assert not leaks
    hung = [name for name, file in files.items() if file.reason and "gave nothing for" in file.reason]
    assert not hung
    assert tree.peak - tree.base < MOST  # other tests have left much in this process


def outcomes(files: dict[str, EncodedFile]) -> dict[str, tuple[str, str | None, int]]:
    return {name: (file.status, file.reason, len(file.rows)) for name, file in files.items()}


def test_every_format_has_an_encoder_here() -> None:
    assert len(damage.FORMATS) >= 60
    assert all(damage.originals().values())


def test_every_damage_of_every_format(tmp_path: Path) -> None:
    paths = list(damage.mutated(tmp_path, 1))
    assert len(paths) >= 500
    files, tree, seconds = run(paths)
    table: dict[str, Counter[str]] = {}
    for name, file in files.items():
        table.setdefault(name.split("-")[0], Counter())[file.status] += 1
    for name, counts in table.items():
        print(f"{name:<6} " + "  ".join(f"{status} {count}" for status, count in sorted(counts.items())))
    print(f"{len(files)} files in {seconds:.0f} s")
    print(f"peak {tree.peak / 2**20:.0f} MiB, largest worker {tree.largest / 2**20:.0f} MiB")
    check(files, tree)
    again, _, _ = run(paths[::9])
    first = outcomes(files)
    assert outcomes(again) == {name: first[name] for name in again}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(2, 12))
def test_more_damage(tmp_path: Path, seed: int) -> None:
    """7,800 further files."""
    check(*run(list(damage.mutated(tmp_path, seed)))[:2])


@pytest.mark.parametrize("slow", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_bombs(tmp_path: Path, slow: bool) -> None:
    """Small files that ask for much memory or time."""
    names = [name for name in bombs.NAMES if (name in bombs.SLOW) == slow]
    files, tree, _ = run([bombs.write_bomb(tmp_path, name) for name in names])
    for name in names:
        if name in bombs.LIMITED and sys.platform == "linux":
            file = files.pop(name)  # by which limit is a matter of the machine
            assert file.status == "failed" and "the decoder" in str(file.reason), file
    check(files, tree)
