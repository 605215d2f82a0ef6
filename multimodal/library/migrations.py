"""The database's schema as a numbered list: entry i brings a database of version i to version i + 1.

Entries that have been released are never edited; a change of the schema is a new entry at the end.
"""

from __future__ import annotations

import sqlite3

from multimodal.library import word_index

MIGRATIONS: tuple[str, ...] = (
    # 1. Paths are TEXT; a name that is no valid Unicode is a BLOB of its bytes.
    """
    CREATE TABLE settings (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
    CREATE TABLE roots (
        id INTEGER PRIMARY KEY,
        path NOT NULL UNIQUE,      -- absolute, or relative to the library's folder where it contains that
        device INTEGER NOT NULL    -- st_dev when last indexed: tells an unmounted disk from an emptied folder
    );
    CREATE TABLE files (
        id INTEGER PRIMARY KEY,
        root INTEGER NOT NULL REFERENCES roots (id) ON DELETE CASCADE,
        path NOT NULL,             -- relative to the root, with slashes
        size INTEGER NOT NULL,     -- bytes
        mtime_ns INTEGER NOT NULL,
        hash BLOB,                 -- blake2b-128 of the content; NULL where it could not be read in peace
        status TEXT NOT NULL CHECK (status IN ('indexed', 'skipped', 'failed')),
        reason TEXT,               -- why it was skipped or failed
        recipe TEXT NOT NULL,      -- names how it was read
        encoders TEXT NOT NULL,    -- encoder ids of its segments, sorted, with spaces between
        segments INTEGER NOT NULL,
        seconds REAL NOT NULL,     -- that reading and encoding took
        UNIQUE (root, path)
    );
    CREATE TABLE segments (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id BLOB NOT NULL UNIQUE,   -- blake2b-128(root | path | modality | ordinal | encoder)
        file INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
        modality TEXT NOT NULL,
        ordinal INTEGER NOT NULL,  -- place in the file
        start REAL,                -- seconds
        "end" REAL,
        text TEXT,                 -- passage or caption
        encoder TEXT NOT NULL
    );
    CREATE INDEX segments_file ON segments (file);
    CREATE INDEX segments_modality ON segments (modality);
    CREATE TABLE vectors (         -- apart from the segments, so that reading those stays cheap
        segment INTEGER PRIMARY KEY REFERENCES segments (number) ON DELETE CASCADE,
        vector BLOB NOT NULL       -- dim little-endian float16, unit length
    );
    """,
    # 2. Blank segments (silence, black) have no vector; sidecars are remembered with the file they tell of.
    """
    ALTER TABLE files ADD COLUMN companions TEXT NOT NULL DEFAULT '';  -- JSON, '' for none
    ALTER TABLE files ADD COLUMN width INTEGER;                        -- pixels, upright
    ALTER TABLE files ADD COLUMN height INTEGER;
    ALTER TABLE files ADD COLUMN duration REAL;                        -- seconds
    ALTER TABLE files ADD COLUMN taken TEXT;                           -- ISO 8601
    ALTER TABLE segments ADD COLUMN page INTEGER;                      -- from 1
    ALTER TABLE segments ADD COLUMN begin_char INTEGER;                -- offsets in the visible text
    ALTER TABLE segments ADD COLUMN end_char INTEGER;
    ALTER TABLE segments ADD COLUMN role TEXT NOT NULL DEFAULT 'content';  -- caption, subtitles, blank
    CREATE INDEX segments_blank ON segments (modality) WHERE role = 'blank';
    CREATE TABLE frames (          -- some frames of a video segment, for scoring by query
        segment INTEGER PRIMARY KEY REFERENCES segments (number) ON DELETE CASCADE,
        times BLOB NOT NULL,       -- little-endian float32, seconds
        vectors BLOB NOT NULL      -- as vectors.vector, one after the other
    );
    """,
    # 3. Segments made elsewhere; the path of their root is "import:" and the name of their collection.
    """
    CREATE TABLE imported (
        segment INTEGER PRIMARY KEY REFERENCES segments (number) ON DELETE CASCADE,
        name TEXT NOT NULL,        -- its id in the collection
        metadata TEXT NOT NULL     -- a JSON object
    );
    """,
    # 4. What filters see (`multimodal.library.filters.COLUMNS`), and indexes for what they mostly ask. What
    # stands behind the last slash of a path is what is left without rtrim(path, all its other characters).
    """
    ALTER TABLE files ADD COLUMN suffix TEXT AS (
        CASE WHEN instr(path, '.') = 0
            OR instr(replace(path, rtrim(path, replace(path, '.', '')), ''), '/') THEN ''
        ELSE rtrim(lower('.' || replace(path, rtrim(path, replace(path, '.', '')), '')), '.') END
    );
    CREATE INDEX files_suffix ON files (suffix);
    CREATE INDEX files_taken ON files (taken) WHERE taken IS NOT NULL;
    CREATE INDEX files_modified ON files (mtime_ns);
    CREATE INDEX segments_times ON segments (start, "end") WHERE start IS NOT NULL AND role <> 'blank';
    CREATE VIEW item_files AS SELECT
        files.id AS file, root, files.path AS path,
        replace(files.path, rtrim(files.path, replace(files.path, '/', '')), '') AS name,
        rtrim(rtrim(files.path, replace(files.path, '/', '')), '/') AS folder,
        suffix, size, mtime_ns,
        strftime('%Y-%m-%dT%H:%M:%S', mtime_ns / 1000000000, 'unixepoch', 'localtime') AS modified,
        taken,
        coalesce(taken, strftime('%Y-%m-%dT%H:%M:%S', mtime_ns / 1000000000, 'unixepoch', 'localtime'))
            AS date,
        width, height, width * height / 1e6 AS megapixels, duration,
        (SELECT substr(roots.path, 8) FROM roots WHERE id = root AND roots.path LIKE 'import:%') AS collection
        FROM files;
    CREATE VIEW items AS SELECT
        number, segments.file AS file, path, name, folder, suffix, modality, role,
        start, "end", "end" - start AS length, page, text, size, modified, taken, date,
        width, height, megapixels, duration, collection,
        (SELECT imported.name FROM imported WHERE segment = number) AS id,
        (SELECT metadata FROM imported WHERE segment = number) AS metadata
        FROM segments JOIN item_files ON item_files.file = segments.file WHERE role <> 'blank';
    """,
)

LATEST = len(MIGRATIONS)


def version(db: sqlite3.Connection) -> int:
    """How many migrations the database has seen; 0 for an empty one."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def migrate(db: sqlite3.Connection) -> None:
    """Bring a database to the latest version inside the transaction that is open, its index of words too."""
    for number in range(version(db), LATEST):
        for statement in _statements(MIGRATIONS[number]):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {number + 1}")
    word_index.ensure(db)


def _statements(script: str) -> list[str]:
    """`executescript` would commit the open transaction, so statements go one by one."""
    statements, current = [], ""
    for line in script.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return statements
