from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from multimodal import Library
from multimodal.space import Space
from tests.fakes import fake_space
from tests.library.serial import Serial


@pytest.fixture
def serial(monkeypatch: pytest.MonkeyPatch) -> Serial:
    serial = Serial()
    monkeypatch.setitem(sys.modules, "multimodal.pipeline", serial.module())
    return serial


@pytest.fixture
def space() -> Space:
    return fake_space()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of six texts, two of them in a folder below."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def library(photos: Path, space: Space, serial: Serial) -> Iterator[Library]:
    with Library(photos / ".multimodal", space) as library:
        yield library


TEXTS = {
    "apple.txt": "apple tree",
    "boat.txt": "boat on a lake",
    "cat.txt": "cat in a hat",
    "dog.txt": "dog and bone",
    "sub/egg.txt": "egg for breakfast",
    "sub/fox.txt": "fox runs fast",
}
