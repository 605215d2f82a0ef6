"""The index of words: full text over passages, captions, subtitles and the names of files, in SQLite's FTS5.

    words   the texts of segments by their numbers, split by FTS5's unicode61: at what is neither letter nor
            digit, without case and accents; the text itself stays in `segments` (external content)
    grams   of texts in scripts that put no spaces between words: their pairs of letters, as in Lucene's
            CJKAnalyzer. FTS5's own trigrams take as much room and find no word of two letters, which in
            Chinese most have
    names   the names and folders of files, also split where names are joined: SunsetBeach2024

Triggers keep all three as `segments` and `files` are, whoever changes those. The index is derived: it is
made anew where its version differs, and left out where SQLite has no FTS5.
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from functools import lru_cache

VERSION = 1
"""Raise when the splitting or the tables change: the index of another version is made anew."""

UNSPACED = re.compile(
    "["
    "\u0e00-\u0fff"  # Thai, Lao, Tibetan
    "\u1000-\u109f\u1100-\u11ff"  # Myanmar, Hangul letters
    "\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf"  # Khmer, Tai
    "\u3005-\u3007\u3021-\u3029\u3031-\u3035\u303b\u303c"  # ideographic signs that are letters or numbers
    "\u3041-\u318f\u31a0-\u31bf\u31f0-\u31ff"  # Hiragana, Katakana, Bopomofo, Hangul
    "\u3400-\u4dbf\u4e00-\ua4cf\uac00-\ud7ff\uf900-\ufaff"  # ideographs, Yi, Hangul
    "\uff66-\uffdc"  # half-width Katakana and Hangul
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff"
    "]+"
)
"""Letters of scripts without spaces between words. Korean has them, but glues particles to its words."""

_WORD = re.compile(r"[^\W_]+")
_JOINTS = re.compile(
    r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])"  # IMG2034
    r"|(?<=[a-zß-öø-ÿ])(?=[A-ZÀ-ÖØ-Þ])|(?<=[A-Z])(?=[A-Z][a-z])"  # SunsetBeach, HTMLPage
)

_TRIGGERS = (
    *("segments_worded", "segments_unworded", "segments_reworded"),
    *("files_named", "files_unnamed", "files_renamed"),
)

_WORDED = """
    INSERT INTO words (rowid, text) SELECT new.number, new.text WHERE new.text IS NOT NULL;
    INSERT INTO grams (rowid, text) SELECT new.number, pairs FROM (SELECT grams(new.text) AS pairs)
        WHERE pairs <> '';
"""
_UNWORDED = """
    INSERT INTO words (words, rowid, text) SELECT 'delete', old.number, old.text WHERE old.text IS NOT NULL;
    INSERT INTO grams (grams, rowid, text) SELECT 'delete', old.number, pairs
        FROM (SELECT grams(old.text) AS pairs) WHERE pairs <> '';
