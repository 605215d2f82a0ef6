from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from multimodal import Library
from multimodal.space import Space
from tests.fakes import fake_space
from tests.library.serial import Serial
from tests.media import tone, write_image, write_sound


@pytest.fixture
def space() -> Space:
    return fake_space()


@pytest.fixture
def library(tmp_path: Path, space: Space) -> Iterator[Library]:
    """A library that nothing is in yet."""
    with Library(tmp_path / "library", space) as library:
        yield library


@pytest.fixture
def media(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a red and a green picture, a sound of six seconds, and a text."""
    monkeypatch.setitem(sys.modules, "multimodal.pipeline", Serial().module())
    folder = tmp_path / "media"
    folder.mkdir()
    write_image(folder / "red.png", Image.new("RGB", (64, 48), (250, 5, 5)))
    write_image(folder / "green.png", Image.new("RGB", (64, 48), (5, 250, 5)))
    write_sound(folder / "high.wav", tone(6.0, 16_000, 4000), 16_000)
    (folder / "owl.txt").write_text("owl at night")
    return folder
