"""PDF documents: words and pictures page by page, and documents made to harm."""

from __future__ import annotations

import contextlib
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from multimodal.errors import NeedsExtra, ReadError, UnwantedModality
from multimodal.readers import pdf, read, reader_for
from multimodal.types import Modality, ReadOptions, Segment
from tests import media, media_texts
from tests.pace import within

CATALOGUE = b"<< /Type /Catalog /Pages 2 0 R >>"
SQUARE = b"0 0 9 9 re f"


def options(*modalities: Modality, **more: int) -> ReadOptions:
    return ReadOptions(modalities=modalities or ("text", "image"), **({"min_side": 100} | more))  # type: ignore[arg-type]


def told(path: Path, *modalities: Modality) -> list[tuple[int | None, str]]:
    return [
        (s.page, s.content if isinstance(s.content, str) else "picture")
        for s in read(path, options(*modalities))
    ]


def picture_of(segment: Segment) -> Image.Image:
    assert isinstance(segment.content, Image.Image)
    return segment.content


def test_each_page_gives_its_words_and_its_picture(tmp_path: Path) -> None:
    path = media_texts.write_pages(
        tmp_path / "x.pdf", [["The red fox.", "It ran."], [], ["Café “quoted” – end."]]
    )
    assert told(path) == [
        (1, "The red fox.\nIt ran."),
        (1, "picture"),
        (3, "Café “quoted” – end."),
        (3, "picture"),
    ]
    assert [text for _, text in told(path, "image")] == ["picture", "picture"]
    assert [page for page, _ in told(path, "text")] == [1, 3]


def test_passages_know_their_page_and_their_place_in_it(tmp_path: Path) -> None:
    import pypdfium2

    pages = [
        media_texts.wrapped([f"Page {page} has a sentence, number {n}." for n in range(30)])
        for page in range(3)
    ]
    path = media_texts.write_pages(tmp_path / "x.pdf", pages)
    with pypdfium2.PdfDocument(str(path)) as document:
        texts = [pdf.page_text(page) for page in document]
    assert [text.split("\n") for text in texts] == pages
    segments = list(read(path, options("text", passage_chars=200)))
    assert len(segments) > 10
    for segment in segments:
        assert segment.page is not None and segment.chars is not None and segment.start is None
        assert texts[segment.page - 1][segment.chars[0] : segment.chars[1]] == segment.content


def test_a_word_parted_at_the_end_of_a_line_is_whole(tmp_path: Path) -> None:
    path = media_texts.write_pages(tmp_path / "x.pdf", [["It crossed the fro-", "zen lake."]])
    assert told(path, "text") == [(1, "It crossed the frozen lake.")]


@pytest.mark.parametrize(("size", "min_side", "expected"), [
    ((595, 842), 100, (100, 142)),
    ((842, 595), 260, (368, 260)),
    ((120, 100), 260, (312, 260)),
    ((595, 842), None, (1190, 1684)),
])  # fmt: skip
def test_the_picture_is_as_small_as_is_asked_for(
    size: tuple[float, float], min_side: int | None, expected: tuple[int, int], tmp_path: Path
) -> None:
    path = media_texts.write_pages(tmp_path / "x.pdf", [["Words"]], size)
    (segment,) = read(path, ReadOptions(modalities=("image",), min_side=min_side))
    picture = picture_of(segment)
    assert picture.mode == "RGB" and np.abs(np.subtract(picture.size, expected)).max() <= 1
    assert min_side is None or min(picture.size) >= min_side


def test_the_picture_shows_the_page_in_its_colours(tmp_path: Path) -> None:
    shapes = b"1 0 0 rg 0 0 150 300 re f 0 0 1 rg 150 0 150 300 re f"
    (tmp_path / "x.pdf").write_bytes(media_texts.raw_pdf(media_texts.one_page(shapes)))
    (segment,) = read(tmp_path / "x.pdf", options())
    picture = picture_of(segment)
    assert picture.getpixel((20, 50)) == (255, 0, 0) and picture.getpixel((80, 50)) == (0, 0, 255)


def test_a_locked_document_says_so_and_one_that_opens_is_read(tmp_path: Path) -> None:
    locked = media_texts.write_locked_pdf(tmp_path / "x.pdf", "A secret fox", user="sesame")
    with pytest.raises(ReadError, match=r"^the document is locked by a password$"):
        list(read(locked))
    opened = media_texts.write_locked_pdf(tmp_path / "y.pdf", "A public fox", user="")
    assert told(opened, "text") == [(1, "A public fox")]


def test_a_page_that_fails_takes_no_other_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pypdfium2

    path = media_texts.write_pages(tmp_path / "x.pdf", [["One"], ["Two"], ["Three"]])
    sound = pypdfium2.PdfDocument.get_page

    def get_page(document: pypdfium2.PdfDocument, index: int) -> pypdfium2.PdfPage:
        if index == 1:
            raise pypdfium2.PdfiumError("Failed to load page.")
        return sound(document, index)

    monkeypatch.setattr(pypdfium2.PdfDocument, "get_page", get_page)
    assert told(path, "text") == [(1, "One"), (3, "Three")]


