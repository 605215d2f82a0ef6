from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multimodal import load_space
from multimodal.errors import QueryError
from multimodal.training.distilling import distil, texts_of

TEXTS = [
    f"{a} {b} in the {c}"
    for a in ("red", "big", "old")
    for b in ("dog", "car", "tree")
    for c in ("sun", "rain")
]


def test_a_student_mimics_its_teacher_and_loads_again(tmp_path: Path) -> None:
    teacher = load_space()
    student = distil(teacher, TEXTS[:-2])
    cosines = (student.embed(TEXTS[-2:]) * teacher.embed(TEXTS[-2:])).sum(axis=1)
    assert cosines.min() > 0.8
    assert student["image"].encoder_id == teacher["image"].encoder_id
    assert student["text"].encoder_id != teacher["text"].encoder_id
    again = load_space(str(student.save(tmp_path / "student")))
    np.testing.assert_allclose(again.embed(TEXTS), student.embed(TEXTS), atol=1e-6)


def test_texts_come_from_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a dog\n\na cat\na dog\n", encoding="utf-8")
    assert texts_of(tmp_path) == texts_of(tmp_path / "a.txt") == ["a dog", "a cat"]
    with pytest.raises(QueryError, match="cannot be read"):
        texts_of(tmp_path / "none.txt")


def test_wrong_use_gives_one_sentence() -> None:
    with pytest.raises(QueryError, match="no student"):
        distil(load_space(), TEXTS, "huge")
    with pytest.raises(QueryError, match="at least 3 texts"):
        distil(load_space(), ["a dog"])
