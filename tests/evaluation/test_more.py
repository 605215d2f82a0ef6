"""Zero-shot labels, worn media, moments and comparisons, on media whose answers are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from multimodal import Audio, NoMediaFile, QueryError
from multimodal.commands import evaluating
from multimodal.evaluation import (
    compare,
    evaluate,
    evaluate_moments,
    evaluate_robustness,
    evaluate_zero_shot,
)
from multimodal.evaluation.compare import chance
from multimodal.evaluation.moments import Moment, is_moments, read_moments
from multimodal.evaluation.robustness import PICTURES, SOUNDS
from multimodal.evaluation.tables import cell
from tests.fakes import fake_space
from tests.media import tone, write_image, write_sound, write_video

COLOURS = {"red": (250, 5, 5), "green": (5, 250, 5), "blue": (5, 5, 250)}


@pytest.fixture
def media(tmp_path: Path) -> Path:
    for name, colour in COLOURS.items():
        write_image(tmp_path / f"{name}.png", Image.new("RGB", (64, 48), colour))
    for name, hertz in {"low": 200, "high": 4000}.items():
        write_sound(tmp_path / f"{name}.wav", tone(1.0, 16_000, hertz), 16_000)
    scenes = [Image.new("RGB", (64, 48), colour) for colour in COLOURS.values()]
    write_video(tmp_path / "film.mp4", scenes, seconds=3.0)
    return tmp_path


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_labels_are_told_for_each_modality(media: Path):
    names = list(COLOURS)
    pairs = [(media / f"{name}.png", name) for name in names] + [("red fox", "red"), ("blue sky", "green")]
    found = {one.modality: one for one in evaluate_zero_shot(fake_space(), pairs, workers=1)}
    assert found.keys() == {"image", "text"}
    assert (found["image"].items, found["image"].labels) == (3, 3)
    assert found["image"].measures["top-1"].value == found["image"].measures["top-5"].value == 1
    assert found["text"].measures["top-1"].value == 0.5
    assert found["text"].measures["balanced"].value == 0.5
    assert 0 <= found["image"].measures["ece"].value < 0.6
    assert found["image"].gain.value == 1 - found["image"].measures["top-1 bare"].value
    with pytest.raises(QueryError, match="two different labels"):
        evaluate_zero_shot(fake_space(), [(media / "red.png", "red")])
    with pytest.raises(QueryError, match="are texts"):
        evaluate_zero_shot(fake_space(), [(media / "red.png", media / "blue.png")])


def test_many_items_of_one_label_do_not_outweigh_the_others(media: Path):
    pairs = [(f"red thing {n}", "red") for n in range(9)] + [("red again", "green")]
    found = evaluate_zero_shot(fake_space(), pairs, templates=["{}"])[0]
    assert found.measures["top-1"].value == pytest.approx(0.9)
    assert found.measures["balanced"].value == pytest.approx(0.5)
    assert found.gain.value == 0


def test_worn_media_lose_what_the_damage_takes(media: Path):
    pairs = [(name, media / f"{name}.png") for name in COLOURS]
    pairs += [("low hum", media / "low.wav"), ("high note", media / "high.wav"), ("red", media / "film.mp4")]
    found = evaluate_robustness(fake_space(), pairs, workers=1)
    by = {(one.modality, one.damage): one for one in found}
    assert {modality for modality, _ in by} == {"image", "audio", "video"}
    assert len(found) == 2 * (1 + len(PICTURES)) + 1 + len(SOUNDS)
    unharmed = by["image", "none"]
    assert unharmed.items == 3 and unharmed.cosine.value == pytest.approx(1, abs=1e-5)
    assert unharmed.loss.value == 0 and unharmed.recall.value == 1
    assert by["image", "crop 50%"].cosine.value > 0.999  # a plain picture's middle is the same colour
    assert by["image", "noise 0.05"].cosine.value > by["image", "noise 0.20"].cosine.value
    with pytest.raises(QueryError, match="to wear"):
        evaluate_robustness(fake_space(), [("a", "b")])


def test_damages_do_what_they_say():
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 255, (80, 120, 3), np.uint8))
    kept = {name: np.asarray(wear(picture), float) for name, wear in PICTURES.items()}
    assert kept["crop 50%"].shape == (40, 60, 3) and kept["crop 90%"].shape == (72, 108, 3)
    before = np.asarray(picture, float)
    errors = [np.abs(kept[f"JPEG {quality}"] - before).mean() for quality in (90, 50, 10)]
    assert errors == sorted(errors) and errors[0] > 0
    sound = Audio((0.2 * np.sin(np.arange(16_000) * 2 * np.pi * 3000 / 16_000)).astype(np.float32), 16_000)
    power = np.mean(sound.samples**2)
    for name, factor in (("-20 dB", 0.01), ("-40 dB", 1e-4)):
        assert np.mean(SOUNDS[name](sound).samples ** 2) == pytest.approx(power * factor, rel=0.01)
    noise = SOUNDS["noise at 10 dB"](sound).samples - sound.samples
    assert np.mean(noise**2) == pytest.approx(power / 10, rel=0.05)
    assert np.mean(SOUNDS["4 kHz"](sound).samples ** 2) < power / 100  # above what 4 kHz can hold
    assert np.mean(SOUNDS["8 kHz"](sound).samples ** 2) == pytest.approx(power, rel=0.05)


def test_moments_are_found_where_they_are(media: Path):
    lines = ["red,film.mp4,0,3", "green,film.mp4,3,6", "blue,film.mp4,6,9"]
    table = write(media / "moments.csv", "text,path,start,end", *lines)
    assert is_moments(table) and not is_moments(write(media / "p.csv", "text,path", "red,red.png"))
    found = evaluate_moments(fake_space(), table, workers=1)
    assert found.queries == 3 and found.segments == pytest.approx(3, abs=1.5)
    assert found.measures["pointing"].value == found.measures["r@1 iou 0.3"].value == 1
    assert 0.2 < found.measures["pointing by chance"].value < 0.5
    swapped = [Moment("red", media / "film.mp4", 6, 9), Moment("red", media / "gone.mp4", 0, 1)]
    wrong = evaluate_moments(fake_space(), swapped, workers=1)
    assert wrong.measures["pointing"].value == wrong.measures["mean iou"].value == 0
    assert [one.path.name for one in wrong.left_out] == ["gone.mp4"]
    with pytest.raises(QueryError, match="None of the moments"):
        evaluate_moments(fake_space(), [Moment("red", media / "red.png", 0, 1)], workers=1)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("red,film.mp4,3,1", "line 2: a moment ends after it starts"),
        ("red,film.mp4,a,1", "line 2: start and end are seconds"),
        ("red,,0,1", "line 2: a moment needs text, path, start, end"),
    ],
)
def test_a_wrong_moment_is_one_sentence(tmp_path: Path, line: str, sentence: str):
    with pytest.raises(QueryError, match=sentence):
        read_moments(write(tmp_path / "m.csv", "text,path,start,end", line))
    with pytest.raises(NoMediaFile):
        read_moments(tmp_path / "none.csv")


def test_a_better_space_is_told_from_luck():
    good = [(f"word{n}", f"word{n} and more") for n in range(40)]
    rng = np.random.default_rng(0)
    first, second = evaluate(fake_space(), good), evaluate(fake_space(2), good)
    same = compare(first, first)
    assert all(one.difference.value == 0 and one.p == 1 for one in same)
    assert {one.measure for one in same} == {"recall@1", "recall@5", "recall@10", "ndcg@10", "map"}
    assert all(one.queries == 40 for one in compare(first, second))
    with pytest.raises(QueryError, match="share no query"):
        compare(first, evaluate(fake_space(), [("x", "y"), ("z", "w")]))
    assert chance(np.ones(12)) < 0.002 and chance(np.zeros(5)) == 1.0
    tail = 0.0
    for _ in range(40):  # under no difference p is uniform: a twentieth lies below .05
        tail += chance(rng.normal(size=30), flips=400) < 0.1
    assert tail / 40 < 0.3


def test_p_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    gains = np.random.default_rng(1).normal(0.3, 1, 25)
    tested = stats.permutation_test(
        (gains,), np.mean, permutation_type="samples", n_resamples=9999, rng=np.random.default_rng(0)
    )
    assert chance(gains) == pytest.approx(tested.pvalue, abs=0.02)


def test_the_command_measures_what_is_asked(media: Path, monkeypatch: pytest.MonkeyPatch):
    app = typer.Typer()
    app.command()(evaluating.evaluate)
    monkeypatch.setattr("multimodal.space.load_space", lambda name: fake_space(2 if name == "other" else 1))
    pairs = write(media / "p.csv", "caption,image", *(f"{name},{name}.png" for name in COLOURS))
    out, tables = media / "out.json", media / "card.md"
    asked = ["--workers", "1", "--against", "other", "--zero-shot", "--robustness", "--json", str(out)]
    done = CliRunner().invoke(app, [str(pairs), *asked, "--markdown", str(tables)])
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text(encoding="utf-8"))
    assert {"directions", "against", "comparison", "zero_shot", "robustness"} <= found.keys()
    assert "per_query" not in found["directions"][0]
    text = tables.read_text(encoding="utf-8")
    assert text.count("| ---") >= 5 and "| image, JPEG 10 |" in text and "fake beside fake" in text
    for title in ("Retrieval", "Zero-shot labels", "Worn media"):
        assert title in done.stdout
    moments = write(media / "m.csv", "text,path,start,end", "red,film.mp4,0,3")
    told = CliRunner().invoke(app, [str(moments), "--workers", "1"])
    assert told.exit_code == 0 and "pointing" in told.stdout
    mixed = CliRunner().invoke(app, [str(moments), "--zero-shot"])
    assert isinstance(mixed.exception, QueryError)
    assert cell("x") == "x"
