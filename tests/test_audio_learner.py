"""The recipe's learner goes through the product's loop: captions are told apart, clip by clip."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from multimodal.towers.audio_module import CLASSES, DIM, FEATURES, TextPlace
from multimodal.training.settings import Settings
from recipes.audio_learner import Heard, Learner, Lessons, clip_rows, train_place

CLIPS, CAPTIONS = 40, 10
SHORT = Settings(epochs=15, batch=20, rate=1e-3, decay=0.05, hard=0, hold=1.0)


def lessons() -> Lessons:
    """Clips of two windows each, whose features tell their caption."""
    rng = torch.Generator().manual_seed(0)
    owner = np.arange(CLIPS) % CAPTIONS
    signs = torch.rand(CAPTIONS, FEATURES, generator=rng)
    index = torch.arange(CLIPS).repeat(2)
    features = signs[torch.from_numpy(owner)][index]
    heard = Heard(features, torch.randn(2 * CLIPS, CLASSES, generator=rng), index)
    captions = F.normalize(torch.randn(3, CAPTIONS, DIM, generator=rng), dim=2)
    captions[1:] = captions[0]
    mixtures = Heard(torch.rand(30, FEATURES, generator=rng), torch.randn(30, CLASSES, generator=rng), index)
    classes = F.normalize(torch.randn(3, CLASSES, DIM, generator=rng), dim=2)
    return Lessons(heard, owner, captions, mixtures, torch.rand(30, CLASSES, generator=rng), classes)


def placed(given: Lessons) -> TextPlace:
    torch.manual_seed(0)
    place = TextPlace()
    place.class_vectors.copy_(given.classes[0])
    return place


def test_clips_come_to_their_captions_with_the_same_numbers_each_time() -> None:
    given = lessons()
    before = placed(given)
    rows = clip_rows(before, given.clips, CLIPS) @ given.captions[0].T
    made = []
    for _ in range(2):
        place = placed(given)
        train_place(place, given, SHORT)
        made.append(clip_rows(place, given.clips, CLIPS))
    right = (made[0] @ given.captions[0].T).argmax(1).numpy() == given.owner
    assert not place.training and right.mean() > 0.9
    assert (rows.argmax(1).numpy() == given.owner).mean() < 0.5
    assert torch.equal(made[0], made[1])


def test_a_clip_is_the_mean_of_its_windows_and_one_of_them_in_training() -> None:
    given = lessons()
    learner = Learner(placed(given), given)
    learner.eval()
    assert (learner.count("text"), learner.count("audio")) == (CAPTIONS, CLIPS)
    whole = learner.embed("audio", np.array([3, 7]))
    torch.testing.assert_close(whole, clip_rows(learner.place, given.clips, CLIPS)[[3, 7]])
    learner.train()
    assert not torch.allclose(learner.embed("audio", np.array([3, 7])), whole, atol=1e-3)
    assert torch.isfinite(learner.moved(np.random.default_rng(0), 4))
