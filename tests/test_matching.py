from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from multimodal import Space, load_space
from multimodal.errors import QueryError
from multimodal.matching import assign, probabilities
from multimodal.sound.source import WithAudio
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


def test_sounds_have_a_scale_of_their_own_in_every_space_around_the_starter(tmp_path: Path) -> None:
    space = load_space()
    own = space.scale("audio")
    assert own != space.logit_scale == space.scale("image") == space.scale("text", "video")
    assert space.scale("audio", "image") == pytest.approx(own) and space.scale("audio", "audio") > own
    media = Path(__file__).parents[1] / "samples" / "sounds" / "cow-mooing.mp3"
    captions = ["a cow", "a guitar", "thunder"]
    cosines = space.similarity(media, captions)[0].astype(np.float64)
    wanted = np.exp(own * cosines) / np.exp(own * cosines).sum()
    found = {match.caption: match.probability for match in space.match(media, captions)}
    assert [found[one] for one in captions] == pytest.approx(wanted.tolist(), abs=1e-6)
    (pair,) = space.assign([media], captions).pairs
    assert pair.caption == 0 and pair.probability == pytest.approx(wanted[0], abs=1e-6)
    space.truncate(192).save(tmp_path / "small")
    assert load_space(tmp_path / "small").scale("audio") == own
    other = Space(WithAudio(space._source, None))  # type: ignore[arg-type]
    assert other.scale("audio") == space.logit_scale  # another tower's sounds
