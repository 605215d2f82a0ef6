"""The command `multimodal explain`."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from multimodal.cli import app
from multimodal.errors import NoMediaFile, QueryError

SAMPLES = Path(__file__).parents[2] / "samples"


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["explain", *map(str, arguments)], catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_it_writes_the_figure_and_names_the_best_places(tmp_path: Path) -> None:
    target = tmp_path / "why.png"
    bee = SAMPLES / "pictures/honey-bee.jpg"
    said = run(SAMPLES / "texts/honey-bees.txt", "--query", bee, "-o", target)
    assert said.splitlines()[0].split()[1] == "bee" and "cosine 0." in said
    with Image.open(target) as drawn:
        assert drawn.width > 500


def test_wrong_use_is_told_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(NoMediaFile, match="does not exist"):
        run(tmp_path / "gone.jpg", "-q", "a dog", "-o", tmp_path / "why.png")
    with pytest.raises(QueryError, match=r"not as 'why\.docx'"):
        run(SAMPLES / "pictures/cow.webp", "-q", "a cow", "-o", tmp_path / "why.docx")
