"""Days and moments as people write them, as SQL over the view `item_files`."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date, datetime, timedelta, timezone
from typing import TypeAlias

from multimodal.errors import QueryError

Moment: TypeAlias = "str | date"
"""A period or a moment, in local time: "2024", "2024-05", "2024-05-03T17:20", a date, a datetime."""

_ISO = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d))?)?)?)?)?")


def taken_between(first: Moment | None, last: Moment | None) -> tuple[str, list[str | int]]:
    """A term and its values: what was taken from the beginning of `first` to the end of `last`.

    The dates in a period are the texts that begin with it, and "~" stands behind all that could follow.
    """
    terms = ["taken IS NOT NULL"]
    values: list[str | int] = []
    if first is not None:
        terms.append("taken >= ?")
        values.append(_iso(first))
    if last is not None:
        terms.append("taken <= ?")
        values.append(_iso(last) + "~")
    return " AND ".join(terms), values


def modified_between(first: Moment | None, last: Moment | None) -> tuple[str, list[str | int]]:
    """As `taken_between`, of the last change of the file."""
    terms = ["mtime_ns IS NOT NULL"]
    values: list[str | int] = []
    if first is not None:
        terms.append("mtime_ns >= ?")
        values.append(_nanoseconds(_period(_iso(first))[0]))
    if last is not None:
        terms.append("mtime_ns < ?")
        values.append(_nanoseconds(_period(_iso(last))[1]))
    return " AND ".join(terms), values


def is_backward(first: Moment | None, last: Moment | None) -> bool:
    """Whether a range ends before it begins. Raises QueryError for what is no date."""
    begin = None if first is None else _period(_iso(first))[0]
    end = None if last is None else _period(_iso(last))[1]
    return begin is not None and end is not None and begin >= end


def _iso(moment: Moment) -> str:
    """As `taken` is written, no more exact than it was given."""
    if isinstance(moment, datetime):
        local = moment.astimezone().replace(tzinfo=None) if moment.tzinfo else moment
        return local.isoformat(timespec="seconds")
    return moment.isoformat() if isinstance(moment, date) else str(moment).strip().replace(" ", "T")


def _period(iso: str) -> tuple[datetime, datetime]:
    """When a year, month, day, hour, minute or second begins, and when the next does. Raises QueryError."""
    try:
        found = _ISO.fullmatch(iso)
        given = [int(part) for part in found.groups() if part] if found else []
        begin = datetime(*[*given, 1, 1][: max(3, len(given))])  # type: ignore[arg-type]
        month = monthrange(begin.year, begin.month)[1]
        lengths = (337 + monthrange(begin.year, 2)[1], month, 1, 1 / 24, 1 / 1440, 1 / 86400)
        return begin, begin + timedelta(days=lengths[len(given) - 1])
    except (TypeError, ValueError, OverflowError):
        raise QueryError(
            f"{iso!r} is no date: write 2024, 2024-05, 2024-05-03 or 2024-05-03T17:20."
        ) from None


def _nanoseconds(moment: datetime) -> int:
    try:
        seconds = moment.timestamp()
    except (OverflowError, OSError, ValueError):  # Windows knows no local time before 1970
        seconds = moment.replace(tzinfo=timezone.utc).timestamp()
    return int(seconds) * 10**9
