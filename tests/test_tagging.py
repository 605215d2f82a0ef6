from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lxml import etree
from PIL import Image

from multimodal.errors import QueryError, ReadError
from multimodal.library import Library
from multimodal.library.auditing import audit
from multimodal.library.captioning import CaptionBank, caption
from multimodal.library.means import file_means
from multimodal.sidecars import write_labels
from tests.fakes import fake_space

LIGHTROOM = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"
 xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:subject><rdf:Bag><rdf:li>holiday</rdf:li></rdf:Bag></dc:subject>
</rdf:Description></rdf:RDF></x:xmpmeta>"""
SUBJECT = "{http://purl.org/dc/elements/1.1/}subject"
HIERARCHY = "{http://ns.adobe.com/lightroom/1.0/}hierarchicalSubject"


def picture(path: Path, colour: str) -> Path:
    Image.new("RGB", (40, 40), colour).save(path)
    return path


def words(sidecar: Path, tag: str) -> list[str]:
    tree = etree.fromstring(sidecar.read_bytes())
    return [item.text or "" for bag in tree.iter(tag) for item in bag.iter("{*}li")]


def test_labels_join_what_a_sidecar_holds(tmp_path: Path) -> None:
    media = picture(tmp_path / "a.png", "red")
    sidecar = tmp_path / "a.xmp"
    sidecar.write_text(LIGHTROOM, encoding="utf-8")
    for _ in range(2):
        assert write_labels(media, [("animal", "dog"), ("holiday",)]) == sidecar
    assert words(sidecar, SUBJECT) == ["holiday", "dog"]
    assert words(sidecar, HIERARCHY) == ["animal|dog"]
    assert 'Rating="4"' in sidecar.read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.xmp"]


def test_a_new_sidecar_is_read_as_the_caption_of_its_file(tmp_path: Path) -> None:
    media = picture(tmp_path / "a.png", "red")
    assert write_labels(media, [("schöner & <roter> Hund",)]).name == "a.png.xmp"
    with Library(tmp_path / ".multimodal", fake_space()) as library:
        library.add(tmp_path, workers=1)
        captions = [text for file in file_means(library) for text, _ in file.captions]
    assert any("schöner & <roter> Hund" in text for text in captions)


def test_what_is_no_sidecar_is_left_alone(tmp_path: Path) -> None:
    media = picture(tmp_path / "a.png", "red")
    for text in ("not xml", "<html/>", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'):
        (tmp_path / "a.xmp").write_text(text, encoding="utf-8")
        with pytest.raises(QueryError, match="left alone"):
            write_labels(media, [("dog",)])
        assert (tmp_path / "a.xmp").read_text(encoding="utf-8") == text


def test_swapped_captions_are_found(tmp_path: Path) -> None:
    for name, colour, told in (("a", "red", "blue"), ("b", "blue", "red"), ("c", "lime", "green")):
        picture(tmp_path / f"{name}.png", colour)
        (tmp_path / f"{name}.txt").write_text(told, encoding="utf-8")
    with Library(tmp_path / ".multimodal", fake_space()) as library:
        library.add(tmp_path, workers=1)
        found = audit(list(file_means(library)))
    assert found.captions == 3 and found.files == 3
    assert {(one.path.name, one.better.name) for one in found.misfits} == {
        ("a.png", "b.png"),
        ("b.png", "a.png"),
    }
    assert all(one.mutual and one.margin > 0.5 for one in found.misfits)


def test_a_picture_is_captioned_out_of_a_bank(tmp_path: Path) -> None:
    space = fake_space()
    bank = CaptionBank.of(["blue", "red", "red red", "green"], space)
    (found,) = caption(space, picture(tmp_path / "a.png", "#ff8000"), bank, k=2)
    assert found.matches[0].caption in ("red", "red red")
    assert found.matches[1].caption == "green"  # not red again
    assert found.start is None
    with pytest.raises(QueryError, match="at least 1"):
        caption(space, tmp_path / "a.png", bank, k=0)
    with pytest.raises(ReadError):
        caption(space, tmp_path / "missing.png", bank)


def test_banks_come_from_lists_files_and_the_package(tmp_path: Path) -> None:
    space = fake_space()
    (tmp_path / "bank.txt").write_text("red\n\nblue\nred\n", encoding="utf-8")
    assert CaptionBank.of(tmp_path / "bank.txt", space).sentences == ["red", "blue"]
    assert len(CaptionBank.of(None, space).sentences) > 50
    with pytest.raises(QueryError, match="empty"):
        CaptionBank.of([], space)
    assert np.allclose(np.linalg.norm(CaptionBank.of(["a b"], space).rows, axis=1), 1)
