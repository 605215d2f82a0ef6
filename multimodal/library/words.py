"""Full text: what the words of a query find in passages, captions, subtitles and the names of files.

Hits with all the words come first, then those with some. Inside, the order is that of BM25 (Robertson et al.
1994, Okapi at TREC-3), the score of a segment's text and that of its file's name added up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import QueryError
from multimodal.library.filters import Numbers, Scope
from multimodal.library.store import Store
from multimodal.library.word_query import Atom, Wanted, is_name, parsed

Floats: TypeAlias = NDArray[np.float64]

CANDIDATES = (2_000, 20_000)
"""Rows of each kind, the best by BM25, that are looked at in full; more where those are too few."""
SCORED = 200_000
"""Rows that BM25 is worked out for, 0.2 s; beyond, the words are too common to tell rows apart."""
COMMON = 0.2
"""A word in more than this share of all texts, or of all names, tells nothing."""
FEW = 5
"""A word in fewer rows than this is never common: in a small library every word is in a fifth of it."""


@dataclass(frozen=True)
class WordHit:
    """Words found in a segment, or (`segment` None) in the name of a file alone.

    `is_whole` says that they are about the whole file: a caption, a name. `score` is BM25 (larger is
    better), `share` how much of what the query's words tell was found, in [0, 1], `has_all` whether all of
    them were, `is_name` whether the query is the file's name. `tells` is False where only words were found
    that are everywhere.
    """

    file: int
    segment: int | None
    is_whole: bool
    score: float
    share: float
    has_all: bool
    is_name: bool
    tells: bool


@dataclass(frozen=True, eq=False)
class _Found:
    """Rows (n,) of segments, or of files by their names: `has` (n, atoms) says which words are in each."""

    numbers: Numbers
    files: Numbers
    whole: NDArray[np.bool_]
    scores: Floats
    has: NDArray[np.bool_]

    def kept(self, which: NDArray[np.bool_]) -> _Found:
        numbers, files, whole = self.numbers[which], self.files[which], self.whole[which]
        return _Found(numbers, files, whole, self.scores[which], self.has[which])


class Words:
    """The index of words of one store, from one thread at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def match(
        self, text: str, limit: int = 100, scope: Scope | None = None, per_file: bool = True
    ) -> list[WordHit]:
        """The best `limit` files (or segments) for the words of `text`, best first; none for no words.

        `scope` limits what is found; words about a whole file count where any of its segments is in there.
        Raises QueryError where this library has no index of words.
        """
        wanted = parsed(text)
        with self._store.snapshot() as at:
            if "words" not in at.settings():
                raise QueryError(
                    "This library has no index of words: index again with a Python whose SQLite has FTS5."
                )
            return _Search(at, wanted, text).hits(limit, scope, per_file) if wanted.atoms else []


