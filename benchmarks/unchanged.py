"""A folder in which nothing has changed: how long does `index` look at it the second time?

    python -m benchmarks.unchanged [--files 100000]

Small texts, a thousand a folder, indexed once through the whole pipeline with a tower that costs nothing. The
second run is timed in a process of its own, from the opened library to the report, beside a bare `os.scandir`
walk with `stat` of the same files: the least that must be done.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.search import space
from multimodal import Library

EACH = 1000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--again", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.again:
        again(*map(Path, args.again))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder, home = Path(scratch) / "files", Path(scratch) / "library"
        for number in range(args.files):
            if number % EACH == 0:
                (folder / f"{number // EACH:04}").mkdir(parents=True)
            (folder / f"{number // EACH:04}" / f"{number:07}.txt").write_text(f"text {number}")
        with Library(home, space()) as library:
            began = time.perf_counter()
            report = library.add(folder)
            print(
                f"{machine()}\nfirst run: {time.perf_counter() - began:.1f} s, {report.count('added')} added"
            )
        for _ in range(3):
            command = [sys.executable, "-m", "benchmarks.unchanged", "--again", str(folder), str(home)]
            subprocess.run(command, check=True)


def again(folder: Path, home: Path) -> None:
    wall = time.perf_counter()
    seen = walk(folder)
    bare = time.perf_counter() - wall
    with Library(home, space()) as library:
        wall, cpu = time.perf_counter(), time.process_time()
        report = library.add(folder)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert report.count("unchanged") == seen
    print(f"{seen} unchanged: {wall:.2f} s, {cpu:.2f} CPU s; bare walk {bare:.2f} s; ratio {wall / bare:.1f}")


def walk(folder: Path) -> int:
    seen = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                seen += walk(Path(entry.path))
            else:
                entry.stat()
                seen += 1
    return seen


if __name__ == "__main__":
    main()
