"""Small transformers that learn from a text tower: near it, smaller, saved as spaces, resumed exactly."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multimodal import Space, load_space
from multimodal.adapted import Adapted, Adapter
from multimodal.distil import Transformer, Vit, Words, distil, fitting, learn, student
from multimodal.distil.teaching import rows_of
from multimodal.distil.vocabulary import cut
from multimodal.errors import NoMediaFile, QueryError, SpaceError
from multimodal.phrases import everyday
from multimodal.sources import EMBEDDED
from multimodal.towers.minilm import WordPiece
from tests.models import write_model

LINES = everyday()
TAUGHT = LINES[::4]
SMALL = Transformer(layers=1, vocabulary=2000, epochs=6, batch=32)
TINY = Transformer(layers=1, width=48, heads=4, vocabulary=600, epochs=2, batch=8)
CASTLE = Path(__file__).parent.parent / "samples" / "pictures" / "castle.jpg"


@pytest.fixture(scope="module")
def small() -> Space:
    return distil(load_space(), TAUGHT, SMALL)


def test_the_student_is_near_its_teacher_and_nearer_than_it_began(small: Space) -> None:
    teacher = load_space()
    begun = distil(teacher, TAUGHT, replace(SMALL, epochs=1, rate=1e-7))
    for some, least, gained in ((TAUGHT[:100], 0.9, 0.02), (LINES[1::10], 0.4, 0.0)):  # taught, and new
        own = teacher.embed(some)
        before, after = ((space.embed(some) * own).sum(axis=1).mean() for space in (begun, small))
        assert after > max(least, before + gained)
    assert small.similarity(CASTLE, ["a castle", "a bee"])[0].argmax() == 0
    assert small.space_id != teacher.space_id
    assert small["image"].encoder_id == teacher["image"].encoder_id


def test_it_comes_back_from_a_folder_without_its_teacher(small: Space, tmp_path: Path) -> None:
    small.save(tmp_path / "small")
    back = load_space(tmp_path / "small")
    np.testing.assert_array_equal(back.embed(LINES[:20]), small.embed(LINES[:20]))
    assert (back.space_id, list(back)) == (small.space_id, list(small))
    np.testing.assert_array_equal(back.embed(CASTLE), load_space().embed(CASTLE))
    assert small.bank is not None and back.bank is not None
    np.testing.assert_array_equal(back.bank["text"], small.bank["text"])
    assert not list(tmp_path.rglob("teacher/text.safetensors"))
    size = sum(path.stat().st_size for path in (tmp_path / "small" / "students").iterdir())
    assert size < (EMBEDDED / "text.safetensors").stat().st_size / 4
    back.save(tmp_path / "again")
    np.testing.assert_array_equal(load_space(tmp_path / "again").embed(LINES[:5]), small.embed(LINES[:5]))


def test_what_is_put_around_a_student_comes_back_too(small: Space, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = (rng.normal(0, 0.1, shape).astype(np.float32) for shape in ((8, 384), (8,), (384, 8), (384,)))
    adapted = Space(Adapted(small._source, {"text": Adapter(*values)})).truncate(64)
    adapted.save(tmp_path / "both")
    back = load_space(tmp_path / "both")
    np.testing.assert_allclose(back.embed(LINES[:9]), adapted.embed(LINES[:9]), atol=1e-6)
    assert np.abs(adapted.embed(LINES[:9]) - small.truncate(64).embed(LINES[:9])).max() > 1e-3


def test_a_student_is_explained(small: Space) -> None:
    assert [place.text for place in small.tokens("a castle").places] == ["a", "castle"]
    parts = small.explain("a castle on a hill", "castle")
    assert parts is not None


def test_another_width_goes_through_a_head_and_any_teacher_teaches(tmp_path: Path) -> None:
    write_model(tmp_path / "clip", "clip")
    teacher = load_space(tmp_path / "clip")
    wide = Transformer(layers=1, vocabulary=1000, epochs=10, batch=16, rate=1e-3)
    for config in (TINY, wide):
        made = learn(teacher, LINES[:100], config)
        assert made.cosine is not None and made.space.dim == teacher.dim
        made.space.save(tmp_path / f"student-{config.width}")
        back = load_space(tmp_path / f"student-{config.width}")
        np.testing.assert_array_equal(back.embed(LINES[:9]), made.space.embed(LINES[:9]))
        np.testing.assert_array_equal(back.embed(CASTLE), teacher.embed(CASTLE))
    assert made.cosine > 0.5


def test_an_interrupted_training_goes_on_with_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, asked = load_space(), list[str]()
    whole = learn(teacher, LINES[:60], TINY, run=tmp_path / "whole")
    monkeypatch.setattr(fitting, "EVERY", 0.0)

    def stop(stage: str, done: int, total: int) -> None:
        asked.append(stage)
        if stage == "training" and done == total - 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(teacher, LINES[:60], TINY, run=tmp_path / "run", progress=stop)
    assert "embedding" in asked
    stages: list[tuple[str, int]] = []
    again = learn(
        teacher, LINES[:60], TINY, run=tmp_path / "run", progress=lambda s, d, _: stages.append((s, d))
    )
    assert again.resumed and not whole.resumed
    assert len(stages) <= 4 and "embedding" not in dict(stages)  # the teacher is not asked again
    np.testing.assert_array_equal(again.space.embed(LINES[:9]), whole.space.embed(LINES[:9]))


def test_the_network_learns_in_torch_what_it_computes_in_numpy() -> None:
    import torch

    from multimodal.distil.bert import Bert, begin
    from multimodal.distil.texts import _batch

    tower: Any = load_space()["text"].tower
    model = Bert(30522, 256, 384, 6, 12, 384).eval()
    begin(model, tower._weights, np.arange(30522))
    model.head = torch.nn.Identity()
    ids = [tower.preprocess(line) for line in LINES[:12]]
    with torch.no_grad():
        rows = model(*_batch(ids, np.arange(12))).numpy()
    np.testing.assert_allclose(rows, tower.forward(ids), atol=2e-5)


def test_half_a_row_that_a_kill_left_is_asked_for_again(tmp_path: Path) -> None:
    rows, asked = np.random.default_rng(0).random((10, 4), np.float32), list[int]()

    def embed(begin: int, end: int) -> Any:
        asked.append(begin)
        return rows[begin:end]

    kept = tmp_path / "rows.f32"
    kept.write_bytes(rows[:6].tobytes() + b"\x01\x02")
    np.testing.assert_array_equal(rows_of(embed, 10, 4, kept), rows)
    assert asked == [6] and kept.read_bytes() == rows.tobytes()


def test_a_cut_tokenizer_spells_all_words_with_fewer_pieces(tmp_path: Path) -> None:
    document, ids = cut(EMBEDDED / "tokenizer.json", ["a red castle", "the castle on a hill"], 1500)
    (tmp_path / "tokenizer.json").write_text(document, encoding="utf-8")
    full, small = WordPiece(EMBEDDED / "tokenizer.json", 64), WordPiece(tmp_path / "tokenizer.json", 64)
    assert len(ids) == 1500 and (np.diff(ids) > 0).all()
    np.testing.assert_array_equal(ids[small("a red castle")], full("a red castle"))
    assert small.tokens("a castle")[1:-1] == ["a", "castle"]
    strange = small.tokens("Zyzzyva xylophonists, naïvely")
    assert "[UNK]" not in strange and len(strange) > len(full.tokens("Zyzzyva xylophonists, naïvely"))
    assert "".join(strange[1:-1]).replace("##", "") == "zyzzyvaxylophonists,naively"


def test_students_by_name_and_file(tmp_path: Path) -> None:
    assert [student(name) for name in ("words", "transformer", "vit")] == [Words(), Transformer(), Vit()]
    path = tmp_path / "small.json"
    path.write_text('{"kind": "transformer", "layers": 1, "rate": 0.001}', encoding="utf-8")
    assert student(path) == Transformer(layers=1, rate=0.001)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ("{", "cannot be read as a student"),
        ('{"layers": 1}', "needs a field kind: words, transformer or vit"),
        ('{"kind": "lstm"}', "needs a field kind"),
        ('{"kind": "vit", "depth": 3}', "no field 'depth', only layers"),
        ('{"kind": "transformer", "layers": 1.5}', "layers is a whole number, not 1.5"),
        ('{"kind": "transformer", "layers": true}', "layers is a whole number, not true"),
        ('{"kind": "transformer", "layers": 0}', "layers of a student is from 1 to 24, not 0"),
        ('{"kind": "transformer", "rate": "fast"}', 'rate is a number, not "fast"'),
        ('{"kind": "transformer", "width": 100}', "multiple of its heads: 100 is none of 12"),
        ('{"kind": "vit", "patch": 13}', "multiple of its patch: 112 is none of 13"),
    ],
)
def test_what_is_no_student_is_one_sentence(tmp_path: Path, document: str, sentence: str) -> None:
    path = tmp_path / "student.json"
    path.write_text(document, encoding="utf-8")
    with pytest.raises(QueryError, match=sentence):
        student(path)


def test_wrong_use_is_one_sentence(tmp_path: Path, small: Space) -> None:
    with pytest.raises(NoMediaFile, match="words, transformer or vit, or a JSON file"):
        student("bert")
    with pytest.raises(QueryError, match="already"):
        distil(small, LINES[:30], SMALL)
    with pytest.raises(QueryError, match="no number of words"):
        distil(load_space(), LINES[:30], "transformer", words=10)
    with pytest.raises(QueryError, match="learns from texts"):
        distil(load_space(), tmp_path, "transformer")
    bad = tmp_path / "bad"
    small.save(bad)
    (bad / "config.json").write_text('{"kind": "distilled"}', encoding="utf-8")
    with pytest.raises(SpaceError, match="which students"):
        load_space(bad)
    small.save(tmp_path / "torn")
    (tmp_path / "torn" / "students" / "text.safetensors").write_bytes(b"torn")
    with pytest.raises(SpaceError, match="text weights"):
        load_space(tmp_path / "torn").embed("a")


def test_as_typed(tmp_path: Path) -> None:
    def typed(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "multimodal.cli", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)

    (tmp_path / "texts.txt").write_text("\n".join(LINES[:80]) + "\n", encoding="utf-8")
    config = {"kind": "transformer", "layers": 1, "vocabulary": 1000, "epochs": 2}
    (tmp_path / "student.json").write_text(json.dumps(config), encoding="utf-8")
    asked = ("distil", "--teacher", "starter", "--student", "student.json", "texts.txt", "-o", "small")
    done = typed(*asked)
    assert done.returncode == 0 and "cosine to the teacher" in done.stdout, done.stderr
    assert list((tmp_path / "small.run").glob("teacher-*")) and not list(tmp_path.glob("small.run/*.safet*"))
    assert load_space(tmp_path / "small").embed("a dog").shape == (1, 384)
    again = typed(*asked)
    assert again.returncode == 2 and "not empty" in again.stderr
    assert len(again.stderr.strip().splitlines()) == 1
    unknown = typed("distil", "--student", "bert", "texts.txt", "-o", "other")
    assert unknown.returncode == 2 and "words, transformer or vit" in unknown.stderr
