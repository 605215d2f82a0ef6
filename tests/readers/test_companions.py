"""Sidecars: which file belongs to which medium by name, and what each kind of them says."""
# ruff: noqa: E501 - a name or a document to a line

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal.errors import ReadError
from multimodal.readers.companions import companions_of, read_companion
from multimodal.types import ReadOptions, Segment
from tests import media, media_texts
from tests.pace import within


@pytest.mark.parametrize(
    ("medium", "sidecar"),
    [
        ("a.jpg", "a.txt"),
        ("a.jpg", "a.json"),
        ("a.jpg", "a.xmp"),
        ("a.jpg", "a.jpg.txt"),
        ("a.jpg", "a.jpg.json"),
        ("a.jpg", "a.jpg.xmp"),
        ("a.JPG", "a.jpg.XMP"),
        ("a.JPG", "a.TXT"),
        ("a.b.jpg", "a.b.txt"),
        ("a.mp4", "a.srt"),
        ("a.mp4", "a.mp4.vtt"),
        ("a.mp4", "a.en.srt"),
        ("a.mkv", "a.de-AT.vtt"),
        ("a.mkv", "a.zh-Hans.ass"),
        ("a.webm", "a.en-orig.vtt"),
        ("a.mkv", "a.forced.ssa"),
        ("a.mkv", "a.en.forced.srt"),
        ("a.mkv", "a.en.sdh.forced.srt"),
        ("a.mkv", "a.English.srt"),
        ("a.mp4", "a.txt"),
        ("a.mp3", "a.srt"),
        ("a.flac", "a.flac.json"),
        ("a.mp4", "a.info.json"),
        ("a.mp4", "a.mp4.info.json"),
        ("IMG_1.jpg", "IMG_1.jpg.supplemental-metadata.json"),
        ("IMG_1.jpg", "IMG_1.jpg.supplemental-meta.json"),
        ("IMG_1.jpg", "IMG_1.jpg.suppl.json"),
        ("IMG_1.jpg", "IMG_1.jpg.s.json"),
        ("IMG_1.HEIC", "IMG_1.HEIC.supplemental-metadata.json"),
        ("IMG_1(2).jpg", "IMG_1.jpg.supplemental-metadata(2).json"),
        ("IMG_1(2).jpg", "IMG_1.jpg(2).json"),
        ("PXL_20240101_123456789.PORTRAIT-01.COVER.jpg", "PXL_20240101_123456789.PORTRAIT-01.COVER.jpg.s.json"),
        ("PXL_20240101_123456789.PORTRAIT.ORIGINAL-longer.jpg", "PXL_20240101_123456789.PORTRAIT.ORIGINAL-longe.json"),
    ],
)  # fmt: skip
def test_a_sidecar_belongs_by_its_name(medium: str, sidecar: str) -> None:
    assert companions_of([sidecar, medium]) == {medium: (sidecar,)}


@pytest.mark.parametrize(
    "names",
    [
        ("a.jpg", "b.txt"),
        ("a.jpg", "ab.txt"),
        ("a.jpg", "a.srt"),  # a picture has nothing to say
        ("a.jpg", "a.en.srt"),
        ("a.jpg", "a.pdf"),
        ("a.jpg", "a.en.txt"),
        ("a.jpg", "A.txt"),
        ("a.mp4", "a.S01E02.srt"),
        ("a.mp4", "a.en.de.fr.es.srt"),
        ("a.mp4", ".srt"),
        ("a.pdf", "a.txt"),  # a document has words of its own
        ("a.txt", "a.json"),
        ("a.srt", "a.txt"),
        ("a.jpg", "a.s.json"),  # shortened only behind the whole name
        ("IMG_1.jpg", "IMG_1.jpg.supplemental-metadata(2).json"),
        ("IMG_1.jpg", "IMG_1.jpg.other.json"),
        (".jpg", ".txt"),
        (),
    ],
)
def test_others_stand_for_themselves(names: tuple[str, ...]) -> None:
    assert companions_of(names) == {}


def test_one_sidecar_may_be_that_of_several_and_several_that_of_one() -> None:
    names = ["b.txt", "a.xmp", "a.cr2", "a.jpg", "a.jpg.json", "a.mp4", "a.srt", "a.en.srt", "c.png"]
    assert companions_of(names) == {
        "a.cr2": ("a.xmp",),
        "a.jpg": ("a.jpg.json", "a.xmp"),
        "a.mp4": ("a.en.srt", "a.srt", "a.xmp"),
    }


def test_the_longest_name_of_a_video_has_its_subtitles() -> None:
    names = ["film.mp4", "film.de.mp4", "film.de.srt", "film.de.en.srt", "film.en.srt"]
    assert companions_of(names) == {
        "film.mp4": ("film.en.srt",),
        "film.de.mp4": ("film.de.en.srt", "film.de.srt"),
    }


@given(
    st.permutations(["a.jpg", "a.cr2", "a.txt", "a.jpg.json", "b.mp4", "b.en.srt", "b.srt", "b.info.json"])
)
def test_the_order_of_names_does_not_matter(names: list[str]) -> None:
    assert companions_of(names) == companions_of(sorted(names))


