"""What grows as a library grows: time and memory to write, open, search, and look at it again.

    python -m benchmarks.growth [ROWS ...] [--plot growth.png]

(default: 1000 10000 100000 1000000) Rows are those of `benchmarks.search`, ten a file, written as an indexing
run writes them, without a model. Each size is a process of its own. "write" is all rows to the store and the
vectors beside it; "open" is up to the first answer; "search" the median of 40; "memory" what the process
holds after them, mapped files included. The plot is on logarithmic axes: slope 1 is linear.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.machine import machine
from benchmarks.search import Ours
from benchmarks.search_peers import clustered, memory

SIZES = (1_000, 10_000, 100_000, 1_000_000)
KEYS = ("write, s", "open, s", "search, ms", "memory, MB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--plot", type=Path, default=Path(__file__).with_name("growth.png"))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        way, folder = args.one
        print(json.dumps(write(args.rows[0], Path(folder)) if way == "write" else search(Path(folder))))
        return
    print(machine())
    print(f"| rows | {' | '.join(KEYS)} |\n|---|{'---|' * len(KEYS)}")
    found = []
    for rows in args.rows:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            one = {**alone("write", rows, scratch), **alone("search", rows, scratch)}
        found.append([one[key] for key in KEYS])
        print(f"| {rows:,} | {' | '.join(f'{value:.3g}' for value in found[-1])} |", flush=True)
    plot(args.rows, np.array(found), args.plot)


def alone(way: str, rows: int, folder: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.growth", str(rows), "--one", way, folder]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def write(rows: int, folder: Path) -> dict[str, float]:
    parts = [clustered(min(50_000, rows - begin), 10 + begin // 50_000) for begin in range(0, rows, 50_000)]
    made = np.concatenate(parts)
    ours = Ours("float16", False)
    began = time.perf_counter()
    ours.fill(folder, made)
    return {"write, s": time.perf_counter() - began}


def search(folder: Path) -> dict[str, float]:
    before, ours, times = memory(), Ours("float16", False), []
    began = time.perf_counter()
    ours.open(folder)
    ours.search(0, False)
    opened = time.perf_counter() - began
    for number in range(43):
        began = time.perf_counter()
        ours.search(number, False)
        times.append(time.perf_counter() - began)
    return {
        "open, s": opened,
        "search, ms": 1000 * float(np.median(times[3:])),
        "memory, MB": (memory() - before) / 1e6,
    }


def plot(rows: list[int], found: np.ndarray, target: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for key, line in zip(KEYS, found.T, strict=True):
        axes.loglog(rows, line, marker="o", label=key)
    axes.set_xlabel("segments")
    axes.grid(True, which="major", alpha=0.3)
    axes.legend()
    figure.savefig(target, dpi=120)


if __name__ == "__main__":
    main()
