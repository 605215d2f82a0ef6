"""SQL expressions that people write: understood and judged before they come near a library.

An expression is compiled against an empty table in memory that has the columns it may speak of, and under an
authorizer that lets it read those and call functions which neither fill memory nor reach outside. It can
hold no query of its own, so there is nothing else it could read, and no statement could follow it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

from multimodal.errors import QueryError

LONGEST = 10_000
"""Characters of an expression."""

FUNCTIONS = frozenset(
    {"->", "->>", "abs", "ceil", "ceiling", "coalesce", "current_date", "current_time", "current_timestamp"}
    | {"date", "datetime", "floor", "glob", "ifnull", "iif", "instr", "julianday", "length", "like", "lower"}
    | {"json_array_length", "json_extract", "json_type", "json_valid", "ltrim", "max", "min", "nullif"}
    | {"round", "rtrim", "sign", "strftime", "substr", "substring", "time", "trim", "typeof", "unicode"}
    | {"unixepoch", "upper"}
)
"""Built-in functions that take no more memory than they are given. `printf`, `replace`, `zeroblob` and
their like can make a gigabyte of a short line."""


@lru_cache(maxsize=64)
def columns_of(expression: str, columns: tuple[str, ...]) -> frozenset[str]:
    """The columns that an expression reads. Raises QueryError for what is no expression over `columns`."""
    if not expression.strip() or len(expression) > LONGEST:
        raise _error(expression, columns, "it is empty or too long")
    read: set[str] = set()
    selects = 0

    def authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        nonlocal selects
        if action == sqlite3.SQLITE_SELECT:
            selects += 1
            return sqlite3.SQLITE_OK if selects == 1 else sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_READ and first == "items" and (not second or second in columns):
            read.update([second] if second else [])  # an expression may read no column at all
            return sqlite3.SQLITE_OK
        known = action == sqlite3.SQLITE_FUNCTION and str(second).lower() in FUNCTIONS
        return sqlite3.SQLITE_OK if known else sqlite3.SQLITE_DENY

    memory = sqlite3.connect(":memory:", isolation_level=None)
    try:
        memory.execute(f"CREATE TABLE items ({', '.join(map(_quoted, columns))})")
        # What closes its bracket early is no expression behind WHEN, what is a list or a query is none there
        # either, and what ends its WHEN early is none in brackets.
        for shape in ("CASE WHEN {} THEN 1 END", "({})"):
            selects = 0
            memory.set_authorizer(authorize)
            memory.execute("SELECT 1 FROM items WHERE " + shape.format(f"\n{expression}\n"))
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        raise _error(expression, columns, str(error)) from None
    finally:
        memory.close()
    return frozenset(read)


@contextmanager
def refused(expression: str | None, columns: tuple[str, ...], seconds: float) -> Iterator[None]:
    """Turn what SQLite objects while it runs an expression into one sentence. Raises QueryError."""
    try:
        yield
    except TimeoutError:
        about = "" if expression is None else f" {_short(expression)!r}"
        raise QueryError(f"The filter{about} takes longer than {seconds:g} s: ask for less.") from None
    except sqlite3.OperationalError as error:
        if expression is None:
            raise
        raise _error(expression, columns, str(error)) from None


def _error(expression: str, columns: Sequence[str], reason: str) -> QueryError:
    reason = " ".join(reason.split()).rstrip(".")
    return QueryError(
        f"The filter {_short(expression)!r} is not understood ({reason}): write an SQL expression over"
        f" {', '.join(columns)}."
    )


def _short(expression: str) -> str:
    return expression if len(expression) <= 80 else f"{expression[:77]}..."


def _quoted(name: str) -> str:
    return f'"{name}"'
