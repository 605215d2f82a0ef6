"""One library searched by several processes: by shares of one search, and each on its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from multimodal import Library
from multimodal.errors import QueryError
from multimodal.library.kernel import Kernel
from multimodal.library.vectors import Matrix
from multimodal.scale.sharded import ShardedKernel, sharded
from multimodal.types import Hits
from tests.fakes import fake_space

DIM, ROWS = 32, 4000


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    """Random unit rows as the files of a library hold them."""
    rows = np.random.default_rng(1).normal(size=(ROWS, DIM))
    stem = tmp_path_factory.mktemp("vectors") / "image-1"
    (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("<f2").tofile(stem.with_suffix(".f16"))
    vectors = np.fromfile(stem.with_suffix(".f16"), "<f2").reshape(ROWS, DIM)
    return Matrix(vectors, np.arange(ROWS), np.arange(ROWS), stem.name, stem)


@pytest.fixture(scope="module")
def kernel() -> Iterator[ShardedKernel]:
    made = ShardedKernel(2)
    yield made
    made.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of 600 imported vectors, more than a search takes as candidates."""
    pa = pytest.importorskip("pyarrow")
    space = fake_space()
    folder = tmp_path_factory.mktemp("library")
    (folder / "red.txt").write_text("red")
    with Library(folder / ".multimodal", space) as library:
        library.add(folder)
        rows = np.random.default_rng(2).normal(size=(600, space.dim)).astype(np.float32)
        flat = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).ravel()
        vectors = pa.FixedSizeListArray.from_arrays(flat, space.dim)
        table = pa.table({"vector": vectors, "id": [f"{n}" for n in range(600)]})
        library.import_vectors(table, space=space.space_id, modality="image", collection="some")
    return folder / ".multimodal"


def found(hits: Hits) -> list[tuple[object, ...]]:
    return [(str(hit.path), hit.number, hit.cosine, hit.score, hit.confidence) for hit in hits]


def queries() -> list[np.ndarray]:
    return [*np.random.default_rng(3).normal(size=(5, DIM)).astype(np.float32)]


def own(home: Path) -> tuple[int, list[tuple[object, ...]]]:
    with Library(home, fake_space()) as library:
        hits = library.search("red green", k=30, min_confidence=0, duplicates=True, exact=True)
        return os.getpid(), found(hits)


@pytest.mark.parametrize("few", [False, True])
def test_the_nearest_of_all_shares(matrix: Matrix, kernel: ShardedKernel, few: bool) -> None:
    allowed = np.arange(0, 1500, 3) if few else None  # all of them in the first share
    for query in queries():
        query /= np.linalg.norm(query)
        places, bound = kernel.top(matrix, query, 50, allowed)
        expected, least = Kernel().top(matrix, query, 50, allowed, exact=True)
        assert len(places) == 50 and set(places.tolist()) == set(expected.tolist())
        assert bound == pytest.approx(least, abs=1e-3)


def test_a_killed_process_and_files_that_went(matrix: Matrix, tmp_path: Path) -> None:
    query = matrix.vectors[3000].astype(np.float32)
    expected = set(Kernel().top(matrix, query, 5)[0].tolist())
    kernel = ShardedKernel(2)
    try:
        assert set(kernel.top(matrix, query, 5)[0].tolist()) == expected
        [process] = kernel._processes[1]._processes.values()  # type: ignore[union-attr]
        process.kill()
        process.join()
        assert set(kernel.top(matrix, query, 5)[0].tolist()) == expected
        gone = Matrix(matrix.vectors, matrix.segments, matrix.files, "gone", tmp_path / "gone")
        assert set(kernel.top(gone, query, 5)[0].tolist()) == expected
    finally:
        kernel.close()


def test_a_library_gives_the_same_hits(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[np.ndarray | None] = []
    nearest = ShardedKernel._asked
    monkeypatch.setattr(ShardedKernel, "_asked", lambda *how: asked.append(how[5]) or nearest(*how))
    with Library(home, fake_space()) as library:
        how = {"k": 30, "min_confidence": 0, "duplicates": True}
        expected = found(library.search("red green", exact=True, **how))
        even = found(library.search("red", where="number % 2 = 0", exact=True, **how))
        with sharded(library, 2):
            assert found(library.search("red green", **how)) == expected
            assert found(library.search("red", where="number % 2 = 0", **how)) == even
        assert any(some is None for some in asked) and any(some is not None for some in asked)
        assert len(expected) == len(even) == 30
        done = len(asked)
        assert found(library.search("red green", exact=True, **how)) == expected and len(asked) == done
        with pytest.raises(QueryError, match="at least 1"), sharded(library, 0):
            pass


def test_processes_of_their_own_give_the_same_hits(home: Path) -> None:
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        told = list(pool.map(own, [home] * 4))
    assert all(hits == own(home)[1] for _, hits in told) and os.getpid() not in dict(told)
