"""WebDataset shards in, parquet or WebDataset out."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from multimodal.commands.vectors import embed
from multimodal.errors import QueryError
from multimodal.scale.shards import embed_shards, embed_shards_to_file
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


def samples(path: Path) -> dict[str, tuple[dict[str, Any], np.ndarray[Any, Any]]]:
    """What a .tar holds, as a WebDataset reader groups it."""
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            key, _, ending = member.name.rpartition(".")
            found.setdefault(key, {})[ending] = archive.extractfile(member).read()  # type: ignore[union-attr]
    assert all(set(one) == {"json", "npy"} for one in found.values())
    return {key: (json.loads(one["json"]), np.load(io.BytesIO(one["npy"]))) for key, one in found.items()}


def test_each_shard_becomes_a_shard(shards: Path, tmp_path: Path) -> None:
    space = fake_space()
    report = embed_shards(shards, tmp_path / "out", space, form="tar")
    assert report.done == ("0000", "0001") and (report.rows, report.files, report.failed) == (12, 8, 4)
    found = samples(tmp_path / "out" / "0001.tar")
    assert list(found) == ["1/0", "1/1", "1/2", "1", "broken", "thing"]
    about, vectors = found["1/2"]
    assert (about["shard"], about["key"]) == ("0001", "1/2") and vectors.dtype == np.float16
    [row] = about["rows"]
    assert (row["name"], row["modality"], row["vector"], row["error"]) == ("1/2.a.txt", "text", 0, None)
    np.testing.assert_allclose(vectors[0].astype(float), space.embed("text 2 of shard 1")[0], atol=1e-3)
    about, vectors = found["broken"]
    assert about["rows"][0]["vector"] is None and about["rows"][0]["error"]
    assert vectors.shape == (0, space.dim)
    assert embed_shards(shards, tmp_path / "out", space, form="tar").passed == report.done


@pytest.mark.parametrize("form", ["parquet", "tar"])
def test_one_file_of_all_shards(form: str, shards: Path, tmp_path: Path) -> None:
    space, target = fake_space(), tmp_path / f"vectors.{form}"
    (shards / "0002.tar").write_bytes((shards / "0001.tar").read_bytes()[:700])
    names = [shards / f"{number:04}.tar" for number in (1, 0, 2)]
    report = embed_shards_to_file(names, target, space)
    assert set(report.done) == {"0000", "0001"} and [name for name, _ in report.problems] == ["0002"]
    assert sorted(path.name for path in tmp_path.iterdir() if "vectors" in path.name) == [target.name]
    if form == "parquet":
        rows = read(target)
        parts = [embed_shards(name, tmp_path / "out", space).done for name in names[:2]]
        assert rows == [row for [part] in parts for row in read(tmp_path / "out" / f"{part}.parquet")]
    else:
        found = samples(target)
        assert {about["shard"] for about, _ in found.values()} == {"0000", "0001"}
        assert next(iter(found)) == "1/0" and len(found["0/1"][1]) == 1


def test_one_file_goes_on_where_it_was(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_shards_to_file(f"{shards}/*.tar", tmp_path / "all.tar", fake_space(), progress=stop)
    assert not (tmp_path / "all.tar").exists()
    report = embed_shards_to_file(f"{shards}/*.tar", tmp_path / "all.tar", fake_space())
    assert (report.passed, report.done) == (("0000",), ("0001",))
    assert len(samples(tmp_path / "all.tar")) == 10  # both have "broken" and "thing"


def test_no_shard_no_file(shards: Path, tmp_path: Path) -> None:
    (shards / "0002.tar").write_bytes(b"nothing of the kind")
    with pytest.raises(QueryError, match="No shard gave vectors"):
        embed_shards_to_file(shards / "0002.tar", tmp_path / "all.tar", fake_space())
    with pytest.raises(QueryError, match=r"\.parquet or a \.tar"):
        embed_shards_to_file(shards, tmp_path / "all", fake_space())
    with pytest.raises(QueryError, match="not as 'csv'"):
        embed_shards(shards, tmp_path / "out", fake_space(), form="csv")  # type: ignore[arg-type]


def test_the_command(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("multimodal.space.load_space", lambda name: fake_space())
    names = [str(path) for path in sorted(shards.iterdir())]
    with pytest.raises(typer.Exit) as ended:  # of the broken files
        embed(names, str(tmp_path / "all.parquet"))
    assert ended.value.exit_code == 3 and len(read(tmp_path / "all.parquet")) == 12
    assert "2 shards: 12 rows of 8 files" in capsys.readouterr().err
    with pytest.raises(typer.Exit):
        embed([f"{shards}/*.tar"], str(tmp_path / "folder"), to="tar")
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["0000.tar", "0001.tar"]
    for files, output, how, match in (
        ([*names, "x.jpg"], "all.parquet", {}, "not both"),
        (["x.jpg"], "all.parquet", {"to": "tar"}, "for shards"),
        (names, "all.parquet", {"to": "tar"}, "says parquet"),
        (names, "all.csv", {}, "not 'all.csv'"),
        (names, "memory://bucket/all.tar", {}, "on this machine"),
    ):
        with pytest.raises(QueryError, match=match):
            embed(files, output, **how)
