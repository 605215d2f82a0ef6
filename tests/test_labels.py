from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from multimodal.errors import NoMediaFile, QueryError
from multimodal.labels import NONE, Classifier, leaves, read_labels
from multimodal.phrases import everyday
from multimodal.templates import prompts
from multimodal.types import Segment
from tests.fakes import fake_space


@pytest.fixture
def red(tmp_path: Path) -> Path:
    path = tmp_path / "red.png"
    Image.new("RGB", (40, 40), "red").save(path)
    return path


@pytest.mark.parametrize(
    ("label", "sentence"),
    [
        ("owl", "a photo of an owl"),
        ("unicorn", "a photo of a unicorn"),
        ("hour", "a photo of an hour"),
        ("horse", "a photo of a horse"),
        ("dogs", "a photo of dogs"),
        ("the moon", "a photo of the moon"),
        ("Paris", "a photo of Paris"),
        ("  guinea   pig ", "a photo of a guinea pig"),
    ],
)
def test_articles_suit_the_label(label: str, sentence: str) -> None:
    assert prompts(label, ["a photo of a {}"]) == [sentence]


def test_a_template_needs_a_place() -> None:
    with pytest.raises(QueryError, match="needs one"):
        prompts("dog", ["a photo"])
    with pytest.raises(QueryError, match="empty"):
        prompts(" ", ["{}"])


def test_classify_finds_the_label(red: Path) -> None:
    found = fake_space().classify(red, ["blue", "red"], templates=["{}"])
    assert found[0].name == "red"
    assert sum(label.probability for label in found) == pytest.approx(1)


def test_probabilities_add_up_along_the_tree(red: Path) -> None:
    tree = {"warm": ["red", "orange"], "cold": {"wet": ["blue"], "dry": ["green"]}}
    found = {label.path: label.probability for label in fake_space().classify(red, tree, ["{}"])}
    assert found["warm",] == pytest.approx(found["warm", "red"] + found["warm", "orange"])
    assert found["cold",] == pytest.approx(found["cold", "wet"] + found["cold", "dry"])
    assert found["warm",] + found["cold",] == pytest.approx(1)
    assert list(leaves(["warm > red"])) == [("warm", "red")]


def test_it_may_be_none_of_these(red: Path) -> None:
    space = fake_space()
    phrase = everyday()[0]
    assert space.classify(Segment("text", phrase), ["red", "blue"], ["{}"], none=True)[0].name == NONE
    names = [label.name for label in space.classify(red, ["red", "blue"], ["{}"], none=True)]
    assert names[0] == "red" and NONE in names


def test_wrong_labels_are_named(tmp_path: Path) -> None:
    space = fake_space()
    for labels, told in (
        ([], "at least one"),
        (["a", "a"], "twice"),
        ("dog", "a list"),
        (["a >"], "no label"),
    ):
        with pytest.raises(QueryError, match=told):
            Classifier(space, labels)
    with pytest.raises(NoMediaFile):
        read_labels(tmp_path / "missing.txt")
    (tmp_path / "some.txt").write_text("# colours\n\nwarm > red\nblue\n", encoding="utf-8")
    assert read_labels(tmp_path / "some.txt") == ["warm > red", "blue"]
