"""The kernel and its codes: what is nearest is found, whatever is scanned."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from multimodal.library import codes, kernel
from multimodal.library.codes import Codes, Kind, Storage, keep, kept, nearest, place_of
from multimodal.library.kernel import Kernel
from multimodal.library.vectors import Matrix, VectorFiles

DIM = 32
KINDS: list[Kind] = ["int8", "index", "binary"]


def clustered(rows: int, seed: int = 0, dim: int = DIM) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    found = np.random.default_rng(99).standard_normal((50, dim))[rng.integers(0, 50, rows)]
    found = (found + 0.5 * rng.standard_normal((rows, dim))).astype(np.float32)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def matrix_of(rows: NDArray[np.float32], folder: Path | None = None, name: str = "image-0") -> Matrix:
    numbers = np.arange(len(rows))
    stem = None if folder is None else folder / name
    return Matrix(rows.astype(np.float16), numbers + 1, numbers // 3, name, stem)


def truth(rows: NDArray[np.float32], query: NDArray[np.float32], count: int) -> set[int]:
    return set(np.argsort(-(rows.astype(np.float16).astype(np.float32) @ query))[:count].tolist())


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("share", [None, 0.01, 0.3, 1.0])
def test_slices_find_what_is_nearest(threads: int, share: float | None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernel, "SLICE", 200)
    monkeypatch.setattr(kernel, "SCATTERED", 10)
    rows, queries = clustered(3001), clustered(5, seed=1)
    matrix, searched = matrix_of(rows), Kernel(faiss_after=0, threads=threads)
    allowed = None
    if share is not None:
        allowed = np.flatnonzero(np.random.default_rng(2).random(len(rows)) < share)
    for query in queries:
        inside = np.arange(len(rows)) if allowed is None else allowed
        places, bound = searched.top(matrix, query, 12, allowed)
        wanted = {int(inside[place]) for place in truth(rows[inside], query, 12)}
        assert set(places.tolist()) == wanted
        others = np.setdiff1d(inside, places)
        assert (rows[others] @ query).max() <= bound + 1e-3
    assert len(searched._of(matrix).slices(threads)) == (1 if threads == 1 else 12)
    searched.forget()


def test_a_slice_without_allowed_rows_is_passed_over(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernel, "SLICE", 100)
    monkeypatch.setattr(kernel, "GATHER", 0.0)
    rows, query = clustered(1000), clustered(1, seed=1)[0]
    places, _ = Kernel(0, 2).top(matrix_of(rows), query, 5, np.arange(640, 700))
    assert set(places.tolist()) == {640 + place for place in truth(rows[640:700], query, 5)}


@pytest.mark.parametrize("kind", KINDS)
def test_codes_find_nearly_all(kind: Kind, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(codes, "LEAST", dict.fromkeys(KINDS, 200))
    rows, queries = clustered(5000), clustered(40, seed=1)
    found = nearest(rows, queries, 10, kind)
    recall = [
        len(set(places) & truth(rows, query, 10)) / 10 for places, query in zip(found, queries, strict=True)
    ]
    assert np.mean(recall) >= 0.97
    cosines = np.take_along_axis(queries @ rows.T, found, axis=1)
    assert (np.diff(cosines, axis=1) <= 1e-3).all(), "best first"


def test_codes_alone_lose_more_the_smaller_they_are():
    rows, queries = clustered(4000), clustered(40, seed=1)
    exact = nearest(rows, queries, 10, "float16")
    recall = {
        kind: np.mean(
            [
                len(set(a) & set(b)) / 10
                for a, b in zip(exact, nearest(rows, queries, 10, kind, False), strict=True)
            ]
        )
        for kind in KINDS
    }
    assert 1 >= recall["int8"] > recall["index"] > recall["binary"] > 0.2


def test_sizes_of_codes_are_as_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(codes, "TRAINED", 500)
    rows = clustered(640, dim=512)
    for kind, told in {"int8": 512, "index": 128, "binary": 72}.items():
        made, sizes = Codes.of(rows, cast(Kind, kind)), []
        for _ in range(2):
            made.add(rows)
            made.save(tmp_path / kind)
            sizes.append((tmp_path / kind).stat().st_size)
        assert (sizes[1] - sizes[0]) / len(rows) == told, kind


def test_few_or_odd_rows_have_codes_all_the_same():
    assert Codes.of(clustered(5), "index").kind == "int8"
    assert Codes.of(clustered(50, dim=31), "index").kind == "int8"
    assert nearest(clustered(3), clustered(2, seed=1), 10, "index").shape == (2, 3)
    assert nearest(clustered(3), clustered(2, seed=1), 10, "binary").shape == (2, 3)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codes, "SHARD", 1000)
    monkeypatch.setattr(codes, "CODED_FROM", 100)
    monkeypatch.setattr(codes, "INDEXED_FROM", 2000)
    monkeypatch.setattr(codes, "LEAST", dict.fromkeys(KINDS, 120))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("storage", ["float16", "int8", "binary"])
def test_kept_codes_are_searched_unless_exact(storage: Storage, tmp_path: Path):
    rows, queries = clustered(2500), clustered(30, seed=1)
    matrix = matrix_of(rows, tmp_path)
    keep({"image": matrix}, storage)
    assert [(begin, len(made)) for begin, made in kept(matrix)] == [(0, 1000), (1000, 1000), (2000, 500)]
    searched, recall = Kernel(0, 2), []
    for query in queries:
        places, _ = searched.top(matrix, query, 10)
        recall.append(len(set(places.tolist()) & truth(rows, query, 10)) / 10)
        assert len(places) == 10
        assert set(searched.top(matrix, query, 10, exact=True)[0].tolist()) == truth(rows, query, 10)
    assert np.mean(recall) >= 0.97
    searched.forget()


@pytest.mark.usefixtures("small")
def test_no_codes_below_the_bar_nor_in_memory(tmp_path: Path):
    keep({"image": matrix_of(clustered(1999), tmp_path)})
    keep({"image": matrix_of(clustered(99), tmp_path)}, "binary")
    keep({"image": matrix_of(clustered(3000))}, "binary")
    assert not list(tmp_path.iterdir())
    keep({"image": matrix_of(clustered(1999), tmp_path), "text": matrix_of(clustered(1), tmp_path, "text-0")})
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {"image-0.index0.codes", "image-0.index1.codes"}, "2,000 rows together"


@pytest.mark.usefixtures("small")
def test_late_rows_are_found_before_and_after_they_have_codes(tmp_path: Path):
    rows = clustered(3000)
    keep({"image": matrix_of(rows[:2500], tmp_path)}, "binary")
    matrix = matrix_of(rows[:2520], tmp_path)
    stamp = place_of(tmp_path / "image-0", "binary", 2000).stat().st_mtime_ns
    keep({"image": matrix}, "binary")
    assert place_of(tmp_path / "image-0", "binary", 2000).stat().st_mtime_ns == stamp, "few: not worth it"
    for place in (2501, 2519):
        assert place in Kernel(0, 2).top(matrix, rows[place], 3)[0]
    untouched = place_of(tmp_path / "image-0", "binary", 0).stat().st_mtime_ns
    grown = matrix_of(rows, tmp_path)
    keep({"image": grown}, "binary")
    assert sum(len(made) for _, made in kept(grown)) == 3000
    assert place_of(tmp_path / "image-0", "binary", 0).stat().st_mtime_ns == untouched
    older = matrix_of(rows[:2200], tmp_path)  # of a process that opened before
    places, _ = Kernel(0, 2).top(older, rows[2900], 30)
    assert len(places) == 30
    assert places.max() < 2200


@pytest.mark.usefixtures("small")
def test_a_filter_never_lets_other_rows_through(tmp_path: Path):
    rows, queries = clustered(2500), clustered(10, seed=1)
    matrix = matrix_of(rows, tmp_path)
    keep({"image": matrix}, "binary")
    for share in (0.02, 0.2, 0.6):
        allowed = np.flatnonzero(np.random.default_rng(3).random(len(rows)) < share)
        recall = []
        for query in queries:
            places, _ = Kernel(0, 2).top(matrix, query, 10, allowed)
            assert set(places.tolist()) <= set(allowed.tolist())
            wanted = {int(allowed[place]) for place in truth(rows[allowed], query, 10)}
            recall.append(len(wanted & set(places.tolist())) / 10)
        assert np.mean(recall) >= 0.97, share


@pytest.mark.usefixtures("small")
def test_damaged_codes_are_made_anew_and_searches_do_without(tmp_path: Path):
    rows = clustered(2500)
    matrix = matrix_of(rows, tmp_path)
    keep({"image": matrix}, "int8")
    file = place_of(tmp_path / "image-0", "int8", 0)
    whole = file.read_bytes()
    for damage in (b"", whole[:50], whole[: len(whole) // 2], b"\0" * 100):
        file.write_bytes(damage)
        assert set(Kernel(0, 2).top(matrix, rows[7], 5)[0].tolist()) == truth(rows, rows[7], 5)
    keep({"image": matrix}, "int8")
    assert file.stat().st_size == len(whole)
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.usefixtures("small")
def test_codes_go_with_the_rows_they_stand_for(tmp_path: Path):
    for name in (
        "image-old.binary0.codes",
        "image-old.f16",
        "image-new.binary0.codes",
        "image-new.f16",
        "bank.npz",
    ):
        (tmp_path / name).touch()
    VectorFiles(tmp_path)._sweep({"image-new"})
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"image-new.binary0.codes", "image-new.f16", "bank.npz"}


@pytest.mark.usefixtures("small")
def test_a_folder_that_cannot_be_written_leaves_searches_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    matrix = matrix_of(clustered(2500), tmp_path / "missing")
    keep({"image": matrix}, "binary")
    assert kept(matrix) == []


def test_small_libraries_are_searched_without_faiss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("multimodal.library.kernel.faiss_is_loaded", lambda: False)
    monkeypatch.setattr("multimodal.library.kernel.faiss_index", lambda _: pytest.fail("faiss was asked"))
    matrix = matrix_of(clustered(3000), tmp_path)
    Kernel().top(matrix, clustered(1, seed=1)[0], 10)
