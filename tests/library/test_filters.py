"""Filters: each condition, expressions that people write and those that enemies do, patterns of paths."""

from __future__ import annotations

import random
import re
import sqlite3
import time
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest
from pathspec import GitIgnoreSpec

from multimodal.errors import QueryError
from multimodal.library import filters, migrations
from multimodal.library.filters import COLUMNS, FILE_COLUMNS, SEGMENT_COLUMNS, Allowed, Filter, flags
from multimodal.library.globs import Place
from multimodal.library.store import ImportedRow
from multimodal.library.vectors import HALF, Kernel, Matrix
from tests.library.shelf import Shelf, row
from tests.pace import within


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    shelf = Shelf.made(tmp_path / "media")
    may = datetime(2024, 5, 3, 17, 20).timestamp()
    shelf.put("2024/May/beach.jpg", width=4000, height=3000, taken="2024-05-03T17:20:00", mtime=may)
    shelf.put("2024/May/small.JPG", width=300, height=200, taken="2024-05-31T23:59:59", size=90)
    shelf.put("2023/old.png", width=1000, height=1000, taken="2023-12-31T10:00:00")
    shelf.put("scan.png", width=2000, height=2800, mtime=datetime(2024, 5, 20).timestamp())
    shelf.put("notes.txt", row(text="of the sea"), row(text="of the hills", page=2), size=5000)
    shelf.put(
        "film.mp4",
        row("video", start=0.0, end=10.0),
        row("video", start=10.0, end=20.0),
        row("text", "hello there", 12.0, 14.0, "subtitles"),
        row("audio", start=0.0, end=5.0, role="blank"),
        row("audio", start=5.0, end=10.0),
        row("text", "a film of the sea", role="caption"),
        duration=20.0,
    )
    yield shelf
    shelf.store.close()


def found(shelf: Shelf, **conditions: object) -> list[str]:
    """The files that are let through, told in both ways that there are."""
    wanted = Filter(**conditions)  # type: ignore[arg-type]
    numbers = wanted.segments(shelf.store, shelf.roots)
    allowed = wanted.allowed(shelf.store, shelf.roots) or Allowed()
    inside = {
        int(number)
        for modality, matrix in shelf.matrices().items()
        if modality in (wanted.modalities or (modality,))
        for number in matrix.segments[allowed.positions(matrix)]
    }
    assert numbers is None or (set(numbers.tolist()) == inside and list(numbers) == sorted(numbers))
    return shelf.paths(inside)


PICTURES = ["2023/old.png", "2024/May/beach.jpg", "2024/May/small.JPG", "scan.png"]
ALL = sorted([*PICTURES, "film.mp4", "notes.txt"])


