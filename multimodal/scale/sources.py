"""Where files come from: folders, globs, prefixes of object stores, and tables that name them."""

from __future__ import annotations

import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from multimodal.errors import LibraryError, NoMediaFile, QueryError
from multimodal.library.roots import Address, Roots, Target, bare, existing, relative
from multimodal.library.scan import JUNK, Found, Passed, Walk, grouped, ignored_in, said
from multimodal.library.store import Store

MANIFESTS = (".csv", ".parquet")
COLUMNS = ("uri", "url", "path")
"""The column of a manifest that names the files: the first of these that it has."""
_URI = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")
_WILD = re.compile(r"[*?\[]")


class Chosen(Walk):
    """Some files of a folder: of the others nothing is known."""

    def is_closed(self, path: str) -> bool:
        return True


@dataclass(frozen=True)
class Listing:
    """What to go through: `start` is a local path, or the Address of a prefix in the file system `store`
    (pyarrow), where its key is `key`. Paths in `walk` are relative to the folder `folder`; it is None for
    what `Library.add` walks through itself, of which only paths that `wanted` takes are meant."""

    start: Path
    folder: Path
    store: Any = None
    key: str = ""
    walk: Walk | None = None
    wanted: Callable[[str], bool] | None = field(default=None, compare=False)

    def target(self, roots: Roots, library: Store) -> Target:
        """The part of a library that it is about. Raises LibraryError."""
        if self.walk is None:
            found = roots.target(library, self.start)
            if self.wanted is None:
                return found
            files = [one for one in found.walk.files if self._is_wanted(found.folder / one.path)]
            return Target(found.root, found.folder, found.prefix, Chosen(files))
        device = 0 if self.store is not None else self.folder.stat().st_dev
        root, prefix = roots.place(library, self.folder, self.folder, device)
        walk = _rebased(self.walk, prefix)
        if not (walk.files or walk.passed or walk.closed) and library.files(root):
            raise LibraryError(f"There is nothing at {self.start} any more: is the address right?")
        inside = "/".join(part for part in (prefix, relative(self.start, self.folder) or "") if part)
        return Target(root, roots.folder(root.path), inside, walk)

    def root_key(self, target: Target) -> str:
        """The key of the root of its target in the file system."""
        prefix = relative(self.folder, target.folder)
        return self.key[: -len(prefix) - 1] if prefix else self.key

    def _is_wanted(self, path: Path) -> bool:
        assert self.wanted is not None
        place = relative(path, self.folder)
        return place is not None and self.wanted(place)


def listed(source: str | Path, exclude: Sequence[str] = ()) -> list[Listing]:
    """The files of a source: a folder, a file, a glob ("photos/**/*.jpg"), an address (`file://`, `s3://`,
    `gs://`, and what fsspec knows) of a prefix, an object or a glob, or a manifest: a table (.csv, .parquet)
    with a column of COLUMNS whose values are local paths, relative to it, or addresses.

    An address may carry what its file system is to be opened with, as pyarrow takes it
    (`s3://bucket/photos?endpoint_override=localhost:9000&scheme=http`); a library keeps none of it. Of
    globs and manifests, files that are no more named stay in the library. Hidden names and `exclude`
    count as in `Library.add`, the `.multimodalignore` of a prefix too.
    Raises NoMediaFile, QueryError, LibraryError.
    """
    text = os.fspath(source)
    if text.lower().startswith("file://"):
        text = _local(text)
    address, _, query = text.partition("?") if _URI.match(text) else (text, "", "")
    if PurePosixPath(address).suffix.lower() in MANIFESTS:
        return _manifest(address, query)
    glob = None
    if _WILD.search(address) and not (not _URI.match(text) and Path(text).exists()):
        address, glob = _split(address)
    wanted = _matching(glob) if glob else None
    if _URI.match(address):
        store, key = opened(f"{address}?{query}" if query else address)
        return [_prefix(address.rstrip("/"), store, key, exclude, wanted)]
    start = existing(Path(address))
    return [Listing(start, start if start.is_dir() else start.parent, wanted=wanted)]


