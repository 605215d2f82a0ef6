"""What every store keeps to: the one on a local disk, and the shared one at a path or an address."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from multimodal.errors import LibraryBusy, LibraryError, NoLibrary
from multimodal.library.opening import make_folder
from multimodal.library.sqlite import SqliteStore
from multimodal.library.store import FileEntry, Root, SegmentRow, Store
from multimodal.types import MODALITIES, Facts
from tests.library.shelf import DIM, row

Opened: TypeAlias = Callable[[bool], Any]
"""The store for writing (True) or for reading."""


def local(folder: Path) -> Opened:
    def opened(writing: bool) -> Any:
        make_folder(folder)
        return SqliteStore.create(folder, "fake", "id", DIM) if writing else SqliteStore.open(folder)

    return opened


def shared(uri: str) -> Opened:
    pytest.importorskip("lance", reason="needs multimodal[lance]")
    from multimodal.library.lance import LanceStore

    return lambda writing: LanceStore.create(uri, "fake", "id", DIM) if writing else LanceStore.open(uri)


@pytest.fixture(params=["sqlite", "path", "file", pytest.param("s3", marks=pytest.mark.slow)])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    if request.param == "s3":
        moto = pytest.importorskip("moto.server", reason="needs moto[server]")
        boto3 = pytest.importorskip("boto3")
        server = moto.ThreadedMotoServer(port=0)
        server.start()
        host, port = server.get_host_and_port()
        bucket = f"bucket-{secrets.token_hex(4)}"  # its objects outlive the server
        key = {"aws_access_key_id": "someone", "aws_secret_access_key": "secret"}
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1", **key)
        client.create_bucket(Bucket=bucket)
        options = f"endpoint_override={host}:{port}&scheme=http&region=us-east-1"
        yield shared(f"s3://someone:secret@{bucket}/library?{options}")
        server.stop()
    elif request.param == "sqlite":
        yield local(tmp_path / "library")
    else:
        folder = tmp_path / "my library"
        yield shared(str(folder) if request.param == "path" else folder.as_uri())


@pytest.fixture
def store(opened: Opened) -> Iterator[Any]:
    with closing(opened(True)) as store:
        yield store


def entry(root: Root, path: str, *rows: SegmentRow, **more: Any) -> FileEntry:
    facts = Facts(640, 480, None, "2020-05-01")
    made = FileEntry(root, path, 10, 20, b"h" * 16, "indexed", None, "recipe", 0.5, rows, "", facts)
    return replace(made, **more)


def vectors(store: Store, after: int = 0) -> list[tuple[int, int, bytes]]:
    return [(n, f, bytes(v)) for group in store.vectors("text", after) for n, f, v in group]


def ids(store: Any) -> set[tuple[str, str, int]]:
    """Every segment there is, by where it is."""
    return {
        (found.path, found.modality, found.ordinal)
        for found in store.segments([record.number for record in records(store)]).values()
    }


def records(store: Any) -> list[Any]:
    roles = ["content", "blank", "caption"]
    return [record for group in store.records(MODALITIES, roles, True) for record in group]


def test_settings_are_those_it_was_made_with(opened: Opened) -> None:
    with closing(opened(True)) as store:
        before = store.settings()
        assert (before["space"], before["space_id"], before["dim"]) == ("fake", "id", DIM)
        store.put_setting("storage", "int8")
    with closing(opened(True)) as store:
        after = store.settings()
        assert after["storage"] == "int8" and after["library"] == before["library"]
    with closing(opened(False)) as store:
        assert store.settings()["storage"] == "int8"


def test_there_is_none_before_it_is_made(opened: Opened) -> None:
    with pytest.raises(NoLibrary):
        opened(False)


def test_what_is_written_is_read(opened: Opened, store: Any) -> None:
    root = store.put_root("/photos", 7)
    assert store.put_root("/photos", 8) == Root(root.number, "/photos", 8) and len(store.roots()) == 1
    frames = np.arange(2, dtype="<f4").tobytes(), np.eye(2, DIM).astype("<f2").tobytes()
    said = row("text", "it's a \u00e4 'cat'", 0.5, 1.5, page=3, vector=[0, 1, 0, 0, 0, 0, 0, 0])
    rows = said, replace(row("video", start=0, end=2), frames=frames), row("audio", role="blank")
    store.write([entry(root, "a 'b'/c.mp4", *rows), entry(root, "bad.jpg", status="failed", reason="why")])
    state = store.file(root, "a 'b'/c.mp4")
    assert state == store.files(root)["a 'b'/c.mp4"]
    assert (state.size, state.mtime_ns, state.hash, state.recipe) == (10, 20, b"h" * 16, "recipe")
    assert state.facts == Facts(640, 480, None, "2020-05-01") and state.segments == 2
    assert state.encoders == frozenset({"encoder"})
    assert store.file(root, "nothing") is None and store.file(root, "bad.jpg").reason == "why"
    assert store.rows(state.number) == list(rows)
    assert store.counts() == (1, {"text": 1, "video": 1})
    with closing(opened(False)) as reader:
        [(number, file, vector)] = vectors(reader)
        assert (file, vector) == (state.number, said.vector)
        found = reader.segments([number, 10**9])[number]
        assert (found.root, found.path, found.text, found.page) == ("/photos", "a 'b'/c.mp4", said.text, 3)
        assert (found.start, found.end, found.ordinal, found.role) == (0.5, 1.5, 0, "content")
        numbers = [record.number for record in records(reader)]
        [(times, kept)] = reader.frames(numbers).values()
        assert times.tolist() == [0, 1] and np.array_equal(kept, np.eye(2, DIM))
        told = records(reader)
        assert [record.modality for record in told] == ["text", "video", "audio"]
        assert told[0].vector == said.vector and told[2].vector is None and told[0].width == 640


def test_a_file_takes_the_place_of_what_it_was(store: Any) -> None:
    root = store.put_root("/photos", 7)
    store.write([entry(root, "a.txt", row("text", "one"), row("text", "two")), entry(root, "b.txt", row())])
    before, last = store.settings(), vectors(store)[-1][0]
    store.write([entry(root, "a.txt", row("text", "three"), hash=None)])
    after = store.settings()
    assert after["generation"] > before["generation"] and after["deletions"] > before["deletions"]
    assert ids(store) == {("a.txt", "text", 0), ("b.txt", "text", 0)}
    assert [number > last for number, _, _ in vectors(store, last)] == [True]
    store.write([entry(root, "a.txt", rows=None, facts=None, size=99)])
    state = store.file(root, "a.txt")
    assert (state.size, state.segments, state.facts.width) == (99, 1, 640)
    assert [one.text for one in store.rows(state.number)] == ["three"]


def test_files_that_are_deleted_are_gone_with_their_segments(opened: Opened, store: Any) -> None:
    root = store.put_root("/photos", 7)
    store.write([entry(root, f"{n}.txt", row("text", str(n))) for n in range(5)])
    numbers = [store.file(root, f"{n}.txt").number for n in (1, 3)]
    before = store.settings()["deletions"]
    store.delete(numbers)
    assert set(store.files(root)) == {"0.txt", "2.txt", "4.txt"} and len(vectors(store)) == 3
    assert store.file(root, "1.txt") is None and store.settings()["deletions"] > before
    last = vectors(store)[-1][0]
    store.delete([store.file(root, "4.txt").number])
    store.close()
    with closing(opened(True)) as again:
        again.write([entry(root, "1.txt", row("text", "again"))])
        assert set(again.files(root)) == {"0.txt", "1.txt", "2.txt"}
        assert len(vectors(again, last)) == 1  # whoever has read up to there sees what came later


def test_a_root_becomes_part_of_one_above_it(opened: Opened, store: Any) -> None:
    below = store.put_root("/photos/sub", 7)
    store.write([entry(below, "a.txt", row("text", "one")), entry(below, "x/b.txt", row("text", "two"))])
    above = store.put_root("/photos", 7)
    store.move_files(below, above, "sub")
    assert [root.path for root in store.roots()] == ["/photos"]
    assert set(store.files(above)) == {"sub/a.txt", "sub/x/b.txt"}
    store.write([entry(above, "sub/a.txt", row("text", "three"))])
    assert ids(store) == {("sub/a.txt", "text", 0), ("sub/x/b.txt", "text", 0)}
    assert {one.root for one in store.segments([number for number, _, _ in vectors(store)]).values()} == {
        "/photos"
    }


def test_a_snapshot_sees_one_state(opened: Opened, store: Any) -> None:
    root = store.put_root("/photos", 7)
    store.write([entry(root, "a.txt", row("text", "one"))])
    with closing(opened(False)) as reader:
        with reader.snapshot():
            assert reader.counts()[0] == 1
            store.write([entry(root, "b.txt", row("text", "two"))])
            store.write([entry(root, "a.txt", status="failed")])
            assert reader.counts() == (1, {"text": 1}) and set(reader.files(root)) == {"a.txt"}
        assert set(reader.files(root)) == {"a.txt", "b.txt"} and reader.counts() == (1, {"text": 1})


def test_any_history_ends_in_the_same_rows(opened: Opened, store: Any) -> None:
    """The store against a dictionary, over 60 writes and deletions with a reopening between."""
    chance = random.Random(3)
    root, expected = store.put_root("/photos", 7), {}
    for step in range(60):
        names = [f"{chance.randrange(12)}.txt" for _ in range(3)]
        if chance.random() < 0.25:
            gone = [name for name in names if name in expected]
            store.delete([store.file(root, name).number for name in dict.fromkeys(gone)])
            for name in gone:
                expected.pop(name, None)
        else:
            made = {name: [f"{name} {step} {n}" for n in range(chance.randrange(3))] for name in names}
            store.write(
                [entry(root, name, *(row("text", text) for text in texts)) for name, texts in made.items()]
            )
            expected.update(made)
    with closing(opened(False)) as reader:
        kept = {
            path: [one.text for one in reader.rows(state.number)]
            for path, state in reader.files(root).items()
        }
        assert kept == expected
        assert len(vectors(reader)) == sum(map(len, expected.values()))
        assert len({number for number, _, _ in vectors(reader)}) == len(vectors(reader))


def test_one_process_writes_to_a_shared_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = shared(str(tmp_path / "library"))
    first = opened(True)
    root = first.put_root("/photos", 7)
    with pytest.raises(LibraryBusy, match="Another process"):
        opened(True)
    with closing(opened(False)) as reader, pytest.raises(LibraryError, match="for reading"):
        reader.write([entry(root, "a.txt", row())])
    later = time.time() + 3600
    monkeypatch.setattr("time.time", lambda: later)
    with closing(opened(True)) as second:
        second.write([entry(root, "a.txt", row())])
        with pytest.raises(LibraryBusy, match="taken over"):
            first.write([entry(root, "a.txt", row())])
        assert len(vectors(second)) == 1


def test_two_that_ask_at_once_do_not_both_get_it(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    opened = shared(str(tmp_path / "library"))
    opened(True).close()

    def ask(_: int) -> Any:
        try:
            return opened(True)
        except LibraryBusy:
            return None

    with ThreadPoolExecutor(4) as pool:
        got = [one for one in pool.map(ask, range(4)) if one is not None]
    assert len(got) == 1


def test_what_a_shared_library_cannot_do_is_said(tmp_path: Path) -> None:
    with closing(shared(str(tmp_path / "library"))(True)) as store:
        with pytest.raises(LibraryError, match="SQL"):
            store.select("SELECT 1")
        with pytest.raises(LibraryError, match="local disk"):
            store.put_imported("x", [])
