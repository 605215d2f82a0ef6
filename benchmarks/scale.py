"""What the engine for clusters costs and gives, and what the one writer can take.

python -m benchmarks.scale engines [--files 400] [--runs 3]
python -m benchmarks.scale writer [--segments 1000000] [--store sqlite|lance]

`engines`: the same photos into a new library, by `Library.add`, by the shared engine in one process, and on
Ray clusters of one and of two nodes of one core each, in turn. The time of a cluster counts its actors with
the model they load, not the start of its nodes, which is told apart. On a machine of few cores two nodes
share them with the process that writes and with Ray's own.

`writer`: files of one segment each, whose outcomes are made up instead of read, through the writer of a
shared run into a store: rows a second, and the most memory the process had. Each in its own process.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from benchmarks.machine import machine
from benchmarks.photos import write_photos
from multimodal import Library, load_space
from multimodal.library.indexing import Progress
from multimodal.library.jobs import Recipe
from multimodal.library.roots import Address, Target
from multimodal.library.scan import Found, Walk
from multimodal.pipeline.rows import EncodedFile, Row
from multimodal.pipeline.wire import Limits
from multimodal.scale import index, shared
from multimodal.scale.indexing import SharedRun
from multimodal.scale.worker import Order, Outcome, Setting


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["engines", "writer"])
    parser.add_argument("--files", type=int, default=400)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--segments", type=int, default=1_000_000)
    parser.add_argument("--store", choices=["sqlite", "lance"], default="sqlite")
    args = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as scratch:
        if args.what == "engines":
            engines(Path(scratch), args.files, args.runs)
        else:
            writer(Path(scratch), args.segments, args.store)


def engines(scratch: Path, count: int, runs: int) -> None:
    photos = scratch / "photos"
    photos.mkdir()
    write_photos(photos, count)
    seconds: dict[str, list[float]] = {}
    starts: list[float] = []
    ways: dict[str, Callable[[Library], object]] = {
        "Library.add": lambda library: library.add(photos, workers=1),
        "shared engine, one process": lambda library: index(library, photos, workers=1),
        "Ray, 1 node": lambda library: on_ray(library, photos, 1, starts),
        "Ray, 2 nodes": lambda library: on_ray(library, photos, 2, starts),
    }
    for run in range(runs):
        for name, way in ways.items():
            home = scratch / f"library-{run}"
            with Library(home) as library:
                _ = library.space.space_id
                began, before = time.perf_counter(), sum(starts)
                way(library)
                taken = time.perf_counter() - began - (sum(starts) - before)
                assert library.stats().files == count
            seconds.setdefault(name, []).append(taken * 1000 / count)
            shutil.rmtree(home)
    print(f"{count} photos, {runs} runs in turn; seconds per 1,000 files, median (least to most)")
    for name, each in seconds.items():
        print(f"  {name:28} {statistics.median(each):6.1f} ({min(each):.1f} to {max(each):.1f})")
    print(f"  start of the nodes           {statistics.median(starts):6.1f} s a job")


def on_ray(library: Library, photos: Path, nodes: int, starts: list[float]) -> None:
    import ray
    from ray.cluster_utils import Cluster

    began = time.perf_counter()
    node = {"num_cpus": 1, "object_store_memory": 200 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    for _ in range(nodes - 1):
        cluster.add_node(**node)
    ray.init(address=cluster.address, logging_level="error", log_to_driver=False)
    starts.append(time.perf_counter() - began)
    try:
        index(library, photos, engine="ray", workers=1)
    finally:
        began = time.perf_counter()
        ray.shutdown()
        cluster.shutdown()
        starts[-1] += time.perf_counter() - began


def writer(scratch: Path, count: int, store: str) -> None:
    space = load_space("starter")
    walk = Walk([Found(f"{n // 1000:05}/{n:08}.jpg", 3_000_000 + n, n) for n in range(count)])
    print(f"{count} listed: {memory():.0f} MB")
    told = [time.perf_counter()]

    def progress(how: Progress) -> None:
        if how.record is not None and how.done % max(1, count // 10) == 0:
            now = time.perf_counter()
            print(f"  {how.done:9} files, {count / 10 / (now - told[-1]):8.0f} a second, {memory():.0f} MB")
            told.append(now)

    def run(into: object) -> None:
        root = into.put_root("s3://bucket/photos", 0)  # type: ignore[attr-defined]
        target = Target(root, Address("s3://bucket/photos"), "", walk)
        made = SharedRun(into, [target], Recipe.of(space), never, progress)  # type: ignore[arg-type]
        setting = Setting(b"", frozenset(), "", (None,), Limits(), None)
        made.places, made.setting, made.work = (
            {root.number: (0, "bucket/photos")},
            setting,
            simulated(space.dim),
        )
        made.batch = shared.BATCH
        began = time.perf_counter()
        made.go()
        print(
            f"{store}: {count / (time.perf_counter() - began):.0f} files a second, at most {memory():.0f} MB"
        )

    if store == "lance":
        with shared.writing(str(scratch / "shared"), space) as held:
            run(held.store)
        home = scratch / "shared"
    else:
        home = scratch / "library"
        with Library(home, space) as library, library._writing(space) as into:
            run(into)
    size = sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
    print(f"  {size / count:.0f} bytes on disk for each")
    if store == "lance":
        began = time.perf_counter()
        with closing(Library(scratch / "mine", space)):
            shared.pull(str(home), scratch / "mine", space)
        print(f"  pulled at {count / (time.perf_counter() - began):.0f} files a second, {memory():.0f} MB")


def simulated(dim: int) -> Callable[[Sequence[Order], Setting], Iterator[Outcome]]:
    def work(orders: Sequence[Order], setting: Setting) -> Iterator[Outcome]:
        chance = np.random.default_rng(0)
        vectors = chance.normal(size=(4096, dim)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        for order in orders:
            digest = order.number.to_bytes(16, "big")
            row = Row("image", None, None, None, vectors[order.number % 4096])
            yield Outcome(order.number, "added", digest, [row], None, 0.01)

    return work


def never(*_: object) -> Iterator[EncodedFile]:
    raise AssertionError


def memory() -> float:
    """The most this process had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
