"""WebDataset shards in, parquet out."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multimodal.errors import QueryError
from multimodal.scale.shards import embed_shards
from tests.fakes import fake_space
from tests.library.serial import Serial


@pytest.fixture
def shards(tmp_path: Path, serial: Serial) -> Path:
    """Two shards of three samples each, one file of them broken and one named to escape."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for number in range(2):
        with tarfile.open(folder / f"{number:04}.tar", "w") as archive:
            for sample in range(3):
                put(archive, f"{number}/{sample}.a.txt", f"text {sample} of shard {number}".encode())
                put(archive, f"{number}/{sample}.json", b"{}")
            put(archive, f"../../{number}.txt", b"out of here")
            put(archive, "broken.jpg", b"\xff\xd8 nothing")
            put(archive, "thing.xyz", b"\0\1")
    return folder


def put(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    about = tarfile.TarInfo(name)
    about.size = len(data)
    archive.addfile(about, io.BytesIO(data))


def read(path: Path) -> list[dict[str, Any]]:
    from pyarrow import parquet

    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows


def test_each_shard_becomes_a_table(shards: Path, tmp_path: Path) -> None:
    space, told = fake_space(), []
    report = embed_shards(shards, tmp_path / "out", space, progress=told.append)
    assert report.done == ("0000", "0001") and told == ["0000", "0001"] and not report.problems
    assert (report.rows, report.files, report.failed) == (12, 8, 4)
    rows = read(tmp_path / "out" / "0001.parquet")
    assert [row["name"] for row in rows][:2] == ["1/0.a.txt", "1/1.a.txt"] and rows[0]["key"] == "1/0"
    assert {row["name"]: row["error"] is None for row in rows} == {
        "1/0.a.txt": True,
        "1/1.a.txt": True,
        "1/2.a.txt": True,
        "../../1.txt": True,
        "broken.jpg": False,
        "thing.xyz": False,
    }
    expected = space.embed("text 2 of shard 1")[0]
    np.testing.assert_allclose(np.asarray(rows[2]["vector"], float), expected, atol=1e-3)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0000.parquet", "0001.parquet"]
    assert not (tmp_path.parent / "1.txt").exists()


def test_a_job_goes_on_where_it_was(shards: Path, tmp_path: Path) -> None:
    (shards / "0002.tar").write_bytes((shards / "0001.tar").read_bytes()[:700])
    first = embed_shards(shards / "0000.tar", tmp_path / "out", fake_space())
    second = embed_shards(f"{shards}/*.tar", tmp_path / "out", fake_space())
    assert (first.done, second.done, second.passed) == (("0000",), ("0001",), ("0000",))
    [(name, reason)] = second.problems
    assert name == "0002" and "cannot be read" in reason
    assert not (tmp_path / "out" / "0002.parquet").exists()


def test_shards_in_an_object_store(shards: Path) -> None:
    store = pytest.importorskip("fsspec").filesystem("memory")
    try:
        store.put(str(shards), "/tars", recursive=True)
        report = embed_shards("memory://tars", "memory://out", fake_space())
        assert report.done == ("0000", "0001")
        assert sorted(store.ls("/out", detail=False)) == ["/out/0000.parquet", "/out/0001.parquet"]
        assert embed_shards("memory://tars", "memory://out", fake_space()).passed == report.done
    finally:
        store.rm("/tars", recursive=True)
        store.rm("/out", recursive=True)


def test_two_shards_of_one_name_are_refused(shards: Path, tmp_path: Path) -> None:
    (shards / "more").mkdir()
    (shards / "more" / "0000.tar").write_bytes((shards / "0000.tar").read_bytes())
    with pytest.raises(QueryError, match="same name"):
        embed_shards(shards, tmp_path / "out", fake_space())
