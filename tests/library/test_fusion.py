"""Meaning and words together: names first, rare words found, no kind buried, nothing lost."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from multimodal.library.fusion import Placed, best_rows, fuse, hybrid, lifts
from multimodal.library.vectors import Matrix
from multimodal.library.words import Words
from tests.library.shelf import Shelf, row

KINDS = ("text", "image", "video", "audio")


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    shelf = Shelf.made(tmp_path / "media")
    yield shelf
    shelf.store.close()


def test_reciprocal_ranks_are_summed():
    order = fuse({"a": ["x", "y", "z"], "b": ["z", "x"]})
    assert order == [
        ("x", pytest.approx(1 / 61 + 1 / 62)),
        ("z", pytest.approx(1 / 63 + 1 / 61)),
        ("y", pytest.approx(1 / 62)),
    ]
    assert [key for key, _ in fuse({"a": ["x", "y"], "b": ["y"]}, weights={"b": 0.001})] == ["x", "y"]
    assert fuse({"a": ["x", "x", "y"]}, k=0) == [("x", 1.0), ("y", 0.5)]
    assert fuse({}) == [] == fuse({"a": []})


def together(shelf: Shelf, query: str, meaning: list[tuple[str, str]]) -> list[str]:
    """Paths in the order that a hybrid search gives them; `meaning` are paths and kinds, best first."""
    kinds = dict(meaning)
    names = {state.number: path for path, state in shelf.store.files(shelf.root).items()}
    hits = [hit for hit in Words(shelf.store).match(query) if lifts(hit)]
    words = [Placed(names[hit.file], kinds.get(names[hit.file], "text"), hit.is_name) for hit in hits]
    return hybrid([Placed(path, kind) for path, kind in meaning], words)


def many(shelf: Shelf, count: int = 40) -> list[tuple[str, str]]:
    """Pictures without a word, and texts of other things."""
    for number in range(count):
        shelf.put(f"IMG_{number}.jpg")
        shelf.put(f"other{number}.txt", row(text=f"the harvest of the year {number} in the valley"))
    pictures = [(f"IMG_{number}.jpg", "image") for number in range(count)]
    texts = [(f"other{number}.txt", "text") for number in range(count)]
    return [pair for pairs in zip(pictures, texts, strict=True) for pair in pairs]


def test_a_name_that_is_the_query_comes_first(shelf: Shelf):
    meaning = many(shelf)
    shelf.put("x/Castle.png")
    shelf.put("about.txt", row(text="castle upon castle, a castle"))
    shelf.put("old castle.jpg")
    meaning = [("about.txt", "text"), *meaning, ("old castle.jpg", "image"), ("x/Castle.png", "image")]
    for query in ("castle", "castle.png"):
        assert together(shelf, query, meaning)[0] == "x/Castle.png"


def test_a_picture_is_not_below_texts_that_share_a_stop_word(shelf: Shelf):
    meaning = many(shelf)
    order = together(shelf, "a dog on the beach", meaning)
    assert order == [path for path, _ in meaning]  # no text has more of it than "the"
    for number in range(10):
        shelf.put(f"on{number}.txt", row(text=f"a day on the farm {number}"))
        meaning.insert(5, (f"on{number}.txt", "text"))
    assert together(shelf, "a dog on the beach", meaning) == [path for path, _ in meaning]


def test_a_rare_word_that_only_words_find_is_on_top(shelf: Shelf):
    meaning = many(shelf)
    shelf.put("letter.txt", row(text="we took the ferry to Zanzibar"))
    shelf.put("DSC1.jpg", row("image"), row("text", "Zanzibar", role="caption"))
    meaning += [("DSC1.jpg", "image")]
    for query in ("zanzibar", "the ferry to Zanzibar", "Zanzibar in the morning"):
        order = together(shelf, query, meaning)
        assert set(order[:2]) == {"letter.txt", "DSC1.jpg"} or order[0] == "letter.txt", query
        assert "DSC1.jpg" in order[:4] and "IMG_0.jpg" in order[:4], query


def test_what_both_find_is_above_what_one_finds():
    meaning = [Placed(name, "text") for name in "abcdefgh"]
    words = [Placed(name, "text") for name in "xdyz"]
    assert hybrid(meaning, words)[0] == "d"
    assert hybrid(meaning, []) == list("abcdefgh") and hybrid([], words) == list("xdyz")
    assert hybrid(meaning, meaning) == list("abcdefgh")


def test_thirty_texts_with_all_the_words_leave_every_second_place_to_pictures():
    meaning = [Placed(f"i{n}", "image") for n in range(50)] + [Placed(f"t{n}", "text") for n in range(50)]
    words = [Placed(f"t{n}", "text") for n in range(30)]
    order = hybrid(meaning, words)
    assert [name for name in order if name[0] == "i"] == [f"i{n}" for n in range(50)]
    for n in range(30):
        assert {f"i{n}", f"t{n}"} <= set(order[: 2 * n + 2])


def test_no_kind_is_buried_and_nothing_is_lost():
    rng = random.Random(7)
    for _ in range(500):
        keys = list(range(rng.randint(1, 60)))
        kind = {key: rng.choice(KINDS[: rng.randint(1, 4)]) for key in keys}
        meaning = rng.sample(keys, rng.randint(0, len(keys)))
        words = rng.sample(keys, rng.randint(0, len(keys)))
        named = set(rng.sample(words, min(len(words), rng.randint(0, 2))))
        order = hybrid(
            [Placed(key, kind[key]) for key in meaning],
            [Placed(key, kind[key], key in named) for key in words],
        )
        assert sorted(order) == sorted({*meaning, *words})
        for by in (meaning, words):
            for n in range(1, len(by) + 1):
                for one in KINDS:
                    before = sum(kind[key] == one for key in by[:n])
                    assert sum(kind[key] == one for key in order[: 2 * n]) >= before
        unnamed = [key for key in meaning if key not in words]
        for one in KINDS:  # what no word lifts keeps its place among its kind
            own = [key for key in unnamed if kind[key] == one]
            assert [key for key in order if key in own] == own
        if words and words[0] in named and (not meaning or meaning[0] not in named):
            assert order[0] in named


def test_weak_words_do_not_lift(shelf: Shelf):
    many(shelf)
    shelf.put("one.txt", row(text="zanzibar"))
    hits = Words(shelf.store).match("zanzibar valley 7 3")
    assert len(hits) == 5 and not any(lifts(hit) for hit in hits)
    (hit,) = Words(shelf.store).match("zanzibar valley")  # every text has the valley
    assert lifts(hit) and hit.file == shelf.file("one.txt")
    assert not any(lifts(hit) for hit in Words(shelf.store).match("the"))
    assert lifts(Words(shelf.store).match("IMG 3")[0])


def test_best_rows_are_those_of_a_full_search():
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((500, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    files = np.sort(rng.integers(1, 60, 500))
    matrix = Matrix(vectors.astype(np.float16), np.arange(500), files)
    query = vectors[3]
    cosines = matrix.cosines(np.arange(500), query)
    for allowed in (None, np.flatnonzero(rng.random(500) < 0.3)):
        inside = np.arange(500) if allowed is None else allowed
        wanted = np.array([5, 7, 12, 400])
        expected = [
            max(rows, key=lambda row: cosines[row])
            for file in wanted
            if (rows := [row for row in inside.tolist() if files[row] == file])
        ]
        assert best_rows(matrix, wanted, query, allowed).tolist() == expected
    assert len(best_rows(matrix, np.zeros(0, np.int64), query)) == 0