@pytest.mark.parametrize(
    ("conditions", "paths"),
    [
        ({"modalities": ("image",)}, PICTURES),
        ({"modalities": ("audio", "text")}, ["film.mp4", "notes.txt"]),
        ({"roles": ("caption",)}, ["film.mp4"]),
        ({"roles": ("caption",), "modalities": "image"}, []),
        ({"globs": "*.jpg"}, ["2024/May/beach.jpg", "2024/May/small.JPG"]),
        ({"globs": ("**/*.jpg", "!small*")}, ["2024/May/beach.jpg"]),
        ({"globs": ("2024/**", "notes.txt")}, ["2024/May/beach.jpg", "2024/May/small.JPG", "notes.txt"]),
        ({"globs": ("!2024/", "!*.mp4", "!*.txt")}, ["2023/old.png", "scan.png"]),
        ({"between": (11, 13)}, ["film.mp4"]),
        ({"between": (20, None)}, []),
        ({"between": (None, 1)}, ["film.mp4"]),
        ({"between": (None, 0)}, []),
        ({"duration": (None, 30)}, ["film.mp4"]),
        ({"duration": (20.5, None)}, []),
        ({"min_width": 1000}, ["2023/old.png", "2024/May/beach.jpg", "scan.png"]),
        ({"min_width": 1000, "min_height": 2900}, ["2024/May/beach.jpg"]),
        ({"size": (None, 90)}, ["2024/May/small.JPG"]),
        ({"size": (5000, 5000)}, ["notes.txt"]),
        ({"taken": ("2024-05", "2024-05")}, ["2024/May/beach.jpg", "2024/May/small.JPG"]),
        ({"taken": (None, date(2024, 5, 3))}, ["2023/old.png", "2024/May/beach.jpg"]),
        ({"taken": (datetime(2024, 5, 3, 17, 20, 1), "2024")}, ["2024/May/small.JPG"]),
        ({"modified": ("2024-05-03T17:20", "2024-05-03 17")}, ["2024/May/beach.jpg"]),
        ({"modified": (date(2024, 5, 1), None)}, ["2024/May/beach.jpg", "scan.png"]),
        ({"date": ("2024-05-03", "2024-05-30")}, ["2024/May/beach.jpg", "scan.png"]),
        ({"where": "megapixels >= 5.6"}, ["2024/May/beach.jpg", "scan.png"]),
        ({"where": "suffix = '.jpg' AND folder LIKE '%may'"}, ["2024/May/beach.jpg", "2024/May/small.JPG"]),
        ({"where": "name = 'old.png' OR text LIKE '%sea%'"}, ["2023/old.png", "film.mp4", "notes.txt"]),
        ({"where": 'length > 9 AND "end" <= 10'}, ["film.mp4"]),
        ({"where": "page = 2"}, ["notes.txt"]),
        ({"where": "date(taken) BETWEEN '2023-01-01' AND '2024-01-01'"}, ["2023/old.png"]),
        ({"where": "modality = 'image'", "globs": "scan*"}, ["scan.png"]),
        ({"where": "width > 100", "roles": "content", "modalities": "image", "size": (1, 99)},
         ["2024/May/small.JPG"]),
        ({"where": "1"}, ALL),
        ({"where": "text IS NULL", "between": (0, 100)}, ["film.mp4"]),
    ],
)  # fmt: skip
def test_conditions_let_the_right_files_through(
    shelf: Shelf, conditions: dict[str, object], paths: list[str]
):
    assert found(shelf, **conditions) == paths


def test_segments_of_a_time_are_those_that_overlap_it(shelf: Shelf):
    numbers = Filter(between=(11, 13)).segments(shelf.store)
    assert numbers is not None
    spans = {(seg.modality, seg.start) for seg in shelf.store.segments(numbers.tolist()).values()}
    assert spans == {("video", 10.0), ("text", 12.0)}
    instant = Filter(between=(10, 10), modalities=("video",)).segments(shelf.store)
    assert [seg.start for seg in shelf.store.segments(instant.tolist()).values()] == [10.0]  # type: ignore[union-attr]


def test_blank_segments_are_never_let_through(shelf: Shelf):
    for wanted in (Filter(between=(0, 6)), Filter(where="modality = 'audio'"), Filter(globs="film.mp4")):
        numbers = wanted.segments(shelf.store)
        assert numbers is not None
        stored = shelf.store.segments(numbers.tolist()).values()
        assert {seg.role for seg in stored} <= {"content", "caption", "subtitles"}
        assert sum(seg.modality == "audio" for seg in stored) == 1


def test_nothing_is_asked_where_nothing_needs_to_be(shelf: Shelf, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shelf.store, "select", lambda *_: pytest.fail("the store was asked"))
    assert Filter().allowed(shelf.store) is None and Filter().segments(shelf.store) is None
    assert Filter(modalities=("image", "video")).allowed(shelf.store) is None


def test_columns_are_those_of_the_view(shelf: Shelf):
    names = [about[1] for about in shelf.store.select("PRAGMA table_info(items)")]
    assert sorted(names) == sorted(COLUMNS)
    files = {about[1] for about in shelf.store.select("PRAGMA table_info(item_files)")}
    assert FILE_COLUMNS.keys() <= files and not SEGMENT_COLUMNS.keys() & files
    for name in COLUMNS:
        assert found(shelf, where=f'"{name}" IS NULL OR 1') == ALL


