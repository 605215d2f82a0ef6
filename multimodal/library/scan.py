"""What lies in a folder, by names and sizes alone, and how that differs from what a library remembers."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from multimodal.errors import LibraryError
from multimodal.readers.companions import companions_of

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE = ".multimodalignore"
"""A file in the root of an indexed folder: patterns, as of .gitignore, of what is not to be indexed."""
IGNORE_BYTES = 1 << 20
NO_FILE = "not a regular file"
JUNK = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "$recycle.bin", "system volume information"}
)
"""Names, in lower case, that systems leave in folders; passed over in silence like hidden ones."""


class Found(NamedTuple):
    """A file: its path relative to the root, with slashes; size in bytes; modification in nanoseconds.

    `companions` are the files beside it that are read with it: its captions, its subtitles.
    """

    path: str
    size: int
    mtime_ns: int
    companions: tuple[Found, ...] = ()


@dataclass(frozen=True)
class Passed:
    """A name that is no file to read, and why."""

    path: str
    reason: str


@dataclass
class Walk:
    """Everything below a folder. Paths are relative to the root, sorted folder by folder.

    `files` are all but those that are companions of another. `closed` are folders ("" is the root) that
    could not be listed: what lies in there is unknown.
    """

    files: list[Found] = field(default_factory=list)
    passed: list[Passed] = field(default_factory=list)
    closed: list[Passed] = field(default_factory=list)

    def is_closed(self, path: str) -> bool:
        """Whether a path is, or lies in, one that could not be looked at."""
        return any(not shut.path or f"{path}/".startswith(f"{shut.path}/") for shut in self.closed)


def walk(root: Path, prefix: str = "", leave_out: Path | None = None, exclude: Sequence[str] = ()) -> Walk:
    """List what lies at `root/prefix`, a folder or one file.

    Hidden files and folders, names in JUNK, what the root's IGNORE file or a pattern of `exclude` names
    and the folder `leave_out` are passed over in silence. A link to a file counts as that file; a link
    to a folder is not followed, which ends every loop. Raises LibraryError for patterns that are none.
    """
    found = Walk()
    ignored = ignored_in(root, exclude)
    start = root / prefix if prefix else root
    if not start.is_dir():
        if start.is_file():
            found.files.append(_single(root, prefix, ignored))
        else:
            found.passed.append(Passed(prefix, NO_FILE))
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
        files: list[Found] = []
        waiting += reversed(list(_listed(entries, folder, found, files, leave_out, ignored)))
        found.files += grouped(files, folder)
    return found


def _single(root: Path, path: str, ignored: GitIgnoreSpec | None) -> Found:
    """One file with its companions."""
    folder, _, _ = path.rpartition("/")
    alone = _file(path, (root / path).stat())
    try:
        with os.scandir(root / folder) as listing:
            entries = list(listing)
    except OSError:
        return alone
    files: list[Found] = []
    list(_listed(entries, folder, Walk(), files, None, ignored))
    return next((found for found in grouped(files, folder) if found.path == path), alone)


def grouped(files: list[Found], folder: str) -> list[Found]:
    """The files of one folder, those that are companions moved to the ones they belong to."""
    cut = len(folder) + 1 if folder else 0
    by_name = {found.path[cut:]: found for found in files}
    groups = companions_of(list(by_name))
    if not groups:
        return files
    beside = {name for names in groups.values() for name in names}
    return [
        found._replace(companions=tuple(by_name[one] for one in groups.get(name, ())))
        for name, found in by_name.items()
        if name not in beside
    ]


def ignored_in(root: Path, exclude: Sequence[str] = ()) -> GitIgnoreSpec | None:
    """What the IGNORE file of a root and further patterns name; None where there are none."""
    lines = _patterns(root / IGNORE)
    if not lines and not exclude:
        return None
    from pathspec import GitIgnoreSpec

    for where, patterns in ((f"{root / IGNORE}", lines), ("what to exclude", exclude)):
        for pattern in patterns:  # what is meant to be left out must not slip in by a slip of the pen
            try:
                GitIgnoreSpec.from_lines([pattern])
            except ValueError:
                raise LibraryError(
                    f"There is no such pattern as {pattern[:60]!r} (in {where}): patterns are written as in"
                    " .gitignore."
                ) from None
    return GitIgnoreSpec.from_lines([*lines, *exclude])


def _patterns(path: Path) -> list[str]:
    """The lines of an IGNORE file; none where there is no such file, or it is no text. Raises LibraryError
    where it is too large to be one."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return []
        if status.st_size > IGNORE_BYTES:
            raise LibraryError(f"{path} is too large to be a list of patterns.")
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError):
        return []


def _listed(
    entries: list[os.DirEntry[str]],
    folder: str,
    found: Walk,
    files: list[Found],
    leave_out: Path | None,
    ignored: GitIgnoreSpec | None,
) -> Iterator[str]:
    """Put the files into `files`, what is none into `found`; yield the folders."""
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
            files.append(_file(path, status))
        elif stat.S_ISDIR(status.st_mode):
            found.passed.append(Passed(path, "a link to a folder is not followed"))
        else:
            found.passed.append(Passed(path, NO_FILE))


def _file(path: str, status: os.stat_result) -> Found:
    return Found(path, status.st_size, status.st_mtime_ns)


def said(error: OSError) -> str:
    """What the system says of an error, without its number and path."""
    return (error.strerror or str(error) or type(error).__name__).lower()
