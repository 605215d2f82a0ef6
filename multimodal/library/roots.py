"""Where files belong: the folders of a library, how they are written down, how they take each other in."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from multimodal.errors import LibraryError, NoMediaFile
from multimodal.library.scan import Walk, walk
from multimodal.library.store import COLLECTION, Root, Store

FOLDER = ".multimodal"
"""Name of the library that lies in the folder it is about."""
ALONGSIDE = ".multimodal-"
"""How the names of further libraries begin, of other spaces."""


_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/+")  # a single letter is a drive


class Address(type(Path())):  # type: ignore[misc]  # a Path that can be subclassed before Python 3.12
    """The path of a file in a store such as `s3://bucket/folder/photo.jpg`; as text it keeps both slashes.

    Only the computing half of a path works (`name`, `suffix`, `/`, `parents`): there is no file to open.
    """

    def __str__(self) -> str:
        return _SCHEME.sub(r"\1://", super().__str__().replace(os.sep, "/"))

    def __fspath__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Target:
    """A folder (or one file) to go through: `prefix` is where it lies below its root; "" is the root."""

    root: Root
    folder: Path
    prefix: str
    walk: Walk


@dataclass(frozen=True)
class Roots:
    """The roots of the library in the folder `library`; `exclude` are patterns of what to pass over."""

    library: Path
    exclude: tuple[str, ...] = ()

    def folder(self, path: str) -> Path:
        """The folder that a root's stored path stands for; what is in a collection stands for itself."""
        if path.startswith(COLLECTION):
            return Path()
        if "://" in path:
            return Address(path)
        return Path(os.path.normpath(self.library / path))

    def stored(self, folder: Path) -> str:
        """How a root is stored: relative where it contains the library, so that both can move together."""
        if isinstance(folder, Address):
            return str(folder)
        if relative(self.library, folder) is None:
            return folder.as_posix()
        return Path(os.path.relpath(folder, self.library)).as_posix()

    def target(self, store: Store, start: Path) -> Target:
        """What to go through for a path to add. It belongs to the root it lies in, or makes one, which
        takes in those below it. Raises LibraryError."""
        if relative(start, self.library) is not None:
            raise LibraryError(f"{start} belongs to the library itself and cannot be indexed.")
        folder = start if start.is_dir() else start.parent
        root, prefix = self.place(store, start, folder, folder.stat().st_dev)
        return self._walked(store, root, start, prefix)

    def place(self, store: Store, start: Path, folder: Path, device: int) -> tuple[Root, str]:
        """The root that a path belongs to, and where it lies in there. Where it lies in none, `folder` is
        made one, or the folder of the library that is named after it and lies above."""
        roots = store.roots()
        for root in roots:
            prefix = relative(start, self.folder(root.path))
            if prefix is not None:
                return root, prefix
        home = self.library.parent
        named = self.library.name == FOLDER or self.library.name.startswith(ALONGSIDE)
        if named and relative(start, home) is not None:
            folder, device = home, home.stat().st_dev
        made = store.put_root(self.stored(folder), device)
        for root in roots:
            below = relative(self.folder(root.path), folder)
            if below:
                store.move_files(root, made, below)
        return made, relative(start, folder) or ""

    def _walked(self, store: Store, root: Root, start: Path, prefix: str) -> Target:
        folder = self.folder(root.path)
        found = walk(folder, prefix, leave_out=self.library, exclude=self.exclude)
        device = folder.stat().st_dev
        if device != root.device:
            if not (found.files or found.passed or found.closed) and store.files(root):
                raise LibraryError(
                    f"{start} is empty and on another device than when it was indexed: is its disk mounted?"
                )
            store.put_root(root.path, device)
        return Target(root, folder, prefix, found)

    def inside(self, store: Store, place: Path) -> set[int]:
        """Numbers of the files at or below a place, which need not exist any more."""
        numbers: set[int] = set()
        for root in store.roots():
            folder = self.folder(root.path)
            prefix = "" if relative(folder, place) is not None else relative(place, folder)
            if prefix is not None:
                known = store.files(root).items()
                numbers |= {state.number for name, state in known if is_below(name, prefix)}
        return numbers


def existing(path: Path) -> Path:
    """The path without links. Raises NoMediaFile."""
    try:
        return path.expanduser().resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: a loop of links, before Python 3.13
        raise NoMediaFile(f"There is no file or folder {path}.") from None


def bare(uri: str) -> str:
    """An address without credentials and options: what may be stored and shown."""
    address = uri.split("?", 1)[0]
    scheme, _, rest = address.partition("://")
    bucket, slash, key = rest.partition("/")
    return f"{scheme}://{bucket.rpartition('@')[2]}{slash}{key}".rstrip("/")


def named(path: str | Path) -> set[Path]:
    """What the roots of a library may call a path, or an address such as `s3://bucket/folder`, which need
    not exist any more: a local path as it is given and without links."""
    places: set[Path] = set()
    address = str(Address(path))
    if _SCHEME.match(address):
        if not address.lower().startswith("file://"):
            places.add(Address(bare(address)))
        else:
            from urllib.parse import urlsplit
            from urllib.request import url2pathname  # 20 ms, which a typed search does not need

            path = url2pathname(urlsplit(str(path)).path)
    local = Path(path).expanduser()
    return places | {Path(os.path.abspath(local)), Path(os.path.realpath(local))}


def outermost(paths: Sequence[Path]) -> list[Path]:
    """The paths without doubles and without those that lie below another."""
    given = list(dict.fromkeys(paths))
    return [path for path in given if not any(other in path.parents for other in given)]


def relative(path: Path, folder: Path) -> str | None:
    """`path` from `folder` with slashes, "" for the folder itself, None for what is not in it."""
    if path == folder:
        return ""
    return path.relative_to(folder).as_posix() if folder in path.parents else None


def is_below(path: str, prefix: str) -> bool:
    """Whether a relative path is `prefix` or lies below it; everything lies below ""."""
    return not prefix or path == prefix or path.startswith(prefix + "/")