def test_rows_made_elsewhere_have_an_id_and_metadata(shelf: Shelf):
    rows = [
        ImportedRow(name, f"https://host/{name}.jpg", row("image"), metadata=f'{{"year": {year}}}')
        for name, year in (("a", 1999), ("b", 2005))
    ]
    shelf.store.put_imported("web", [rows])
    assert found(shelf, where="json_extract(metadata, '$.year') > 2000") == ["https://host/b.jpg"]
    assert found(shelf, where="collection = 'web' AND id = 'a'") == ["https://host/a.jpg"]
    assert found(shelf, globs="*.jpg", where="collection IS NULL")[-1] == "2024/May/small.JPG"


def test_names_that_are_no_unicode_are_filtered_too(shelf: Shelf):
    shelf.put("odd/caf\udce9.JPG")
    assert "odd/caf\udce9.JPG" in found(shelf, globs="*.jpg")
    assert found(shelf, globs="odd/") == ["odd/caf\udce9.JPG"]
    assert found(shelf, globs="odd/c*") == ["odd/caf\udce9.JPG"]


@pytest.mark.parametrize(
    "expression",
    [
        "", "  ", "width >", "width > 3)", "(width > 3", "1) OR (1", "1)) OR ((1",
        "1; DROP TABLE files", "1); DROP TABLE files; --", "1 /*", "1 /* */ )", "1\0",
        "1) UNION SELECT value FROM settings WHERE (1", "1) UNION ALL SELECT 1 --",
        "0 UNION SELECT 1", "SELECT 1", "(SELECT 1)", "EXISTS (SELECT 1 FROM settings)",
        "number IN (SELECT segment FROM vectors)", "number IN vectors", "number IN items",
        "number IN (VALUES (1))",
        "EXISTS (WITH items AS (SELECT * FROM settings) SELECT 1 FROM items)",
        "1 THEN 1 END FROM settings; --", "1 THEN 1 END OR CASE WHEN 1", "CASE WHEN 1 THEN 1 END, 1", "1, 1",
        "width GROUP BY file", "width ORDER BY 1", "1 LIMIT 1", "1 AS x",
        "settings.value = 1", "files.hash IS NOT NULL", "main.settings.value", "mtime_ns > 0", "root = 1",
        "sqlite_master.name = 'x'", "nothing = 1", "rowid = 1", "_rowid_ = 1",
        "load_extension('x')", "randomblob(1000000000)", "zeroblob(1000000000) IS NULL",
        "printf('%1000000000d', 1) IS NULL", "replace(text, 'a', text) = ''", "hex(text) = ''",
        "writefile('x', 'y')", "readfile('x')", "name_words(path) = ''", "text MATCH 'x'", "max(width)",
        "count(*)",
        "sum(width) > 1", "row_number() OVER ()", "max(width) OVER () > 1", "width = ?", "width = ?1",
        "width = :w",
        "RAISE(ABORT, 'x')", "ATTACH 'x' AS y", "PRAGMA user_version", "DELETE FROM files", "width = @x",
        "$x",
        "'unclosed", '"unclosed', "[unclosed", "\ud800", "1" + " OR 1" * 5000, "(" * 2000 + "1" + ")" * 2000,
    ],
)  # fmt: skip
def test_expressions_that_are_none_are_refused_in_one_sentence(shelf: Shelf, expression: str):
    with pytest.raises(QueryError) as raised:
        Filter(where=expression).allowed(shelf.store)
    said = str(raised.value)
    assert "over number, modality" in said and "duration" in said and "\n" not in said.replace(expression, "")


@pytest.mark.parametrize(
    "expression",
    [
        "1 --", "width > 3", "width > 3 -- pixels", "/* pixels */ width > 3", "(width) > (3)", "text = ')'",
        "text = '--'",
        "text = '/*'", 'name = "it"', "text = 'it''s'", "CASE WHEN width THEN 1 ELSE 0 END",
        "(width, height) > (1, 2)",
        "width IN (1, 2, 3)", "width BETWEEN 1 AND 2", "text LIKE '%;%' ESCAPE '\\'", "path GLOB '*.jpg'",
        "taken > date('now', '-1 month')", "items.width > 3", "[width] > 3 AND `height` > 3", "NOT width",
        "max(width, height) > 10", "coalesce(width, 0) = 0", "text COLLATE NOCASE = 'A'",
        "CAST(page AS TEXT) = '1'",
        "lower(text) = upper('x') OR length(name) > 3", "current_date > taken", "width IS NOT height",
    ],
)  # fmt: skip
def test_expressions_of_every_shape_are_run(shelf: Shelf, expression: str):
    assert isinstance(found(shelf, where=expression), list)


