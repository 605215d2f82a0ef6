"""The pipeline beside its parts: 300 photos through decoding alone, embedding alone, and both together.

python -m benchmarks.pipeline [--files 300] [--space starter] [--workers N] [--threads N] [--runs 3]
                              [--photos DIR]

Decoding alone runs the same worker processes and throws away what they prepare. Embedding alone takes
what they prepared from memory, in batches of 32. Workers start inside the time measured, the model is
loaded before it. The three take turns, so that a machine that drifts touches all alike. CPU seconds
count this process and its workers: together with the number of cores they bound what is possible.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import machine
from benchmarks.photos import write_photos
from multimodal import load_space
from multimodal.pipeline import Limits, encode_files
from multimodal.pipeline.encode import BATCH, default_workers, setup_for
from multimodal.pipeline.pool import DecodePool
from multimodal.pipeline.wire import Ended, Piece, Task
from multimodal.space import Space
from multimodal.towers.base import Prepared
from multimodal.towers.onnx import threads


class Cost(NamedTuple):
    """Seconds by the clock, and CPU seconds of this process and of the workers it started."""

    wall: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--space", default="starter")
    parser.add_argument("--workers", type=int, default=default_workers())
    parser.add_argument("--threads", type=int, help="threads of the forward pass")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--photos", type=Path, help="where to keep the photos for the next time")
    args = parser.parse_args()
    if args.threads:
        os.environ["OMP_NUM_THREADS"] = str(args.threads)
    with tempfile.TemporaryDirectory() as scratch:
        paths = write_photos(args.photos or Path(scratch), args.files)
        size = sum(path.stat().st_size for path in paths) / 1e6
        print(machine())
        print(f"{len(paths)} JPEGs of 2 to 12 megapixels, {size:.0f} MB; space {args.space};")
        print(f"{args.workers} workers, {threads()} threads; {args.runs} runs in turn, medians (min to max)")
        report(measure(load_space(args.space), paths, args.workers, args.runs), len(paths))


def measure(space: Space, paths: Sequence[Path], workers: int, runs: int) -> dict[str, list[Cost]]:
    prepared = decode(space, paths, workers)
    encode(space, prepared[:BATCH])
    ways: dict[str, Callable[[], object]] = {
        "decode alone": lambda: decode(space, paths, workers),
        "encode alone": lambda: encode(space, prepared),
        "pipeline": lambda: pipeline(space, paths, workers),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), _cpu_seconds()
            way()
            costs[name].append(Cost(time.perf_counter() - wall, _cpu_seconds() - cpu))
    return costs


def decode(space: Space, paths: Sequence[Path], workers: int) -> list[Prepared]:
    """What the workers prepare, with no forward pass beside them."""
    limits, prepared, todo, ended = Limits(), [], list(reversed(paths)), 0
    pool = DecodePool(lambda: setup_for(space, limits), workers, limits)
    try:
        while ended < len(paths):
            while todo and pool.wants_more:
                pool.submit(len(todo), Task(todo.pop()))
            event = pool.get(0.1)
            if event is not None and isinstance(event.message, Piece):
                prepared.append(event.message.prepared)
            ended += event is not None and isinstance(event.message, Ended)
    finally:
        pool.close()
    assert len(prepared) == len(paths)
    return prepared  # type: ignore[return-value]


def encode(space: Space, prepared: Sequence[Prepared]) -> None:
    for start in range(0, len(prepared), BATCH):
        space["image"].embed(prepared[start : start + BATCH])


def pipeline(space: Space, paths: Sequence[Path], workers: int) -> None:
    added = sum(file.status == "added" for file in encode_files(paths, space, workers=workers))
    assert added == len(paths)


def report(costs: dict[str, list[Cost]], files: int) -> None:
    for name, runs in costs.items():
        walls = [cost.wall for cost in runs]
        wall, cpu = statistics.median(walls), statistics.median(cost.cpu for cost in runs)
        spread = f"({min(walls):.2f} to {max(walls):.2f})"
        print(f"{name:<13} {wall:7.2f} s {spread:<18} {files / wall:7.1f} files/s {cpu:7.2f} CPU s")
    slower = [max(d.wall, e.wall) for d, e in zip(costs["decode alone"], costs["encode alone"], strict=True)]
    ratios = [alone / both.wall for alone, both in zip(slower, costs["pipeline"], strict=True)]
    print(f"pipeline / slower part alone: {statistics.median(ratios):.2f}", end=" ")
    print(f"(run by run {min(ratios):.2f} to {max(ratios):.2f})")
    work = sum(
        statistics.median(cost.cpu for cost in costs[name]) for name in ("decode alone", "encode alone")
    )
    cores = default_workers()
    wall = statistics.median(cost.wall for cost in costs["pipeline"])
    best = work / cores
    print(f"the CPU time of both parts fills {cores} cores for {best:.2f} s: {best / wall:.2f} of that speed")


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    main()
