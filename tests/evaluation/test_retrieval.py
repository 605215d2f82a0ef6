"""Measures against an independent implementation, pairs as people write them, and the whole of both."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from multimodal import NoMediaFile, QueryError
from multimodal.commands import evaluating
from multimodal.evaluation import evaluate
from multimodal.measures import averages, calibration_errors, interval, judge, medians
from multimodal.pairs import Pairs, read_pairs
from tests.fakes import fake_space
from tests.media import tone, write_image, write_sound, write_video

COLOURS = {"red": (250, 5, 5), "green": (5, 250, 5), "blue": (5, 5, 250)}
PITCHES = {"low": 200, "middle": 800, "high": 4000}


def ranked(seed: int, queries: int = 40, candidates: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    right = rng.random((queries, candidates)) < 0.05
    right[np.arange(queries), rng.integers(0, candidates, queries)] = True
    return rng.standard_normal((queries, candidates)), right


@pytest.mark.parametrize("seed", range(5))
def test_measures_are_those_of_scikit_learn(seed: int):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    scores, right = ranked(seed)
    judged = judge(scores, right)
    for place in range(len(scores)):
        truth, given = right[place][None].astype(float), scores[place][None]
        assert judged.ndcg[place] == pytest.approx(metrics.ndcg_score(truth, given, k=10))
        assert judged.precision[place] == pytest.approx(metrics.average_precision_score(truth[0], given[0]))
        assert judged.rank[place] == metrics.coverage_error(*_first(truth, given))


def _first(truth: np.ndarray, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """With the best right answer alone, how far one must go to have all right answers is its rank."""
    best = np.where(truth > 0, given, -np.inf).argmax()
    only = np.zeros_like(truth)
    only[0, best] = 1
    return only, given


def test_measures_of_a_ranking_done_by_hand():
    judged = judge(np.array([[0.9, 0.5, 0.7, 0.1]]), np.array([[False, True, False, True]]))
    # the order is 0, 2, 1, 3: right answers on places 3 and 4
    assert judged.rank.tolist() == [3]
    assert judged.precision[0] == pytest.approx((1 / 3 + 2 / 4) / 2)
    gain = 1 / np.log2(4) + 1 / np.log2(5)
    assert judged.ndcg[0] == pytest.approx(gain / (1 + 1 / np.log2(3)))
    many = judge(-np.arange(30.0)[None], (np.arange(30) < 15)[None])
    assert many.ndcg[0] == pytest.approx(1) and many.precision[0] == pytest.approx(1)


def test_a_model_that_cannot_tell_is_not_called_good():
    judged = judge(np.ones((100, 100)), np.eye(100, dtype=bool))
    assert np.median(judged.rank) == pytest.approx(50.5)
    assert (judged.rank <= 10).mean() == pytest.approx(0.1)
    with pytest.raises(ValueError, match="right answer"):
        judge(np.ones((2, 2)), np.array([[True, False], [False, False]]))


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        low, high = interval((rng.random(120) < 0.3).astype(float), seed, draws=400)
        held += low <= 0.3 <= high
    assert 0.90 <= held / 200 <= 0.99


def test_intervals_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    values = np.random.default_rng(3).exponential(5, 150)
    for of, function in ((averages, np.mean), (medians, np.median)):
        expected = stats.bootstrap((values,), function, n_resamples=4000, method="percentile", rng=1)
        found = interval(values, of=of, draws=4000)
        assert np.allclose(found, expected.confidence_interval, rtol=0.03)
    assert interval(values) == interval(values) != interval(values, seed=1)
    assert interval(np.ones(5)) == (1.0, 1.0)


def test_calibration_error_is_that_of_the_paper():
    rng = np.random.default_rng(5)
    sure = rng.random(4000)
    honest = np.stack([sure, rng.random(4000) < sure], axis=1)
    boast = np.stack([sure, rng.random(4000) < sure / 2], axis=1)
    found = calibration_errors(np.stack([honest, boast]))
    expected = []
    for pairs in (honest, boast):  # bin by bin, as the paper writes it
        total = 0.0
        for low, high in zip(np.linspace(0, 1, 16)[:-1], np.linspace(0, 1, 16)[1:], strict=True):
            own = pairs[(pairs[:, 0] > low) & (pairs[:, 0] <= high)]
            total += len(own) / 4000 * abs(own[:, 1].mean() - own[:, 0].mean())
        expected.append(total)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert found[0] < 0.04 and found[1] == pytest.approx(0.25, abs=0.03)
    low, high = interval(boast, of=calibration_errors, draws=300)
    assert low < found[1] < high < low + 0.06


def test_intervals_do_not_depend_on_the_block(monkeypatch: pytest.MonkeyPatch):
    values = np.random.default_rng(3).random(101)
    expected = interval(values)
    monkeypatch.setattr("multimodal.measures.BLOCK", 1000)
    assert interval(values) == expected


@pytest.fixture
def media(tmp_path: Path) -> Path:
    for name, colour in COLOURS.items():
        write_image(tmp_path / f"{name}.png", Image.new("RGB", (64, 48), colour))
    for name, hertz in PITCHES.items():
        write_sound(tmp_path / f"{name}.wav", tone(1.0, 16_000, hertz), 16_000)
    return tmp_path


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_columns_say_what_their_cells_are(media: Path):
    assert read_pairs(write(media / "a.csv", "caption,image", "red.png,red.png")).pairs == [
        ("red.png", media / "red.png")
    ]
    either = read_pairs(write(media / "b.csv", "a,b", "red,red.png", '"red, or so",gone.png', "x y.png,z"))
    assert either.columns == ("a", "b")
    assert either.pairs == [
        ("red", media / "red.png"), ("red, or so", media / "gone.png"), ("x y.png", "z"),
    ]  # fmt: skip
    bare = read_pairs(write(media / "c.csv", "red,red.png", "green,green.png"))
    assert bare.columns == ("left", "right") and len(bare.pairs) == 2
    tabs = read_pairs(write(media / "d.tsv", "image_path\ten_caption", "red.png\tred, green"))
    assert tabs.pairs == [(media / "red.png", "red, green")]
    semicolons = read_pairs(write(media / "e.csv", "﻿Sound;Text", "low.wav;a, b", "", "gone;c"))
    assert semicolons.pairs == [(media / "low.wav", "a, b"), (media / "gone", "c")]
    lines = read_pairs(write(media / "f.csv", "text,path", '"two\nlines",red.png'))
    assert lines.pairs == [("two\nlines", media / "red.png")]
    long = "word " * 200
    assert read_pairs(write(media / "g.csv", "a,b", f"{long.strip()},red.png")).pairs[0][0] == long.strip()


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], "holds no pairs"),
        (["caption,image"], "holds a header and no pairs"),
        (["a,b", "one,two,three"], "line 2: a pair is two filled cells, not 3"),
        (["a,b", "one,"], "line 2: a pair is two filled cells, not 2 of which 1"),
        (["a,b", "one"], "line 2"),
    ],
)
def test_what_is_no_file_of_pairs_is_one_sentence(tmp_path: Path, lines: list[str], sentence: str):
    with pytest.raises(QueryError, match=sentence):
        read_pairs(write(tmp_path / "pairs.csv", *lines))


def test_pairs_that_cannot_be_read_are_one_sentence(tmp_path: Path):
    with pytest.raises(NoMediaFile):
        read_pairs(tmp_path / "none.csv")
    (tmp_path / "pairs.csv").write_bytes(b"a,b\n\xff\xfe\xe9,x\n")
    with pytest.raises(QueryError, match="cannot be read as pairs"):
        read_pairs(tmp_path / "pairs.csv")


def test_every_direction_of_modalities_is_measured(media: Path):
    pairs = write(
        media / "pairs.csv",
        "left,right",
        *(f"{name},{name}.png" for name in COLOURS),
        *(f"{name}.wav,{name}" for name in PITCHES),
    )
    found = evaluate(fake_space(), pairs, workers=1)
    assert (found.pairs, found.space, found.left_out) == (6, "fake", [])
    ways = {(one.query, one.target): one for one in found.directions}
    assert ways.keys() == {("text", "image"), ("image", "text"), ("text", "audio"), ("audio", "text")}
    assert ways["text", "image"].columns == ("left", "right")
    assert ways["text", "audio"].columns == ("right", "left")
    for one in found.directions:
        assert (one.queries, one.candidates) == (3, 3)
        found_in = ["recall@1", "recall@5", "recall@10", "ndcg@10", "map", "median rank"]
        assert list(one.measures) == [*found_in, "ece"]
        for name in found_in:
            measure = one.measures[name]
            assert (measure.value, measure.low, measure.high) == (1.0, 1.0, 1.0), name
        assert 0 < one.measures["ece"].value < 0.5  # right every time, and never quite sure


def test_wrong_pairs_measure_as_wrong(media: Path):
    names = list(COLOURS)
    pairs = [(name, media / f"{names[place - 1]}.png") for place, name in enumerate(names)]
    found = evaluate(fake_space(), pairs, workers=1)
    forth = found.directions[0].measures
    assert forth["recall@1"].value == 0 and forth["median rank"].value > 1
    assert forth["recall@5"].value == 1 and forth["map"].value < 0.6


def test_a_caption_of_several_files_has_several_right_answers(media: Path):
    write_image(media / "crimson.png", Image.new("RGB", (64, 48), (240, 20, 20)))
    pairs = [
        ("red", media / "red.png"),
        (" red ", media / "crimson.png"),
        ("green", media / "green.png"),
        ("blue sky", media / "blue.png"),
        ("blue", media / "blue.png"),
        ("blue", media / "blue.png"),
    ]
    found = evaluate(fake_space(), pairs, workers=1)
    forth, back = found.directions
    assert (forth.queries, forth.candidates, found.pairs) == (4, 4, 6)
    assert (back.queries, back.candidates) == (4, 4)
    assert forth.measures["map"].value == back.measures["recall@1"].value == 1.0
    assert back.measures["map"].value == 1.0  # blue.png finds both of its captions first


def test_items_in_memory_are_measured_too():
    pictures = [Image.new("RGB", (40, 40), colour) for colour in COLOURS.values()]
    found = evaluate(fake_space(), list(zip(COLOURS, pictures, strict=True)))
    assert [one.measures["recall@1"].value for one in found.directions] == [1.0, 1.0]
    words = Pairs(("question", "answer"), [("red fox", "fox red"), ("blue sky", "sky blue")])
    same = evaluate(fake_space(), words).directions
    assert [(one.query, one.target, one.columns) for one in same] == [
        ("text", "text", ("question", "answer")),
        ("text", "text", ("answer", "question")),
    ]


def test_a_file_is_embedded_as_the_space_embeds_it(media: Path):
    """The pipeline's way and that of `Space.embed` give the same ranking of films of several shots."""
    scenes = [Image.new("RGB", (64, 48), colour) for colour in COLOURS.values()]
    write_video(media / "film.mp4", scenes, seconds=3.0)
    (media / "long.txt").write_text("\n\n".join(f"{name} " * 100 for name in COLOURS))
    from multimodal.evaluation.items import embedded, item_key

    space = fake_space()
    items = [media / "film.mp4", media / "long.txt", media / "red.png", media / "low.wav"]
    known, _ = embedded(space, Pairs(("a", "b"), [(item, "word") for item in items]), 1, None)
    for item in items:
        vector = known[item_key(item)][1]
        assert vector @ space.embed(item)[0] > 0.99999


