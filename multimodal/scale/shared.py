"""Shared libraries: tables in an object store that one machine at a time writes and any may pull.

Searching needs the words, filters and indexes of a library on a local disk, so `pull` keeps a local library
that holds the same: the first time all of it, then only what was written since.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from multimodal.errors import WrongSpace
from multimodal.library import Library
from multimodal.library.roots import Address, Roots
from multimodal.library.store import FileEntry, FileState, Root, SegmentRow
from multimodal.space import Space, load_space

BATCH = 1024, 10.0
"""Files, or seconds, after which what is finished is committed: a commit to an object store is some ten
requests, and leaves a fragment."""
NUMBERS = 20_000
"""Rows that are pulled at once."""
PULLED = "pulled"
"""The setting of a local library that says of which shared one, and up to which number, it is."""


class Shared(NamedTuple):
    """A shared library that is held for writing."""

    store: Any
    space: Space
    roots: Roots


@contextmanager
def writing(uri: str, space: Space | None = None) -> Iterator[Shared]:
    """The shared library at a path, `file://` or `s3://` address (with options as those of sources), made
    where there is none, for the one process that writes. Raises WrongSpace, LibraryBusy, LibraryError."""
    from multimodal.errors import NoLibrary
    from multimodal.library.lance import LanceStore

    if space is None:
        name = "starter"
        try:
            with closing(LanceStore.open(uri)) as there:
                name = there.settings()["space"]
        except NoLibrary:
            pass
        space = load_space(name)
    with closing(LanceStore.create(uri, space.name, space.space_id, space.dim)) as store:
        _check(uri, store.settings(), space)
        yield Shared(store, space, Roots(_home(uri)))


def pull(uri: str, home: str | Path, space: Space | None = None) -> int:
    """Bring the library in the folder `home`, made where there is none, up to date with a shared one; gives
    how many files changed in it. Files keep the paths and addresses they have there, segments their ids.

    Raises NoLibrary, WrongSpace, LibraryBusy, LibraryError.
    """
    from multimodal.library.lance import LanceStore

    with closing(LanceStore.open(uri)) as store, store.snapshot():
        settings = store.settings()
        chosen = space or load_space(settings["space"])
        _check(uri, settings, chosen)
        with Library(home, chosen) as library:
            with library._writing(chosen) as local:
                known, _, last = str(local.settings().get(PULLED, "")).partition(" ")
                since = int(last or 0) if known == settings["library"] else 0
                changed = _copied(store, local, since)
                local.put_setting(PULLED, f"{settings['library']} {store.last_number()}")
            library._searcher.prepare()
    return changed


def _copied(store: Any, local: Any, since: int) -> int:
    theirs = {root.number: root for root in store.roots()}
    ours = {number: local.put_root(root.path, root.device) for number, root in theirs.items()}
    gone = [root for root in local.roots() if root.path not in {one.path for one in theirs.values()}]
    for root in gone:  # moved below another, or no more there
        local.delete([state.number for state in local.files(root).values()])
    there = {number: store.files(root) for number, root in theirs.items()}
    here = {number: local.files(ours[number]) for number in theirs}
    lost = [
        state.number for number in theirs for path, state in here[number].items() if path not in there[number]
    ]
    local.delete(lost)
    places = {
        state.number: (number, path, state)
        for number, files in there.items()
        for path, state in files.items()
        if path not in here[number] or not _alike(state, here[number][path])
    }
    written: set[int] = set()
    for group in _pages(store, since if not gone else 0, store.last_number()):
        entries = []
        for file, rows in group:
            if file in places:
                number, path, state = places[file]
                entries.append(_entry(ours[number], path, state, rows))
                written.add(file)
        local.write(entries)
    rest = []
    for file in places.keys() - written:
        number, path, state = places[file]
        kept = None if path in here[number] and state.status == "indexed" else store.rows(file)
        rest.append(_entry(ours[number], path, state, kept))
    local.write(rest)
    return len(places) + len(lost)


def _pages(store: Any, after: int, last: int) -> Iterator[list[tuple[int, list[SegmentRow]]]]:
    """Segments written after a number, by their files. Those of a file were written one after the other."""
    left: list[tuple[int, SegmentRow]] = []
    for begin in range(after, last, NUMBERS):
        left += store.between(begin, min(begin + NUMBERS, last))
        files = [(file, [row for _, row in rows]) for file, rows in groupby(left, lambda one: one[0])]
        tail = files.pop() if files and begin + NUMBERS < last else None
        left = [(tail[0], row) for row in tail[1]] if tail else []
        yield files


def _alike(one: FileState, other: FileState) -> bool:
    return one._replace(number=0) == other._replace(number=0)


def _entry(root: Root, path: str, state: FileState, rows: Sequence[SegmentRow] | None) -> FileEntry:
    told = state.size, state.mtime_ns, state.hash, state.status, state.reason, state.recipe
    return FileEntry(root, path, *told, 0.0, rows, state.companions, state.facts)


def _check(uri: str, settings: Any, space: Space) -> None:
    if settings["space_id"] != space.space_id:
        raise WrongSpace(
            f"The library at {Address(uri.partition('?')[0])} was made by the space {settings['space']!r}"
            f" ({settings['space_id']}), not by {space.name!r} ({space.space_id})."
        )


def _home(uri: str) -> Path:
    from multimodal.library.lance_opening import address

    place, _ = address(uri)
    return Address(place) if "://" in place else Path(os.path.dirname(place))
