"""Probes: an estimator like any other, right from few examples, saved and read, as a person types it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks
from typer.testing import CliRunner

from multimodal.cli import app
from multimodal.errors import NoMediaFile, QueryError, SpaceError, WrongSpace
from multimodal.probe import Probe, load_probe, train_probe
from tests.fakes import fake_space
from tests.media import write_image


def blobs(classes: int, each: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows around a centre of their own for each class, which the seed does not move."""
    centres = np.random.default_rng(99).normal(size=(classes, 24))
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    return centres[labels] + rng.normal(0, spread, (len(labels), 24)), labels


@parametrize_with_checks([Probe(strength=1.0)])
@pytest.mark.filterwarnings("ignore")
def test_it_is_an_estimator_of_scikit_learn(estimator: Probe, check) -> None:
    check(estimator)


@pytest.mark.parametrize("classes", [2, 5])
def test_five_examples_of_a_class_are_enough(classes: int) -> None:
    rows, labels = blobs(classes, 5, 0.5)
    probe = Probe().fit(rows, labels)
    new, truth = blobs(classes, 100, 0.5, seed=1)
    assert (probe.predict(new) == truth).mean() > 0.97
    chances = probe.predict_proba(new)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert probe.held_out_.shape == (classes * 5, classes)
    plain = LogisticRegression(C=probe.strength_, max_iter=1000)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    plain.fit(unit, labels)
    expected = plain.predict_proba(new / np.linalg.norm(new, axis=1, keepdims=True))
    np.testing.assert_allclose(chances, expected, atol=0.02)


def test_noise_is_regularised_more_than_what_is_clear() -> None:
    clear, noisy = Probe().fit(*blobs(3, 8, 0.3)), Probe().fit(*blobs(3, 8, 6.0))
    assert noisy.strength_ < clear.strength_
    single = Probe().fit(np.eye(3), [0, 1, 2])
    assert single.held_out_ is None and list(single.predict(np.eye(3))) == [0, 1, 2]


def shades(folder: Path, each: int) -> tuple[list[Path], list[str]]:
    paths, labels = [], []
    rng = np.random.default_rng(0)
    for label, base in (("warm", (200, 60, 30)), ("cold", (30, 60, 200))):
        for number in range(each):
            colour = tuple(np.clip(np.array(base) + rng.integers(-40, 40, 3), 0, 255).tolist())
            path = write_image(folder / f"{label}{number}.png", Image.new("RGB", (40, 40), colour))
            paths.append(Path(path or folder / f"{label}{number}.png"))
            labels.append(label)
    return paths, labels


def test_a_probe_of_files_is_saved_and_read(tmp_path: Path) -> None:
    paths, labels = shades(tmp_path, 6)
    space = fake_space()
    found = train_probe(space, [*paths, tmp_path / "gone.png"], [*labels, "warm"], workers=1)
    assert found.examples == {"cold": 6, "warm": 6} and found.held_out is not None
    assert found.held_out.value == 1 and [one.path.name for one in found.left_out] == ["gone.png"]
    new = Image.new("RGB", (40, 40), (220, 40, 40))
    (name, chance), (other, rest) = found.of(space, new)
    assert name == "warm" and other == "cold" and chance + rest == pytest.approx(1) and chance > 0.5
    read = load_probe(found.save(tmp_path / "probe"))
    assert read.of(space, new) == found.of(space, new)
    assert read.examples == found.examples and read.held_out == found.held_out
    assert len(read.of(space, [new, new])) == 2
    with pytest.raises(WrongSpace):
        read.of(fake_space(2), new)
    with pytest.raises(SpaceError, match="already"):
        found.save(tmp_path / "probe")


def test_what_cannot_be_learned_is_one_sentence(tmp_path: Path) -> None:
    space = fake_space()
    with pytest.raises(QueryError, match="two classes"):
        train_probe(space, ["red", "blue"], ["a", "a"])
    with pytest.raises(QueryError, match="2 items and 1 labels"):
        train_probe(space, ["red", "blue"], ["a"])
    with pytest.raises(NoMediaFile):
        load_probe(tmp_path)
    found = train_probe(space, ["red", "blue", "red fox", "blue sky"], ["a", "b", "a", "b"])
    folder = found.save(tmp_path / "p")
    (folder / "probe.safetensors").write_bytes(b"no numbers")
    with pytest.raises(SpaceError, match="can be read"):
        load_probe(folder)


def test_it_is_trained_and_applied_as_typed(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    paths, labels = shades(media, 5)
    table = tmp_path / "labels.csv"
    lines = [f"media/{path.name},{label}" for path, label in zip(paths, labels, strict=True)]
    table.write_text("path,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    run = CliRunner().invoke
    done = run(app, ["probe", "train", str(table), "-o", str(tmp_path / "probe"), "--workers", "1"])
    assert done.exit_code == 0 and "10 examples of 2 classes" in done.stdout, done.output
    out = tmp_path / "out.csv"
    done = run(app, ["probe", "apply", str(tmp_path / "probe"), str(media), "-o", str(out)])
    assert done.exit_code == 0, done.output
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == [Path(row["path"]).stem[:4] for row in rows] and len(rows) == 10
    missing = run(app, ["probe", "apply", str(tmp_path), str(media)])
    assert isinstance(missing.exception, NoMediaFile)