def test_content_tells_a_document(tmp_path: Path) -> None:
    path = media_texts.write_pages(tmp_path / "x.pdf", [["Words"]])
    data = path.read_bytes()
    for name, content in (
        ("x.jpg", data),
        ("x", data),
        ("late.pdf", b"\0junk\n" + data),
        ("late", b"\0junk\n" + data),
    ):
        (tmp_path / name).write_bytes(content)
        assert reader_for(tmp_path / name).noun == "a PDF document"
        assert told(tmp_path / name, "text") == [(1, "Words")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"%PDF-1.7\n%\xe2\xe3", "the document is damaged"),
        (media_texts.raw_pdf(media_texts.one_page(b"")), "the document is blank"),
        (media_texts.raw_pdf([CATALOGUE, b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 9 >>"]),
         "none of its pages can be read"),
    ],
)  # fmt: skip
def test_a_document_that_gives_nothing_has_a_reason(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "x.pdf").write_bytes(content)
    with pytest.raises(ReadError, match=reason):
        list(read(tmp_path / "x.pdf", options()))


def test_a_scan_holds_no_text(tmp_path: Path) -> None:
    media.picture().save(tmp_path / "x.pdf")
    assert told(tmp_path / "x.pdf") == [(1, "picture")]
    with pytest.raises(ReadError, match="the document holds no text"):
        told(tmp_path / "x.pdf", "text")
    with pytest.raises(UnwantedModality):
        read(tmp_path / "x.pdf", ReadOptions(modalities=("audio",)))


HOSTILE = {
    "a million pages that are not there": media_texts.raw_pdf(
        [CATALOGUE, b"<< /Type /Pages /Kids [] /Count 1000000 >>"]
    ),
    "a form in itself": media_texts.raw_pdf(
        [
            *media_texts.one_page(b"/A Do", b"/XObject << /A 5 0 R >>"),
            media_texts.stream(
                b"/A Do 0 0 10 10 re f",
                b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /A 5 0 R >> >>",
            ),
        ]
    ),
    "a page of 10 km": media_texts.raw_pdf(media_texts.one_page(SQUARE, box=b"0 0 30000000 30000000")),
    "a strip": media_texts.raw_pdf(media_texts.one_page(SQUARE, box=b"0 0 3000000 1")),
    "a page of no size": media_texts.raw_pdf(media_texts.one_page(SQUARE, box=b"0 0 0 0")),
    "a page of nan": media_texts.raw_pdf(media_texts.one_page(SQUARE, box=b"0 0 1e999 nan")),
    "a bomb": media_texts.raw_pdf(
        [
            *media_texts.one_page(b"")[:3],
            media_texts.stream(zlib.compress(b" " * 100_000_000), b"/Filter /FlateDecode"),
        ]
    ),
    "deep": media_texts.raw_pdf(media_texts.one_page(b"[" * 500_000 + b"q " * 250_000)),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_document_ends_soon_and_small(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.pdf").write_bytes(HOSTILE[name])
    with within(5), contextlib.suppress(ReadError):
        for segment in read(tmp_path / "x.pdf", options()):
            if segment.modality == "image":
                assert np.prod(picture_of(segment).size) < 1.1 * pdf.MOST_PIXELS


def test_pages_are_read_one_by_one_in_flat_memory(tmp_path: Path) -> None:
    lines = [f"Line {n} has some words of text in it, and more of them." for n in range(40)]
    path = media_texts.write_pages(tmp_path / "x.pdf", [lines] * 300)
    process = psutil.Process()
    sizes = []
    for segment in read(path, options()):
        if segment.modality == "image":
            sizes.append(process.memory_info().rss)
    assert len(sizes) == 300
    assert max(sizes[50:]) - sizes[50] < 20e6


def test_two_threads_may_read_at_once(tmp_path: Path) -> None:
    path = media_texts.write_pages(tmp_path / "x.pdf", [[f"Page {n}"] for n in range(30)])
    expected = told(path)
    with ThreadPoolExecutor(4) as pool:
        assert all(got == expected for got in pool.map(lambda _: told(path), range(8)))


def test_reading_may_stop_before_the_end(tmp_path: Path) -> None:
    path = media_texts.write_pages(tmp_path / "x.pdf", [["One"], ["Two"]])
    segments = read(path, options())
    assert next(segments).page == 1
    segments.close()  # type: ignore[attr-defined]
    path.unlink()


def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from multimodal.readers import extras

    path = media_texts.write_pages(tmp_path / "x.pdf", [["One"]])
    monkeypatch.setitem(extras.EXTRAS, "pdf", "no_such_module")
    with pytest.raises(NeedsExtra, match=r"needs multimodal\[pdf\]"):
        read(path)


def test_flipped_bytes_never_raise_anything_but_a_reason(tmp_path: Path) -> None:
    sound = media_texts.write_pages(tmp_path / "x.pdf", [["One fox"], ["Two foxes"]]).read_bytes()
    rng = np.random.default_rng(7)
    for _ in range(100):
        data = bytearray(sound)
        for place in rng.integers(0, len(data), 12):
            data[place] = rng.integers(256)
        if rng.random() < 0.3:
            data = data[: rng.integers(5, len(data))]
        (tmp_path / "y.pdf").write_bytes(data)
        try:
            list(read(tmp_path / "y.pdf", options()))
        except ReadError as error:
            assert len(str(error)) < 150 and "\n" not in str(error)
