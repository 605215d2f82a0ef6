"""What `benchmarks.search` measures, each in a process of its own and asked in turn with the others."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

DIM, CENTRES, PER_FILE, K = 512, 2_000, 10, 10

Floats = NDArray[np.float32]


@lru_cache(maxsize=1)
def centres() -> Floats:
    return np.random.default_rng(0).standard_normal((CENTRES, DIM)).astype(np.float32)


def clustered(rows: int, seed: int) -> Floats:
    """Unit rows (rows, DIM) around CENTRES centres that are the same for every seed."""
    rng = np.random.default_rng(seed)
    found = centres()[rng.integers(0, CENTRES, rows)]
    found += 0.8 * rng.standard_normal((rows, DIM), dtype=np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found


def query(number: int) -> Floats:
    """The query (DIM,) of that number."""
    return clustered(1, 1_000_000 + number)[0]


def picked(rows: int) -> NDArray[np.bool_]:
    """Which rows the filter lets through, (rows,): all rows of 1 % of the files, at random."""
    files = np.random.default_rng(7).random(-(-rows // PER_FILE)) < 0.01
    return np.repeat(files, PER_FILE)[:rows]


class Contender(Protocol):
    """Holds rows in a folder. `search` gives the K largest cosines that it finds."""

    needs: str
    most: int
    """Rows up to which it takes part; filling it with more takes too long."""

    def fill(self, folder: Path, rows: Floats) -> None: ...
    def open(self, folder: Path) -> None: ...
    def search(self, number: int, filtered: bool) -> Sequence[float]: ...
    def add(self, rows: Floats) -> bool:
        """Whether rows can be added to what is in the folder."""
        ...


class Faiss:
    """A bare faiss index read into memory, `kind` "flat" (float32) or "half" (float16)."""

    needs, most = "faiss", 10_000_000

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def _empty(self) -> Any:
        import faiss

        if self._kind == "flat":
            return faiss.IndexFlatIP(DIM)
        return faiss.IndexScalarQuantizer(DIM, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)

    def fill(self, folder: Path, rows: Floats) -> None:
        import faiss

        index = self._empty()
        for begin in range(0, len(rows), 50_000):
            index.add(np.ascontiguousarray(rows[begin : begin + 50_000]))
        faiss.write_index(index, str(folder / self._kind))

    def open(self, folder: Path) -> None:
        import faiss

        self._index = faiss.read_index(str(folder / self._kind))
        bits = np.packbits(picked(self._index.ntotal), bitorder="little")
        self._few = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
        self._bits = bits  # faiss looks at it in place

    def search(self, number: int, filtered: bool) -> Sequence[float]:
        how = {"params": self._few} if filtered else {}
        return self._index.search(query(number)[None], K, **how)[0][0].tolist()  # type: ignore[no-any-return]

    def add(self, rows: Floats) -> bool:
        self._index.add(rows)
        return True


class FaissSliced(Faiss):
    """The same float16 rows in eight indexes, searched by a thread for each core: the best that bare faiss
    does for a single query."""

    def __init__(self) -> None:
        super().__init__("half")

    def open(self, folder: Path) -> None:
        import faiss

        super().open(folder)
        whole, self._parts = self._index, []
        bounds = np.linspace(0, whole.ntotal, 9).astype(int).tolist()
        codes = faiss.vector_to_array(whole.codes).reshape(-1, whole.sa_code_size())
        for a, b in pairwise(bounds):
            part = self._empty()
            faiss.copy_array_to_vector(np.ascontiguousarray(codes[a:b]).reshape(-1), part.codes)
            part.ntotal = b - a
            bits = np.packbits(picked(whole.ntotal)[a:b], bitorder="little")
            few = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
            self._parts.append((part, few, bits))
        self._index = None
        self._pool = ThreadPoolExecutor(initializer=faiss.omp_set_num_threads, initargs=(1,), max_workers=2)

    def search(self, number: int, filtered: bool) -> Sequence[float]:
        asked = query(number)[None]

        def one(part: tuple[Any, Any, Any]) -> Any:
            return part[0].search(asked, K, **({"params": part[1]} if filtered else {}))[0][0]

        return np.sort(np.concatenate(list(self._pool.map(one, self._parts))))[::-1][:K].tolist()  # type: ignore[no-any-return]

    def add(self, rows: Floats) -> bool:
        return False


class Lance:
    """LanceDB: a scan of all rows, with a bitmap index on the filter's column."""

    needs, most = "lancedb", 10_000_000

    def fill(self, folder: Path, rows: Floats) -> None:
        import lancedb

        table = lancedb.connect(str(folder)).create_table("rows", _batches(rows), schema=_schema())
        table.create_scalar_index("picked", index_type="BITMAP")
        table.optimize()

    def open(self, folder: Path) -> None:
        import lancedb

        self._table = lancedb.connect(str(folder)).open_table("rows")

    def search(self, number: int, filtered: bool) -> Sequence[float]:
        asked = self._table.search(query(number)).distance_type("dot").limit(K).select(["_distance"])
        if filtered:
            asked = asked.where("picked = true", prefilter=True)
        return [1 - distance for distance in asked.to_arrow()["_distance"].to_pylist()]

    def add(self, rows: Floats) -> bool:
        self._table.add(_batches(rows))
        return True


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema([("vector", pa.list_(pa.float32(), DIM)), ("picked", pa.bool_())])


