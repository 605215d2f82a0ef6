"""What lies in a folder, by names and sizes alone, and how that differs from what a library remembers."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE = ".multimodalignore"
"""A file in the root of an indexed folder: patterns, as of .gitignore, of what is not to be indexed."""
JUNK = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "$recycle.bin", "system volume information"}
)
"""Names, in lower case, that systems leave in folders; passed over in silence like hidden ones."""


class Found(NamedTuple):
    """A file: its path relative to the root, with slashes; size in bytes; modification in nanoseconds."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Passed:
    """A name that is no file to read, and why."""

    path: str
    reason: str


@dataclass
class Walk:
    """Everything below a folder. Paths are relative to the root, sorted folder by folder.

    `closed` are folders ("" is the root) that could not be listed: what lies in there is unknown.
    """

    files: list[Found] = field(default_factory=list)
    passed: list[Passed] = field(default_factory=list)
    closed: list[Passed] = field(default_factory=list)

    def is_closed(self, path: str) -> bool:
        """Whether a path is, or lies in, one that could not be looked at."""
        return any(not shut.path or f"{path}/".startswith(f"{shut.path}/") for shut in self.closed)


def walk(root: Path, prefix: str = "", leave_out: Path | None = None) -> Walk:
    """List what lies at `root/prefix`, a folder or one file.

    Hidden files and folders, names in JUNK, what the root's IGNORE file names and the folder
    `leave_out` are passed over in silence. A link to a file counts as that file; a link to a folder is
    not followed, which ends every loop.
    """
    found = Walk()
    ignored = _ignored(root)
    start = root / prefix if prefix else root
    if not start.is_dir():
        found.files.append(_file(prefix, start.stat()))
        return found
    waiting = [prefix]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(root / folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            found.closed.append(Passed(folder, f"the folder cannot be listed: {said(error)}"))
            continue
        waiting += reversed(list(_listed(entries, folder, found, leave_out, ignored)))
    return found


def _ignored(root: Path) -> GitIgnoreSpec | None:
    try:
        lines = (root / IGNORE).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError):  # there is none, or it is no text
        return None
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(lines)


def _listed(
    entries: list[os.DirEntry[str]],
    folder: str,
    found: Walk,
    leave_out: Path | None,
    ignored: GitIgnoreSpec | None,
) -> Iterator[str]:
    """Put the files into `found`; yield the folders."""
    for entry in entries:
        if entry.name.startswith(".") or entry.name.lower() in JUNK:
            continue
        path = f"{folder}/{entry.name}" if folder else entry.name
        try:
            is_folder = entry.is_dir(follow_symlinks=False)
            if ignored is not None and ignored.match_file(f"{path}/" if is_folder else path):
                continue
            if is_folder:
                if leave_out is None or Path(entry.path) != leave_out:
                    yield path
                continue
            status = entry.stat()
        except OSError as error:
            if entry.is_symlink():
                found.passed.append(Passed(path, "the link leads nowhere"))
            else:
                found.closed.append(Passed(path, f"it cannot be looked at: {said(error)}"))
            continue
        if getattr(status, "st_file_attributes", 0) & stat.FILE_ATTRIBUTE_HIDDEN:
            continue
        if stat.S_ISREG(status.st_mode):
            found.files.append(_file(path, status))
        elif stat.S_ISDIR(status.st_mode):
            found.passed.append(Passed(path, "a link to a folder is not followed"))
        else:
            found.passed.append(Passed(path, "not a regular file"))


def _file(path: str, status: os.stat_result) -> Found:
    return Found(path, status.st_size, status.st_mtime_ns)


def said(error: OSError) -> str:
    """What the system says of an error, without its number and path."""
    return (error.strerror or str(error) or type(error).__name__).lower()
