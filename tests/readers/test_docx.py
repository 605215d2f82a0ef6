"""Word documents: their words in order, and archives made to harm."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from multimodal.errors import NeedsExtra, ReadError
from multimodal.readers import docx as reader
from multimodal.readers import read, reader_for
from multimodal.readers.docx import document_text
from multimodal.types import ReadOptions
from tests import media, media_texts
from tests.pace import within

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
MC = "http://schemas.openxmlformats.org/markup-compatibility/2006"
BODY = b"<w:body>"


def with_body(path: Path, xml: str) -> Path:
    """A document that begins with this XML of its body."""
    document = media_texts.write_docx(path, ["The end."])

    def change(name: str, data: bytes) -> bytes:
        return data.replace(BODY, BODY + xml.encode()) if name == "word/document.xml" else data

    return media_texts.rewrite_zip(document, change)


def test_the_words_of_a_document_in_their_order(tmp_path: Path) -> None:
    from docx import Document

    document = Document()
    document.add_heading("On foxes", 1)
    document.add_paragraph("The red fox crossed\tthe lake.")
    document.add_paragraph("Bold ").add_run("words").bold = True
    table = document.add_table(2, 2)
    for cell, text in zip(table._cells, ("name", "size", "hen", "3 kg"), strict=True):
        cell.text = text
    whole = document.add_table(1, 1).cell(0, 0)
    whole.text = "A cell that holds"
    whole.add_paragraph("whole paragraphs.")
    document.add_picture(str(media.write_image(tmp_path / "x.png")))
    document.sections[0].header.paragraphs[0].text = "The header"
    document.sections[0].footer.paragraphs[0].text = "The footer"
    document.save(str(tmp_path / "x.docx"))
    assert document_text(tmp_path / "x.docx").split("\n\n") == [
        "The header",
        "On foxes",
        "The red fox crossed\tthe lake.",
        "Bold words",
        "name\tsize\nhen\t3 kg",
        "A cell that holds",
        "whole paragraphs.",
        "The footer",
    ]


def test_what_is_not_seen_is_no_text_and_what_is_seen_once_is_given_once(tmp_path: Path) -> None:
    box = "<w:txbxContent><w:p><w:r><w:t>In a box</w:t></w:r></w:p></w:txbxContent>"
    path = with_body(
        tmp_path / "x.docx",
        '<w:p><w:pPr><w:rPr><w:del w:id="1"/></w:rPr></w:pPr><w:r><w:t>Kept, </w:t></w:r>'
        '<w:ins w:id="2"><w:r><w:t>added</w:t></w:r></w:ins>'
        '<w:del w:id="3"><w:r><w:delText>gone</w:delText></w:r></w:del>'
        '<w:hyperlink><w:r><w:t xml:space="preserve"> and linked</w:t></w:r></w:hyperlink>'
        "<w:r><w:instrText>PAGE</w:instrText><w:br/><w:t>non</w:t><w:noBreakHyphen/><w:t>stop</w:t></w:r></w:p>"
        "<w:sdt><w:sdtContent><w:p><w:r><w:t>In a control</w:t></w:r></w:p></w:sdtContent></w:sdt>"
        f'<w:p><w:r><w:t>Around</w:t></w:r><w:r><mc:AlternateContent xmlns:mc="{MC}">'
        f'<mc:Choice Requires="wps">{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback>'
        "</mc:AlternateContent></w:r></w:p>",
    )
    assert document_text(path).split("\n\n") == [
        "Kept, added and linked\nnon-stop",
        "In a control",
        "Around",
        "In a box",
        "The end.",
    ]


def test_footnotes_are_read(tmp_path: Path) -> None:
    path = media_texts.write_docx(tmp_path / "x.docx", ["The end."])
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes"

    def change(name: str, data: bytes) -> bytes:
        if name == "[Content_Types].xml":
            return data.replace(
                b"</Types>",
                f'<Override PartName="/word/footnotes.xml" ContentType="{kind}"/></Types>'.encode(),
            )
        if name == "word/_rels/document.xml.rels":
            more = f'<Relationship Id="rId99" Type="{relation}" Target="footnotes.xml"/></Relationships>'
            return data.replace(b"</Relationships>", more.encode())
        return data

    note = "<w:footnote><w:p><w:r><w:t>A note.</w:t></w:r></w:p></w:footnote>"
    notes = f'<w:footnotes xmlns:w="{W}">{note}</w:footnotes>'
    media_texts.rewrite_zip(path, change, **{"word/footnotes.xml": notes.encode()})
    assert document_text(path).split("\n\n") == ["The end.", "A note."]


def test_passages_know_their_place_and_content_tells_a_document(tmp_path: Path) -> None:
    path = media_texts.write_docx(tmp_path / "x.docx", [f"A sentence, number {n}. " * 9 for n in range(5)])
    text = document_text(path)
    segments = list(read(path, ReadOptions(passage_chars=120)))
    assert len(segments) > 5
    for segment in segments:
        assert segment.chars is not None
        assert text[segment.chars[0] : segment.chars[1]] == segment.content
    assert reader_for(path.rename(tmp_path / "named.txt")).noun == "a Word document"


def test_pictures_are_not_unpacked_and_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from docx import Document

    document = Document()
    document.add_paragraph("A noisy picture.")
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    from PIL import Image

    Image.fromarray(noise).save(tmp_path / "x.png")
    document.add_picture(str(tmp_path / "x.png"))
    document.save(str(tmp_path / "x.docx"))
    monkeypatch.setattr(reader, "MAX_BYTES", 1_000_000)  # the picture alone has three
    assert document_text(tmp_path / "x.docx") == "A noisy picture."
    media_texts.rewrite_zip(tmp_path / "x.docx", lambda _, data: data.replace(b"media/image1", b"NULL"))
    assert document_text(tmp_path / "x.docx") == "A noisy picture."


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = with_body(tmp_path / "x.docx", "<w:p><w:r><w:t>" + "a" * 100_000_000 + "</w:t></w:r></w:p>")
    assert path.stat().st_size < 300_000
    with within(0.2), pytest.raises(ReadError, match="unpacks to more than 32 MB"):
        document_text(path)


def test_a_bomb_that_lies_about_its_size_is_stopped(tmp_path: Path) -> None:
    path = with_body(tmp_path / "x.docx", "<w:p><w:r><w:t>" + "a" * 50_000_000 + "</w:t></w:r></w:p>")
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("word/document.xml").file_size
    data = path.read_bytes()
    assert data.count(struct.pack("<I", size)) == 2
    path.write_bytes(data.replace(struct.pack("<I", size), struct.pack("<I", 5000)))
    with within(0.5), pytest.raises(ReadError, match="damaged"):
        document_text(path)
    with pytest.raises(ReadError, match="unpacks to more"):  # where zipfile does not look at the header
        reader._read(BytesIO(b"a" * 1001), 1000)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda name, data: data[:-30] if name == "word/document.xml" else data, "damaged"),
        (lambda name, data: b"" if name.endswith(".rels") else data, "damaged"),
        (lambda name, data: b"" if name == "[Content_Types].xml" else data, "damaged"),
        (lambda name, data: data.replace(BODY, BODY + b"<w:p>" * 100_000), "damaged"),
        (lambda name, data: data.replace(b"The end.", b" "), "the file holds no text"),
    ],
    ids=["cut", "no relations", "no types", "deep", "empty"],
)
def test_a_document_without_words_has_a_reason(
    change: Callable[[str, bytes], bytes], reason: str, tmp_path: Path
) -> None:
    path = media_texts.rewrite_zip(media_texts.write_docx(tmp_path / "x.docx", ["The end."]), change)
    with pytest.raises(ReadError, match=reason) as caught:
        list(read(path))
    assert len(str(caught.value)) < 150 and "\n" not in str(caught.value)


def test_entities_are_not_expanded(tmp_path: Path) -> None:
    laughs = b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 10))
    kinds = b'<!DOCTYPE x [<!ENTITY a0 "ha">' + laughs + b"]>"

    def change(name: str, data: bytes) -> bytes:
        if name != "word/document.xml":
            return data
        return data.replace(b"?>", b"?>" + kinds, 1).replace(b"The end.", b"The &a9; end.")

    path = media_texts.rewrite_zip(media_texts.write_docx(tmp_path / "x.docx", ["The end."]), change)
    with within(1):
        try:
            assert len(document_text(path)) < 100
        except ReadError as error:
            assert "damaged" in str(error)


def test_an_encrypted_part_is_named(tmp_path: Path) -> None:
    path = media_texts.write_docx(tmp_path / "x.docx", ["The end."])
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        data[at + 8] |= 1  # general purpose bit 0
        at = data.find(b"PK\x01\x02", at + 4)
    path.write_bytes(data)
    with pytest.raises(ReadError, match="locked by a password"):
        list(read(path))


def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from multimodal.readers import extras

    path = media_texts.write_docx(tmp_path / "x.docx", ["The end."])
    monkeypatch.setitem(extras.EXTRAS, "docx", "no_such_module")
    with pytest.raises(NeedsExtra, match=r"needs multimodal\[docx\]"):
        read(path)


def test_flipped_bytes_never_raise_anything_but_a_reason(tmp_path: Path) -> None:
    sound = media.write(tmp_path / "x.docx").read_bytes()
    rng = np.random.default_rng(7)
    for _ in range(60):
        data = bytearray(sound)
        for place in rng.integers(0, len(data), 12):
            data[place] = rng.integers(256)
        if rng.random() < 0.3:
            data = data[: rng.integers(1, len(data))]
        (tmp_path / "y.docx").write_bytes(data)
        try:
            list(read(tmp_path / "y.docx"))
        except ReadError as error:
            assert len(str(error)) < 150 and "\n" not in str(error)