def opened(uri: str) -> tuple[Any, str]:
    """The file system (pyarrow) of an address, and the key in it. Where AWS_ENDPOINT_URL is set it is where
    `s3://` leads, on every node. Raises QueryError."""
    import pyarrow as pa
    from pyarrow import fs

    parts = urlsplit(uri)
    if not parts.netloc and parts.scheme in ("s3", "gs"):
        raise QueryError(f"{uri} names no bucket.")
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    try:
        if parts.scheme == "s3" and endpoint and "endpoint_override" not in dict(parse_qsl(parts.query)):
            given = urlsplit(endpoint)
            store = fs.S3FileSystem(endpoint_override=given.netloc, scheme=given.scheme)
            return store, unquote(f"{parts.netloc.rpartition('@')[2]}{parts.path}").rstrip("/")
        store, key = fs.FileSystem.from_uri(uri)
        return store, key.rstrip("/")
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        return _by_fsspec(uri, error)
    except OSError as error:
        raise QueryError(f"{bare(uri)} cannot be opened: {said(error)}") from error


def _by_fsspec(uri: str, error: Exception) -> tuple[Any, str]:
    from pyarrow import fs

    try:
        from fsspec.core import url_to_fs

        store, key = url_to_fs(uri)
    except (ImportError, ValueError):
        raise QueryError(f"There is no file system for {bare(uri)}: {error}") from error
    return fs.PyFileSystem(fs.FSSpecHandler(store)), str(key).rstrip("/")


def _prefix(
    address: str, store: Any, key: str, exclude: Sequence[str], wanted: Callable[[str], bool] | None
) -> Listing:
    """Everything below a key, or the object that it is."""
    from pyarrow import fs

    start = Address(bare(address))
    try:
        info = store.get_file_info(key)
        if info.type == fs.FileType.File:
            name, folder = key.rpartition("/")[2], key.rpartition("/")[0]
            alone = Walk([Found(name, info.size, info.mtime_ns or 0)])
            return Listing(start, start.parent, store, folder, alone)
        infos = store.get_file_info(fs.FileSelector(key, recursive=True))
        patterns = _patterns(store, f"{key}/.multimodalignore")
    except OSError as error:
        raise NoMediaFile(f"{start} cannot be listed: {said(error)}") from None
    ignored = ignored_in(Path(os.devnull), [*patterns, *exclude])
    found: list[Found] = []
    for info in infos:
        path = info.path[len(key) + 1 :]
        parts = path.split("/")
        hidden = any(part.startswith(".") or part.lower() in JUNK for part in parts)
        if info.type != fs.FileType.File or hidden or (ignored is not None and ignored.match_file(path)):
            continue
        found.append(Found(path, info.size or 0, info.mtime_ns or 0))
    files = _grouped(found)
    if wanted is None:
        return Listing(start, start, store, key, Walk(files))
    return Listing(start, start, store, key, Chosen([one for one in files if wanted(one.path)]))


def _patterns(store: Any, key: str) -> list[str]:
    from pyarrow import fs

    if store.get_file_info(key).type != fs.FileType.File:
        return []
    with store.open_input_stream(key) as stream:
        text: str = stream.read().decode("utf-8-sig", "replace")
    return text.splitlines()


def _manifest(address: str, query: str) -> list[Listing]:
    """The files that a table names, by the file systems they are in."""
    options = f"?{query}" if query else ""
    if _URI.match(address):
        store, key = opened(address + options)
        base = ""
    else:
        path = existing(Path(address))
        store, key, base = None, str(path), str(path.parent)
    local: list[str] = []
    remote: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(_names(address, store, key)):
        if name.lower().startswith("file://"):
            local.append(_local(name))
        elif _URI.match(name):
            parts = urlsplit(name)
            remote[f"{parts.scheme}://{parts.netloc}"].append(name)
        else:
            local.append(os.path.join(base, name))
    found = [_named_here(local)] if local else []
    return found + [_named_there(place + options, names) for place, names in remote.items()]


def _names(address: str, store: Any, key: str) -> Iterator[str]:
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        stream = pa.OSFile(key) if store is None else store.open_input_file(key)
        with stream:
            if key.lower().endswith(".csv"):
                table = csv.read_csv(stream, convert_options=csv.ConvertOptions(strings_can_be_null=True))
            else:
                table = parquet.read_table(stream)
    except (OSError, pa.ArrowInvalid) as error:
        raise QueryError(f"The manifest {address} cannot be read: {error}") from None
    by_name = {name.lower(): name for name in table.column_names}
    column = next((by_name[name] for name in COLUMNS if name in by_name), None)
    if column is None:
        raise QueryError(f"The manifest {address} has no column {', '.join(COLUMNS)}.")
    for value in table[column].to_pylist():
        if value is not None and str(value).strip():
            yield str(value).strip()