def test_files_that_cannot_be_used_are_named_and_left_out(media: Path):
    (media / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 and nothing more")
    pairs = write(
        media / "p.csv", "caption,path", "red,red.png", "blue,blue.png", "bad,bad.jpg", "gone,gone.png"
    )
    seen: list[tuple[int, int]] = []
    found = evaluate(fake_space(), pairs, workers=1, progress=lambda *told: seen.append(told))
    assert found.pairs == 2 and found.directions[0].candidates == 2
    assert {one.path.name for one in found.left_out} == {"bad.jpg", "gone.png"}
    assert all(one.reason for one in found.left_out)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(QueryError, match="None of the pairs"):
        evaluate(fake_space(), [("gone", media / "gone.png")])


def test_queries_are_judged_in_blocks_alike(media: Path, monkeypatch: pytest.MonkeyPatch):
    words = [(f"word{number} and more", f"word{number} or less") for number in range(50)]
    whole = evaluate(fake_space(), words)
    monkeypatch.setattr("multimodal.evaluation.retrieval.BLOCK", 120)
    assert evaluate(fake_space(), words) == whole
    assert 0.1 < whole.directions[0].measures["recall@1"].value < 0.9


def test_the_command_prints_a_table_and_writes_json(media: Path, monkeypatch: pytest.MonkeyPatch):
    app = typer.Typer()
    app.command()(evaluating.evaluate)
    monkeypatch.setattr("multimodal.space.load_space", lambda name: fake_space())
    pairs = write(media / "p.csv", "caption,image", *(f"{name},{name}.png" for name in COLOURS), "x,gone.png")
    runner = CliRunner()
    done = runner.invoke(app, [str(pairs), "--workers", "1", "--json", str(media / "out.json")])
    assert done.exit_code == 3 and "gone.png" in done.stderr  # a file was left out
    assert "text → image" in done.stdout and "caption → image" in done.stdout
    assert "1.000–1.000" in done.stdout and "R@10" in done.stdout
    found = json.loads((media / "out.json").read_text(encoding="utf-8"))
    assert found["pairs"] == 3 and found["left_out"][0]["reason"] == "there is no such file"
    assert found["directions"][0]["measures"]["ndcg@10"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    printed = runner.invoke(app, [str(pairs), "--workers", "1", "--json", "-"])
    assert json.loads(printed.stdout) == found
    failed = runner.invoke(app, [str(pairs), "--workers", "1", "--json", str(media / "none" / "out.json")])
    assert isinstance(failed.exception, QueryError)
