"""A library written out: what other tools find in it, whole or not at all, in little memory."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from multimodal import Library, NoLibrary, QueryError, formats
from multimodal.errors import LibraryError
from multimodal.formats import export
from multimodal.library import tables
from multimodal.library.sqlite import SqliteStore
from multimodal.library.store import FileEntry, SegmentRow
from tests.library.test_tables import plain_store

DIM = 16
FILES, EACH = 30, 4


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """120 video segments, one blank one, and a passage with a comma, quotes and line ends."""
    plain_store(tmp_path / "library", FILES, EACH, DIM)
    store = SqliteStore.create(tmp_path / "library", "fake", "fake-id", DIM)
    vector = (np.eye(DIM, dtype="<f2")[3]).tobytes()
    rows = [
        SegmentRow("audio", 0.0, 5.0, None, "e", None, role="blank"),
        SegmentRow("text", None, None, 'a "word",\nand another', "e", vector, 2, (5, 26)),
    ]
    store.write([FileEntry(store.roots()[0], "last.txt", 1, 1, None, "indexed", None, "r", 0.0, rows)])
    store.close()
    return Library(tmp_path / "library")


def test_parquet_is_the_table(library: Library, tmp_path: Path):
    assert export(library, tmp_path / "out.parquet") == FILES * EACH + 1  # without the blank one
    found, whole = pq.read_table(tmp_path / "out.parquet"), tables.to_arrow(library, role="content")
    assert found.equals(whole) and found.schema.metadata == whole.schema.metadata
    assert export(library, tmp_path / "out.parquet", vectors=False) == FILES * EACH + 2
    export(library, tmp_path / "out.parquet", vectors=False, modality="text")
    found = pq.read_table(tmp_path / "out.parquet")
    assert "vector" not in found.column_names and found["modality"].to_pylist() == ["text"]
    export(library, tmp_path / "half.parquet", dtype="float16")
    assert pq.read_table(tmp_path / "half.parquet") == tables.to_arrow(
        library, role="content", dtype="float16"
    )


def test_parquet_comes_in_row_groups(library: Library, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(formats, "ROW_GROUP", 50)
    monkeypatch.setattr("multimodal.library.sqlite_rows.GROUP", 10)
    export(library, tmp_path / "out.parquet")
    file = pq.ParquetFile(tmp_path / "out.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [50, 50, 21]
    assert file.read().equals(tables.to_arrow(library, role="content"))


def test_csv_reads_back(library: Library, tmp_path: Path):
    assert export(library, tmp_path / "out.csv") == FILES * EACH + 2
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == FILES * EACH + 2 and "v0" not in rows[0] and "vector" not in rows[0]
    assert rows[0]["start"] == "0" and rows[0]["modality"] == "video"
    last = rows[-1]
    assert last["text"] == 'a "word",\nand another'
    assert (last["page"], last["begin_char"], last["end_char"]) == ("2", "5", "26")
    export(library, tmp_path / "out.csv", vectors=True)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    read = [[float(row[f"v{n}"]) for n in range(DIM)] for row in rows]
    vectors, _ = tables.embeddings(library)
    assert np.array_equal(np.array(read, np.float32), vectors[np.argsort(_numbers(library))])
    assert len(rows) == FILES * EACH + 1


def _numbers(library: Library) -> list[int]:
    _, rows = tables.embeddings(library)
    return rows["number"].to_pylist()  # type: ignore[no-any-return]


def test_npy_is_a_matrix_beside_its_rows(library: Library, tmp_path: Path):
    assert export(library, tmp_path / "out", "npy") == FILES * EACH + 1
    vectors = np.load(tmp_path / "out" / "vectors.npy", mmap_mode="r")
    expected, rows = tables.embeddings(library)
    assert vectors.dtype == np.float16 and np.array_equal(vectors.astype(np.float32), expected)
    with (tmp_path / "out" / "rows.csv").open(encoding="utf-8", newline="") as file:
        told = list(csv.DictReader(file))
    assert [int(row["number"]) for row in told] == rows["number"].to_pylist()
    about = json.loads((tmp_path / "out" / "about.json").read_text())
    assert about == {"space": "fake", "space_id": "fake-id", "dim": DIM, "rows": FILES * EACH + 1}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "about.json",
        "rows.csv",
        "vectors.npy",
    ]
    export(library, tmp_path / "out", "npy", dtype="float32", modality="text")  # in place of the former
    assert np.array_equal(np.load(tmp_path / "out" / "vectors.npy"), np.eye(DIM, dtype=np.float32)[3:4])


def test_faiss_finds_by_number(library: Library, tmp_path: Path):
    import faiss

    assert export(library, tmp_path / "out", "faiss") == FILES * EACH + 1
    index = faiss.read_index(str(tmp_path / "out" / "index.faiss"))
    vectors, rows = tables.embeddings(library)
    numbers = np.array(rows["number"].to_pylist())
    cosines, found = index.search(vectors, 3)
    assert np.array_equal(found[:, 0], numbers) and np.allclose(cosines[:, 0], 1, atol=2e-3)
    exact = np.argsort(-(vectors @ vectors.T), axis=1, kind="stable")[:, :3]
    assert np.array_equal(found, numbers[exact])
    told = pq.read_table(tmp_path / "out" / "rows.parquet")
    assert told["number"].to_pylist() == numbers.tolist() and "vector" not in told.column_names
    index.add_with_ids(vectors[:1], np.array([999_999]))  # it can be added to like any other
    assert index.ntotal == len(numbers) + 1


@pytest.mark.parametrize("to", ["parquet", "csv", "npy", "faiss"])
def test_nothing_to_write_is_an_empty_export(library: Library, tmp_path: Path, to: formats.Format):
    assert export(library, tmp_path / "out", to, modality="image") == 0
    if to == "parquet":
        assert pq.read_table(tmp_path / "out").num_rows == 0
    elif to == "csv":
        assert len((tmp_path / "out").read_text().splitlines()) == 1
    elif to == "npy":
        assert np.load(tmp_path / "out" / "vectors.npy").shape == (0, DIM)
    else:
        import faiss

        assert faiss.read_index(str(tmp_path / "out" / "index.faiss")).ntotal == 0


@pytest.mark.parametrize("to", ["parquet", "csv", "npy", "faiss"])
def test_what_breaks_in_between_leaves_the_former_export(
    library: Library, tmp_path: Path, to: formats.Format, monkeypatch
):
    target = tmp_path / "out"
    export(library, target, to)
    files = sorted(target.iterdir()) if target.is_dir() else [target]
    before = {path: path.read_bytes() for path in files}
    monkeypatch.setattr("multimodal.library.sqlite_rows.GROUP", 10)
    whole = tables._batch
    seen: list[int] = []

    def breaks(*arguments: object) -> object:
        seen.append(1)
        if len(seen) > 5:
            raise LibraryError("The disk is gone.")
        return whole(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(tables, "_batch", breaks)
    with pytest.raises(LibraryError, match="disk is gone"):
        export(library, target, to)
    assert {path: path.read_bytes() for path in files} == before
    assert {path.name for path in tmp_path.iterdir()} == {"out", "library"}


def test_what_is_no_export_is_not_written_over(library: Library, tmp_path: Path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "dear.jpg").write_bytes(b"picture")
    for to in ("npy", "faiss", "parquet", "csv"):
        with pytest.raises(QueryError, match="photos"):
            export(library, photos, to)  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="not a folder"):
        export(library, photos / "dear.jpg", "npy")
    assert (photos / "dear.jpg").read_bytes() == b"picture"


def test_wrong_wishes_are_one_sentence(library: Library, tmp_path: Path):
    with pytest.raises(QueryError, match="parquet, csv, npy, faiss"):
        export(library, tmp_path / "out.xlsx")
    with pytest.raises(QueryError, match="not as 'hdf5'"):
        export(library, tmp_path / "out", "hdf5")  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="nothing but vectors"):
        export(library, tmp_path / "out", "npy", vectors=False)
    with pytest.raises(QueryError, match="no folder"):
        export(library, tmp_path / "none" / "out.csv")
    with pytest.raises(NoLibrary):
        export(Library(tmp_path / "none"), tmp_path / "out.csv")
    assert {path.name for path in tmp_path.iterdir()} == {"library"}


MEASURE = """
import sys, threading, time
from pathlib import Path
import faiss, pyarrow.csv, pyarrow.parquet
from multimodal import Library
from multimodal.formats import export

def held():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024

peak = []
def poll():
    while True:
        peak.append(held())
        time.sleep(0.005)

threading.Thread(target=poll, daemon=True).start()
export(Library(sys.argv[1]), sys.argv[2], sys.argv[3])
print(max(peak))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads what Linux says of a process")
def test_memory_does_not_grow_with_the_library(tmp_path: Path):
    """100,000 vectors of 160 float32 are 64 MB; ten times as many rows may cost no more than 20 MB."""
    plain_store(tmp_path / "small", 250, 40, 160)
    plain_store(tmp_path / "large", 2500, 40, 160)
    for to in ("parquet", "csv", "npy", "faiss"):
        peaks = []
        for size in ("small", "large"):
            command = [sys.executable, "-c", MEASURE, tmp_path / size, tmp_path / f"{size}-{to}", to]
            done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True)
            peaks.append(float(done.stdout))
        assert peaks[1] - peaks[0] < 20, (to, peaks)