"""
_NAMED = (
    "INSERT INTO names (rowid, name, folder) VALUES (new.id, name_words(new.path), folder_words(new.path));"
)
_UNNAMED = "DELETE FROM names WHERE rowid = old.id;"

_SCHEMA = (
    "CREATE VIEW wordings AS SELECT number, text FROM segments WHERE text IS NOT NULL",
    "CREATE VIRTUAL TABLE words USING fts5 (text, content = 'wordings', content_rowid = 'number',"
    " tokenize = 'unicode61 remove_diacritics 2')",
    # contentless: the pairs of 220 ideographs are 1.5 kB, as much again as their index
    "CREATE VIRTUAL TABLE grams USING fts5 (text, content = '',"
    """ tokenize = "unicode61 remove_diacritics 2 categories 'L* M* N* Co'")""",
    "CREATE VIRTUAL TABLE names USING fts5 (name, folder,"
    """ tokenize = "unicode61 remove_diacritics 2 categories 'L* M* N* Co'")""",
    # a folder's words stand for all of its files
    "INSERT INTO names (names, rank) VALUES ('rank', 'bm25(2.0, 1.0)')",
    f"CREATE TRIGGER segments_worded AFTER INSERT ON segments WHEN new.text IS NOT NULL BEGIN {_WORDED} END",
    f"CREATE TRIGGER segments_unworded AFTER DELETE ON segments WHEN old.text IS NOT NULL"
    f" BEGIN {_UNWORDED} END",
    "CREATE TRIGGER segments_reworded AFTER UPDATE OF number, text ON segments"
    f" WHEN old.number <> new.number OR old.text IS NOT new.text BEGIN {_UNWORDED} {_WORDED} END",
    f"CREATE TRIGGER files_named AFTER INSERT ON files BEGIN {_NAMED} END",
    f"CREATE TRIGGER files_unnamed AFTER DELETE ON files BEGIN {_UNNAMED} END",
    "CREATE TRIGGER files_renamed AFTER UPDATE OF id, path ON files"
    f" WHEN old.id <> new.id OR old.path <> new.path BEGIN {_UNNAMED} {_NAMED} END",
)
_FILL = (
    "INSERT INTO words (words) VALUES ('rebuild')",
    "INSERT INTO grams (rowid, text) SELECT number, pairs FROM"
    " (SELECT number, grams(text) AS pairs FROM wordings) WHERE pairs <> ''",
    "INSERT INTO names (rowid, name, folder) SELECT id, name_words(path), folder_words(path) FROM files",
)


def register(db: sqlite3.Connection) -> None:
    """Give a connection that writes the functions which the triggers call."""
    db.execute("PRAGMA trusted_schema = ON")  # some builds let triggers call no functions but their own
    for function in (grams, name_words, folder_words):
        db.create_function(function.__name__, 1, function, deterministic=True)


def ensure(db: sqlite3.Connection) -> None:
    """Make the index where it is missing or of another version, in the transaction that is open.

    Where SQLite has no FTS5, the triggers go instead, so that the library can be written to; the index is
    then made anew when it is next written to by an SQLite that has it.
    """
    held = db.execute("SELECT value FROM settings WHERE name = 'words'").fetchone()
    if not available():
        if held:
            for trigger in _TRIGGERS:
                db.execute(f"DROP TRIGGER IF EXISTS {trigger}")
            db.execute("DELETE FROM settings WHERE name = 'words'")
    elif held != (VERSION,):
        _drop(db)
        register(db)
        for statement in (*_SCHEMA, *_FILL):
            db.execute(statement)
        db.execute("INSERT OR REPLACE INTO settings (name, value) VALUES ('words', ?)", (VERSION,))


def _drop(db: sqlite3.Connection) -> None:
    for trigger in _TRIGGERS:
        db.execute(f"DROP TRIGGER IF EXISTS {trigger}")
    for table in ("words", "grams", "names"):
        db.execute(f"DROP TABLE IF EXISTS {table}")
    db.execute("DROP VIEW IF EXISTS wordings")


@lru_cache(maxsize=1)
def available() -> bool:
    """Whether this Python's SQLite has FTS5."""
    memory = sqlite3.connect(":memory:")
    try:
        memory.execute("CREATE VIRTUAL TABLE words USING fts5 (text)")
    except sqlite3.OperationalError:
        return False
    finally:
        memory.close()
    return True


@lru_cache(maxsize=16)  # SQLite asks twice for the same text: for the pairs, and whether there are any
def grams(text: str | None) -> str:
    """Pairs of neighbouring letters of a text's runs in unspaced scripts, each run's last letter at its end,
    and the other words that a run touches, which no space sets apart.

    "東京都のTV" gives "東京 京都 都の の TV": a phrase of pairs is a run of letters, and a letter is the
    beginning of a pair.
    """
    if not text or text.isascii() or UNSPACED.search(text) is None:
        return ""
    plain = unicodedata.normalize("NFKC", text)
    apart = UNSPACED.sub("\0", plain)
    words = (
        word for word in _WORD.finditer(apart) if "\0" in apart[max(0, word.start() - 1) : word.end() + 1]
    )
    chosen = [" ".join((*pairs(run), run[-1])) for run in runs(plain)]
    return " ".join((*chosen, *(word[0] for word in words)))


def runs(text: str) -> list[str]:
    """The runs of letters in unspaced scripts, their half-width and compatibility forms made plain."""
    if text.isascii() or UNSPACED.search(text) is None:
        return []
    plain = unicodedata.normalize("NFKC", text)
    letters = "".join(
        letter if unicodedata.category(letter)[0] in "LMN" else " "
        for found in UNSPACED.finditer(plain)
        for letter in (*found[0], " ")
    )
    return letters.split()


def pairs(run: str) -> list[str]:
    """Neighbouring letters of a run; none for a single one."""
    return [run[place : place + 2] for place in range(len(run) - 1)]


def name_words(path: str | bytes) -> str:
    """The words of a file's name, and once more those that it joins: SunsetBeach, IMG2034."""
    return _words(_text(path).rpartition("/")[2])


def folder_words(path: str | bytes) -> str:
    """The words of the folders that a relative path names, as of `name_words`."""
    return _words(_text(path).rpartition("/")[0])


def split(name: str) -> str:
    """A name with spaces where capitals or digits begin a word."""
    return _JOINTS.sub(" ", name)


def _words(name: str) -> str:
    apart = split(name)
    return " ".join(filter(None, (name, apart if apart != name else "", grams(name))))


def _text(path: str | bytes) -> str:
    return unicodedata.normalize("NFC", path if isinstance(path, str) else path.decode("utf-8", "replace"))
