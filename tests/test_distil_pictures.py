"""Small picture towers that learn from a large one: near it on new pictures, saved, for videos too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from multimodal import Clip, Space, load_space
from multimodal.cli import app
from multimodal.distil import Vit, distil, learn
from multimodal.distil.pictures import cropped
from multimodal.errors import NoMediaFile, QueryError

SMALL = Vit(layers=2, width=64, heads=2, size=56, patch=14, epochs=60, batch=16, rate=2e-3)
COLOURS = ("red", "green", "blue", "yellow", "black", "white", "orange", "purple")
SHAPES = ("ellipse", "rectangle", "line")


def drawn(number: int) -> Image.Image:
    """One of 56 kinds of picture, a coloured shape on a coloured ground, each time a little elsewhere."""
    rng = np.random.default_rng(number)
    ground, ink = rng.choice(len(COLOURS), 2, replace=False)
    picture = Image.new("RGB", (96, 96), COLOURS[ground])
    left, top = rng.integers(8, 24, 2).tolist()
    box = (left, top, left + 60, top + 56)
    getattr(ImageDraw.Draw(picture), SHAPES[number % 3])(box, fill=COLOURS[ink], **_thick(number))
    return picture


def _thick(number: int) -> dict[str, int]:
    return {"width": 14} if number % 3 == 2 else {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pictures")
    (place / "below").mkdir()
    for number in range(96):
        drawn(number).save(place / ("below" if number % 2 else ".") / f"{number}.png")
    (place / "torn.png").write_bytes(b"no picture at all")
    (place / "notes.txt").write_text("no picture either", encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def small(folder: Path) -> Space:
    made = learn(load_space(), folder, SMALL)
    assert made.left_out == 1 and made.cosine is not None and made.cosine > 0.7
    return made.space


def test_the_student_is_near_its_teacher_on_new_pictures(small: Space, folder: Path) -> None:
    teacher, new = load_space(), [drawn(number) for number in range(1000, 1040)]
    own = teacher.embed(new)
    untrained = distil(teacher, folder, Vit(**{**vars(SMALL), "epochs": 1, "rate": 1e-7}))
    own_mean = own.mean(axis=0)
    before, after = ((space.embed(new) * own).sum(axis=1).mean() for space in (untrained, small))
    assert after > before + 0.3
    # nearer than the mean of all pictures, which says nothing of any
    centred = [rows - own_mean for rows in (small.embed(new), own)]
    lengths = np.prod([np.linalg.norm(rows, axis=1) for rows in centred], axis=0)
    assert ((centred[0] * centred[1]).sum(axis=1) / lengths).mean() > 0.4
    found = (small.embed(new) @ own.T).argsort(axis=1)[:, ::-1]
    places = [int(np.flatnonzero(order == number)[0]) for number, order in enumerate(found)]
    assert np.mean([place < 10 for place in places]) > 0.6  # by chance 0.25


def test_it_comes_back_from_a_folder_and_embeds_videos(small: Space, tmp_path: Path) -> None:
    teacher = load_space()
    small.save(tmp_path / "small")
    back = load_space(tmp_path / "small")
    items = [drawn(2000), Clip([drawn(3), drawn(4)], np.array([0.0, 1.0]))]
    np.testing.assert_array_equal(back.embed(items), small.embed(items))
    assert not list(tmp_path.rglob("image.onnx"))
    assert small["image"].encoder_id == back["image"].encoder_id != teacher["image"].encoder_id
    assert small["video"].encoder_id == back["video"].encoder_id != teacher["video"].encoder_id
    assert small.space_id == teacher.space_id  # texts are as they were: only pictures are stale
    assert float(small.embed(items[1])[0] @ teacher.embed(items[1])[0]) > 0.6
    alone = np.concatenate([small.embed(one) for one in (drawn(1), drawn(2))])
    np.testing.assert_allclose(small.embed([drawn(1), drawn(2)]), alone, atol=1e-5)


def test_texts_and_pictures_may_both_have_students(small: Space, tmp_path: Path) -> None:
    from multimodal.distil import Transformer
    from tests.test_distil_texts import LINES

    both = distil(small, LINES[:60], Transformer(layers=1, vocabulary=600, epochs=1, batch=16))
    both.save(tmp_path / "both")
    back = load_space(tmp_path / "both")
    items = ["a dog", drawn(7)]
    np.testing.assert_array_equal(back.embed(items), both.embed(items))
    np.testing.assert_array_equal(both.embed(drawn(7)), small.embed(drawn(7)))
    assert len(list((tmp_path / "both").rglob("image.safetensors"))) == 1


def test_crops_are_of_the_picture_and_repeat() -> None:
    pixels = np.zeros((6, 32, 32, 3), np.uint8)
    pixels[:, :, 16:] = 255  # the right half is white
    one, other = (cropped(pixels, 28, np.random.default_rng(5)).numpy() for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert one.shape == (6, 28, 28, 3)
    sides = one[:, :, -1].mean(axis=(1, 2)) > one[:, :, 0].mean(axis=(1, 2))
    assert {True, False} == set(sides.tolist())  # some are mirrored


def test_wrong_use_is_one_sentence(tmp_path: Path, small: Space, folder: Path) -> None:
    with pytest.raises(QueryError, match="at least 10 pictures, not 0"):
        distil(load_space(), tmp_path)
    for number in range(12):
        (tmp_path / f"{number}.jpg").write_bytes(b"\xff\xd8\xff torn")
    with pytest.raises(QueryError, match="that can be read, not 0"):
        distil(load_space(), tmp_path)
    with pytest.raises(QueryError, match="already"):
        distil(small, folder)
    with pytest.raises(NoMediaFile, match="does not exist"):
        distil(load_space(), tmp_path / "none", "vit")
    with pytest.raises(QueryError, match="give a folder"):
        distil(load_space(), None, "vit")


def test_as_typed(tmp_path: Path) -> None:
    folder = tmp_path / "some"
    folder.mkdir()
    (folder / "torn.png").write_bytes(b"no picture at all")
    for number in range(24):
        drawn(number).save(folder / f"{number}.png")
    (tmp_path / "vit.json").write_text('{"kind": "vit", "layers": 1, "size": 28, "epochs": 1}', "utf-8")
    asked = ["distil", str(folder), "-o", str(tmp_path / "small"), "--student", str(tmp_path / "vit.json")]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0 and "cosine to the teacher" in done.stdout, done.output
    assert "1 files that could not be read" in done.stderr
    assert load_space(tmp_path / "small").embed(drawn(1)).shape == (1, 384)
