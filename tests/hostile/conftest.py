from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.harness import end_started


@pytest.fixture(autouse=True)
def nothing_stays_behind() -> Iterator[None]:
    """A test that fails in the middle leaves no process."""
    yield
    end_started()
