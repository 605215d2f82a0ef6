"""Two spaces of one folder: a library each, side by side, and the right one found."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from multimodal import Library, NoLibrary, QueryError, Space, WrongSpace, load_space
from multimodal.cli import app
from multimodal.library import finding
from tests.fakes import fake_space


def named(name: str, version: int) -> Space:
    space = fake_space(version)
    space.name = name
    return space


FIRST, SECOND = "starter", "ViT-B-32/laion2b_s34b_b79k"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "photos"
    (place / "inside").mkdir(parents=True)
    Image.new("RGB", (40, 40), "red").save(place / "red.png")
    Image.new("RGB", (40, 40), "blue").save(place / "inside" / "blue.png")
    return place


def indexed(folder: Path, home: Path, space: Space) -> Path:
    with Library(home, space) as library:
        assert library.add(folder, workers=1).count("added") == 2  # nothing of the other library
    return home


def test_two_spaces_lie_side_by_side(folder: Path, tmp_path: Path) -> None:
    first = indexed(folder, folder / ".multimodal", named(FIRST, 1))
    second = indexed(folder, finding.alongside(folder, SECOND), named(SECOND, 2))
    assert second == folder / ".multimodal-ViT-B-32-laion2b_s34b_b79k"
    for start in (folder, folder / "inside"):
        assert Library.find(start) == first == Library.find(start, FIRST)
        assert Library.find(start, SECOND) == second == Library.find(start, "vit-b-32")
    with pytest.raises(NoLibrary, match=r"'siglip'.*only of starter, ViT-B-32.*--space siglip --alongside"):
        Library.find(folder, "siglip")
    with Library(second, named(SECOND, 2)) as library:
        assert [hit.path.name for hit in library.search("blue", k=1)] == ["blue.png"]
    with Library(second, named(FIRST, 1)) as library, pytest.raises(WrongSpace, match="--alongside"):
        library.search("blue")
    moved = folder.rename(tmp_path / "moved")  # both move with their folder
    with Library(Library.find(moved, SECOND), named(SECOND, 2)) as library:
        assert library.search("blue", k=1)[0].path == moved / "inside" / "blue.png"


def test_without_a_first_library_the_only_one_is_meant(folder: Path) -> None:
    one = indexed(folder, finding.alongside(folder, SECOND), named(SECOND, 1))
    assert Library.find(folder / "inside") == one
    indexed(folder, finding.alongside(folder, "ViT-B-16/openai"), named("ViT-B-16/openai", 2))
    with pytest.raises(NoLibrary, match=r"several spaces .* choose one with --space"):
        Library.find(folder)
    with pytest.raises(NoLibrary, match="'ViT-B' may mean ViT-B-16/openai or ViT-B-32"):
        Library.find(folder, "ViT-B")


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("hf-hub:owner/name", ".multimodal-hf-hub-owner-name"),
        ("starter#96", ".multimodal-starter#96"),
        (str(Path.cwd().anchor) + "models/my clip", ".multimodal-my-clip"),
        ("ViT-B-32@" + "x" * 300, ".multimodal-ViT-B-32-" + "x" * 71),
    ],
)
def test_homes_have_names_that_every_system_takes(tmp_path: Path, name: str, home: str) -> None:
    assert finding.alongside(tmp_path, name) == tmp_path / home


@pytest.mark.parametrize("words", [["--alongside"], ["--alongside", "--space", "a/b", "--library", "x"]])
def test_alongside_wants_a_space(folder: Path, words: list[str]) -> None:
    result = CliRunner().invoke(app, ["index", str(folder), *words])
    assert isinstance(result.exception, QueryError) and "--alongside needs --space" in str(result.exception)


def test_the_command_keeps_both(folder: Path, tmp_path: Path) -> None:
    from tests.models import write_model

    model = write_model(tmp_path / "tiny-clip", "clip")
    words = ["index", str(folder), "--space", str(model), "--alongside", "--workers", "1", "-q"]
    assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
    home = folder / ".multimodal-tiny-clip"
    assert Library.find(folder, str(model)) == home
    with Library(home) as library:
        assert library.stats().space == str(model) and library.stats().files == 2
    other = load_space(write_model(tmp_path / "other", "clip", seed=1))
    with Library(home, other) as library, pytest.raises(WrongSpace, match=other.space_id):
        library.search("blue")
    with Library(home, other) as library, pytest.raises(WrongSpace, match="was made by the space"):
        library.add(folder)
