"""The library as a table: every column, one state of it, vectors beside their rows."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multimodal import Library, NoLibrary, QueryError
from multimodal.errors import LibraryError
from multimodal.library import tables
from multimodal.library.sqlite import SqliteStore
from multimodal.library.store import FileEntry, SegmentRow
from multimodal.types import Facts
from tests.fakes import DIM
from tests.library.conftest import TEXTS
from tests.media import tone, write_image, write_sound
from tests.pace import within

pa = pytest.importorskip("pyarrow")


@pytest.fixture
def mixed(library: Library, photos: Path) -> Library:
    for name, colour in {"red": (250, 5, 5), "blue": (5, 5, 250)}.items():
        write_image(photos / f"{name}.png", Image.new("RGB", (64, 48), colour))
    quiet = np.zeros((16_000 * 6, 1), np.float32)
    write_sound(photos / "high.wav", np.concatenate([tone(5.0, 16_000, 4000), quiet]), 16_000)
    library.add(photos)
    return library


def unit_rows(count: int, dim: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def plain_store(folder: Path, files: int, per_file: int, dim: int) -> np.ndarray:
    """A library of made-up video segments written straight into its store; gives their vectors."""
    folder.mkdir(parents=True)
    store = SqliteStore.create(folder, "fake", "fake-id", dim)
    root = store.put_root("..", 1)
    vectors = unit_rows(files * per_file, dim)
    halves = vectors.astype("<f2")
    entries = [
        FileEntry(
            root,
            f"{file}.mp4",
            1,
            1,
            None,
            "indexed",
            None,
            "r",
            0.0,
            [
                SegmentRow("video", float(n), n + 1.0, None, "e", halves[file * per_file + n].tobytes())
                for n in range(per_file)
            ],
        )
        for file in range(files)
    ]
    for begin in range(0, files, 500):
        store.write(entries[begin : begin + 500])
    store.close()
    return vectors


def test_every_segment_is_a_row_with_all_that_is_known(mixed: Library, photos: Path):
    table = tables.to_arrow(mixed)
    assert table.schema.metadata == {b"space": b"fake", b"space_id": mixed.space.space_id.encode()}
    assert table["number"].to_pylist() == sorted(table["number"].to_pylist())
    rows = {(Path(row["path"]).name, row["role"]): row for row in table.to_pylist()}
    red = rows["red.png", "content"]
    assert red["path"] == str(photos / "red.png") and red["modality"] == "image"
    assert (red["width"], red["height"], red["start"], red["text"], red["id"]) == (64, 48, None, None, None)
    status = (photos / "red.png").stat()
    assert red["size"] == status.st_size and red["modified"].value == status.st_mtime_ns
    egg = rows["egg.txt", "content"]
    assert egg["path"] == str(photos / "sub" / "egg.txt")
    assert egg["text"] == TEXTS["sub/egg.txt"] and (egg["begin_char"], egg["end_char"]) == (
        0,
        len(egg["text"]),
    )
    heard, silent = rows["high.wav", "content"], rows["high.wav", "blank"]
    assert heard["start"] == 0 and silent["end"] == pytest.approx(11, abs=0.1)
    assert heard["duration"] == pytest.approx(11, abs=0.1)
    assert silent["vector"] is None and len(heard["vector"]) == DIM
    for path in ("red.png", "egg.txt"):
        vector = np.array(rows[path, "content"]["vector"])
        item = photos / "red.png" if path == "red.png" else egg["text"]
        assert vector @ mixed.space.embed(item)[0] == pytest.approx(1, abs=1e-3)


def test_modality_role_and_precision_limit_what_is_given(mixed: Library):
    whole = tables.to_arrow(mixed, vectors=False)
    assert "vector" not in whole.column_names
    count = {name: whole["modality"].to_pylist().count(name) for name in ("text", "image", "audio")}
    assert tables.to_arrow(mixed, "image").num_rows == count["image"] == 2
    two = tables.to_arrow(mixed, ["audio", "text"])
    assert two.num_rows == count["audio"] + count["text"]
    assert two["number"].to_pylist() == sorted(two["number"].to_pylist())
    blank = tables.to_arrow(mixed, role="blank")
    assert blank.num_rows > 0 and blank["vector"].null_count == blank.num_rows
    half = tables.to_arrow(mixed, "image", dtype="float16")
    assert half.schema.field("vector").type == pa.list_(pa.float16(), DIM)
    single = tables.to_arrow(mixed, "image")["vector"].to_pylist()
    assert half["vector"].to_pylist() == [[np.float16(value) for value in row] for row in single]
    assert tables.to_arrow(mixed, "video").num_rows == 0


def test_sql_limits_what_is_given(mixed: Library):
    found = tables.to_arrow(mixed, where="suffix = '.txt' AND text LIKE '%egg%' OR width = 64")
    assert {Path(path).name for path in found["path"].to_pylist()} == {"egg.txt", "red.png", "blue.png"}
    assert tables.to_arrow(mixed, "text", where="width = 64").num_rows == 0
    with pytest.raises(QueryError):
        tables.to_arrow(mixed, where="no_such_column = 1")


def test_wrong_wishes_raise(mixed: Library, tmp_path: Path):
    for wish in ({"modality": "smell"}, {"role": "hero"}, {"dtype": "int8"}):
        with pytest.raises(QueryError):
            tables.to_arrow(mixed, **wish)
        with pytest.raises(QueryError):
            tables.embeddings(mixed, **wish)
    for give in (tables.to_arrow, tables.embeddings):
        with pytest.raises(NoLibrary):
            give(Library(tmp_path / "none", mixed.space))
    (mixed.path / "library.db").write_bytes(b"no database" * 500)
    with pytest.raises(LibraryError, match="not a database"):
        tables.to_arrow(mixed)


def test_a_reader_gives_one_state_while_the_library_changes(mixed: Library, photos: Path, monkeypatch):
    monkeypatch.setattr("multimodal.library.sqlite_rows.GROUP", 1)
    whole = tables.to_arrow(mixed)
    reader = tables.to_reader(mixed)
    seen = [reader.read_next_batch()]
    with within(5, clock=time.monotonic):  # a writer does not wait for the reader to end
        mixed.remove(photos / "sub")
    seen += list(reader)
    assert pa.Table.from_batches(seen) == whole
    assert tables.to_arrow(mixed).num_rows == whole.num_rows - 2


def test_embeddings_lie_beside_what_they_are_of(mixed: Library):
    vectors, rows = tables.embeddings(mixed)
    assert vectors.dtype == np.float32 and vectors.shape == (rows.num_rows, DIM)
    assert "blank" not in rows["role"].to_pylist() and "vector" not in rows.column_names
    for name in ("text", "image", "audio"):
        some, table = tables.embeddings(mixed, name)
        chosen = np.array(rows["modality"].to_pylist()) == name
        assert np.array_equal(some, vectors[chosen])
        assert table["number"].to_pylist() == rows["number"].filter(pa.array(chosen)).to_pylist()
    told = tables.to_arrow(mixed, role="content")
    expected = told.filter(told["vector"].is_valid())
    assert rows["number"] == expected["number"]
    assert np.array_equal(vectors, np.stack(expected["vector"].to_numpy()))
    captions, table = tables.embeddings(mixed, role="caption")
    assert captions.shape == (0, DIM) and table.num_rows == 0


def test_vectors_are_given_by_number(mixed: Library):
    vectors, rows = tables.embeddings(mixed)
    numbers = rows["number"].to_pylist()
    found = tables.vectors_of(mixed, [*numbers[::-1], numbers[0], 999_999])
    assert found.keys() == set(numbers)
    assert all(np.array_equal(found[number], vectors[place]) for place, number in enumerate(numbers))
    assert tables.vectors_of(mixed, []) == {}
    blank = tables.to_arrow(mixed, role="blank")["number"].to_pylist()
    assert blank and tables.vectors_of(mixed, blank) == {}


def test_one_modality_as_float16_is_a_view_of_the_file(mixed: Library):
    vectors, _ = tables.embeddings(mixed, "text", dtype="float16")
    owner = vectors
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    assert isinstance(owner, np.memmap) and not vectors.flags.writeable
    chosen, rows = tables.embeddings(mixed, "text", role="content", dtype="float16")
    assert np.array_equal(chosen, vectors) and rows.num_rows == len(vectors)


def test_embeddings_of_a_library_that_just_changed_are_the_new_ones(mixed: Library, photos: Path):
    before, _ = tables.embeddings(mixed, "text")
    (photos / "new.txt").write_text("zebra")
    mixed.add(photos)
    after, rows = tables.embeddings(mixed, "text")
    assert len(after) == len(before) + 1
    place = [Path(path).name for path in rows["path"].to_pylist()].index("new.txt")
    assert after[place] @ mixed.space.embed("zebra")[0] > 0.999


def test_a_data_frame_holds_the_same(mixed: Library):
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = tables.to_pandas(mixed, "text")
    table = tables.to_arrow(mixed, "text")
    assert list(frame.columns) == table.column_names and len(frame) == table.num_rows
    assert frame["text"].tolist() == table["text"].to_pylist()
    assert np.array_equal(np.stack(frame["vector"]), np.stack(table["vector"].to_numpy()))


def test_without_pandas_one_sentence_says_so(mixed: Library, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(LibraryError, match="pip install pandas"):
        tables.to_pandas(mixed)


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_a_name_that_is_no_unicode_is_shown_with_escapes(library: Library, photos: Path):
    name = os.fsdecode(b"caf\xe9.txt")
    (photos / name).write_text("coffee")
    library.add(photos)
    paths = tables.to_arrow(library)["path"].to_pylist()
    assert str(photos / "caf") + "\\xe9.txt" in paths


def test_facts_of_a_file_come_with_each_of_its_segments(tmp_path: Path):
    folder = tmp_path / "library"
    vectors = plain_store(folder, files=3, per_file=4, dim=8)
    store = SqliteStore.create(folder, "fake", "fake-id", 8)
    facts = Facts(1920, 1080, 12.5, "2024-05-03T17:20:00")
    entry = FileEntry(store.roots()[0], "1.mp4", 7, 1, None, "indexed", None, "r", 0.0, None, facts=facts)
    store.write([entry])
    store.close()
    rows = tables.to_arrow(Library(folder)).to_pylist()
    assert [row["width"] for row in rows] == [None] * 4 + [1920] * 4 + [None] * 4
    assert {(row["duration"], row["taken"]) for row in rows[4:8]} == {(12.5, "2024-05-03T17:20:00")}
    assert np.allclose([row["vector"] for row in rows], vectors, atol=2e-3)


def test_nothing_heavy_is_imported_for_it():
    code = "import multimodal.library.tables, sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pyarrow", "pandas", "torch", "faiss"} & set(done.stdout.split())
