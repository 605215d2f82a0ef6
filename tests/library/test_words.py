"""The index of words and what it finds: kept right by triggers, asked as people ask, in any script."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from multimodal.errors import QueryError
from multimodal.library import migrations, opening, word_index
from multimodal.library.filters import Filter, Scope
from multimodal.library.snippets import Snippet, cropped, snippets
from multimodal.library.sqlite import SqliteStore
from multimodal.library.store import ImportedRow
from multimodal.library.word_index import grams, name_words, split
from multimodal.library.word_query import Atom, parsed, tokens
from multimodal.library.words import WordHit, Words
from tests.library.shelf import Shelf, row


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    shelf = Shelf.made(tmp_path / "media")
    yield shelf
    shelf.store.close()


def paths(shelf: Shelf, text: str, **how: object) -> list[str]:
    """The files found for some words, in their order."""
    hits = Words(shelf.store).match(text, **how)  # type: ignore[arg-type]
    names = {shelf.file(path): path for path in shelf.store.files(shelf.root)}
    return [names[hit.file] for hit in hits]


def texts(shelf: Shelf, **files: str) -> None:
    for name, text in files.items():
        shelf.put(f"{name}.txt", row(text=text))


# The index


def check_index(db: sqlite3.Connection) -> None:
    """The index is what would be made anew."""
    for table in ("words", "grams", "names"):
        db.execute(f"INSERT INTO {table} ({table}) VALUES ('integrity-check')")
    names = db.execute("SELECT rowid, name, folder FROM names ORDER BY rowid").fetchall()
    expected = db.execute("SELECT id, name_words(path), folder_words(path) FROM files ORDER BY id").fetchall()
    assert names == expected
    wanted = db.execute("SELECT number, grams(text) FROM segments WHERE grams(text) <> ''").fetchall()
    fresh = sqlite3.connect(":memory:")
    fresh.execute(next(s for s in word_index._SCHEMA if "grams USING" in s))
    fresh.executemany("INSERT INTO grams (rowid, text) VALUES (?, ?)", wanted)
    for one in (db, fresh):
        one.execute("CREATE VIRTUAL TABLE temp.terms USING fts5vocab('main', 'grams', 'instance')")
    kept, made = (one.execute("SELECT * FROM temp.terms ORDER BY 1, 2, 4").fetchall() for one in (db, fresh))
    db.execute("DROP TABLE temp.terms")
    assert kept == made
    held = {rowid for (rowid,) in db.execute("SELECT id FROM words_docsize")}
    assert held == {number for (number,) in db.execute("SELECT number FROM segments WHERE text IS NOT NULL")}


def test_index_is_right_after_any_changes(shelf: Shelf):
    rng = random.Random(1)
    vocabulary = [
        "sea",
        "hills",
        "Étude",
        "東京タワー",
        "สวัสดี",
        "naïve",
        "x1y2",
        "서울에서",
        "don't",
        "",
        "\ue000",
    ]
    db = shelf.store._db
    inner = shelf.store.put_root("../inner", 1)
    for step in range(150):
        chance = rng.random()
        path = f"{rng.choice(['a', 'BeachTrip', '京都'])}/IMG{rng.randint(1, 12)}.jpg"
        if chance < 0.7:
            rows = [
                row("text" if rng.random() < 0.7 else "image", " ".join(rng.choices(vocabulary, k=4)) or None)
                for _ in range(rng.randint(1, 4))
            ]
            shelf.put(path, *rows, root=rng.choice([shelf.root, shelf.root, inner]))
        elif chance < 0.8:
            known = shelf.store.files(shelf.root)
            shelf.store.delete([state.number for state in rng.sample([*known.values()], len(known) // 3)])
        elif chance < 0.85:
            collection = [
                [ImportedRow(str(n), f"p{n % 3}/Œuvre", row(text="made elsewhere 東"))] for n in range(5)
            ]
            shelf.store.put_imported("some", collection)
        elif chance < 0.9:
            shelf.store.delete_imported("some", rng.choice([None, ["1", "3"]]))
        elif chance < 0.95:
            db.execute("UPDATE segments SET text = 'other 大阪 words' WHERE number % 7 = 0")
            db.execute("UPDATE segments SET text = NULL WHERE number % 11 = 0")
            db.execute(f"UPDATE files SET path = 'moved{step}/' || path WHERE id % 9 = 0")
            db.execute("UPDATE segments SET id = randomblob(16) WHERE file % 9 = 0")
        elif step > 100:
            shelf.store.move_files(inner, shelf.root, f"moved{step}")
            inner = shelf.store.put_root(f"../inner{step}", 1)
        if step % 10 == 0:
            check_index(db)
    check_index(db)
    db.execute("DELETE FROM roots")
    check_index(db)
    assert db.execute("SELECT count(*) FROM words_docsize").fetchone() == (0,)
    assert db.execute("SELECT count(*) FROM names").fetchone() == (0,)


def test_failed_writes_leave_the_index_as_it_was(shelf: Shelf):
    texts(shelf, one="the sea", two="東京 the hills")
    entries = [
        shelf.entry("three.txt", row(text="the lake 大阪")),
        shelf.entry("one.txt", row(text="changed")),
    ]
    broken = shelf.entry("four.txt", row("text", role="no role"))  # type: ignore[arg-type]
    object.__setattr__(broken, "status", "no status")
    with pytest.raises(sqlite3.IntegrityError):
        shelf.store.write([*entries, broken])
    check_index(shelf.store._db)
    assert paths(shelf, "sea") == ["one.txt"] and paths(shelf, "lake") == [] == paths(shelf, "大阪")


def test_old_libraries_get_an_index(tmp_path: Path):
    home = tmp_path / ".multimodal"
    home.mkdir()
    db = sqlite3.connect(home / opening.DATABASE, isolation_level=None)
    for script in migrations.MIGRATIONS[:3]:
        for statement in migrations._statements(script):
            db.execute(statement)
    db.execute("PRAGMA user_version = 3")
    db.execute("INSERT INTO roots VALUES (1, '..', 1)")
    db.executemany("INSERT INTO settings VALUES (?, 0)", [("generation",), ("deletions",)])
    db.execute(
        "INSERT INTO files (id, root, path, size, mtime_ns, status, recipe, encoders, segments, seconds)"
        " VALUES (1, 1, 'a/SunsetBeach.txt', 1, 1, 'indexed', '', '', 1, 0)"
    )
    db.executemany(
        "INSERT INTO segments (number, id, file, modality, ordinal, encoder, text)"
        " VALUES (?, ?, 1, 'text', 0, 'e', ?)",
        [(3, b"3", "the sea"), (9, b"9", "東京タワー"), (11, b"11", None)],
    )
    db.close()
    store = SqliteStore.open(home)  # brings it up to date
    assert [hit.segment for hit in Words(store).match("sea", per_file=False)] == [3]
    assert [hit.segment for hit in Words(store).match("タワー", per_file=False)] == [9]
    assert [hit.segment for hit in Words(store).match("beach", per_file=False)] == [None]
    store.close()
    store = SqliteStore.create(home, "fake", "fake", 8)
    check_index(store._db)
    store.close()


def test_index_of_another_version_is_made_anew(shelf: Shelf, monkeypatch: pytest.MonkeyPatch):
    texts(shelf, one="the sea")
    shelf.store.close()
    monkeypatch.setattr(word_index, "VERSION", word_index.VERSION + 1)
    monkeypatch.setattr(word_index, "_JOINTS", word_index.re.compile("(?=s)"))
    shelf.store = SqliteStore.create(shelf.folder, "fake", "fake", 8)
    assert shelf.store.settings()["words"] == word_index.VERSION
    check_index(shelf.store._db)


def test_sqlite_without_fts5_keeps_the_library_and_makes_the_index_later(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
):
    texts(shelf, one="the sea")
    shelf.store.close()
    monkeypatch.setattr(word_index, "available", lambda: False)
    shelf.store = SqliteStore.create(shelf.folder, "fake", "fake", 8)
    texts(shelf, two="the hills", one="the lake")
    with pytest.raises(QueryError, match="FTS5"):
        Words(shelf.store).match("hills")
    assert Filter(where="text LIKE '%hills%'").segments(shelf.store) is not None
    shelf.store.close()
    monkeypatch.undo()
    shelf.store = SqliteStore.create(shelf.folder, "fake", "fake", 8)
    assert paths(shelf, "hills") == ["two.txt"] and paths(shelf, "sea") == []
    check_index(shelf.store._db)


def test_new_libraries_are_made_without_fts5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(word_index, "available", lambda: False)
    shelf = Shelf.made(tmp_path / "media")
    texts(shelf, one="the sea")
    tables = {name for (name,) in shelf.store.select("SELECT name FROM sqlite_master")}
    assert not {"words", "names", "grams"} & tables and shelf.store.counts()[0] == 1
    shelf.store.close()


def test_reading_needs_no_functions_of_ours(shelf: Shelf):
    """Any SQLite with FTS5 can look inside."""
    texts(shelf, one="the sea", two="the hills")
    shelf.store.checkpoint()
    shelf.store.close()
    db = sqlite3.connect(shelf.folder / opening.DATABASE)
    assert db.execute("SELECT text FROM words WHERE words MATCH 'hills'").fetchall() == [("the hills",)]
    assert db.execute("SELECT name FROM names WHERE names MATCH 'two'").fetchall() == [("two.txt",)]
    assert db.execute("SELECT path, text FROM items WHERE suffix = '.txt' ORDER BY 1").fetchall()[0] == (
        "one.txt",
        "the sea",
    )
    db.close()
    shelf.store = SqliteStore.create(shelf.folder, "fake", "fake", 8)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("IMG2034.jpg", "IMG2034.jpg IMG 2034.jpg"),
        ("a/SunsetBeach_v2.png", "SunsetBeach_v2.png Sunset Beach_v 2.png"),
        ("HTMLPage", "HTMLPage HTML Page"),
        ("plain name.txt", "plain name.txt"),
        ("東京タワー.jpg", "東京タワー.jpg 東京 京タ タワ ワー ー"),
        ("cafe\u0301.jpg", "caf\u00e9.jpg"),
        (b"caf\xe9.jpg", "caf\ufffd.jpg"),
    ],
)
def test_names_are_split_where_they_are_joined(name: str | bytes, words: str):
    assert name_words(name) == words


def test_pairs_of_letters():
    assert (
        grams("東京都") == "東京 京都 都" and grams("東") == "東" and grams("abc") == "" and grams(None) == ""
    )
    assert grams("x東京。大阪y z") == "東京 京 大阪 阪 x y" and grams("ｱﾊﾟｰﾄ") == "アパ パー ート ト"
    assert grams("한국") == "한국 국" == grams("\u1112\u1161\u11ab\u1100\u116e\u11a8")  # taken apart and not
    assert split("plain") == "plain"


# Queries


@pytest.mark.parametrize(
    ("text", "wanted", "without"),
    [
        ("golden gate", ["golden", "gate"], []),
        ('"golden gate" bridge', ["golden gate", "bridge"], []),
        ("“golden gate", ["golden gate"], []),
        ("sun* -people", ["sun*"], ["people"]),
        ('-"two people" a-b --x - -', ["a-b", "--x"], ["two people"]),
        ("AND OR NOT NEAR(a b) col:x ^y {z}", ["AND", "OR", "NOT", "NEAR(a", "b)", "col:x", "^y", "{z}"], []),
        ("dog dog !!! ... * \"\" -", ["dog"], []),
        ("iPhone手機 東京タワー*", ["iPhone", "手機", "東京タワー"], []),
        ("a\0b", ["a", "b"], []),
        ("", [], []),
    ],
)  # fmt: skip
def test_queries_are_words_not_a_language(text: str, wanted: list[str], without: list[str]):
    found = parsed(text)
    assert [atom.text + "*" * atom.prefix for atom in found.atoms] == wanted
    assert [atom.text for atom in found.without] == without


def test_no_query_is_an_error(shelf: Shelf):
    texts(shelf, one='the "sea" (and) NEAR the hills: a*b ^c', two="東京")
    rng = random.Random(3)
    pieces = ['"', "'", "*", "-", "^", "(", ")", ":", "{", "}", "AND", "OR", "NOT", "NEAR", "sea",
              "東", "京", " ", " ",
              "\0", "\n", "+", ",", "text:", "é", "\ud800", "😀", "·", "ー", "ั", "_", "²"]  # fmt: skip
    for _ in range(3000):
        text = "".join(rng.choices(pieces, k=rng.randint(0, 9)))
        Words(shelf.store).match(text)
        snippets(shelf.store, text, [1, 2])
    assert len(parsed(" ".join(map(str, range(1000)))).atoms) == 32


def test_all_words_come_before_some(shelf: Shelf):
    texts(
        shelf,
        both="a long text that goes on and on, with the castle here and far behind it the lake at last",
        castle="castle castle castle",
        lake="lake",
        neither="something else",
    )
    assert paths(shelf, "castle lake")[0] == "both.txt"
    assert set(paths(shelf, "castle lake")) == {"both.txt", "castle.txt", "lake.txt"}
    hits = Words(shelf.store).match("castle lake")
    assert [hit.has_all for hit in hits] == [True, False, False] and hits[0].share == 1
    assert all(0 < hit.share < 1 for hit in hits[1:])


def test_words_of_names_and_texts_come_together(shelf: Shelf):
    shelf.put("paris/IMG1.jpg", row("image"), row("text", "the Eiffel tower", role="caption"))
    shelf.put("rome/IMG2.jpg", row("image"), row("text", "an Eiffel tower of paper", role="caption"))
    shelf.put("paris/IMG3.jpg", row("image"))
    hits = Words(shelf.store).match("eiffel paris")
    assert paths(shelf, "eiffel paris")[0] == "paris/IMG1.jpg"
    assert hits[0].has_all and hits[0].is_whole and not any(hit.has_all for hit in hits[1:])
    assert [hit.segment is None for hit in hits if hit.file == shelf.file("paris/IMG3.jpg")] == [True]


def test_phrases_beginnings_and_exclusions(shelf: Shelf):
    texts(
        shelf,
        one="the golden gate bridge",
        two="a gate of golden wood",
        three="the gates",
        four="gate people",
    )
    assert paths(shelf, '"golden gate"') == ["one.txt"]
    assert set(paths(shelf, "gate*")) == {"one.txt", "two.txt", "three.txt", "four.txt"}
    assert set(paths(shelf, "gate -people -wood")) == {"one.txt"}
    assert set(paths(shelf, 'gate -"golden gate"')) == {"two.txt", "four.txt"}
    assert paths(shelf, "-gate") == []
    shelf.put("pic.jpg", row("image"), row("text", "people", role="caption"), row(text="x", start=0, end=1))
    shelf.put("gate-people.jpg")
    assert "gate-people.jpg" not in paths(shelf, "gate -people")
    assert paths(shelf, "pic") == ["pic.jpg"] and paths(shelf, "pic -people") == []


def test_case_accents_and_forms_do_not_count(shelf: Shelf):
    texts(shelf, one="Ein Café in ÉVORA", two="cafe\u0301")
    assert set(paths(shelf, "CAFÉ")) == set(paths(shelf, "cafe")) == {"one.txt", "two.txt"}
    assert paths(shelf, "evora") == ["one.txt"] == paths(shelf, "e\u0301vora")
    assert tokens("Évora's CAFE\u0301_2") == ["evora", "s", "cafe", "2"]


def test_scripts_without_spaces(shelf: Shelf):
    texts(
        shelf, tokyo="昨日は東京タワーに行きました。", kyoto="京都に行く",
        thai="เมื่อวานไปกรุงเทพมหานคร", korean="서울에서 왔어요",
        chinese="我喜欢北京烤鸭", mixed="新しいiPhone手機です",
    )  # fmt: skip
    assert paths(shelf, "東京") == ["tokyo.txt"] == paths(shelf, "タワー") == paths(shelf, "東京タワー")
    assert paths(shelf, "ﾀﾜｰ") == ["tokyo.txt"]
    assert set(paths(shelf, "京")) == {"tokyo.txt", "kyoto.txt", "chinese.txt"}
    assert paths(shelf, "京タ") == ["tokyo.txt"] and paths(shelf, "京東") == []
    assert paths(shelf, "กรุงเทพ") == ["thai.txt"] and paths(shelf, "서울") == ["korean.txt"]
    assert paths(shelf, "烤鸭 北京") == ["chinese.txt"] and paths(shelf, "鸭") == ["chinese.txt"]
    assert paths(shelf, "iPhone 手機") == ["mixed.txt"] == paths(shelf, "手機 -東京")
    assert Words(shelf.store).match("iphone手機")[0].has_all
    shelf.put("写真/東京駅.jpg")
    assert paths(shelf, "東京駅")[0] == "写真/東京駅.jpg" and "写真/東京駅.jpg" in paths(shelf, "写真")


def test_a_name_that_is_the_query_comes_first(shelf: Shelf):
    shelf.put("a/castle by the castle castle.jpg")
    shelf.put("castle/castle.jpg", row("image"), row("text", "ruins", role="caption"))
    shelf.put("notes.txt", row(text="castle castle castle"))
    shelf.put("b/IMG_2034.JPG")
    shelf.put("b/IMG_20345.JPG")
    shelf.put("SunsetBeach.png")
    for text in ("castle", "Castle.jpg", '"castle.jpg"', "castle/castle.jpg"):
        assert paths(shelf, text)[0] == "castle/castle.jpg", text
        assert [hit.is_name for hit in Words(shelf.store).match(text)][:2] in ([True], [True, False])
    for text in ("IMG_2034", "img 2034", "IMG2034", "b/img_2034.jpg", "IMG_2034.JPG"):
        assert paths(shelf, text)[0] == "b/IMG_2034.JPG", text
        assert Words(shelf.store).match(text)[0].is_name
    assert Words(shelf.store).match("a sunset beach")[0].is_name
    assert not Words(shelf.store).match("sunset")[0].is_name
    assert not Words(shelf.store).match("castle of sand")[0].is_name


def test_common_words_tell_nothing(shelf: Shelf):
    for number in range(40):
        texts(shelf, **{f"t{number}": f"the thing number{number} from nowhere"})
    texts(shelf, rare="the zanzibar thing")
    for text in ("the", "the of and", "from", "thing nowhere", "txt"):
        hits = Words(shelf.store).match(text)
        assert hits and not any(hit.tells for hit in hits), text
    hits = Words(shelf.store).match("the thing from zanzibar")
    assert hits[0].tells and hits[0].file == shelf.file("rare.txt") and len(hits) == 1


def test_shares_are_what_the_words_tell(shelf: Shelf):
    texts(shelf, **{f"t{n}": "a dog and " + ("cat" if n % 5 else "beach") for n in range(30)})
    texts(shelf, **{f"u{n}": "nothing of that" for n in range(200)}, rare="zanzibar")
    hits = {hit.file: hit for hit in Words(shelf.store).match("zanzibar dog", limit=1000)}
    rare = hits.pop(shelf.file("rare.txt"))
    assert 0.6 < rare.share < 1 and all(hit.share == pytest.approx(1 - rare.share) for hit in hits.values())
    with_missing = Words(shelf.store).match("zanzibar qqqq")[0]
    assert with_missing.share == 1 and not with_missing.has_all


def test_one_hit_per_file_unless_all_are_asked_for(shelf: Shelf):
    shelf.put("long.txt", *(row(text=f"apple number {n}") for n in range(3000)))
    texts(shelf, short="one apple among many other words, so that it ranks behind all of them by far")
    assert paths(shelf, "apple", limit=2) == ["long.txt", "short.txt"]
    hits = Words(shelf.store).match("apple", limit=10, per_file=False)
    assert len({hit.segment for hit in hits}) == 10 == len(hits) and {hit.file for hit in hits} == {1}


def test_scope_limits_what_is_found(shelf: Shelf):
    shelf.put("a.jpg", row("image"), row("text", "a red barn", role="caption"), width=2000, height=10)
    shelf.put("b.jpg", row("image"), row("text", "a red house", role="caption"), width=20, height=10)
    shelf.put(
        "red.mp4",
        row("video", start=0.0, end=9.0),
        row("video", start=9.0, end=18.0),
        row("text", "a red sun", 2.0, 4.0, "subtitles"),
        row("text", "a red moon", 12.0, 14.0, "subtitles"),
    )
    texts(shelf, words="red")
    matrices = shelf.matrices()

    def found(kinds: list[str], **conditions: object) -> list[tuple[str, bool]]:
        chosen = {name: matrix for name, matrix in matrices.items() if name in kinds}
        scope = Scope.of(chosen, Filter(**conditions).allowed(shelf.store))  # type: ignore[arg-type]
        hits = Words(shelf.store).match("red", scope=scope, per_file=False)
        stored = shelf.store.segments([hit.segment for hit in hits if hit.segment])
        texts = [(stored[hit.segment].text if hit.segment else "") for hit in hits]
        return sorted((text or "", hit.is_whole) for text, hit in zip(texts, hits, strict=True))

    barn, house, sun, moon = (
        ("a red barn", True),
        ("a red house", True),
        ("a red sun", False),
        ("a red moon", False),
    )
    assert found(["text"]) == [barn, house, moon, sun, ("red", False)]
    assert found(["image"]) == [barn, house]  # captions are about their pictures
    assert found(["image"], min_width=100) == [barn]
    assert found(["video"]) == [("", True)]  # the name; what is said belongs to the text
    assert found(["text", "video"], between=(10, 13)) == [moon]
    assert found(["video"], between=(100, 200)) == []


# Snippets


def test_snippets_show_the_words_found(shelf: Shelf):
    long = (
        "Lorem ipsum dolor sit amet. " * 20
        + "Behind the castle lies the Café of Évora. "
        + "And so on. " * 30
    )
    shelf.put(
        "long.txt", row(text=long), row(text="東京タワーと京都"), row("image"), row(text="no such thing")
    )
    found = snippets(shelf.store, 'evora CASTLE "the cafe" 東京', [1, 2, 3, 4], width=80)
    assert set(found) == {1, 2, 4} and found[4] == Snippet("no such thing", ())
    text = found[1].text
    assert [text[a:b] for a, b in found[1].marks] == ["castle", "the Café", "Évora"]
    assert len(text) <= 82 and text.startswith("…") and text.endswith("…") and text[1:-1] in long
    assert [found[2].text[a:b] for a, b in found[2].marks] == ["東京"]
    assert snippets(shelf.store, "!!!", [1])[1].marks == ()


def test_cropped_texts_keep_their_marks():
    rng = random.Random(5)
    for _ in range(500):
        text = " ".join("x" * rng.randint(1, 12) for _ in range(rng.randint(1, 60)))
        starts = sorted(rng.sample(range(len(text)), min(len(text), rng.randint(0, 5))))
        marks = [(a, min(len(text), a + 1)) for a in starts]
        snippet = cropped(text, marks, 50)
        assert len(snippet.text) <= 52 and snippet.text.strip("…") in text
        assert len(snippet.marks) >= bool(marks)
        assert all(0 <= a < b <= len(snippet.text) for a, b in snippet.marks)


def test_hits_are_plain_values(shelf: Shelf):
    texts(shelf, one="sea")
    (hit,) = Words(shelf.store).match("sea")
    assert hit == WordHit(1, 1, False, hit.score, 1.0, True, False, True)
    assert hit.score > 0 and Atom("sea") == parsed("sea").atoms[0]