def _named_here(names: Iterable[str]) -> Listing:
    paths = list(dict.fromkeys(os.path.realpath(os.path.expanduser(name)) for name in names))
    folder = Path(os.path.commonpath([os.path.dirname(path) for path in paths]))
    while not folder.is_dir():
        folder = folder.parent
    walk = Chosen()
    found: list[Found] = []
    for path in paths:
        place = Path(path).relative_to(folder).as_posix()
        try:
            status = os.stat(path)
        except OSError as error:
            walk.closed.append(Passed(place, said(error)))
            continue
        if os.path.isfile(path):
            found.append(Found(place, status.st_size, status.st_mtime_ns))
        else:
            walk.passed.append(Passed(place, "not a regular file"))
    walk.files += _grouped(found)
    return Listing(folder, folder, walk=walk)


def _named_there(place: str, names: Sequence[str]) -> Listing:
    from pyarrow import fs

    store, top = opened(place)
    scheme = place.split("?", 1)[0]
    keys = list(dict.fromkeys(name[len(scheme) :].split("?", 1)[0].strip("/") for name in names))
    above = [
        part for part in posixpath.commonpath([posixpath.dirname(key) for key in keys]).split("/") if part
    ]
    cut = len("/".join(above)) + 1 if above else 0
    folder = "/".join([top, *above])
    walk = Chosen()
    found: list[Found] = []
    try:
        infos = store.get_file_info([f"{top}/{key}" for key in keys])
    except OSError as error:
        raise NoMediaFile(f"{bare(scheme)} cannot be looked at: {said(error)}") from None
    for key, info in zip(keys, infos, strict=True):
        if info.type == fs.FileType.File:
            found.append(Found(key[cut:], info.size or 0, info.mtime_ns or 0))
        else:
            walk.closed.append(Passed(key[cut:], "there is no such object"))
    walk.files += _grouped(found)
    start = Address("/".join([bare(scheme), *above]))
    return Listing(start, start, store, folder, walk)


def _grouped(files: Iterable[Found]) -> list[Found]:
    """Companions moved to the files they belong to, folder by folder."""
    folders: dict[str, list[Found]] = defaultdict(list)
    for found in files:
        folders[found.path.rpartition("/")[0]].append(found)
    return [one for folder in sorted(folders) for one in grouped(sorted(folders[folder]), folder)]


def _rebased(walk: Walk, prefix: str) -> Walk:
    """The same, its paths relative to a folder further up."""
    if not prefix:
        return walk

    def moved(found: Found) -> Found:
        beside = tuple(moved(one) for one in found.companions)
        return found._replace(path=f"{prefix}/{found.path}", companions=beside)

    def told(passed: Passed) -> Passed:
        return Passed(f"{prefix}/{passed.path}", passed.reason)

    some = [moved(found) for found in walk.files], [*map(told, walk.passed)], [*map(told, walk.closed)]
    return type(walk)(*some)


def _split(address: str) -> tuple[str, str]:
    """The folder that a glob goes through, and the pattern of paths in there."""
    scheme = match[0] if (match := _URI.match(address)) else ""
    parts = address[len(scheme) :].split("/")
    fixed = next(place for place, part in enumerate(parts) if _WILD.search(part))
    base = "/".join(parts[:fixed]) or ("" if scheme else "/" if address.startswith("/") else ".")
    return scheme + base, "/" + "/".join(parts[fixed:])


def _matching(pattern: str) -> Callable[[str], bool]:
    from pathspec import GitIgnoreSpec

    try:
        spec = GitIgnoreSpec.from_lines([pattern])
    except ValueError:
        raise QueryError(f"There is no such glob as {pattern[1:60]!r}.") from None
    return lambda path: bool(spec.match_file(path))


def _local(uri: str) -> str:
    from urllib.request import url2pathname

    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise QueryError(f"{uri} names a file of another machine.")
    return url2pathname(parts.path)
