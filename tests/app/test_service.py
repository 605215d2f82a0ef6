"""What the page asks of a library, and the files it gives out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from multimodal import Library
from multimodal.app import cards
from multimodal.app.service import Service
from multimodal.errors import QueryError
from multimodal.types import Hits


@pytest.fixture(scope="module")
def service(samples: Path) -> Iterator[Service]:
    with Library(samples / ".multimodal") as library:
        yield Service(library, samples)


def test_words_files_and_both_are_answered(service: Service, samples: Path, tmp_path: Path) -> None:
    hits, _ = service.search("a cup of coffee")
    assert {hit.path.stem for hit in hits[:2]} == {"cup-of-coffee", "a-good-cup-of-coffee"}
    upload = tmp_path / "picture.png"
    upload.write_bytes((samples / "pictures/horse.png").read_bytes())
    hits, query = service.search("", str(upload), ["audio"])
    assert hits[0].path.name == "horse-neighing.ogg" and len(query.terms) == 1
    hits, query = service.search("castle", str(upload), path="*.jpg")
    assert hits[0].path.name == "castle.jpg" and len(query.terms) == 2
    again, _ = service.similar(hits[0].number or 0, ["image"])
    assert again[0].path.name == "castle.jpg"
    with pytest.raises(QueryError, match="nothing to look for"):
        service.search("  ")
    with pytest.raises(QueryError, match="not in the library any more"):
        service.similar(10**6)


def test_an_upload_that_is_no_media_is_one_sentence(service: Service, tmp_path: Path) -> None:
    (tmp_path / "song.mp3").write_bytes(b"no sound at all" * 100)
    (tmp_path / "program.exe").write_bytes(b"MZ" + bytes(1000))
    for name in ("song.mp3", "program.exe"):
        with pytest.raises(QueryError, match="The upload cannot be read"):
            service.search("", str(tmp_path / name))


@pytest.mark.slow
def test_a_hit_says_why(service: Service) -> None:
    hits, query = service.search("a cup of coffee")
    for hit in hits[:2]:
        assert service.why(hit, query).startswith(b"\x89PNG")
    assert service.map().startswith(b"\x89PNG")


def test_files_are_given_by_number_alone(service: Service, samples: Path) -> None:
    hits, _ = service.search("castle")
    number = hits[0].number
    assert number is not None and service.file(number) == hits[0].path
    for wrong in (0, -1, 10**9):
        assert service.file(wrong) is None


def test_cards_hold_no_html_of_the_files(service: Service) -> None:
    hits, _ = service.search("a cup of coffee")
    shown = cards.grid(hits)
    assert shown.count('class="mm-card"') == len(hits) and "data-act" in shown
    assert "&lt;b&gt;" in cards.grid(Hits(note="<b>nothing</b>"))
    listed = cards.listed(hits)
    assert listed[0]["path"] and listed[0]["number"] == hits[0].number


def test_indexing_tells_how_far_it_is(service: Service) -> None:
    told = list(service.index())
    assert told[-1].startswith("Done in") and "6 unchanged" in told[-1]
    assert service._indexing.acquire(blocking=False)
    assert list(service.index()) == ["The folder is being indexed already."]
    service._indexing.release()
