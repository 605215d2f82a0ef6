"""Distilled text towers: near their teacher, quick, saved as spaces, and as typed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from multimodal import load_space
from multimodal.cli import app
from multimodal.distil import distil
from multimodal.errors import NoMediaFile, QueryError, SpaceError
from multimodal.phrases import everyday
from tests.fakes import fake_space

LINES = everyday()


def test_the_student_is_near_its_teacher_and_nearer_than_its_words() -> None:
    teacher = load_space()
    student = distil(teacher, LINES[::6])
    own = teacher.embed(LINES[::6])
    cosines = (student.embed(LINES[::6]) * own).sum(axis=1)
    assert cosines.mean() > 0.9
    new = LINES[1::30]
    near = (student.embed(new) * teacher.embed(new)).sum(axis=1)
    assert near.mean() > 0.35  # half of their words are new to it
    castle = Path(__file__).parent.parent / "samples" / "pictures" / "castle.jpg"
    assert student.similarity(castle, ["a castle", "a bee"])[0].argmax() == 0
    assert student.space_id != teacher.space_id
    assert student["image"].encoder_id == teacher["image"].encoder_id


def test_it_is_the_same_each_time_and_comes_back_from_a_folder(tmp_path: Path) -> None:
    teacher = load_space()
    one, other = (distil(teacher, LINES[:60]) for _ in range(2))
    np.testing.assert_array_equal(one.embed(LINES[:20]), other.embed(LINES[:20]))
    one.save(tmp_path / "small")
    np.testing.assert_allclose(
        load_space(str(tmp_path / "small")).embed(LINES[:20]), one.embed(LINES[:20]), atol=1e-6
    )


def test_what_cannot_be_distilled_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="at least 10"):
        distil(fake_space(), ["one text", "one text"])
    with pytest.raises(NoMediaFile):
        distil(fake_space(), tmp_path / "none.txt")
    done = distil(fake_space(), LINES[:30])
    with pytest.raises(QueryError, match="already"):
        distil(done, LINES[:30])


def test_as_typed(tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(LINES[:60]) + "\n", encoding="utf-8")
    target = tmp_path / "small"
    done = CliRunner().invoke(app, ["distil", str(texts), "-o", str(target), "--words", "50"])
    assert done.exit_code == 0 and "50 words" in done.stdout, done.output
    assert load_space(str(target)).embed(["a dog"]).shape == (1, 384)
    again = CliRunner().invoke(app, ["distil", str(texts), "-o", str(target)])
    assert isinstance(again.exception, SpaceError)
