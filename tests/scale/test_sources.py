"""Folders, globs, addresses and manifests, gone through without a cluster."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from multimodal import Library
from multimodal.errors import LibraryError, NoMediaFile, QueryError, SpaceError
from multimodal.library.roots import Address
from multimodal.scale import index
from multimodal.scale.sources import listed
from multimodal.space import Space
from multimodal.types import IndexReport
from tests.fakes import fake_space
from tests.library.serial import Serial
from tests.scale.kept import assert_equal, files

TEXTS = ["apple.txt", "boat.txt", "cat.txt", "dog.txt", "sub/egg.txt", "sub/fox.txt"]


@pytest.fixture
def home(tmp_path: Path, serial: Serial) -> Path:
    return tmp_path / "library"


@pytest.fixture
def memory(photos: Path) -> Iterator[Any]:
    """The photos as objects in memory, with what nobody means to index."""
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    store.put(str(photos), "/media/photos", recursive=True)
    for name in (".hidden.txt", "Thumbs.db", ".cache/x.txt", "drafts/one.txt"):
        store.pipe_file(f"/media/photos/{name}", b"not this")
    store.pipe_file("/media/photos/.multimodalignore", b"drafts/\n")
    yield store
    store.rm("/media", recursive=True)


def go(home: Path, source: str | Path, space: Space | None = None, **how: Any) -> IndexReport:
    with Library(home, space or fake_space()) as library:
        return index(library, source, **how)


def added(report: IndexReport) -> list[str]:
    return sorted(record.path.name for record in report.records if record.status == "added")


def test_a_folder_gives_the_library_that_add_gives(photos: Path, home: Path, tmp_path: Path) -> None:
    (photos / "copy.txt").write_bytes((photos / "apple.txt").read_bytes())
    (photos / "bad.jpg").write_bytes(b"\xff\xd8 nothing")
    (photos / "thing.xyz").write_bytes(b"\0\1")
    with Library(tmp_path / "one", fake_space()) as library:
        one = library.add(photos)
    two = go(home, photos)
    assert_equal(tmp_path / "one", home)
    told = {(record.path, record.status, record.reason) for record in two.records}
    assert told == {(record.path, record.status, record.reason) for record in one.records}
    assert two.count("reused") == 1 and two.count("failed") == 1 and two.count("skipped") == 1


def test_only_what_changed_is_embedded(photos: Path, home: Path, serial: Serial) -> None:
    go(home, photos)
    os.utime(photos / "apple.txt", ns=(1, 1))
    (photos / "boat.txt").rename(photos / "ship.txt")
    (photos / "cat.txt").write_text("cat without a hat")
    (photos / "dog.txt").unlink()
    report = go(home, photos)
    by_name = {record.path.name: record.status for record in report.records}
    assert by_name == {
        "apple.txt": "unchanged",
        "boat.txt": "removed",
        "ship.txt": "reused",
        "cat.txt": "added",
        "dog.txt": "removed",
        "egg.txt": "unchanged",
        "fox.txt": "unchanged",
    }
    assert [path.name for path in serial.seen[6:]] == ["cat.txt"]
    assert go(home, photos).count("unchanged") == 5


def test_what_changes_while_it_is_read_is_read_again(photos: Path, home: Path, serial: Serial) -> None:
    def change(path: Path) -> None:
        if path.name == "cat.txt":
            path.write_text("something else by now")

    serial.before = change
    go(home, photos)
    assert {row[1]: row[3] == "" for row in files(home)}["cat.txt"]
    serial.before = lambda path: None
    assert added(go(home, photos)) == ["cat.txt"]
    assert go(home, photos).count("unchanged") == 6


def test_globs_leave_the_others_alone(photos: Path, home: Path) -> None:
    go(home, photos)
    (photos / "sub" / "egg.txt").unlink()
    (photos / "apple.txt").unlink()
    report = go(home, f"{photos}/sub/*.txt")
    assert [record.path.name for record in report.records] == ["fox.txt"]
    assert len(files(home)) == 6
    assert added(go(home.with_name("other"), f"{photos}/**/*o*.txt")) == ["boat.txt", "dog.txt", "fox.txt"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_manifests_name_what_is_meant(kind: str, photos: Path, home: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    names = [
        "apple.txt",
        str(photos / "boat.txt"),
        (photos / "sub" / "egg.txt").as_uri(),
        "gone.txt",
        "boat.txt",
    ]
    table = photos / f"some.{kind}"
    if kind == "csv":
        with table.open("w", newline="") as file:
            csv.writer(file).writerows([["id", "URI"], *enumerate(names)])
    else:
        parquet.write_table(pa.table({"id": range(len(names)), "uri": names}), table)
    report = go(home, table)
    assert added(report) == ["apple.txt", "boat.txt", "egg.txt"]
    assert [(one.path.name, one.status) for one in report.problems] == [("gone.txt", "failed")]
    assert {row[1] for row in files(home)} == {"apple.txt", "boat.txt", "sub/egg.txt"}
    assert go(home, table).count("unchanged") == 3


def test_a_manifest_of_addresses(memory: Any, tmp_path: Path, home: Path) -> None:
    table = tmp_path / "some.csv"
    table.write_text(
        "url\nmemory://media/photos/cat.txt\nmemory://media/photos/sub/fox.txt\nmemory://media/no.txt\n"
    )
    report = go(home, table)
    assert added(report) == ["cat.txt", "fox.txt"]
    assert [str(one.path) for one in report.problems] == ["memory://media/no.txt"]


def test_a_prefix_of_objects(memory: Any, photos: Path, tmp_path: Path, home: Path) -> None:
    report = go(home, "memory://media/photos")
    assert added(report) == sorted(Path(name).name for name in TEXTS)
    assert {row[0] for row in files(home)} == {"memory://media/photos"}
    with Library(home, fake_space()) as library:
        [hit] = library.search("cat in a hat", k=1)
        assert str(hit.path) == "memory://media/photos/cat.txt" and hit.cosine > 0.99
        assert "memory://media/photos/sub/fox.txt" in library.to_arrow()["path"].to_pylist()
        library.add(photos)  # a folder of this machine beside it
    assert go(home, "memory://media/photos").count("unchanged") == 6
    memory.rm("/media/photos/cat.txt")
    memory.pipe_file("/media/photos/dog.txt", b"another dog altogether")
    report = go(home, "memory://media/photos")
    assert [(r.path.name, r.status) for r in report.records if r.status != "unchanged"] == [
        ("dog.txt", "added"),
        ("cat.txt", "removed"),
    ]


def test_parts_of_a_prefix_belong_to_it(memory: Any, home: Path) -> None:
    assert added(go(home, "memory://media/photos/sub")) == ["egg.txt", "fox.txt"]
    assert added(go(home, "memory://media/photos")) == ["apple.txt", "boat.txt", "cat.txt", "dog.txt"]
    assert {row[:2] for row in files(home)} == {("memory://media/photos", name) for name in TEXTS}
    assert go(home, "memory://media/photos/sub").count("unchanged") == 2
    assert go(home, "memory://media/photos/sub/egg.txt").count("unchanged") == 1
    assert added(go(home.with_name("other"), "memory://media/photos/**/*g.txt")) == ["dog.txt", "egg.txt"]


def test_objects_are_removed_by_their_address(memory: Any, photos: Path, home: Path) -> None:
    go(home, "memory://media/photos")
    with Library(home, fake_space()) as library:
        library.add(photos)
        assert library.remove("memory://media/photos/nothing") == 0
        assert library.remove("memory://someone:secret@media/photos/cat.txt?region=here") == 1
        assert library.remove(Address("memory://media/photos/dog.txt")) == 1
        assert library.remove("memory://media/photos/sub/") == 2
        assert library.remove("memory://media") == 2
        assert {row[0] for row in files(home)} == {photos.as_posix()}
        assert library.remove((photos / "sub").as_uri()) == 2
        assert library.remove(photos) == 4
    assert memory.exists("/media/photos/cat.txt") and (photos / "cat.txt").exists()


def test_an_object_that_cannot_be_fetched_fails_alone(
    memory: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(memory)
    real = kind._open

    def broken(self: Any, path: str, *args: Any, **kwargs: Any) -> Any:
        if path.endswith("boat.txt"):
            raise ConnectionError("reset by peer")
        return real(self, path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "_open", broken)
        report = go(home, "memory://media/photos")
    [failed] = report.problems
    assert failed.path.name == "boat.txt" and "cannot be fetched" in str(failed.reason)
    assert added(go(home, "memory://media/photos")) == ["boat.txt"]


def test_a_worker_with_other_encoders_is_refused(
    photos: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multimodal.scale.worker.version", lambda: "readers 0")
    with pytest.raises(SpaceError, match="install the same version"):
        go(home, photos)


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        ("nowhere/at/all", NoMediaFile, "no file or folder"),
        ("memory://nothing/here", NoMediaFile, "cannot be listed"),
        ("s3://", QueryError, "names no bucket"),
        ("nonsense://bucket/x", QueryError, "no file system"),
        ("file://elsewhere/x", QueryError, "another machine"),
        ("no.csv", NoMediaFile, "no file or folder"),
    ],
)
def test_sources_that_are_none(source: str, error: type[Exception], said: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=said):
        listed(source)


def test_manifests_that_are_none(tmp_path: Path, home: Path) -> None:
    table = tmp_path / "some.csv"
    table.write_text("name\nx.jpg\n")
    with pytest.raises(QueryError, match="no column"):
        go(home, table)
    (tmp_path / "some.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(QueryError, match="cannot be read"):
        go(home, tmp_path / "some.parquet")
    with pytest.raises(QueryError, match="no engine"):
        go(home, tmp_path, engine="spark")


def test_the_library_itself_is_no_source(home: Path, photos: Path) -> None:
    go(home, photos)
    with pytest.raises(LibraryError, match="belongs to the library"):
        go(home, home)


def test_addresses_keep_their_slashes() -> None:
    bucket = Address("s3://bucket")
    path = bucket / "a b/c.jpg"
    assert str(path) == os.fspath(path) == "s3://bucket/a b/c.jpg"
    assert str(path.with_name("d.jpg").parent) == "s3://bucket/a b" and path == Address(str(path))
    assert (
        path.suffix == ".jpg"
        and bucket in path.parents
        and path.relative_to(bucket).as_posix() == "a b/c.jpg"
    )


def test_filters_know_addresses(memory: Any, home: Path) -> None:
    go(home, "memory://media/photos")
    with Library(home, fake_space()) as library:
        hits = library.search("fox", where="path LIKE '%fox%'", min_confidence=0)
        assert [str(hit.path) for hit in hits] == ["memory://media/photos/sub/fox.txt"]