def test_expressions_never_change_the_library(shelf: Shelf):
    before = shelf.store.select("SELECT * FROM settings"), shelf.store.counts()
    for expression in ("1); DELETE FROM files; --", "1) RETURNING (1", "1; UPDATE files SET size = 0"):
        with pytest.raises(QueryError):
            Filter(where=expression)
    assert (shelf.store.select("SELECT * FROM settings"), shelf.store.counts()) == before


def test_random_tokens_never_get_out_of_their_brackets(shelf: Shelf):
    """Whatever is put together from the pieces of an attack is refused or gives numbers of `items`."""
    pieces = ["1", "width", ")", "(", "OR", "UNION", "SELECT", "value", "FROM", "settings", "items", "--",
    "\n", "/*",
              "*/", "'", '"', ";", "THEN", "END", "CASE", "WHEN", "WITH", "AS", ",", "IN", "EXISTS",
              "VALUES", "*"]  # fmt: skip
    rng = random.Random(4)
    numbers = {row[0] for row in shelf.store.select("SELECT number FROM segments WHERE role <> 'blank'")}
    understood = 0
    for _ in range(4000):
        expression = " ".join(rng.choices(pieces, k=rng.randint(1, 9)))
        try:
            given = Filter(where=expression).segments(shelf.store)
        except QueryError:
            continue
        understood += 1
        assert given is not None and set(given.tolist()) <= numbers
    assert understood > 20


