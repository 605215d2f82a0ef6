"""How fast a library searches, beside bare faiss, LanceDB and qdrant-edge over the same rows in the same run.

    python -m benchmarks.search [ROWS ...] [--queries 60] [--storage float16] [--only NAME ...]

(default: 10000 100000; a million rows want 16 GB of memory and 12 GB of disk)

Rows are 512-d unit vectors around 2,000 centres, half of them images, the rest text, in files of ten rows;
the filter lets 1 % of the files through. A library answers with whole hits (vector of the query, nearest
rows, judged against its bank, words, rows from SQLite), the others with ten numbers. Each contender is a
process of its own, and all are asked the same query in turn, so that a drifting machine touches all alike.

"open" is up to the first answer, with the libraries imported and the files in the system's cache; "add" is
1 % of new rows up to the first answer that knows them; memory is what the process has in memory after the
queries, mapped files included, less what it had before the first row. Recall is the share of the ten largest
cosines there are that are found; of a library it is taken before hits are judged, which orders them anew.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine
from benchmarks.search_peers import (
    DIM,
    PEERS,
    PER_FILE,
    Contender,
    Floats,
    K,
    clustered,
    fill,
    picked,
    query,
    serve,
)
from multimodal import Library
from multimodal.encoder import Encoder
from multimodal.errors import SpaceError
from multimodal.library.codes import STORAGES, Storage, keep
from multimodal.library.sqlite import SqliteStore
from multimodal.library.store import FileEntry, SegmentRow
from multimodal.space import Space
from multimodal.types import Content, Modality, ReadOptions

NEAR = 2e-4
"""Difference of cosines that float16 makes at most; rows so near are the same result."""
BATCH = 64
"""Files to a transaction, as a run of `Library.add` has them."""


class NumberedQueries:
    """A text tower whose text "17" is the query of seed 17: the cost of a model is not what is measured."""

    tower_id, feature_dim = "numbered", DIM

    def preprocess(self, content: Content) -> Floats:
        text = str(content)
        return query(int(text) if text.isdigit() else 1_000 + sum(text.encode()))

    def forward(self, batch: Sequence[Any]) -> Floats:
        return np.stack(batch)


class NumberedSource:
    name, logit_scale, logit_bias, read_options = "numbered", 1.0, None, ReadOptions()
    modalities: tuple[Modality, ...] = ("text",)
    bank: ClassVar[None] = None

    def build(self, modality: Modality) -> Encoder:
        return Encoder(modality, NumberedQueries())

    def save(self, folder: Path) -> None:
        raise SpaceError("numbered rows are not saved")


def space() -> Space:
    return Space(NumberedSource())


class Ours:
    """A library of a storage, `exact` or with the codes that it makes."""

    needs, most = "multimodal", 100_000_000

    def __init__(self, storage: Storage, exact: bool) -> None:
        self._storage, self._exact = storage, exact

    def fill(self, folder: Path, rows: Floats) -> None:
        self.open(folder)
        self._put(rows, 0)
        self._library.close()

    def _put(self, rows: Floats, first: int) -> None:
        made = space()
        store = SqliteStore.create(self._home, made.name, made.space_id, DIM)
        batch = []
        for entry in _entries(store, self._home.parent / "files", rows, first):
            batch.append(entry)
            if len(batch) == BATCH:
                store.write(batch)
                batch = []
        store.write(batch)
        store.checkpoint()
        store.close()
        searcher = self._library._searcher
        searcher.prepare()
        if not self._exact:
            keep(searcher.matrices(), self._storage)

    def open(self, folder: Path) -> None:
        self._home = folder / ".multimodal"
        self._home.mkdir(exist_ok=True)
        self._library = Library(self._home, space())

    def search(self, number: int, filtered: bool) -> Sequence[float]:
        where = "folder = 'picked'" if filtered else None
        hits = self._library.search(
            str(number), K, all_segments=True, where=where, min_confidence=0, exact=self._exact
        )
        return [hit.cosine for hit in hits]

    def nearest(self, number: int, filtered: bool) -> Sequence[float]:
        """The K largest cosines among the rows that would be judged."""
        searcher, asked, found = self._library._searcher, query(number), []
        for matrix in searcher.matrices().values():
            places = np.flatnonzero(self._picked[matrix.files]) if filtered else None
            near, _ = searcher._kernel.top(matrix, asked, 128, places, self._exact)
            found += matrix.cosines(near, asked).tolist()
        return sorted(found, reverse=True)[:K]

    @property
    def _picked(self) -> NDArray[np.bool_]:
        store = self._library._reading()
        rows = store._db.execute("SELECT id FROM files WHERE path LIKE 'picked/%'").fetchall()
        flags = np.zeros(1 + store._db.execute("SELECT max(id) FROM files").fetchone()[0], np.bool_)
        flags[[row[0] for row in rows]] = True
        return flags

    def add(self, rows: Floats) -> bool:
        self._put(rows, 100_000_000)
        return True


def _entries(store: SqliteStore, root: Path, vectors: Floats, first: int) -> Iterator[FileEntry]:
    home, chosen = store.put_root(root.as_posix(), 0), picked(len(vectors))
    for begin in range(0, len(vectors), PER_FILE):
        modality: Modality = "image" if begin // PER_FILE % 2 else "text"
        half = vectors[begin : begin + PER_FILE].astype("<f2")
        rows = [SegmentRow(modality, None, None, "words", "encoder", row.tobytes()) for row in half]
        path = f"{'picked' if chosen[begin] else 'rest'}/{first + begin:09}.bin"
        yield FileEntry(home, path, 1, 1, None, "indexed", None, "", 0.0, rows)


class Asked:
    """A contender in a process of its own. Raises ValueError where it cannot take part."""

    def __init__(self, name: str, contender: Contender, folder: Path, rows: Path, count: int) -> None:
        if importlib.util.find_spec(contender.needs) is None:
            raise ValueError(f"{contender.needs} is not installed")
        if count > contender.most:
            raise ValueError(f"it takes part up to {contender.most:,} rows")
        context = multiprocessing.get_context("spawn")
        filling = context.Process(target=fill, args=(contender, folder, rows))
        filling.start()
        filling.join()
        if filling.exitcode:
            raise ValueError("it failed")
        self.name = name
        self._ends, other = context.Pipe()
        self._process = context.Process(target=serve, args=(contender, folder, other), daemon=True)
        self._process.start()
        other.close()

    def __call__(self, *call: Any) -> tuple[float, Any]:
        for part in call:
            self._ends.send(part)
        try:
            return cast(tuple[float, Any], self._ends.recv())
        except EOFError:
            raise SystemExit(f"{self.name} failed.") from None

    def close(self) -> None:
        self._ends.send(None)
        self._process.join()


def contenders(storage: Storage, only: Sequence[str]) -> Mapping[str, Callable[[], Contender]]:
    ours = {
        "library, exact": partial(Ours, "float16", True),
        f"library, {storage}": partial(Ours, storage, False),
    }
    every: dict[str, Callable[[], Contender]] = {**ours, **PEERS}
    return {name: make for name, make in every.items() if not only or any(part in name for part in only)}


def nearest(rows: Path, queries: int) -> dict[bool, Floats]:
    """The K largest cosines (queries, K) of all rows, and of those that the filter lets through."""
    source = np.load(rows, mmap_mode="r")
    chosen = picked(len(source))
    asked = np.stack([query(number) for number in range(queries)])
    best = {flag: np.full((queries, K), -2.0, np.float32) for flag in (False, True)}
    for begin in range(0, len(source), 50_000):
        cosines = asked @ np.asarray(source[begin : begin + 50_000]).T
        inside = cosines[:, chosen[begin : begin + 50_000]]
        for flag, part in ((False, cosines), (True, inside)):
            best[flag] = -np.partition(-np.concatenate([best[flag], part], axis=1), K, axis=1)[:, :K]
    return {flag: -np.sort(-found, axis=1) for flag, found in best.items()}


def write_rows(path: Path, rows: int) -> None:
    out = np.lib.format.open_memmap(path, "w+", np.float32, (rows, DIM))
    for number, begin in enumerate(range(0, rows, 50_000)):
        out[begin : begin + 50_000] = clustered(min(50_000, rows - begin), 10 + number)
    out.flush()


def measure(rows: int, queries: int, makers: Mapping[str, Callable[[], Contender]], scratch: Path) -> None:
    file = scratch / "rows.npy"
    write_rows(file, rows)
    truth = nearest(file, queries)
    running = []
    for number, (name, make) in enumerate(makers.items()):
        try:
            running.append(Asked(name, make(), scratch / str(number), file, rows))
        except ValueError as reason:
            print(f"{name}: left out, {reason}")
    before = {asked.name: asked("memory")[1] for asked in running}
    opened = {asked.name: asked("open")[0] for asked in running}
    taken: dict[tuple[str, bool], list[float]] = {}
    found: dict[tuple[str, bool], list[float]] = {}
    for number in range(-3, queries):  # the first three warm up
        for flag in (False, True):
            for asked in running:
                seconds, cosines = asked(("search", max(number, 0), flag))
                if number < 0:
                    continue
                taken.setdefault((asked.name, flag), []).append(1000 * seconds)
                if asked.name.startswith("library"):  # its hits are in an order of their own
                    _, cosines = asked(("nearest", number, flag))
                right = np.array(cosines) >= truth[flag][number, -1] - NEAR
                found.setdefault((asked.name, flag), []).append(float(right.sum()) / K)
    print(f"\n{rows:,} rows of {DIM} = {rows * DIM * 2 / 1e6:,.0f} MB of float16, {queries} queries")
    print(
        f"{'':24}{'all rows: p50':>14}{'p95':>8}{'recall':>8}{'1 %: p50':>11}{'p95':>8}{'recall':>8}"
        f"{'memory':>10}{'open':>9}{'add 1 %':>9}"
    )
    for asked in running:
        held = asked("memory")[1] - before[asked.name]
        seconds, known = asked("add", rows // 100)
        print(
            f"{asked.name:24}{_row(taken, found, asked.name)}{held / 1e6:7,.0f} MB"
            f"{1000 * opened[asked.name]:6,.0f} ms{f'{seconds:7.2f} s' if known else '':>9}"
        )
        asked.close()


def _row(taken: Mapping[Any, list[float]], found: Mapping[Any, list[float]], name: str) -> str:
    text = ""
    for flag, width in ((False, 11), (True, 8)):
        p50, p95 = np.percentile(taken[name, flag], (50, 95))
        text += f"{p50:{width}.2f} ms{p95:8.2f}{np.mean(found[name, flag]):8.4f}"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--storage", choices=STORAGES, default="float16")
    parser.add_argument("--only", nargs="*", default=(), help="contenders with this in their name")
    args = parser.parse_args()
    os.environ["OMP_WAIT_POLICY"] = "passive"  # the threads of one contender would spin while others work
    print(machine(), flush=True)
    for rows in args.rows:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            measure(rows, args.queries, contenders(args.storage, args.only), Path(scratch))


if __name__ == "__main__":
    main()
