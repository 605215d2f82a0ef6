"""Profiles: what was liked comes up, what is forgotten is gone, one knows nothing of another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multimodal.errors import QueryError, SpaceError, WrongSpace
from multimodal.library import Library
from multimodal.profile import HALF_LIFE, Profile
from tests.fakes import fake_space
from tests.media import write_image

COLOURS = {"red": (250, 5, 5), "green": (5, 250, 5), "blue": (5, 5, 250)}


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    for name, colour in COLOURS.items():
        write_image(folder / f"{name}.png", Image.new("RGB", (48, 48), colour))
    return folder


def test_what_is_liked_comes_first(media: Path, tmp_path: Path) -> None:
    space = fake_space()
    profile = Profile.open(tmp_path / "me.profile", space)
    with Library(tmp_path / "library", space) as library:
        library.add(media, workers=1)
        plain = library.search("x y", min_confidence=0)
        assert profile.reranked(plain, library) == list(plain)
        profile.like(media / "blue.png")
        profile.dislike(media / "red.png")
        mine = profile.reranked(plain, library)
        assert [hit.path.stem for hit in mine] == ["blue", "green", "red"]
        again = library.search(profile.applied("x y", weight=3), min_confidence=0)
        assert again[0].path.stem == "blue"
    assert profile.why(media / "blue.png")[0][0] == str(media / "blue.png")
    assert profile.why("blue")[0][1] > 0.9


def test_it_is_kept_and_read_again(media: Path, tmp_path: Path) -> None:
    space = fake_space()
    path = tmp_path / "a" / "me.profile"
    first = Profile.open(path, space)
    first.like(media / "red.png")
    first.dislike("green grass")
    first.like(Image.new("RGB", (40, 40), "blue"), name="a blue card")
    second = Profile.open(path, space)
    assert [(one.name, one.liked) for one in second.opinions] == [
        (str(media / "red.png"), True), ("green grass", False), ("a blue card", True),
    ]  # fmt: skip
    np.testing.assert_array_equal(first.direction, second.direction)
    assert [one.name for one in path.parent.iterdir()] == ["me.profile"]
    with pytest.raises(WrongSpace):
        Profile.open(path, fake_space(2))
    with pytest.raises(QueryError, match="needs a name"):
        first.like(Image.new("RGB", (40, 40)))
    path.write_bytes(b"what is this")
    with pytest.raises(SpaceError, match="no profile"):
        Profile.open(path, space)


def test_what_is_forgotten_was_never_said(media: Path, tmp_path: Path) -> None:
    space = fake_space()
    path = tmp_path / "me.profile"
    never, once = Profile(space), Profile.open(path, space)
    for profile, things in ((never, ["red", "blue sky"]), (once, ["red", "a secret", "blue sky"])):
        for thing in things:
            profile.like(thing)
    assert not np.array_equal(never.direction, once.direction)
    secret = once.opinions[1].vector.tobytes()
    assert secret in path.read_bytes() and b"secret" in path.read_bytes()
    assert once.forget("a secret") == 1 and once.forget("a secret") == 0
    np.testing.assert_array_equal(never.direction, once.direction)
    assert secret not in path.read_bytes() and b"secret" not in path.read_bytes()
    assert once.forget() == 2 and once.direction is None
    assert Profile.open(path, space).opinions == []


def test_a_later_opinion_replaces_and_outweighs_an_earlier_one() -> None:
    space = fake_space()
    profile = Profile(space)
    profile.like("red")
    profile.dislike("red")
    assert [one.liked for one in profile.opinions] == [False]
    old = Profile(space)
    old.like("red")
    for number in range(3 * HALF_LIFE):
        old.like(f"blue {number}")
    rows = space.embed(["red", "blue 5"])
    far, near = old.affinity(rows, "text")
    assert near > far


def test_profiles_and_libraries_do_not_leak(media: Path, tmp_path: Path) -> None:
    space = fake_space()
    one, other = (Profile.open(tmp_path / f"{name}.profile", space) for name in ("one", "other"))
    one.like(media / "red.png")
    assert other.direction is None and Profile.open(tmp_path / "other.profile", space).opinions == []
    with Library(tmp_path / "library", space) as library:
        library.add(media, workers=1)
        before = library.search("x y", min_confidence=0)
        one.reranked(before, library)
        library.search(one.applied("x y"), min_confidence=0)
        after = library.search("x y", min_confidence=0)
        assert [(hit.path, hit.score) for hit in before] == [(hit.path, hit.score) for hit in after]
    kept = b"".join(path.read_bytes() for path in (tmp_path / "library").rglob("*") if path.is_file())
    assert one.direction.tobytes() not in kept and b"one.profile" not in kept
