"""How fast a library searches, beside bare faiss over the same rows in the same run.

    python benchmarks/search.py [ROWS ...]        (default: 10000 100000)

Rows are 512-d unit vectors around 2,000 centres, half of them images, the rest text, in files of ten
segments. Each search is a whole `Library.search` (vector of the query, background, ranking, rows from
SQLite, hits); faiss is `IndexScalarQuantizer` fp16, exact, giving numbers alone. Cold is a new process
up to the first answer, import included.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from multimodal import Library
from multimodal.encoder import Encoder
from multimodal.errors import SpaceError
from multimodal.library.sqlite import SqliteStore
from multimodal.library.store import FileEntry, SegmentRow
from multimodal.space import Space
from multimodal.types import Content, Modality, ReadOptions

DIM, CENTRES, PER_FILE, QUERIES, K = 512, 2_000, 10, 60, 10


@lru_cache(maxsize=1)
def centres() -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((CENTRES, DIM)).astype(np.float32)


def clustered(rows: int, seed: int) -> NDArray[np.float32]:
    """Unit rows (rows, DIM) around CENTRES centres that are the same for every seed."""
    rng = np.random.default_rng(seed)
    found = centres()[rng.integers(0, CENTRES, rows)]
    found += 0.8 * rng.standard_normal((rows, DIM), dtype=np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


class NumberedQueries:
    """A text tower whose text "17" is the query of seed 17: the cost of a model is not what is measured."""

    tower_id, feature_dim = "numbered", DIM

    def preprocess(self, content: Content) -> NDArray[np.float32]:
        return clustered(1, 1_000 + int(str(content)))[0]

    def forward(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        return np.stack(batch)


class NumberedSource:
    name, logit_scale, read_options = "numbered", 1.0, ReadOptions()
    modalities: tuple[Modality, ...] = ("text",)
    background: ClassVar[dict[str, dict[str, tuple[float, float]]]] = {
        "text": {"text": (0.0, 0.05), "image": (0.0, 0.05)}
    }

    def build(self, modality: Modality) -> Encoder:
        return Encoder(modality, NumberedQueries())

    def save(self, folder: Path) -> None:
        raise SpaceError("numbered rows are not saved")


def space() -> Space:
    return Space(NumberedSource())


def entries(store: SqliteStore, root: Path, vectors: NDArray[np.float32], first: int) -> Iterator[FileEntry]:
    home = store.put_root(root.as_posix(), 0)
    half = vectors.astype("<f2")
    for begin in range(0, len(half), PER_FILE):
        modality: Modality = "image" if begin // PER_FILE % 2 else "text"
        rows = [
            SegmentRow(modality, None, None, "words", "encoder", row.tobytes())
            for row in half[begin : begin + PER_FILE]
        ]
        yield FileEntry(home, f"{first + begin:09}.bin", 1, 1, None, "indexed", None, "", 0.0, rows)


def fill(folder: Path, vectors: NDArray[np.float32], first: int = 0) -> float:
    """Seconds to store the rows, 64 files to a transaction."""
    folder.mkdir(exist_ok=True)
    made = space()
    store = SqliteStore.create(folder, made.name, made.space_id, DIM)
    begun, batch = time.perf_counter(), []
    for entry in entries(store, folder.parent / "files", vectors, first):
        batch.append(entry)
        if len(batch) == 64:
            store.write(batch)
            batch = []
    store.write(batch)
    store.checkpoint()
    store.close()
    return time.perf_counter() - begun


def timed(call: Callable[[int], object]) -> str:
    taken = []
    for number in range(QUERIES):
        begun = time.perf_counter()
        call(number)
        taken.append(1000 * (time.perf_counter() - begun))
    return f"p50 {np.percentile(taken, 50):7.2f} ms   p95 {np.percentile(taken, 95):7.2f} ms"


def once(call: Callable[[], object]) -> str:
    begun = time.perf_counter()
    call()
    return f"{1000 * (time.perf_counter() - begun):7.0f} ms"


def cold(folder: Path) -> str:
    code = (
        "import time; t = time.perf_counter()\n"
        "from benchmarks.search import space; from multimodal import Library\n"
        f"Library({str(folder)!r}, space()).search('1')\n"
        "print(f'{1000 * (time.perf_counter() - t):7.0f} ms')"
    )
    here = Path(__file__).parents[1]
    runs = [
        subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    return min(run.stdout.strip("\n") for run in runs)


def measure(rows: int, folder: Path) -> None:
    vectors = clustered(rows, 1)
    print(f"\n{rows:,} rows of {DIM}")
    print(f"  store                        {rows / fill(folder, vectors):7,.0f} rows/s")
    library = Library(folder, space())
    print(f"  first search, files made     {once(lambda: library.search('0'))}")
    library.close()
    print(f"  cold process to an answer    {cold(folder)}")
    print(f"  open and search              {once(lambda: library.search('0'))}")
    asked = [clustered(1, 1_000 + number) for number in range(QUERIES)]

    from multimodal.library.vectors import scores

    half = vectors.astype(np.float16)
    print(
        f"  numpy kernel alone           {timed(lambda n: np.argpartition(scores(half, asked[n][0]), -64))}"
    )
    import faiss

    bare = faiss.IndexScalarQuantizer(DIM, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    bare.add(vectors)
    print(f"  bare faiss SQfp16, k={K}       {timed(lambda n: bare.search(asked[n], K))}")
    print(f"  library, k={K} files           {timed(lambda n: library.search(str(n), K))}")
    print(f"  library, images only         {timed(lambda n: library.search(str(n), K, 'image'))}")
    print(f"  bare faiss SQfp16, again     {timed(lambda n: bare.search(asked[n], K))}")
    recall = [recalled(library, bare, asked[number], str(number)) for number in range(QUERIES)]
    print(f"  recall@{K} against faiss       {np.mean(recall):7.4f} ({QUERIES} queries)")
    fill(folder, clustered(rows // 100, 2), first=rows)
    print(f"  search after 1% new rows     {once(lambda: library.search('0'))}")
    library.close()


def recalled(library: Library, bare: Any, query: NDArray[np.float32], name: str) -> float:
    """Share of faiss's K best cosines that the library reaches too (rows differ where cosines tie)."""
    wanted, _ = bare.search(query, K)
    found = [hit.cosine for hit in library.search(name, K, all_segments=True)]
    return float(np.mean(np.array(found) >= np.sort(wanted[0])[::-1] - 1e-3))


def main() -> None:
    for rows in [int(argument) for argument in sys.argv[1:]] or [10_000, 100_000]:
        with tempfile.TemporaryDirectory() as place:
            measure(rows, Path(place) / ".multimodal")


if __name__ == "__main__":
    main()
