"""Shared libraries: written by one, pulled by others."""

from __future__ import annotations

from pathlib import Path

import pytest

from multimodal import Library
from multimodal.errors import LibraryBusy, NoLibrary, WrongSpace
from multimodal.scale import index
from multimodal.scale.shared import pull, writing
from tests.fakes import fake_space
from tests.library.serial import Serial
from tests.scale.kept import assert_equal, files

pytest.importorskip("lance", reason="needs multimodal[lance]")


@pytest.fixture
def uri(tmp_path: Path, serial: Serial) -> str:
    return (tmp_path / "shared").as_uri()


def share(uri: str, source: Path, space_version: int = 1) -> dict[str, str]:
    report = index(uri, source, space=fake_space(space_version))
    return {record.path.name: record.status for record in report.records}


def test_what_is_pulled_is_what_one_machine_would_have(uri: str, photos: Path, tmp_path: Path) -> None:
    (photos / "copy.txt").write_bytes((photos / "apple.txt").read_bytes())
    (photos / "bad.jpg").write_bytes(b"\xff\xd8 nothing")
    told = share(uri, photos)
    assert sorted(told.values()) == ["added"] * 6 + ["failed", "reused"]
    with Library(tmp_path / "one", fake_space()) as library:
        library.add(photos)
    assert pull(uri, tmp_path / "mine", fake_space()) == 8
    assert_equal(tmp_path / "one", tmp_path / "mine")
    with Library(tmp_path / "mine", fake_space()) as library:
        [hit] = library.search("cat in a hat", k=1)
        assert hit.path == photos / "cat.txt"


def test_only_what_changed_is_pulled(uri: str, photos: Path, tmp_path: Path) -> None:
    share(uri, photos / "sub")
    assert pull(uri, tmp_path / "mine", fake_space()) == 2
    assert pull(uri, tmp_path / "mine", fake_space()) == 0
    share(uri, photos)  # whose files below are those of before, in another root
    pull(uri, tmp_path / "mine", fake_space())
    (photos / "sub" / "fox.txt").unlink()
    share(uri, photos)
    (photos / "cat.txt").write_text("cat without a hat")
    (photos / "dog.txt").touch()
    (photos / "new.txt").write_text("news of today")
    (photos / "bad.jpg").write_bytes(b"nothing")
    told = share(uri, photos)
    assert {told[name] for name in ("cat.txt", "new.txt")} == {"added"} and told["dog.txt"] == "unchanged"
    assert pull(uri, tmp_path / "mine", fake_space()) == 5
    with Library(tmp_path / "one", fake_space()) as library:
        library.add(photos)
    assert_equal(tmp_path / "one", tmp_path / "mine")
    assert {name: state for name, state in share(uri, photos).items() if state != "unchanged"} == {
        "bad.jpg": "failed"
    }


def test_pages_do_not_cut_files(
    uri: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        (photos / f"{number}.txt").write_text("\n\n".join(f"part {n} of {number} " * 60 for n in range(4)))
    share(uri, photos)
    monkeypatch.setattr("multimodal.scale.shared.NUMBERS", 7)
    pull(uri, tmp_path / "mine", fake_space())
    with Library(tmp_path / "one", fake_space()) as library:
        library.add(photos)
    assert len(files(tmp_path / "mine")) == 36
    assert_equal(tmp_path / "one", tmp_path / "mine")


def test_spaces_and_writers_are_kept_apart(uri: str, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(NoLibrary):
        pull(uri, tmp_path / "mine", fake_space())
    share(uri, photos)
    with pytest.raises(WrongSpace):
        share(uri, photos, space_version=2)
    with pytest.raises(WrongSpace):
        pull(uri, tmp_path / "mine", fake_space(2))
    with writing(uri, fake_space()), pytest.raises(LibraryBusy):
        share(uri, photos)
    assert set(share(uri, photos).values()) == {"unchanged"}
