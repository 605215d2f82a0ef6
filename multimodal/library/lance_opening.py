"""Where the table of a shared library is, how it is opened, and what the disk under it must be told."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from multimodal.errors import LibraryError
from multimodal.library import lance_rows

TABLE = "library.lance"


@contextmanager
def speaking(uri: str) -> Iterator[None]:
    try:
        yield
    except ImportError:
        raise LibraryError("A library in an object store needs multimodal[lance].") from None
    except (OSError, ValueError) as error:
        reason = re.sub(r", \S+\.rs:\d.*", "", " ".join(str(error).split()))[:200]
        raise LibraryError(f"The library at {bare(uri)} cannot be used: {reason}") from error


def made_at(uri: str, made: Mapping[str, Any]) -> Any:
    import lance

    place, options = address(uri)
    empty = lance_rows.table([], lance_rows.schema(made))
    return lance.write_dataset(
        empty, place, mode="create", storage_options=options, data_storage_version="2.1"
    )


def opened(uri: str) -> Any:
    """The table at an address, None where there is none."""
    import lance

    place, options = address(uri)
    try:
        data = lance.dataset(place, storage_options=options)
    except (ValueError, OSError) as error:
        if "not found" in str(error).lower():
            return None
        raise
    if b"multimodal" not in (data.schema.metadata or {}):
        raise LibraryError(f"The table at {bare(uri)} is no library.")
    return data


def address(uri: str) -> tuple[str, dict[str, str] | None]:
    """Where Lance finds a library, and how: `endpoint_override`, `scheme` and `region` in an address, and
    a name and secret before its bucket, mean what they mean to pyarrow."""
    from urllib.parse import parse_qsl, unquote, urlsplit
    from urllib.request import url2pathname

    if "://" not in uri:
        return str(Path(uri).expanduser().resolve() / TABLE), None
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return str(Path(url2pathname(parts.path)) / TABLE), None
    given = dict(parse_qsl(parts.query))
    options: dict[str, str] = {}
    if "region" in given:
        options["aws_region"] = given["region"]
    if "endpoint_override" in given:
        scheme = given.get("scheme", "https")
        options["aws_endpoint"] = f"{scheme}://{given['endpoint_override']}"
        options["allow_http"] = str(scheme == "http").lower()
    if parts.username and parts.password:
        options["aws_access_key_id"] = unquote(parts.username)
        options["aws_secret_access_key"] = unquote(parts.password)
    bucket = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{bucket}{parts.path.rstrip('/')}/{TABLE}", options or None


def bare(uri: str) -> str:
    scheme, sign, rest = uri.partition("?")[0].partition("://")
    bucket, slash, key = rest.partition("/")
    return f"{scheme}{sign}{bucket.rpartition('@')[2]}{slash}{key}"


def sync(folder: Path, seen: set[str]) -> None:
    """What is new below a folder reaches the disk, files first, then the folders that name them."""
    for place, _, names in os.walk(folder, topdown=False):
        fresh = [path for path in (os.path.join(place, name) for name in names) if path not in seen]
        for path in [*fresh, *([place] if fresh and os.name != "nt" else [])]:
            with suppress(OSError):  # not every file system syncs folders
                descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        seen.update(fresh)