class _Search:
    """One query for words: how often each occurs, the rows with any, and their order."""

    def __init__(self, store: Store, wanted: Wanted, text: str) -> None:
        self._store, self._wanted, self._text = store, wanted, text
        self._known: dict[tuple[str, str], Numbers] = {}
        count = "SELECT (SELECT count(*) FROM words_docsize), (SELECT count(*) FROM names_docsize)"
        sizes = store.select(count)[0]
        atoms = [atom for atom in wanted.atoms if not atom.is_stop]
        counts = [self._counted(atom) for atom in atoms]
        weights = [_weight(some, sizes) for some in counts]
        self._lacks = any(not any(some.values()) for some in counts)
        self.tells = any(weights)
        if not self.tells:  # then for what is everywhere, if that is all there is
            atoms = list(wanted.atoms)
            counts = [self._counted(atom) for atom in atoms]
            weights = [float(any(some.values())) for some in counts]
        chosen = [place for place, weight in enumerate(weights) if weight]
        self._atoms = [atoms[place] for place in chosen]
        self._counts = [counts[place] for place in chosen]
        self._weights = np.array([weights[place] for place in chosen])

    def hits(self, limit: int, scope: Scope | None, per_file: bool) -> list[WordHit]:
        found: list[WordHit] = []
        for most in CANDIDATES if self._atoms else ():
            found = self._hits(limit, scope, per_file, most)
            if len(found) == limit or sum(sum(some.values()) for some in self._counts) <= most:
                break
        return found

    def _hits(self, limit: int, scope: Scope | None, per_file: bool, most: int) -> list[WordHit]:
        names = self._names(most)
        texts = _with_names(self._texts(most), names)
        texts, names = self._without(texts, names)
        if scope is not None:
            inside = scope.has_segments(texts.numbers) | (texts.whole & scope.has_files(texts.files))
            texts, names = texts.kept(inside), names.kept(scope.has_files(names.files))
        names_only = names.kept(~np.isin(names.files, texts.files))
        return self._ranked(texts, names_only, self._exact(names, limit), limit, per_file)

    def _ranked(
        self, texts: _Found, names: _Found, exact: Numbers, limit: int, per_file: bool
    ) -> list[WordHit]:
        files = np.concatenate([texts.files, names.files])
        scores = np.concatenate([texts.scores, names.scores])
        has = np.concatenate([texts.has, names.has])
        shares = has @ self._weights / self._weights.sum()
        full: NDArray[np.bool_] = np.all(has, axis=1) & (not self._lacks)
        is_name = np.isin(files, exact)
        hits: list[WordHit] = []
        seen: set[int] = set()
        for row in np.lexsort((-scores, ~full, ~is_name)).tolist():
            file, is_text = int(files[row]), row < len(texts.files)
            if len(hits) == limit:
                break
            if per_file and file in seen:
                continue
            seen.add(file)
            hits.append(
                WordHit(
                    file,
                    int(texts.numbers[row]) if is_text else None,
                    bool(texts.whole[row]) if is_text else True,
                    float(scores[row]),
                    float(shares[row]),
                    bool(full[row]),
                    bool(is_name[row]),
                    self.tells,
                )
            )
        return hits

    def _counted(self, atom: Atom) -> dict[str, int]:
        """How many rows of each index have a word."""
        asked = {**dict.fromkeys(atom.tables, atom.in_texts), "names": atom.in_names}
        return {
            table: int(
                self._store.select(f"SELECT count(*) FROM {table} WHERE {table} MATCH ?", [text])[0][0]
            )
            for table, text in asked.items()
        }

    def _numbers(self, table: str, expression: str) -> Numbers:
        """The rows, ascending, in which a word stands."""
        known = self._known.get((table, expression))
        if known is not None:
            return known
        sql = f"SELECT group_concat(rowid) FROM {table} WHERE {table} MATCH ?"
        listed = self._store.select(sql, [expression])[0][0]
        found = np.fromstring(listed, np.int64, sep=",") if listed else np.zeros(0, np.int64)
        return self._known.setdefault((table, expression), found)

    def _texts(self, most: int) -> _Found:
        rows: list[tuple[Any, ...]] = []
        for table in ("words", "grams"):
            sql = (
                f"SELECT {table}.rowid, -{table}.rank, file, role = 'caption' FROM {table}"
                f" CROSS JOIN segments ON number = {table}.rowid WHERE {table} MATCH ?"
            )
            rows += self._candidates(sql, table, most)
        return self._found(rows, [[(table, atom.in_texts) for table in atom.tables] for atom in self._atoms])

    def _names(self, most: int) -> _Found:
        sql = (
            "SELECT names.rowid, -names.rank, names.rowid, 1 FROM names CROSS JOIN files ON id = names.rowid"
            " WHERE names MATCH ? AND segments > 0"
        )
        rows = self._candidates(sql, "names", most)
        return self._found(rows, [[("names", atom.in_names)] for atom in self._atoms])

    def _candidates(self, sql: str, table: str, most: int) -> list[tuple[Any, ...]]:
        """Rows with any of the words, the best of them where there are many, and those with all."""
        counts = [some.get(table, 0) for some in self._counts]
        atoms = [atom for atom, count in zip(self._atoms, counts, strict=True) if count]
        if not atoms:
            return []
        total = sum(counts)
        expressions = [atom.in_names if table == "names" else atom.in_texts for atom in atoms]
        order = f" ORDER BY {table}.rank LIMIT {most}"
        if total > (SCORED if self.tells else CANDIDATES[-1]):
            sql, order = sql.replace(f"-{table}.rank", "0.0"), f" LIMIT {most}"
        joined = [" OR "] if total <= most or len(atoms) == 1 else [" OR ", " AND "]
        rows = [row for join in joined for row in self._store.select(sql + order, [join.join(expressions)])]
        return list({row[0]: row for row in rows}.values())

    def _found(self, rows: list[tuple[Any, ...]], atoms: list[list[tuple[str, str]]]) -> _Found:
        """Rows (number, score, file, whole) by ascending number, each once; a row of two tables has the
        scores of both."""
        values = np.array(rows, np.float64).reshape(-1, 4)
        unique = np.unique(values[:, 0].astype(np.int64), return_index=True, return_inverse=True)
        numbers, first, inverse = unique
        scores = np.zeros(len(numbers))
        np.add.at(scores, inverse.reshape(-1), values[:, 1])
        has = np.zeros((len(numbers), len(atoms)), np.bool_)
        for column, places in enumerate(atoms if len(numbers) else ()):
            if len(atoms) == 1:  # which is why they are here
                has[:] = True
                break
            for table, text in places:
                has[:, column] |= np.isin(numbers, self._numbers(table, text), assume_unique=True)
        return _Found(
            numbers, values[first, 2].astype(np.int64), values[first, 3].astype(np.bool_), scores, has
        )

    def _without(self, texts: _Found, names: _Found) -> tuple[_Found, _Found]:
        """Leave out texts that have a word that is not wanted, and files whose name or caption has it."""
        for atom in self._wanted.without:
            files = [self._numbers("names", atom.in_names)]
            for table in atom.tables:
                captions = self._store.select(
                    f"SELECT file FROM {table} CROSS JOIN segments ON number = {table}.rowid"
                    f" WHERE {table} MATCH ? AND role = 'caption'",
                    [atom.in_texts],
                )
                files.append(np.array(captions, np.int64).reshape(-1))
                texts = texts.kept(~np.isin(texts.numbers, self._numbers(table, atom.in_texts)))
            texts = texts.kept(~np.isin(texts.files, np.concatenate(files)))
            names = names.kept(~np.isin(names.files, np.concatenate(files)))
        return texts, names

    def _exact(self, names: _Found, limit: int) -> Numbers:
        """Files whose name, with or without its extension and folders before it, is the query."""
        full: NDArray[np.bool_] = np.all(names.has, axis=1)
        if self._lacks or not full.any():
            return np.zeros(0, np.int64)
        likely = names.kept(full)
        some = likely.files[np.argsort(-likely.scores, kind="stable")[: max(4 * limit, 400)]].tolist()
        marks = ", ".join("?" * len(some))
        rows = self._store.select(f"SELECT id, path FROM files WHERE id IN ({marks})", some)
        return np.array([file for file, path in rows if is_name(path, self._text)], np.int64)


def _weight(counts: Mapping[str, int], sizes: tuple[int, int]) -> float:
    """What a word tells: its inverse frequency among texts and names, 0 for one that is everywhere."""
    found, total = sum(counts.values()), sum(sizes)
    named = counts["names"]
    if not found or any(
        n >= FEW and n > COMMON * of for n, of in ((found - named, sizes[0]), (named, sizes[1]))
    ):
        return 0.0
    return math.log(1 + (total - found + 0.5) / (found + 0.5))


def _with_names(texts: _Found, names: _Found) -> _Found:
    """Texts with what the names of their files have too."""
    place, named = _places(names.numbers, texts.files)
    if not named.any():
        return texts
    scores = texts.scores + np.where(named, names.scores[place], 0.0)
    has = texts.has | (names.has[place] & named[:, None])
    return _Found(texts.numbers, texts.files, texts.whole, scores, has)


def _places(numbers: Numbers, wanted: Numbers) -> tuple[Numbers, NDArray[np.bool_]]:
    """Where `wanted` stand in the ascending `numbers`, and whether they do."""
    if not len(numbers):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.bool_)
    place = np.minimum(np.searchsorted(numbers, wanted), len(numbers) - 1)
    return place, numbers[place] == wanted
