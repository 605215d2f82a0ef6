"""The words, phrases and beginnings of words in what a person wrote.

A query is words, not a language: `golden gate` looks for both words, `"golden gate"` for the two in a row,
`sun*` for what begins so, and `-people` leaves out what has that word. All else is taken literally.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from multimodal.library.word_index import UNSPACED, pairs, runs, split

MOST_ATOMS = 32
"""Words of a query that are looked for; a page of text is no query for words."""
STOP = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "for",
        "if",
        "in",
        "into",
        "is",
        "it",
        "no",
        "not",
        "of",
        "on",
        "or",
        "such",
        "that",
        "the",
        "their",
        "then",
        "there",
        "these",
        "they",
        "this",
        "to",
        "was",
        "will",
        "with",
    ]
)
"""Words that tell nothing, however few texts there are to learn it from (Lucene's list for English)."""

ARTICLES = frozenset({"a", "an", "the"})


@dataclass(frozen=True)
class Atom:
    """One word, phrase, beginning of a word, or run of letters in a script without spaces."""

    text: str
    prefix: bool = False
    quoted: bool = False
    unspaced: bool = False

    @property
    def tables(self) -> tuple[str, ...]:
        """The indexes of texts that may have it."""
        return ("grams",) if self.unspaced else ("words", "grams")

    @property
    def in_texts(self) -> str:
        """As FTS5 looks for it in texts."""
        if self.unspaced:
            return _string(" ".join(pairs(self.text))) if len(self.text) > 1 else f"{_string(self.text)}*"
        return _string(self.text) + "*" * self.prefix

    @property
    def in_names(self) -> str:
        """The same in names, where IMG2034 may also be written IMG_2034."""
        apart = split(self.text)
        if self.unspaced or apart == self.text:
            return self.in_texts
        return f"({self.in_texts} OR {_string(apart)}{'*' * self.prefix})"

    @property
    def is_stop(self) -> bool:
        return not (self.quoted or self.prefix) and self.text.lower() in STOP


@dataclass(frozen=True)
class Wanted:
    """What a query looks for, and what it leaves out."""

    atoms: tuple[Atom, ...]
    without: tuple[Atom, ...] = ()


def parsed(text: str) -> Wanted:
    """The words, phrases and beginnings in a text that a person wrote."""
    wanted: list[Atom] = []
    without: list[Atom] = []
    known = text.encode(errors="ignore").decode().replace("\0", " ")
    plain = unicodedata.normalize("NFC", re.sub("[“”„«»]", '"', known))
    for part in re.finditer(r'(?P<no>(?<!\S)-(?!-))?(?:"(?P<phrase>[^"]*)"?|(?P<word>\S+))', plain):
        atoms = without if part["no"] else wanted
        if part["phrase"] is not None:
            atoms += _atoms(part["phrase"], False, True)
        for word in re.split(r'["/\\]+', part["word"] or ""):
            atoms += _atoms(word.rstrip("*"), word.endswith("*"), False)
    return Wanted(tuple(dict.fromkeys(wanted))[:MOST_ATOMS], tuple(dict.fromkeys(without))[:MOST_ATOMS])


def _atoms(text: str, prefix: bool, quoted: bool) -> Iterator[Atom]:
    """A word or phrase, taken apart where its script changes between one with spaces and one without."""
    rest = UNSPACED.sub(" ", text) if UNSPACED.search(text) else text
    spaced = [rest] if rest == text else rest.split()
    for word in spaced:
        if any(letter.isalnum() for letter in word):
            yield Atom(word.strip(), prefix and word is spaced[-1], quoted)
    for run in runs(text):
        yield Atom(run, quoted=quoted, unspaced=True)


def tokens(text: str) -> list[str]:
    """The words of a text without case and accents."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.findall(r"[^\W_]+", bare)


def is_name(path: str | bytes, text: str) -> bool:
    """Whether a text is the name at the end of a path, with or without its extension and folders before it;
    case, accents, the signs between words and an article before them do not count."""
    plain = path if isinstance(path, str) else path.decode("utf-8", "replace")
    folder, _, name = plain.rpartition("/")
    for cut in (str, split):
        query = tokens(cut(text))
        query = query[1:] if len(query) > 1 and query[0] in ARTICLES else query
        for form in filter(None, (name, name.rpartition(".")[0])):
            own = tokens(cut(form))
            own = own[1:] if len(own) > 1 and own[0] in ARTICLES else own
            if own and len(query) >= len(own) and [*tokens(cut(folder)), *own][-len(query) :] == query:
                return True
    return False


def _string(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
