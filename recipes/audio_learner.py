"""What learns where a sound lies among texts: the perceptron behind the tagger, for `multimodal.training`.

Captions are told apart from the others of a batch, those that mean about the same left out (InfoNCE, van den
Oord et al. 2018); beside that, in place of the rows that other learners hold still, the teacher's classes are
told apart by their names, and rows stay near ConSE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from multimodal.precision import cpu_has_bf16
from multimodal.towers.audio_module import TextPlace
from multimodal.training.data import Data, Kind
from multimodal.training.loop import train
from multimodal.training.settings import Settings
from multimodal.types import Modality

TEMPERATURE = 0.025
DROPPED = 0.2
"""Share of the features that is left out in training."""
CONSE = 0.5
"""Weight of 1 - cosine to ConSE, beside the other two terms."""
PRESENT = 0.15
"""Mixtures whose likeliest class has this score teach the names of classes."""
BATCH = 256


@dataclass
class Heard:
    """What the student hears in windows: features (w, 1024), logits (w, 521), and an index per window."""

    features: torch.Tensor
    logits: torch.Tensor
    index: torch.Tensor

    def chosen(self, which: torch.Tensor, index: torch.Tensor | None = None) -> Heard:
        """Some windows, by numbers or a mask; with another index where one is given."""
        return Heard(self.features[which], self.logits[which], self.index[which] if index is None else index)


@dataclass
class Lessons:
    """What a place learns from.

    `clips` indexes windows by clip, `owner` (n,) is each clip's caption, `captions` (t, c, 384) the sentence
    vectors of the captions in each template. `scores` (m, 521) are the teacher's for `mixtures`, `classes`
    (t, 521, 384) the vectors of the classes' names.
    """

    clips: Heard
    owner: NDArray[np.int64]
    captions: torch.Tensor
    mixtures: Heard
    scores: torch.Tensor
    classes: torch.Tensor


class Learner(torch.nn.Module):
    """A `TextPlace` with its lessons; the interface is that of `multimodal.training.heads.Heads`.

    In training a clip is one of its windows, drawn anew each time, and a caption one of its templates.
    """

    block = 1 << 20
    """Outside training the rows of all clips are made at once."""

    def __init__(self, place: TextPlace, lessons: Lessons) -> None:
        super().__init__()
        self.place, self.lessons = place, lessons
        order = torch.argsort(lessons.clips.index, stable=True)
        self.windows = lessons.clips.chosen(order)
        self.counts = torch.bincount(self.windows.index, minlength=len(lessons.owner))
        self.starts = self.counts.cumsum(0) - self.counts
        self.named = (lessons.scores.max(dim=1).values > PRESENT).nonzero().squeeze(1)
        self.scale, self.bias = torch.tensor(1 / TEMPERATURE), torch.tensor(0.0)

    def count(self, modality: Modality) -> int:
        """Of captions or clips."""
        return self.lessons.captions.shape[1] if modality == "text" else len(self.counts)

    def embed(self, modality: Modality, places: NDArray[np.int64]) -> torch.Tensor:
        """Unit rows (n, 384) of captions or of clips."""
        chosen = torch.from_numpy(places)
        if modality == "text":
            templates = self.lessons.captions
            one = int(torch.randint(len(templates), ())) if self.training else 1
            return templates[one, chosen]
        if not self.training:
            return clip_rows(self.place, self.windows, len(self.counts))[chosen]
        drawn = self.starts[chosen] + (torch.rand(len(chosen)) * self.counts[chosen]).long()
        return self.place(dropped(self.windows.features[drawn]), self.windows.logits[drawn])

    def moved(self, rng: np.random.Generator, count: int) -> torch.Tensor:
        """The loss on mixtures, whose classes are told apart by name, and how far rows are from ConSE.

        It draws as many mixtures as a batch has clips, and that many clips' windows again; `count` is for
        learners that hold rows still."""
        with torch.autocast("cpu", torch.bfloat16, enabled=cpu_has_bf16()):
            return self._moved(rng)

    def _moved(self, rng: np.random.Generator) -> torch.Tensor:
        pick = self.named[torch.from_numpy(rng.integers(0, len(self.named), BATCH))]
        mixtures, lessons = self.lessons.mixtures, self.lessons
        rows = self.place(dropped(mixtures.features[pick]), mixtures.logits[pick])
        wanted = lessons.scores[pick].square()
        wanted = wanted / wanted.sum(1, keepdim=True)
        names = lessons.classes[int(rng.integers(len(lessons.classes)))]
        loss = F.cross_entropy(rows @ names.T * self.scale, wanted)
        away = 1 - (rows * self.place.conse(mixtures.logits[pick])).sum(1).mean()
        drawn = torch.from_numpy(rng.integers(0, len(self.windows.index), BATCH // 2))
        logits = self.windows.logits[drawn]
        rows = self.place(dropped(self.windows.features[drawn]), logits)
        away = away + 1 - (rows * self.place.conse(logits)).sum(1).mean()
        return loss + CONSE * away

    def groups(self, decay: float) -> list[dict[str, Any]]:
        """Parameters for the optimiser: matrices are drawn to zero, which is ConSE; biases are not."""
        matrices = [one for one in self.parameters() if one.ndim > 1]
        biases = [one for one in self.parameters() if one.ndim < 2]
        return [{"params": matrices, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]


def train_place(place: TextPlace, lessons: Lessons, settings: Settings) -> None:
    """Train the perceptron of a place and leave it in evaluation mode. A clip counts the less the more there
    are of its caption: as 1 / sqrt of their number."""
    owner, clips = lessons.owner, np.arange(len(lessons.owner))
    weight = np.bincount(owner)[owner] ** -0.5
    shares = (weight / weight.mean()).astype(np.float32)
    kind = Kind(("text", "audio"), owner, clips, owner, owner, shares, np.zeros_like(clips))
    data = Data({"text": lessons.captions[0].numpy()}, [kind], "sounds")
    train(Learner(place, lessons), data, settings)  # type: ignore[arg-type]
    place.eval()


def dropped(features: torch.Tensor) -> torch.Tensor:
    return F.dropout(features, DROPPED)


def clip_rows(place: TextPlace, heard: Heard, count: int) -> torch.Tensor:
    """Unit rows (count, 384): the mean over each clip's windows."""
    with torch.no_grad():
        rows = place(heard.features, heard.logits)
        return F.normalize(torch.zeros(count, rows.shape[1]).index_add_(0, heard.index, rows), dim=1)