def test_failing_and_endless_expressions_are_one_sentence(shelf: Shelf, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(QueryError, match="integer overflow"):
        Filter(where="abs(-9223372036854775807 - size / size) > 0").allowed(shelf.store)
    with pytest.raises(QueryError, match=r"(?i)malformed json"):
        Filter(where="json_extract(text, '$.a') = 1").allowed(shelf.store)
    monkeypatch.setattr(filters, "SECONDS", 0.05)
    shelf.store.put_imported("many", [[ImportedRow(str(n), "x", row("image")) for n in range(3000)]])
    slow = " + ".join(["length(lower(upper(path || name || folder || text || metadata)))"] * 100)
    with within(5, clock=time.monotonic), pytest.raises(QueryError, match=r"longer than 0\.05 s"):
        Filter(where=f"coalesce({slow}, 0) < 0").allowed(shelf.store)
    assert found(shelf, where="width > 3000") == ["2024/May/beach.jpg"]  # the clock is off again


@pytest.mark.parametrize(
    "conditions",
    [
        {"modalities": ("smell",)}, {"roles": ("hero",)}, {"between": (3, 2)}, {"size": (10, 1)},
        {"duration": (2, 1)},
        {"taken": ("2024", "2023")}, {"taken": ("yesterday", None)}, {"modified": ("2024-13", None)},
        {"date": (None, "2024-02-30")}, {"modified": ("9999", "9999-12-31T25")},
        {"taken": ("2024-05-03T17:2", None)},
    ],
)  # fmt: skip
def test_conditions_without_sense_are_refused(conditions: dict[str, object]):
    with pytest.raises(QueryError):
        Filter(**conditions)  # type: ignore[arg-type]


@pytest.mark.parametrize("pattern", ["", " ", "/", "//", "x" * 1001, "a\0b"])
def test_patterns_that_are_none_are_refused(shelf: Shelf, pattern: str):
    with pytest.raises(QueryError, match="pattern"):
        Filter(globs=(pattern,)).allowed(shelf.store)


def test_whole_paths_are_patterns_too(shelf: Shelf, tmp_path: Path):
    folder = (tmp_path / "media").as_posix()
    may = ["2024/May/beach.jpg", "2024/May/small.JPG"]
    assert found(shelf, globs=f"{folder}/2024/**") == may
    assert found(shelf, globs=f"{folder}/2024") == may
    assert found(shelf, globs=f"{folder}/2024/May/beach.jpg") == may[:1]
    assert found(shelf, globs=f"{folder}/*.png") == ["scan.png"]
    assert found(shelf, globs=f"{folder}/**/*.png") == ["2023/old.png", "scan.png"]
    assert len(found(shelf, globs=f"{tmp_path.as_posix()}/**")) == 6
    assert found(shelf, globs=f"{tmp_path.as_posix()}/*/2023/") == ["2023/old.png"]
    assert found(shelf, globs="/2023/*") == ["2023/old.png"]
    assert found(shelf, globs=(f"{folder}/**", f"!{folder}/20*/**", "!*.mp4")) == ["notes.txt", "scan.png"]
    assert found(shelf, globs=f"{folder}x/**") == []
    other = shelf.store.put_root((tmp_path / "other").as_posix(), 2)
    shelf.put("2024/x.jpg", root=other)
    assert found(shelf, globs=f"{(tmp_path / 'other').as_posix()}/**") == ["2024/x.jpg"]
    assert found(shelf, globs="2024/**") == [*may, "2024/x.jpg"]


def test_links_in_whole_paths_are_followed(shelf: Shelf, tmp_path: Path):
    link = tmp_path / "link"
    try:
        link.symlink_to(tmp_path / "media")
    except OSError:
        pytest.skip("no links here")
    assert found(shelf, globs=f"{link.as_posix()}/2023/*.png") == ["2023/old.png"]


def test_patterns_match_what_gitignore_would(shelf: Shelf):
    """4,000 random patterns over random paths, against pathspec itself on names of one case."""
    rng = random.Random(2)
    parts = ["a", "b", "ab", "a.b", "a%", "a_b", "é", "x y", "[a]", "b.a"]
    names = sorted({"/".join(rng.choices(parts, k=rng.randint(1, 4))) for _ in range(300)})
    memory = sqlite3.connect(":memory:")
    memory.execute("CREATE TABLE item_files (file INTEGER PRIMARY KEY, root, path)")
    memory.executemany("INSERT INTO item_files VALUES (?, 1, ?)", enumerate(names))
    pieces = [
        "a",
        "b",
        "é",
        "*",
        "**",
        "/",
        "/",
        "?",
        "[ab]",
        "[!a]",
        "_",
        "%",
        ".",
        "\\*",
        " ",
        "**/",
        "/**",
    ]
    tried = exact = matched = 0
    for _ in range(4000):
        pattern = "".join(rng.choices(pieces, k=rng.randint(1, 6))).strip()
        if not pattern.strip("/") or "//" in pattern:
            continue
        spec = GitIgnoreSpec.from_lines([pattern])
        wanted = {number for number, name in enumerate(names) if spec.match_file(name)}
        place = Place(pattern)
        test, values = place.test
        likely = {number for (number,) in memory.execute(f"SELECT file FROM item_files WHERE {test}", values)}
        try:
            found = {number for number in likely if place.matches(1, names[number])}
        except QueryError:
            assert not wanted
            continue
        assert wanted == found, (pattern, [names[n] for n in wanted ^ found])
        if place.likes[1]:
            assert likely == wanted, (pattern, [names[n] for n in wanted ^ likely])
            exact += 1
        tried += 1
        matched += bool(wanted)
    assert tried > 3000 and exact > 300 and matched > 1000


def test_places_in_matrices_are_those_of_the_numbers():
    rng = np.random.default_rng(3)
    for _ in range(200):
        count = int(rng.integers(1, 60))
        segments = np.sort(rng.choice(200, count, replace=False))
        files = rng.integers(0, 20, count)
        matrix = Matrix(np.zeros((count, 2), np.float16), segments, files)
        some = np.sort(rng.choice(220, int(rng.integers(0, 220)), replace=False))
        kept = np.sort(rng.choice(25, int(rng.integers(0, 25)), replace=False))
        for allowed in (Allowed(kept), Allowed(None, some), Allowed(kept, some), Allowed()):
            inside = np.ones(count, bool)
            if allowed.files is not None:
                inside &= np.isin(files, kept)
            if allowed.segments is not None:
                inside &= np.isin(segments, some)
            assert np.array_equal(allowed.positions(matrix), np.flatnonzero(inside))
    none = np.zeros(0, np.int64)
    assert len(flags(none, none)) == 0 and not flags(none, np.array([3])).any()


def test_common_filters_are_served_by_indexes(shelf: Shelf):
    """What a million files are not gone through for: the plans name the index."""
    for term, index in (
        ("suffix = '.jpg'", "files_suffix"),
        ("taken IS NOT NULL AND taken >= '2024'", "files_taken"),
        ("mtime_ns IS NOT NULL AND mtime_ns > 5", "files_modified"),
    ):
        plan = shelf.store.select(
            f"EXPLAIN QUERY PLAN SELECT group_concat(file) FROM item_files WHERE {term}"
        )
        assert any(index in str(step[3]) for step in plan) and not any(
            "roots" in str(step[3]) for step in plan
        )
    sql = "SELECT number FROM segments WHERE start IS NOT NULL AND start < 9 AND role <> 'blank'"
    assert any("segments_times" in str(step[3]) for step in shelf.store.select(f"EXPLAIN QUERY PLAN {sql}"))


def test_suffixes_names_and_folders_are_those_of_pathlib(shelf: Shelf):
    names = [
        "a",
        "a.jpg",
        "x/a.JPG",
        "a.b/c",
        "a.b/c.D",
        "x.x.x",
        "n.",
        "é.Png",
        "t.tar.GZ",
        "d e/f g.h i",
        "a/b/c/d.e",
    ]
    for name in names:
        shelf.put(name)
    rows = shelf.store.select("SELECT path, name, folder, suffix FROM item_files")
    assert len(rows) == len(names) + 6
    for path, name, folder, suffix in rows:
        pure = Path(path)
        parent = "" if str(pure.parent) == "." else pure.parent.as_posix()
        known = "" if pure.suffix == "." else pure.suffix.lower()
        assert (name, folder, suffix) == (pure.name, parent, known), path


def test_old_libraries_get_the_views(tmp_path: Path):
    db = sqlite3.connect(tmp_path / "old.db", isolation_level=None)
    for script in migrations.MIGRATIONS[:3]:
        for statement in migrations._statements(script):
            db.execute(statement)
    db.execute("PRAGMA user_version = 3")
    db.execute("INSERT INTO roots VALUES (1, '..', 1)")
    db.execute(
        "INSERT INTO files (id, root, path, size, mtime_ns, status, recipe, encoders, segments, seconds)"
        " VALUES (1, 1, 'a/b.jpg', 1, 1, 'indexed', '', '', 1, 0)"
    )
    db.execute(
        "INSERT INTO segments (number, id, file, modality, ordinal, encoder)"
        " VALUES (7, x'00', 1, 'image', 0, 'e')"
    )
    db.execute("BEGIN")
    migrations.migrate(db)
    db.execute("COMMIT")
    found = db.execute("SELECT number, folder, name, suffix, date FROM items").fetchall()
    assert found == [(7, "a", "b.jpg", ".jpg", found[0][4])]
    assert re.fullmatch(r"19(70|69)-\d\d-\d\dT\d\d:00:00|1970-01-01T\d\d:\d\d:00", found[0][4])


@pytest.mark.parametrize("share", [0.0, 0.001, 0.015, 0.05, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("faiss_after", [0, 10**12], ids=["faiss", "numpy"])
def test_kernel_finds_the_best_of_the_rows_allowed(
    share: float, faiss_after: int, monkeypatch: pytest.MonkeyPatch
):
    if faiss_after:
        monkeypatch.setattr("multimodal.library.kernel.faiss_is_loaded", lambda: False)
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((20_000, 24)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    matrix = Matrix(vectors.astype(np.float16), np.arange(20_000) * 2 + 1, np.arange(20_000) // 3)
    query = vectors[7]
    allowed = np.sort(rng.choice(20_000, int(20_000 * share), replace=False))
    kernel = Kernel(faiss_after)
    for count in (1, 64, 19_999):
        places, bound = kernel.top(matrix, query, count, allowed)
        assert len(set(places.tolist())) == len(places) == min(count, len(allowed))
        assert np.isin(places, allowed).all()
        if count >= len(allowed):
            assert bound == -np.inf
            continue
        rest = np.setdiff1d(allowed, places)
        assert matrix.cosines(rest, query).max() <= bound + HALF
