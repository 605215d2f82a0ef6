"""Going over from torch to OpenVINO: when it is tried, when it is kept, and that rows stay what they are."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from multimodal import load_space
from multimodal.errors import SpaceError
from multimodal.precision import Chosen, Compute, Floats
from multimodal.towers import faster
from multimodal.towers.faster import Faster
from tests.models import write_model
from tests.test_precision import picture

PIXELS = np.zeros((4, 2, 2, 3), np.uint8)


class Timed:
    """A forward pass that takes its time and counts what it is given."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.seen = seconds, 0

    def __call__(self, batch: NDArray[Any]) -> Floats:
        time.sleep(self.seconds)
        self.seen += len(batch)
        return np.ones((len(batch), 3), np.float32)


@pytest.mark.parametrize(
    ("seconds", "cosine", "over"), [(0.0, 1.0, True), (0.02, 1.0, False), (0.0, 0.9, False)]
)
def test_only_a_faster_and_exact_one_is_kept(seconds: float, cosine: float, over: bool) -> None:
    slow, other = Timed(0.01), Timed(seconds)
    run = Faster(slow, lambda: Chosen(other, "bf16", cosine), after=9)
    run(PIXELS), run(PIXELS)
    assert other.seen == 0 and not run.went_over
    run(PIXELS)
    assert run.went_over == over
    before = slow.seen
    assert run(PIXELS).shape == (4, 3)
    assert (slow.seen == before) == over


def test_one_that_cannot_be_made_is_not_tried_again() -> None:
    tried = []

    def broken() -> Chosen:
        tried.append(1)
        raise SpaceError("OpenVINO cannot convert this picture tower.")

    run = Faster(Timed(0), broken, after=1)
    run(PIXELS), run(PIXELS)
    assert tried == [1] and not run.went_over


def test_what_was_asked_for_stays() -> None:
    assert not faster.can_go_over(Compute(), "cuda")
    assert not faster.can_go_over(Compute(backend="torch"), "cpu")
    assert not faster.can_go_over(Compute(compiled=True), "cpu")


def test_a_real_tower_goes_over_and_keeps_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino", reason="needs multimodal[openvino]")
    monkeypatch.setattr(faster, "seconds", lambda run, batch: 0.0 if "openvino" in run.__module__ else 1.0)
    write_model(tmp_path / "model", "clip")
    space = load_space(tmp_path / "model", precision="fp32")
    run = space["image"].tower.chosen.run  # type: ignore[attr-defined]
    assert isinstance(run, Faster)
    run._left = 3
    first = space.embed([picture(0), picture(1)])
    assert not run.went_over
    assert np.allclose((space.embed([picture(0), picture(1)]) * first).sum(axis=1), 1, atol=1e-5)
    assert run.went_over
