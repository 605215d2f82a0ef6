"""Libraries handed over to Qdrant, to the one that its client keeps in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from multimodal import Library
from multimodal.errors import QueryError
from multimodal.scale import qdrant
from multimodal.scale.qdrant import to_qdrant
from tests.fakes import fake_space
from tests.library.serial import Serial

pytestmark = pytest.mark.skipif(find_spec("qdrant_client") is None, reason="needs multimodal[qdrant]")


def client_at(place: Path) -> Any:
    from qdrant_client import QdrantClient

    return QdrantClient(path=str(place))


@pytest.fixture
def library(photos: Path, serial: Serial) -> Iterator[Library]:
    with Library(photos / ".multimodal", fake_space()) as library:
        library.add(photos)
        yield library


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "qdrant"


def points(place: Path, collection: str = "segments") -> dict[str, dict[str, Any]]:
    """The payloads by the names of their files."""
    with closing(client_at(place)) as client:
        found, _ = client.scroll(collection, limit=100)
    return {Path(point.payload["path"]).name: point.payload for point in found}


def test_the_rows_and_their_neighbours_arrive(
    library: Library, place: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qdrant, "BATCH", 4)
    assert to_qdrant(library, path=place) == 6
    with closing(client_at(place)) as client:
        query = library.space.embed("cat in a hat")[0].tolist()
        [point] = client.query_points("segments", query=query, limit=1).points
    payload = point.payload
    assert (payload["path"], payload["text"]) == (str(photos / "cat.txt"), "cat in a hat")
    assert (payload["space"], payload["modality"]) == (library.space.space_id, "text")
    assert payload["modified"].startswith("20") and point.score == pytest.approx(1, abs=1e-3)


def test_a_second_export_sends_what_changed(
    library: Library, place: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qdrant_client import QdrantClient

    monkeypatch.setattr(qdrant, "KNOWN", 2)
    to_qdrant(library, path=place)
    sent: list[str] = []
    upsert = QdrantClient.upsert

    def told(client: Any, collection: str, some: Any, **how: Any) -> Any:
        sent.extend(Path(point.payload["path"]).name for point in some)
        return upsert(client, collection, some, **how)

    monkeypatch.setattr(QdrantClient, "upsert", told)
    (photos / "cat.txt").write_text("cat without a hat")
    for name in ("dog.txt", "apple.txt", "boat.txt"):
        (photos / name).unlink()
    library.add(photos)
    assert to_qdrant(library, path=place) == 3 and sent == ["cat.txt"]
    assert sorted(points(place)) == ["cat.txt", "egg.txt", "fox.txt"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "owl.txt").write_text("owl at night")
    with Library(other / ".multimodal", fake_space()) as another:
        another.add(other)
        assert to_qdrant(another, path=place) == 1
    assert to_qdrant(library, path=place, where="folder LIKE '%sub'") == 2
    assert sorted(points(place)) == ["egg.txt", "fox.txt", "owl.txt"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # its client's own lock file
def test_what_cannot_be_is_said_and_changes_nothing(library: Library, place: Path) -> None:
    with pytest.raises(QueryError, match="either"):
        to_qdrant(library)
    with pytest.raises(QueryError, match="does not take"):
        to_qdrant(library, url="http://127.0.0.1:1")
    from qdrant_client import models

    with closing(client_at(place)) as client:
        client.create_collection("segments", models.VectorParams(size=3, distance=models.Distance.COSINE))
        with pytest.raises(QueryError, match="does not take"):  # another has the folder open
            to_qdrant(library, path=place)
    with pytest.raises(QueryError, match="does not hold cosines"):
        to_qdrant(library, path=place)
    assert points(place) == {}


def test_the_command(library: Library, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from multimodal.commands.exporting import export

    export(to="qdrant", path=place, collection="mine", library=library.path)
    assert "6 segments in mine" in capsys.readouterr().err
    assert len(points(place, "mine")) == 6
    for wrong in ({}, {"path": place, "url": "http://127.0.0.1"}):
        with pytest.raises(QueryError, match="--url"):
            export(to="qdrant", library=library.path, **wrong)  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="--url"):
        export(place / "x.csv", path=place, library=library.path)
