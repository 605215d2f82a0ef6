"""Patterns of paths, as in .gitignore, as SQL.

Each pattern becomes LIKE patterns that at least all its paths match, which SQLite tries at some 7 million
paths a second. Where they may match more, as `*` does not stop at a slash there, what they found is tried
once more by pathspec's regular expressions.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from multimodal.errors import QueryError
from multimodal.library.roots import Roots
from multimodal.library.store import Store

LONGEST = 1000
"""Characters of a pattern."""

_PARTS = re.compile(
    r"(?P<any>(?<![^/])(?:\*\*/)+\*(?![*/])|\A\*(?![*/]))"  # of names in any folder, or in this one
    r"|\*+/?|\?|\[[^\]/]*\]?|\\?(?P<one>.)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Place:
    """A pattern of paths below one root, whose folder it names too, or (root None) below any."""

    pattern: str
    root: int | None = None
    folder: str = ""

    @cached_property
    def likes(self) -> tuple[list[str], bool]:
        """LIKE patterns that match at least what the pattern does, and whether exactly that."""
        text = self.pattern
        free = "/" not in text.rstrip("/") or text.startswith("**/")
        below = text.endswith(("/", "/**"))
        text = re.sub(r"(/\*\*)*/?$", "", text)
        while text.startswith("**/"):
            text = text[3:]
        text = text.lstrip("/") if self.root is None else text
        if text in ("", "**"):
            return ["%/%" if self.pattern.endswith("/") else "%"], True
        core, exact = "", True
        for part in _PARTS.finditer(text):
            letter = part["one"]
            if part["any"]:
                exact = exact and (free or part["any"] != "*")
                core += "%"
            elif letter and letter.isascii():
                exact = exact and not (letter == "/" and "%" in core)
                core += f"\\{letter}" if letter in "%_\\" else letter
            else:
                core, exact = f"{core}%", False
        ends = [f"{core}/%"] if below else [core, f"{core}/%"]
        if free and not core.startswith("%"):
            ends += [f"%/{end}" for end in ends]
        return ends, exact

    @property
    def test(self) -> tuple[str, list[Any]]:
        """SQL over `item_files`, and its values."""
        path = "CAST(path AS TEXT)" if self.root is None else "? || CAST(path AS TEXT)"
        likes, _ = self.likes
        given = [[like] if self.root is None else [self.folder, like] for like in likes]
        sql = " OR ".join([f"{path} LIKE ? ESCAPE '\\'"] * len(likes))
        values = [value for pair in given for value in pair]
        return (
            (f"({sql})", values) if self.root is None else (f"(root = ? AND ({sql}))", [self.root, *values])
        )

    @cached_property
    def expression(self) -> re.Pattern[str]:
        """Matches the paths (behind their folder) that the pattern means. Raises QueryError."""
        from pathspec import GitIgnoreSpec

        try:
            pattern = GitIgnoreSpec.from_lines([re.sub(r"^(?=[#!])", r"\\", _plain(self.pattern))]).patterns[
                0
            ]
            return re.compile(pattern.regex.pattern, re.IGNORECASE)  # type: ignore[union-attr]
        except (ValueError, AttributeError, IndexError):
            raise QueryError(f"The pattern {self.pattern!r} is none that .gitignore would take.") from None

    def matches(self, root: int, path: str) -> bool:
        """Whether the path of a file below a root is meant."""
        if self.root is None:
            return self.expression.search(_plain(path)) is not None
        return (
            self.root == root and self.expression.search(_plain(self.folder + path).lstrip("/")) is not None
        )


def matching(
    globs: Sequence[str], store: Store, roots: Roots | None, test: str, values: Sequence[Any], seconds: float
) -> list[int]:
    """Numbers of the files that pass `test` (SQL over `item_files`), match one of the patterns (or there is
    none without "!"), and none of those with "!". Raises QueryError, and as `Store.select`."""
    wanted = [place for glob in globs if not glob.startswith("!") for place in places(glob, store, roots)]
    barred = [place for glob in globs if glob.startswith("!") for place in places(glob[1:], store, roots)]
    terms, given = [test], list(values)
    if wanted:
        tests = [place.test for place in wanted]
        terms.append(f"({' OR '.join(sql for sql, _ in tests)})")
        given += [value for _, some in tests for value in some]
    for place in barred:
        if place.likes[1]:
            sql, some = place.test
            terms.append(f"NOT {sql}")
            given += some
    barred = [place for place in barred if not place.likes[1]]
    sure = not barred and all(place.likes[1] for place in wanted)
    columns = "file" if sure else "file, root, path"
    rows = store.select(
        f"SELECT {columns} FROM item_files AS items WHERE {' AND '.join(terms)}", given, seconds
    )
    if sure:
        return [row[0] for row in rows]
    found = ((file, root, os.fsdecode(path)) for file, root, path in rows)
    return [
        file
        for file, root, path in found
        if (not wanted or any(place.matches(root, path) for place in wanted))
        and not any(place.matches(root, path) for place in barred)
    ]


def places(glob: str, store: Store, roots: Roots | None) -> list[Place]:
    """What a pattern may mean: paths below any root and, where it is a whole path, those of the roots'
    folders. Raises QueryError."""
    if not glob.strip(" /") or len(glob) > LONGEST or "\0" in glob:
        raise QueryError(f"{glob[:80]!r} is no pattern of paths.")
    glob = re.sub(r"(?<=.)/{2,}", "/", glob.rstrip(" "))
    if os.sep == "\\":
        glob = glob.replace("\\", "/")
    whole = Path(glob).expanduser()
    found = [Place(glob)]
    if roots is not None and whole.is_absolute():
        named = whole.as_posix() if glob.startswith("~") else glob
        variants = dict.fromkeys([named, _resolved(named)])
        for root in store.roots():
            folder = roots.folder(root.path).as_posix().rstrip("/") + "/"
            found += [Place(variant, root.number, folder) for variant in variants]
    return found


def _resolved(pattern: str) -> str:
    """A pattern of whole paths without links in those of its folders that are named in full."""
    parts = pattern.split("/")
    plain = next((place for place, part in enumerate(parts) if re.search(r"[*?\[\\]", part)), len(parts))
    literal = "/".join(parts[:plain])
    if not literal:
        return pattern
    return "/".join([os.path.realpath(literal).replace(os.sep, "/").rstrip("/"), *parts[plain:]])


def _plain(path: str) -> str:
    return unicodedata.normalize("NFC", path)
