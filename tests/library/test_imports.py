"""Vectors made elsewhere: checked, kept beside those of files, found, replaced by their ids, removed."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multimodal import Library, LibraryBusy, LibraryError, NoLibrary, WrongSpace
from multimodal.formats import export
from multimodal.library import tables
from multimodal.library import writing as module
from multimodal.library.imports import import_vectors, imported, imported_by_number, remove_vectors
from multimodal.space import Space
from tests.fakes import DIM, fake_space
from tests.library.conftest import TEXTS
from tests.library.test_safety import start

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def table(space: Space, **columns: Any) -> Any:
    """A table of texts with the vectors that the space gives them; a column None is left out."""
    texts = columns.pop("texts", ["red fox", "blue whale", "green frog"])
    found: dict[str, Any] = {
        "id": [f"n{place}" for place in range(len(texts))],
        "modality": ["text"] * len(texts),
    }
    found |= {"text": texts, "vector": list(space.embed(list(texts))), **columns}
    return pa.table({name: value for name, value in found.items() if value is not None})


def ids(library: Library, query: str, **how: Any) -> list[str | None]:
    return [hit.id for hit in library.search(query, all_segments=True, duplicates=True, **how)]


def test_imported_rows_are_found_beside_files_and_stay(library: Library, photos: Path, space: Space):
    library.add(photos)
    report = import_vectors(
        library, table(space, path=["s3://b/fox.txt", "/media/whale.txt", None]), space="fake"
    )
    assert (report.rows, report.replaced, report.collection) == (3, 0, "imported")
    hit = library.search("blue whale", k=1)[0]
    assert (hit.id, hit.path, hit.text, hit.cosine) == (
        "n1",
        Path("/media/whale.txt"),
        "blue whale",
        pytest.approx(1, abs=1e-3),
    )
    assert library.search("green frog", k=1)[0].path == Path("n2")
    assert library.search(TEXTS["dog.txt"], k=1)[0].id is None
    library.add(photos)
    assert library.remove(photos) == 6
    library.add(photos)
    assert library.search("blue whale", k=1)[0].id == "n1"
    assert library.stats().segments == {"text": 9} and library.stats().files == 9
    paths = tables.to_arrow(library)["path"].to_pylist()
    assert "s3://b/fox.txt" in paths and str(photos / "cat.txt") in paths


def test_a_folder_above_the_library_takes_no_collection_in(library: Library, photos: Path, space: Space):
    library.add(photos / "sub")
    import_vectors(library, table(space), space="fake")
    library.add(photos.parent)
    assert len(ids(library, "fox", k=100)) == 9
    assert library.search("green frog", k=1)[0].path == Path("n2")


def test_rows_of_an_id_are_replaced(library: Library, space: Space):
    import_vectors(library, table(space, path=["a", "a", "b"]), space="fake")
    changed = table(space, texts=["red hen", "white dove"], id=["n0", "n7"], path=["c", "b"])
    report = import_vectors(library, changed, space="fake")
    assert (report.rows, report.replaced) == (2, 1)
    found = imported(library, ["n0", "n1", "n2", "n7", "none"])
    assert {id_: (one.path, one.text) for id_, one in found.items()} == {
        "n0": ("c", "red hen"),
        "n1": ("a", "blue whale"),
        "n2": ("b", "green frog"),
        "n7": ("b", "white dove"),
    }
    assert "red fox" not in [hit.text for hit in library.search("red fox", k=10)]
    assert library.stats().files == 3  # a, b, c
    twice = table(space, texts=["one", "two"], id=["x", "x"])
    assert import_vectors(library, twice, space="fake").replaced == 1
    assert imported(library, ["x"])["x"].text == "two"


def test_rows_without_an_id_are_named_by_their_path(library: Library, space: Space):
    parts = table(space, texts=["one", "two", "three"], id=None, path=["a", "b", "a"], start=[0.0, 0.0, 5.0])
    import_vectors(library, parts, space="fake")
    assert {(one.id, one.text, one.start) for one in imported(library, ["a", "b", "a#1"]).values()} == {
        ("a", "one", 0.0),
        ("b", "two", 0.0),
        ("a#1", "three", 5.0),
    }
    report = import_vectors(library, table(space, texts=["four"], id=None, path=["a"]), space="fake")
    assert (report.rows, report.replaced) == (1, 2)
    assert sorted(hit.text or "" for hit in library.search("one", k=10, min_confidence=0)) == ["four", "two"]


def test_collections_keep_their_ids_apart(library: Library, space: Space):
    import_vectors(library, table(space), space="fake")
    import_vectors(library, table(space, texts=["zebra"], id=["n0"]), space="fake", collection="zoo")
    assert imported(library, ["n0"])["n0"].text == "red fox"
    assert imported(library, ["n0"], collection="zoo")["n0"].text == "zebra"
    assert remove_vectors(library, ["n0", "n9"], collection="zoo") == 1
    assert remove_vectors(library, collection="zoo") == 0
    found = ids(library, "red fox", k=10, min_confidence=0)
    assert found[0] == "n0" and sorted(found) == ["n0", "n1", "n2"]
    assert remove_vectors(library, ["n1"]) == 1 and sorted(map(str, ids(library, "fox", k=9))) == ["n0", "n2"]
    assert remove_vectors(library) == 2 and library.search("fox") == []
    with pytest.raises(LibraryError, match="list of ids"):
        remove_vectors(library, "n1")


def test_everything_that_comes_with_a_row_is_kept(library: Library, space: Space):
    rows = table(
        space,
        texts=["a shot", "a page"],
        path=["film.mp4", "book.pdf"],
        modality=["video", "text"],
        start=[1.5, None],
        end=[3, None],
        page=[None, 7],
        chars=pa.array([None, [3, 9]], pa.list_(pa.int32(), 2)),
        role=["content", "caption"],
        width=[640, None],
        height=[480, None],
        duration=[12.25, None],
        taken=["2024-05-03T17:20:00", None],
        size=[1000, None],
        modified=[datetime(2024, 5, 3, 17, 20, 0, 123456, timezone.utc), None],
        metadata=[json.dumps({"licence": "CC0"}), None],
        author=["Ann", None],
        stars=[5, 4],
    )
    import_vectors(library, rows, space="fake")
    shot, page = tables.to_arrow(library).to_pylist()
    assert json.loads(shot.pop("metadata")) == {"licence": "CC0", "author": "Ann", "stars": 5}
    assert json.loads(page.pop("metadata")) == {"stars": 4}
    assert shot.pop("modified").value == rows["modified"][0].cast(pa.timestamp("ns", "UTC")).value
    assert page.pop("modified") is None
    for row in (shot, page):
        assert np.allclose(row.pop("vector"), space.embed(row["text"])[0], atol=1e-3)
        row.pop("number")
    assert shot == {
        "path": "film.mp4", "id": "n0", "modality": "video", "role": "content", "page": None, "start": 1.5,
        "end": 3.0, "text": "a shot", "begin_char": None, "end_char": None, "width": 640, "height": 480,
        "duration": 12.25, "taken": "2024-05-03T17:20:00", "size": 1000,
    }  # fmt: skip
    assert (page["page"], page["begin_char"], page["end_char"], page["role"]) == (7, 3, 9, "caption")
    hit = library.search("a page", k=1)[0]
    assert hit.number is not None and (hit.page, hit.chars, hit.role) == (7, (3, 9), "caption")
    assert imported_by_number(library, [hit.number])[hit.number].metadata == {"stars": 4}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_export_is_imported_into_another_library(
    library: Library, photos: Path, space: Space, tmp_path: Path, dtype: tables.Precision
):
    library.add(photos)
    import_vectors(library, table(space, author=["Ann", None, None]), space="fake")
    export(library, tmp_path / "out.parquet", dtype=dtype)
    with Library(tmp_path / "other", fake_space()) as other:
        assert import_vectors(other, tmp_path / "out.parquet").rows == 9
        assert import_vectors(other, str(tmp_path / "out.parquet")).replaced == 9
        mine, theirs = tables.to_arrow(library), tables.to_arrow(other)
        for name in set(mine.column_names) - {"number", "id", "metadata"}:
            assert mine[name].equals(theirs[name]), name
        assert library.search("cat hat", k=1)[0].path == other.search("cat hat", k=1)[0].path
        assert imported(other, ["n0"])["n0"].metadata == {"author": "Ann"}


def test_vectors_may_come_in_any_list_of_floats(library: Library, space: Space):
    vectors = space.embed(["red fox"]).astype(np.float64)
    forms = {
        "list": pa.array(list(vectors), pa.list_(pa.float64())),
        "large": pa.array(list(vectors), pa.large_list(pa.float32())),
        "fixed": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float64()), DIM),
        "half": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel().astype(np.float16)), DIM),
    }
    for name, column in forms.items():
        made = pa.table({"id": [name], "vector": column})
        import_vectors(library, made, space=space.space_id, modality="text")
    assert {hit.id: round(hit.cosine, 3) for hit in library.search("red fox", duplicates=True)} == {
        name: 1.0 for name in forms
    }


def test_a_data_frame_is_a_table_too(library: Library, space: Space):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "id": [1, 2],
            "modality": "text",
            "text": ["red fox", None],
            "vector": list(space.embed(["red fox", "owl"])),
        }
    )
    import_vectors(library, frame, space="fake")
    assert [(hit.id, hit.text) for hit in library.search("owl", k=1)] == [("2", None)]


def test_blank_rows_have_no_vector(library: Library, space: Space):
    rows = table(space, role=["content", "blank", "content"]).to_pydict()
    rows["vector"][1] = None
    import_vectors(library, pa.table(rows), space="fake")
    assert library.stats().segments == {"text": 2}
    assert tables.to_arrow(library, role="blank")["id"].to_pylist() == ["n1"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"vector": None}, "no column 'vector'"),
        ({"vector": ["a", "b", "c"]}, "holds string, not lists of floats"),
        ({"vector": [[1, 0]] * 3}, "not lists of floats"),
        ({"vector": [[1.0, 0.0]] * 3}, "row 0 has a vector of 2 numbers, not 32"),
        ({"vector": [[1.0] + [0.0] * 31] * 2 + [[0.5] + [0.0] * 31]}, "row 2 has a vector of length 0.5"),
        ({"vector": [[1.0] + [0.0] * 31, [0.0] * 32, [1.0] + [0.0] * 31]}, "row 1 has a vector of zeros"),
        ({"vector": [[1.0] + [float("nan")] * 31] * 3}, "row 0 has a vector with a number that is none"),
        ({"vector": [[1.0] + [None] * 31] * 3}, "row 0 has a vector with a number that is none"),
        ({"vector": [[1.0] + [0.0] * 31, None, [1.0] + [0.0] * 31]}, "row 1 has no vector"),
        ({"id": None}, "neither a column 'id' nor 'path'"),
        ({"id": ["a", None, "c"]}, "row 1 has neither an id nor a path"),
        ({"modality": None}, "no column 'modality'"),
        ({"modality": ["text", "smell", "text"]}, "row 1 has the modality 'smell'"),
        ({"role": ["content", "hero", "content"]}, "row 1 has the role 'hero'"),
        ({"role": ["content", "blank", "content"]}, "row 1 has a vector though it is blank"),
        ({"start": [0.0, float("inf"), 1.0]}, "row 1 has start inf"),
        ({"page": [1, -2, 1]}, "row 1 has page -2"),
        ({"metadata": ["{}", "[1]", "{}"]}, "row 1 has metadata that is no JSON object"),
    ],
)  # fmt: skip
def test_a_table_that_is_not_as_said_is_refused_whole(
    library: Library, photos: Path, space: Space, change: dict[str, Any], sentence: str, monkeypatch
):
    library.add(photos)
    monkeypatch.setattr("multimodal.library.incoming.BATCH", 1)  # what went before is taken back
    before = tables.to_arrow(library)
    with pytest.raises(LibraryError, match=sentence.replace("[", r"\[")):
        import_vectors(library, table(space, **change), space="fake")
    assert tables.to_arrow(library) == before


def test_vectors_are_brought_to_unit_length_where_that_is_asked(library: Library, space: Space):
    rows = table(space, vector=list(space.embed(["red fox", "blue whale", "green frog"]) * 7.5))
    with pytest.raises(LibraryError, match=r"length 7\.5"):
        import_vectors(library, rows, space="fake")
    import_vectors(library, rows, space="fake", normalize=True)
    assert library.search("blue whale", k=1)[0].cosine == pytest.approx(1, abs=1e-3)


def test_the_space_must_be_named_and_be_the_librarys(
    library: Library, photos: Path, space: Space, tmp_path: Path
):
    with pytest.raises(LibraryError, match="Say which space"):
        import_vectors(library, table(space))
    with pytest.raises(WrongSpace, match="starter"):
        import_vectors(library, table(space), space="starter")
    library.add(photos)
    other = fake_space(2)
    export(library, tmp_path / "out.parquet")
    with Library(tmp_path / "other", other) as unlike:
        unlike.add(photos)
        with pytest.raises(WrongSpace, match="cannot be compared"):
            import_vectors(unlike, tmp_path / "out.parquet")
        with pytest.raises(WrongSpace):
            import_vectors(unlike, tmp_path / "out.parquet", space=other.space_id)
    assert import_vectors(library, table(space), space=space.space_id).rows == 3


def test_what_is_no_table_is_one_sentence(library: Library, photos: Path, tmp_path: Path):
    library.add(photos)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no table")
    for source in (tmp_path / "bad.parquet", tmp_path / "none.parquet", 7):
        with pytest.raises(LibraryError):
            import_vectors(library, source, space="fake")
    for name in ("", " ", "a  b", "a\n"):
        with pytest.raises(LibraryError, match="no name of a collection"):
            import_vectors(library, tmp_path / "bad.parquet", space="fake", collection=name)
    with pytest.raises(NoLibrary):
        remove_vectors(Library(tmp_path / "none"))


def test_a_library_is_made_for_an_import(tmp_path: Path, space: Space):
    with Library(tmp_path / "new", space) as library:
        import_vectors(library, table(space), space="fake")
        assert library.search("red fox", k=1)[0].id == "n0"
        assert library.stats().space_id == space.space_id


def test_a_parquet_file_is_read_in_batches(library: Library, space: Space, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("multimodal.library.incoming.BATCH", 7)
    texts = [f"word{number}" for number in range(50)]
    pq.write_table(table(space, texts=texts), tmp_path / "in.parquet")
    assert import_vectors(library, tmp_path / "in.parquet", space="fake").rows == 50
    rows = tables.to_arrow(library)
    assert rows["text"].to_pylist() == texts
    assert np.allclose(np.stack(rows["vector"].to_numpy()), space.embed(texts), atol=1e-3)


def test_a_second_writer_is_told(library: Library, photos: Path, space: Space, monkeypatch):
    library.add(photos)
    (photos / "new.txt").write_text("new")
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.05)
    process = start(library.path, photos, "3")
    try:
        assert process.stdout is not None and process.stdout.readline().strip() == "-"
        with pytest.raises(LibraryBusy, match=str(process.pid)):
            import_vectors(library, table(space), space="fake")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
