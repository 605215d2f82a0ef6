"""The loop that students learn in, with a loss of the caller's and a running mean of the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from multimodal.distil import fitting
from multimodal.training import averaging

COUNT, BATCH = 48, 12


@dataclass(frozen=True)
class Course:
    epochs: int = 3
    rate: float = 1e-2


class Student(nn.Module):
    """A layer with a batch norm and dropout: buffers to keep, and noise to draw again."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 4))

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.net(x)
        return made


def squared(got: Tensor, wanted: Tensor) -> Tensor:
    return (got.float() - wanted).square().mean()


def learn(
    kept: Path | None = None,
    progress: Callable[[str, int, int], object] | None = None,
    mean: float = 0.9,
    loss: Callable[[Any, Any], Tensor] = squared,
) -> tuple[Student, bool]:
    rng = np.random.default_rng(0)
    given = torch.from_numpy(rng.normal(2.0, 1.0, (COUNT, 6)).astype(np.float32))
    wanted = torch.from_numpy(rng.normal(0.0, 1.0, (COUNT, 4)).astype(np.float32))
    student = Student()

    def batches(epoch: int) -> list[Any]:
        return list(np.random.default_rng(epoch).permutation(COUNT).reshape(-1, BATCH))

    resumed = fitting.fit(
        student,
        Course(),
        batches,
        lambda places, _: (student(given[places]), wanted[places]),
        0,
        kept,
        progress,
        loss,
        mean,
    )
    return student, resumed


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_the_mean_is_that_of_the_weights_after_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Tensor]] = []
    follow = averaging.follow

    def watched(mean: dict[str, Tensor], model: nn.Module, keep: float, step: int) -> None:
        seen.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        follow(mean, model, keep, step)

    monkeypatch.setattr(averaging, "follow", watched)
    averaged, _ = learn(mean=0.3)
    last, _ = learn(mean=0.0)
    expected = {name: tensor.double() for name, tensor in Student().state_dict().items()}
    for step, now in enumerate(seen):
        share = min(0.3, (step + 1) / (step + averaging.LAG))
        expected = {name: share * mean + (1 - share) * now[name] for name, mean in expected.items()}
    assert len(seen) == Course().epochs * COUNT // BATCH
    for name, tensor in averaged.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor.double(), expected[name], rtol=1e-5, atol=1e-6)
    assert int(averaged.get_buffer("net.1.num_batches_tracked")) == len(seen)
    torch.testing.assert_close(last.state_dict(), seen[-1], rtol=0, atol=0)  # the mean changes no step


@pytest.mark.parametrize("mean", [0.0, 0.9])
def test_a_run_that_was_stopped_has_the_weights_of_one_that_was_not(
    mean: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, resumed = learn(mean=mean)
    assert not resumed and not whole.training
    monkeypatch.setattr(fitting, "EVERY", 0.0)

    def stop(stage: str, done: int, total: int) -> None:
        if done == total - 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path / "kept", stop, mean)
    told: list[int] = []
    again, resumed = learn(tmp_path / "kept", lambda _, done, total: told.append(total - done), mean)
    assert resumed and told == [2, 1, 0] and same(again, whole)
    done, resumed = learn(tmp_path / "kept", mean=mean)
    assert resumed and same(done, whole)


def test_the_loss_is_the_callers_and_else_the_cosine() -> None:
    def shifted(got: Tensor, wanted: Tensor) -> Tensor:
        return squared(got, wanted + 1)

    assert not same(learn(loss=squared)[0], learn(loss=shifted)[0])
    rows = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    torch.testing.assert_close(
        fitting.apart(rows, torch.tensor([[1.0, 0.0], [0.0, -1.0]])), torch.tensor(1.0)
    )
