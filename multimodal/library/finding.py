"""Which library is meant: the nearest from a folder up, and of several beside each other the one of a space.

A folder's library is `.multimodal`; further ones, of other spaces, lie beside it as `.multimodal-SPACE`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from multimodal.errors import LibraryError, NoLibrary
from multimodal.library.opening import DATABASE
from multimodal.library.roots import ALONGSIDE, FOLDER

LONGEST = 80
"""Characters of a name of a folder; file systems stop at 255, and paths of Windows at 260 in all."""


def alongside(folder: Path, space: str) -> Path:
    """Where a further library of `folder` lies, by the name of its space; a path counts by its last part."""
    last = Path(space).name if Path(space).is_absolute() else space
    return folder / (ALONGSIDE + re.sub(r"[^A-Za-z0-9._#]+", "-", last).strip("-.")[:LONGEST])


def find(start: str | Path | None = None, space: str | None = None) -> Path:
    """The library in `start` (default: the current folder) or the nearest folder above.

    `space` is the name of the space that made it, or a part of that name which no other one has; without it
    the library is the folder's first one. Raises NoLibrary, which names what there is.
    """
    folder = Path.cwd() if start is None else Path(os.path.abspath(start))
    others: list[str] = []
    for place in (folder, *folder.parents):
        homes = list(_homes(place))
        if space is None and homes:
            return _first(place, homes)
        if space is not None:
            made = {home: _made_by(home) for home in homes}
            if found := _of(space, made):
                return found
            others += made.values()
    if others:
        raise NoLibrary(
            f"There is no library of the space {space!r} in {folder} or any folder above it, only of"
            f" {', '.join(dict.fromkeys(others))}; to make one: `multimodal index FOLDER --space {space}"
            " --alongside`."
        )
    raise NoLibrary(f"There is no library in {folder} or any folder above it: index a folder first.")


def _homes(place: Path) -> Iterator[Path]:
    """The libraries of a folder, its first one first."""
    for home in (place / FOLDER, *sorted(place.glob(f"{ALONGSIDE}*"))):
        if (home / DATABASE).is_file():
            yield home


def _first(place: Path, homes: list[Path]) -> Path:
    if homes[0].name == FOLDER or len(homes) == 1:
        return homes[0]
    made = ", ".join(_made_by(home) for home in homes)
    raise NoLibrary(f"{place} has libraries of several spaces ({made}): choose one with --space.")


def _of(space: str, made: dict[Path, str]) -> Path | None:
    path = Path(space).expanduser()
    names = {space, str(path.resolve())} if path.exists() else {space}
    for home, name in made.items():
        if name in names:
            return home
    near = [home for home, name in made.items() if space.lower() in name.lower()]
    if len(near) > 1:
        raise NoLibrary(
            f"{space!r} may mean {' or '.join(made[home] for home in near)}: give more of the name."
        )
    return near[0] if near else None


def _made_by(home: Path) -> str:
    from multimodal.library.sqlite import SqliteStore

    try:
        store = SqliteStore.open(home)
    except LibraryError:
        return "?"
    try:
        return str(store.settings()["space"])
    finally:
        store.close()