@pytest.mark.parametrize(
    "name",
    ["{n}.jpg {n}.txt", "{n}.mp4 {n}.en.forced.srt", "{n}.jpg {n}.jpg.supplemental-metadata.json",
     "same-long-beginning-of-a-name-that-goes-on-and-on-{n}.jpg same-long-beginning-of-a-name-that-goes-on-{n}.json"],
)  # fmt: skip
def test_a_hundred_thousand_names_take_a_moment(name: str) -> None:
    names = [one for n in range(50_000) for one in name.format(n=n).split()]
    with within(3):
        companions_of(names)


def said(companion: Path, medium: str = "a.jpg", **options: int) -> list[tuple[str, str]]:
    path = companion.with_name(medium)
    segments: list[Segment] = list(read_companion(companion, path, ReadOptions(**options)))  # type: ignore[arg-type]
    assert all(segment.modality == "text" and segment.path == path for segment in segments)
    return [(str(segment.content), segment.role) for segment in segments]


def test_a_text_is_a_caption_in_passages(tmp_path: Path) -> None:
    path = media.write_text(tmp_path / "a.txt", "Füchse auf dem Eis.\n\nThe fox at dawn.", "cp1252")
    assert said(path) == [("Füchse auf dem Eis.", "caption"), ("The fox at dawn.", "caption")]
    assert not list(read_companion(path, path, ReadOptions(modalities=("image",))))


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"caption": "a fox", "url": "http://x.org", "width": 3, "original_width": 4}, ["a fox"]),  # img2dataset
        ({"title": "IMG_1.jpg", "description": "Fox at dawn", "photoTakenTime": {"timestamp": "1"}}, ["Fox at dawn"]),
        ({"title": "a.jpg", "description": ""}, []),
        ({"title": "A film", "description": "About.", "uploader": "no", "tags": ["fox", "ice"], "formats": [{"format": "no"}]},
         ["A film", "About.", "fox, ice"]),
        ({"title": "One", "fulltitle": "One", "caption": "One"}, ["One"]),
        ({"alt": "on ice", "keywords": ["fox"], "user": {"description": "no"}}, ["on ice", "fox"]),
        ([{"content": "no", "text": "yes"}], ["yes"]),
        ({"shapes": [{"label": "fox"}]}, []),
        ([], []),
        ("a string", []),
        (None, []),
    ],
)  # fmt: skip
def test_the_captions_of_json(document: object, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(document), encoding="utf-8")
    assert said(tmp_path / "a.json") == [(text, "caption") for text in expected]


def test_a_long_description_is_cut_in_passages(tmp_path: Path) -> None:
    words = " ".join(f"word{n}" for n in range(100))
    (tmp_path / "a.json").write_text(json.dumps({"description": words, "caption": words}), encoding="utf-8")
    got = [text for text, _ in said(tmp_path / "a.json", passage_chars=100)]
    assert len(got) > 5 and all(len(text) <= 100 for text in got)
    assert " ".join(got) == words  # once


@pytest.mark.parametrize("extension", media_texts.SUBTITLE_EXTENSIONS)
def test_subtitles_keep_their_times(extension: str, tmp_path: Path) -> None:
    path = media.write_subtitles(tmp_path / f"a.en{extension}", [(1.0, 2.0, "Hello."), (9.0, 10.0, "Bye.")])
    segments = list(read_companion(path, tmp_path / "a.mp4", ReadOptions()))
    assert [(s.content, s.start, s.end, s.role) for s in segments] == [
        ("Hello.", 1.0, 2.0, "subtitles"),
        ("Bye.", 9.0, 10.0, "subtitles"),
    ]


def test_xmp_says_title_description_and_keywords(tmp_path: Path) -> None:
    (tmp_path / "a.xmp").write_text(
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title><rdf:Alt><rdf:li xml:lang="x-default">'
        "A fox</rdf:li></rdf:Alt></dc:title><dc:subject><rdf:Bag><rdf:li>fox</rdf:li><rdf:li>ice</rdf:li></rdf:Bag>"
        "</dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>",
        encoding="utf-8",
    )
    assert said(tmp_path / "a.xmp") == [("A fox", "caption"), ("fox, ice", "caption")]


@pytest.mark.parametrize("name", ["a.txt", "a.json", "a.xmp", "a.srt", "a.ass"])
def test_an_empty_sidecar_says_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"")
    assert said(tmp_path / name) == []
    if name != "a.json":
        (tmp_path / name).write_bytes(b" \n" if name != "a.xmp" else b"<x/>")
        assert said(tmp_path / name) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b"{broken"),
        ("a.json", b"[" * 1_000_000),
        ("a.json", b'{"caption":' * 200_000),
        ("a.json", b'{"n": ' + b"9" * 100_000 + b"}"),
        ("a.json", bytes(range(256))),
        ("a.txt", bytes(range(256)) * 9),
        ("a.srt", bytes(range(256)) * 9),
        ("a.xmp", b"hello"),
        ("gone.txt", None),
    ],
)  # fmt: skip
def test_a_damaged_sidecar_has_a_reason(name: str, content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ReadError) as caught:
        said(tmp_path / name)
    assert len(str(caught.value)) < 100 and str(tmp_path) not in str(caught.value)


def test_a_gigabyte_of_json_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "a.json").open("wb") as file:
        file.write(b'{"caption": "')
        file.truncate(2**30)
    with within(0.5), pytest.raises(ReadError, match="longer than 16 MB"):
        said(tmp_path / "a.json")
