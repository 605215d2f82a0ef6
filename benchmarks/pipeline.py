"""The pipeline beside its parts: decoding alone, embedding alone, both at once, and together.

    python -m benchmarks.pipeline [--kinds photos video sound mixed] [--files 200] [--space starter]
                                  [--workers N] [--threads N] [--runs 3] [--folder DIR]

Decoding alone runs the same worker processes and throws away what they prepare. Embedding alone takes
what they prepared from memory, in the batches of the pipeline. *Side by side* does both of these at once,
unconnected: what the machine has for the two together, the measure for a pipeline where cores, caches and
memory are shared. Workers start inside the time measured, the models are loaded before it. Ways take turns,
so that a machine that drifts touches all alike. CPU seconds count this process and its workers.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.machine import machine
from benchmarks.media import film, sound
from benchmarks.photos import write_photos
from multimodal import load_space
from multimodal.pipeline import Limits, encode_files
from multimodal.pipeline.encode import default_workers, setup_for
from multimodal.pipeline.pool import DecodePool
from multimodal.pipeline.rows import BATCH, BATCH_BYTES, size
from multimodal.pipeline.wire import Ended, Piece, Task
from multimodal.space import Space
from multimodal.towers.onnx import threads

SAMPLES = Path(__file__).parent.parent / "samples"
KINDS = ("photos", "video", "sound", "mixed")
Batches = list[tuple[str, list[Any]]]


class Cost(NamedTuple):
    """Seconds by the clock, and CPU seconds of this process and of the workers it started."""

    wall: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--files", type=int, default=200, help="photos; a third of them in the mixed folder")
    parser.add_argument("--space", default="starter")
    parser.add_argument("--workers", type=int, default=default_workers())
    parser.add_argument("--threads", type=int, help="threads of the forward pass")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to keep the files for the next time")
    args = parser.parse_args()
    if args.threads:
        os.environ["OMP_NUM_THREADS"] = str(args.threads)
    space = load_space(args.space)
    print(f"{machine()}; space {args.space}; {args.workers} workers, {threads()} threads;")
    print(f"{args.runs} runs in turn, medians; s by the clock (CPU s)\n")
    print(
        "| | decode alone | embed alone | side by side | pipeline | of the slower alone | of side by side |"
    )
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for kind in args.kinds:
            name, paths = files(kind, args.folder or Path(scratch), args.files)
            print(row(name, measure(space, paths, args.workers, args.runs)), flush=True)


def files(kind: str, folder: Path, count: int) -> tuple[str, list[Path]]:
    """What stands in the table, and the files."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "photos":
        return f"{count} photos of 2 to 12 megapixels", write_photos(folder / "photos", count)
    if kind == "video":
        return "a film of 5 min, 1280 x 720", [film(folder, "groups of 2 s", 5)]
    if kind == "sound":
        made = [sound(folder, name) for name in ("mp3", "flac")]
        copies = [folder / f"more{number}.mp3" for number in range(2)]
        for copy in copies:
            shutil.copyfile(made[0], copy)
        return "4 sounds of 10 min", [*made, *copies]
    samples = sorted(SAMPLES.glob("[a-z]*/*"))
    some = [*write_photos(folder / "photos", count // 3), film(folder, "groups of 2 s", 1), *samples]
    return f"{len(some)} files of every kind", random.Random(0).sample(some, len(some))


def measure(space: Space, paths: Sequence[Path], workers: int, runs: int) -> dict[str, list[Cost]]:
    batches = batched(decode(space, paths, workers))
    for modality in {name for name, _ in batches}:
        encode(space, [next(batch for batch in batches if batch[0] == modality)])
    ways: dict[str, Callable[[], object]] = {
        "decode": lambda: decode(space, paths, workers),
        "embed": lambda: encode(space, batches),
        "side by side": lambda: side_by_side(space, paths, workers, batches),
        "pipeline": lambda: pipeline(space, paths, workers),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), _cpu_seconds()
            way()
            costs[name].append(Cost(time.perf_counter() - wall, _cpu_seconds() - cpu))
    return costs


def decode(space: Space, paths: Sequence[Path], workers: int) -> list[Piece]:
    """What the workers prepare, with no forward pass beside them."""
    limits, pieces, todo, ended = Limits(), [], list(reversed(paths)), 0
    pool = DecodePool(lambda: setup_for(space, limits), workers, limits)
    try:
        while ended < len(paths):
            while todo and pool.wants_more:
                pool.submit(len(todo), Task(todo.pop()))
            event = pool.get(0.1)
            if event is not None and isinstance(event.message, Piece):
                pieces.append(event.message)
            ended += event is not None and isinstance(event.message, Ended)
    finally:
        pool.close()
    return [piece for piece in pieces if piece.role != "blank"]


def batched(pieces: Sequence[Piece]) -> Batches:
    """The batches that the pipeline would fill, those of one modality in their order."""
    full: Batches = []
    filling: dict[str, list[Any]] = {}
    for piece in pieces:
        batch = filling.setdefault(piece.modality, [])
        batch.append(piece.prepared)
        if len(batch) >= BATCH or sum(map(size, batch)) >= BATCH_BYTES:
            full.append((piece.modality, filling.pop(piece.modality)))
    return full + list(filling.items())


def encode(space: Space, batches: Batches) -> None:
    for modality, batch in batches:
        encoder = space[modality]  # type: ignore[index]
        prepared = [encoder.tower.preprocess(one) for one in batch] if modality == "text" else batch
        encoder.embed_kept(prepared)


def side_by_side(space: Space, paths: Sequence[Path], workers: int, batches: Batches) -> None:
    decoding = threading.Thread(target=decode, args=(space, paths, workers))
    decoding.start()
    encode(space, batches)
    decoding.join()


def pipeline(space: Space, paths: Sequence[Path], workers: int) -> None:
    assert all(file.status != "failed" for file in encode_files(paths, space, workers=workers))


def row(name: str, costs: dict[str, list[Cost]]) -> str:
    middle = [Cost(*map(statistics.median, zip(*runs, strict=True))) for runs in costs.values()]
    cells = [f"{wall:.2f} ({cpu:.1f})" for wall, cpu in middle]
    alone = [max(d.wall, e.wall) for d, e in zip(costs["decode"], costs["embed"], strict=True)]
    beside = [cost.wall for cost in costs["side by side"]]
    for measure in (alone, beside):
        ratios = [best / both.wall for best, both in zip(measure, costs["pipeline"], strict=True)]
        cells.append(f"{statistics.median(ratios):.2f}")
    return f"| {name} | {' | '.join(cells)} |"


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    main()
