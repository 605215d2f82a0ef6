from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.harness import end_started


@pytest.fixture(autouse=True)
def nothing_stays_behind() -> Iterator[None]:
    """A test that fails in the middle leaves no process."""
    yield
    end_started()


FAST = ("test_damage.py",)
"""All else here starts the command over and over, 5 s a time: `make test-slow`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here and item.path.name not in FAST:
            item.add_marker(pytest.mark.slow)
