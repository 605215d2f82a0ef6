from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from multimodal.errors import QueryError
from multimodal.matching import assign, probabilities
from tests.fakes import fake_space


def coloured(name: str) -> Image.Image:
    return Image.new("RGB", (40, 40), name)


def test_the_best_caption_is_first_with_its_margin() -> None:
    found = fake_space().match(coloured("red"), ["blue", "red", "green"])
    assert found[0].caption == "red"
    assert found[0].margin == pytest.approx(found[0].cosine - found[1].cosine)
    assert found[-1].margin == 0
    assert sum(one.probability for one in found) == pytest.approx(1)


def test_several_items_give_a_list_each() -> None:
    found = fake_space().match([coloured("red"), "blue"], ["blue", "red"])
    assert [some[0].caption for some in found] == ["red", "blue"]


def test_probabilities_are_a_softmax_or_a_sigmoid_as_the_space_says() -> None:
    cosines = np.array([0.1, 0.2, 0.0])
    clip = SimpleNamespace(logit_scale=10.0, logit_bias=None)
    siglip = SimpleNamespace(logit_scale=10.0, logit_bias=-1.0)
    assert probabilities(clip, cosines) == pytest.approx(  # type: ignore[arg-type]
        np.exp([1, 2, 0]) / np.exp([1, 2, 0]).sum()
    )
    assert probabilities(siglip, cosines) == pytest.approx([0.5, 1 / (1 + np.e**-1), 1 / (1 + np.e)])  # type: ignore[arg-type]


def test_captions_are_given_out_one_to_one() -> None:
    items = [coloured(name) for name in ("blue", "red", "lime")]
    found = fake_space().assign(items, ["red", "green", "blue"])
    assert [(pair.item, pair.caption) for pair in found.pairs] == [(0, 2), (1, 0), (2, 1)]
    assert not found.doubtful


def test_what_is_left_over_and_what_is_doubtful_is_named() -> None:
    found = fake_space().assign([coloured("red"), coloured("red"), coloured("blue")], ["red", "blue"])
    assert len(found.pairs) == 2
    assert len(found.items) == 1 and found.items[0] in (0, 1)
    assert not found.captions
    more = fake_space().assign([coloured("red")], ["red", "blue"])
    assert more.captions == (1,)
    forced = fake_space().assign([coloured("red"), coloured("#ff1000")], ["red", "green"])
    assert len(forced.doubtful) >= 1
    assert forced.doubtful[0].caption == 1 and forced.doubtful[0].margin < 0
    told = found.report(["a.png", "b.png", "c.png"], ["red", "blue"])
    assert told.startswith("2 pairs") and "no caption is left for" in told
    said = forced.report([Path("one"), Path("two")], ["red", "green"])
    assert '"green" (another caption fits it better)' in said and "%" in said
    assert 'nothing is left for "blue"' in more.report(["x"], ["red", "blue"])


def test_nothing_to_match_is_said() -> None:
    with pytest.raises(QueryError, match="at least one caption"):
        fake_space().match("red", [])
    with pytest.raises(QueryError, match="at least one item"):
        assign(fake_space(), [], ["red"])
