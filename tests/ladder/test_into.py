"""Rungs as text towers of a space, measured and saved."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multimodal import ladder, load_space
from multimodal.climb import climb, misspelt
from multimodal.errors import QueryError, SpaceError
from multimodal.ladder.head import fit_head
from tests.fakes import fake_space
from tests.ladder.texts import COLOURS, PAIRS, TEXTS

PICTURES = {name: Image.new("RGB", (40, 40), name if name != "green" else (0, 255, 0)) for name in COLOURS}
SEEN = [(text, PICTURES[colour]) for text, colour in PAIRS]


@pytest.mark.parametrize("name", ["onehot", "tfidf"])
def test_even_a_bag_of_words_searches_pictures(name: str) -> None:
    space = fake_space()
    small = ladder.fit(name, TEXTS).into(space, SEEN)
    turned = ladder.fit(name, TEXTS).into(space, [(picture, text) for text, picture in SEEN])
    assert turned.space_id == small.space_id != space.space_id
    cosines = small.similarity(["this is my cherry", "an emerald", "cobalt"], list(PICTURES.values()))
    assert cosines.argmax(axis=1).tolist() == [0, 1, 2]
    np.testing.assert_array_equal(small.embed(PICTURES["red"]), space.embed(PICTURES["red"]))
    one = np.concatenate([small.embed(text) for text in TEXTS[:5]])
    assert (one * small.embed(TEXTS[:5])).sum(axis=1).min() > 0.99999


def test_texts_alone_go_to_the_spaces_own_vectors_of_them() -> None:
    space = fake_space()
    small = ladder.fit("onehot", TEXTS).into(space, TEXTS)
    assert (small.embed(TEXTS) * space.embed(TEXTS)).sum(axis=1).mean() > 0.95


def test_a_text_without_a_known_word_is_the_mean() -> None:
    space = fake_space()
    small = ladder.fit("tfidf", TEXTS).into(space, PAIRS)
    mean = small["text"].tower.head.mean
    np.testing.assert_allclose(small.embed("wug")[0], mean / np.linalg.norm(mean), atol=1e-5)


def test_the_towers_preparation_travels_to_other_processes() -> None:
    preprocess = pickle.loads(
        pickle.dumps(ladder.fit("onehot", TEXTS).into(fake_space(), PAIRS)["text"].tower.preprocess)
    )
    assert bytes(preprocess("naïve")) == "naïve".encode()


def test_a_head_chooses_its_penalty_by_leaving_one_out() -> None:
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(40, 30)), rng.normal(size=(40, 4))
    y = x @ rng.normal(size=(30, 4))
    clean, noisy = fit_head(x, y), fit_head(x, 0.01 * y + noise)
    assert clean.penalty < noisy.penalty
    np.testing.assert_allclose(x @ clean.matrix + clean.bias, y, atol=0.05)

    def alone(penalty: float) -> float:
        """The squared error of leaving each out, by really leaving it out."""
        from sklearn.linear_model import Ridge

        target = 0.01 * y + noise
        lots = [np.arange(40) != number for number in range(40)]
        errors = [Ridge(penalty).fit(x[lot], target[lot]).predict(x[~lot]) - target[~lot] for lot in lots]
        return float(np.square(errors).sum())

    from multimodal.ladder.head import PENALTIES

    assert noisy.penalty == min(PENALTIES, key=alone)


def test_the_spaces_own_tower_keeps_what_pairs_do_not_change() -> None:
    space = fake_space()
    own = ladder.fit("transformer", TEXTS, space=space)
    small = own.into(space, [(text, text) for text in TEXTS])
    asked = ["red and low", "words that no pair has"]
    np.testing.assert_allclose(small.embed(asked), space.embed(asked), atol=1e-4)


def test_many_words_and_texts_are_seen_along_leading_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    from multimodal.ladder import head

    monkeypatch.setattr(head, "LARGE", 5)
    monkeypatch.setattr(head, "DIRECTIONS", 8)
    model = ladder.fit("onehot", TEXTS).model
    rows = fake_space().embed([colour for _, colour in PAIRS])
    found = head.fit_head(model.sparse(TEXTS), rows)  # type: ignore[attr-defined]
    assert found.matrix.shape == (model.dim, 32)
    assert np.linalg.matrix_rank(found.matrix, tol=1e-4) <= 8


@pytest.mark.parametrize("name", ["tfidf", "transformer"])
def test_a_saved_space_keeps_its_rung(name: str, tmp_path: Path) -> None:
    space = load_space()
    rung = ladder.fit(name, TEXTS, **({"space": space} if name == "transformer" else {}))
    small = rung.into(space, PAIRS)
    again = load_space(small.save(tmp_path / "small"))
    assert again.space_id == small.space_id
    np.testing.assert_array_equal(again.embed(TEXTS[:3]), small.embed(TEXTS[:3]))
    assert again["image"].encoder_id == space["image"].encoder_id
    if name == "tfidf":
        bank = again.bank
        assert bank is not None and bank["text"].shape == (935, 384)
        np.testing.assert_allclose(np.asarray(bank["text"][:1]), again.embed("a dog"), atol=1e-5)
        half = again.truncate(96)
        assert load_space(half.save(tmp_path / "half")).space_id == half.space_id
        assert load_space(tmp_path / "half").dim == 96
        (tmp_path / "small" / "ladder" / "head.safetensors").write_bytes(b"gone")
        with pytest.raises(SpaceError, match="head"):
            load_space(tmp_path / "small")
    else:
        saved = rung.save(tmp_path / "rung")
        assert ladder.load(saved, load_space).rung_id == rung.rung_id
        with pytest.raises(SpaceError, match="spaces=load_space"):
            ladder.load(saved)


def test_pairs_that_teach_nothing_are_refused() -> None:
    space, rung = fake_space(), ladder.fit("onehot", TEXTS)
    with pytest.raises(QueryError, match="without a text"):
        rung.into(space, [(PICTURES["red"], PICTURES["blue"])])
    with pytest.raises(QueryError, match="at least 3"):
        rung.into(space, PAIRS[:2])
    with pytest.raises(QueryError, match="has a rung already"):
        rung.into(rung.into(space, PAIRS), PAIRS)


def test_all_rungs_are_measured_on_the_same_pairs() -> None:
    words = [word for of in COLOURS.values() for word in of]
    pairs = [
        (frame.format(word), f"{word} thing")
        for word in words
        for frame in ("a {}", "the {} there", "one {}")
    ]
    names = ("onehot", "fasttext", "transformer")
    found = climb(fake_space(), pairs, names, folds=3, corpus=["a wug"])
    assert [step.name for step in found.steps] == ["onehot", "fasttext", "fake + head", "the space itself"]
    assert (found.texts, found.candidates, found.unseen) == (27, 9, 27)  # no fold has another's words
    for step in found.steps:
        assert step.recall.low <= step.recall.value <= step.recall.high
        assert step.unseen == step.recall
        assert step.size > 0 or step.name != "onehot"
        assert step.speed > 0
    assert found.steps[0].unknown == pytest.approx(27 / 63) and found.steps[-1].unknown == 0
    assert found.steps[-1].recall.value == 1  # of 9 candidates any is among the first 10
    assert found.markdown().count("\n") == 6
    assert json.loads(json.dumps(found.as_dict()))["texts"] == 27


def test_held_out_pairs_teach_nothing() -> None:
    words = [f"word{number}" for number in range(60)]
    pairs = [(f"say {word}", word) for word in words]
    onehot, itself = climb(fake_space(), pairs, ["onehot"], folds=3).steps
    assert (
        onehot.recall.value <= 0.35 < itself.recall.value
    )  # of words it never saw a bag knows nothing: 10 of 60


def test_letters_are_exchanged_in_the_longest_word() -> None:
    assert misspelt("a small horse") == "a samll horse"
    assert misspelt("aaaa") == "aaaa"


def test_the_command_prints_json_and_a_table(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from multimodal.cli import app

    pairs = tmp_path / "pairs.csv"
    pairs.write_text(
        "text,title\n" + "".join(f"{text},{colour} thing {n}\n" for n, (text, colour) in enumerate(PAIRS[:8]))
    )
    output = tmp_path / "table.md"
    done = CliRunner().invoke(
        app,
        [
            "ladder",
            str(pairs),
            "--rungs",
            "onehot, tfidf",
            "--folds",
            "2",
            "--json",
            "-",
            "--markdown",
            str(output),
        ],
    )
    assert done.exit_code == 0, done.output
    assert [step["name"] for step in json.loads(done.stdout)["steps"]] == [
        "onehot",
        "tfidf",
        "the space itself",
    ]
    assert output.read_text(encoding="utf-8").startswith("| rung | R@10 |")
    shown = CliRunner().invoke(app, ["ladder", str(pairs), "--rungs", "onehot", "--folds", "2"])
    assert "onehot" in shown.stdout and "texts/s" in shown.stdout
