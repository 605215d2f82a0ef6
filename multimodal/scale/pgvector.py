"""A library handed over to PostgreSQL with pgvector, for teams that already run one.

    SELECT path, start, 1 - (vector <=> $1::halfvec) AS cosine FROM segments
    WHERE modality = 'image' ORDER BY vector <=> $1::halfvec LIMIT 10

Vectors go as `halfvec`, the float16 they are kept in; the other columns are those of
`multimodal.library.tables`, and `library` and `space`. Needs pgvector 0.7 on the server.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from multimodal.errors import QueryError
from multimodal.library import tables
from multimodal.library.opening import speaking
from multimodal.library.sqlite import SqliteStore
from multimodal.types import Modality, Role

if TYPE_CHECKING:
    from multimodal.library import Library

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?")
_KINDS = {
    "library": "text NOT NULL",
    "space": "text NOT NULL",
    "number": "bigint NOT NULL",
    "path": "text NOT NULL",
    "id": "text",
    "modality": "text NOT NULL",
    "role": "text NOT NULL",
    "page": "integer",
    "start": "double precision",
    "end": "double precision",
    "text": "text",
    "begin_char": "integer",
    "end_char": "integer",
    "width": "integer",
    "height": "integer",
    "duration": "double precision",
    "taken": "text",
    "size": "bigint",
    "modified": "timestamptz",
    "metadata": "jsonb",
}
"""Columns and their types, but for the vector."""


def to_pgvector(
    library: Library,
    dsn: str,
    table: str = "segments",
    *,
    modality: Modality | Sequence[Modality] | None = None,
    role: Role | Sequence[Role] | None = None,
    where: str | None = None,
    index: bool = True,
) -> int:
    """Bring a table up to date with the embedded segments of a library; gives how many these are.

    The table (NAME or SCHEMA.NAME) is made where there is none, with an HNSW index by cosine unless `index`
    is False. One transaction: rows of this library that are no more go, new ones come, others of the same
    table (of other libraries) stay; so does everything when it fails. `modality`, `role` and `where` are
    those of `tables.to_reader`: what they do not let through goes as well. Raises QueryError for a server
    that cannot be reached or has no pgvector, a table of another form, or where psycopg is not installed;
    NoLibrary, LibraryError.
    """
    try:
        import psycopg
    except ImportError:
        raise QueryError("The export to pgvector needs multimodal[pgvector].") from None
    if not _NAME.fullmatch(table):
        raise QueryError(f"A table is named by letters, digits and _, not {table!r}.")
    with speaking(library.path), closing(SqliteStore.open(library.path)) as store:
        settings = store.settings()
    reader = tables.to_reader(library, modality, role=role, where=where, dtype="float16")
    try:
        with closing(reader), psycopg.connect(dsn) as connection, connection.cursor() as cursor:
            _make(cursor, table, int(settings["dim"]), index)
            rows = _load(cursor, reader, str(settings["library"]), str(settings["space_id"]))
            _merge(cursor, table, str(settings["library"]))
    except psycopg.Error as error:
        said = " ".join(str(error).split())
        raise QueryError(f"PostgreSQL does not take the export: {said}") from error
    return rows


def _columns() -> str:
    return ", ".join(f'"{name}"' for name in (*_KINDS, "vector"))


def _make(cursor: Any, table: str, dim: int, index: bool) -> None:
    cursor.execute("SET LOCAL client_min_messages = warning")
    cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
    kinds = ", ".join(f'"{name}" {kind}' for name, kind in _KINDS.items())
    fields = f"{kinds}, vector halfvec({dim}) NOT NULL"
    cursor.execute(f"CREATE TABLE IF NOT EXISTS {table} ({fields}, PRIMARY KEY (library, number))")
    cursor.execute(f"CREATE TEMPORARY TABLE coming ({fields}) ON COMMIT DROP")
    if index:
        name = f"{table.rpartition('.')[2]}_vector"[:63]
        cursor.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {table} USING hnsw (vector halfvec_cosine_ops)")


def _load(cursor: Any, reader: Any, library: str, space: str) -> int:
    names = [name for name in _KINDS if name not in ("library", "space")]
    rows = 0
    with cursor.copy(f"COPY coming ({_columns()}) FROM STDIN") as copy:
        for batch in reader:
            columns = [batch[name].to_pylist() for name in names]
            for *values, vector in zip(*columns, batch["vector"], strict=True):
                if not vector.is_valid:
                    continue
                numbers = ",".join(f"{float(number):.8g}" for number in vector.values.to_pylist())
                copy.write_row([library, space, *map(_plain, values), f"[{numbers}]"])
                rows += 1
    return rows


def _merge(cursor: Any, table: str, library: str) -> None:
    cursor.execute("ALTER TABLE coming ADD PRIMARY KEY (number)")
    gone = f"NOT EXISTS (SELECT 1 FROM coming WHERE coming.number = {table}.number)"
    cursor.execute(f"DELETE FROM {table} WHERE library = %s AND {gone}", (library,))
    names = [name for name in (*_KINDS, "vector") if name not in ("library", "number")]
    sets = ", ".join(f'"{name}" = excluded."{name}"' for name in names)
    kept = ", ".join(f'{table}."{name}"' for name in names)
    news = ", ".join(f'excluded."{name}"' for name in names)
    cursor.execute(
        f"INSERT INTO {table} AS old ({_columns()}) SELECT {_columns()} FROM coming"
        f" ON CONFLICT (library, number) DO UPDATE SET {sets}"
        f" WHERE ({kept.replace(table + '.', 'old.')}) IS DISTINCT FROM ({news})"
    )


def _plain(value: Any) -> Any:
    """PostgreSQL has no character 0 in a text."""
    return value.replace("\0", "") if isinstance(value, str) else value