def _batches(rows: Floats) -> Iterator[Any]:
    import pyarrow as pa

    chosen = picked(len(rows))
    for begin in range(0, len(rows), 50_000):
        part = np.ascontiguousarray(rows[begin : begin + 50_000])
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), DIM)
        flags = pa.array(chosen[begin : begin + 50_000])
        yield pa.record_batch([vectors, flags], schema=_schema())


class Qdrant:
    """qdrant-edge: its graph with its own settings (m 16, 100 while building, 128 while searching)."""

    needs, most = "qdrant_edge", 100_000

    def fill(self, folder: Path, rows: Floats) -> None:
        import qdrant_edge as edge

        vectors = edge.EdgeVectorParams(
            size=DIM, distance=edge.Distance.Dot, hnsw_config=edge.HnswIndexConfig(16, 100, 10_000)
        )
        self._shard = edge.EdgeShard.create(str(folder / "shard"), edge.EdgeConfig(vectors=vectors))
        self._shard.update(edge.UpdateOperation.create_field_index("picked", edge.PayloadSchemaType.Integer))
        self._put(rows, 0)
        self._shard.optimize()
        self._shard.close()

    def _put(self, rows: Floats, first: int) -> None:
        import qdrant_edge as edge

        chosen = picked(len(rows))
        for begin in range(0, len(rows), 1_000):
            points = [
                edge.Point(first + begin + n, row.tolist(), {"picked": int(chosen[begin + n])})
                for n, row in enumerate(rows[begin : begin + 1_000])
            ]
            self._shard.update(edge.UpdateOperation.upsert_points(points))

    def open(self, folder: Path) -> None:
        import qdrant_edge as edge

        self._shard = edge.EdgeShard.load(str(folder / "shard"))

    def search(self, number: int, filtered: bool) -> Sequence[float]:
        import qdrant_edge as edge

        wanted = edge.FieldCondition(key="picked", match=edge.MatchValue(1))
        found = self._shard.query(
            edge.QueryRequest(
                limit=K,
                query=edge.Query.Nearest(query(number).tolist()),
                filter=edge.Filter(must=[wanted]) if filtered else None,
                params=edge.SearchParams(hnsw_ef=128),
            )
        )
        return [point.score for point in found]

    def add(self, rows: Floats) -> bool:
        self._put(rows, 100_000_000)
        return True


PEERS: Mapping[str, Callable[[], Contender]] = {
    "faiss Flat float32": lambda: Faiss("flat"),
    "faiss SQfp16": lambda: Faiss("half"),
    "faiss SQfp16, 8 slices": FaissSliced,
    "LanceDB, scan": Lance,
    "qdrant-edge, HNSW": Qdrant,
}


def fill(contender: Contender, folder: Path, rows: Path) -> None:
    """Put the rows of a .npy file into the contender's new folder."""
    folder.mkdir()
    contender.fill(folder, np.load(rows, mmap_mode="r"))


def serve(contender: Contender, folder: Path, asked: Connection) -> None:
    """Answer what the connection asks for with (seconds, what was found), until it says None."""
    importlib.import_module(contender.needs)
    clustered(1, 0)
    while (call := asked.recv()) is not None:
        begun = time.perf_counter()
        if call == "open":
            contender.open(folder)
            found: Any = contender.search(0, False)
        elif call == "memory":
            found = memory()
        elif call == "add":
            rows = clustered(asked.recv(), 3)
            begun = time.perf_counter()
            found = contender.add(rows) and contender.search(0, False)
        else:
            name, number, filtered = call
            looked = getattr(contender, name, contender.search)  # only a library has both
            found = looked(number, filtered)
        asked.send((time.perf_counter() - begun, found))


def memory() -> float:
    """Bytes of this process that are in memory, mapped files included (Linux; NaN elsewhere)."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return float("nan")
    return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
