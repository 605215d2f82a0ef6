"""PDF: the text of each page in passages, and the page as a picture, through PDFium (extra `pdf`)."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multimodal.errors import ReadError
from multimodal.readers.base import open_file, readable
from multimodal.readers.extras import require
from multimodal.readers.text import passage_segments
from multimodal.types import Modality, ReadOptions, Segment

if TYPE_CHECKING:
    from PIL.Image import Image

DOTS_PER_POINT = 2.0
"""Pixels for 1/72 inch where no smaller size is asked for: 144 dpi, an A4 page is 1,190 x 1,684."""
MOST_PIXELS = 16_000_000
MOST_SIDE = 16_000
"""No page is rendered larger than this, whatever its shape: the shorter side of a strip falls below the
wanted."""
MOST_FAILURES = 1_000
"""Pages in a row that may be damaged before the rest is given up: a header can state a million that are
not there."""

_PDFIUM = threading.RLock()
"""PDFium is not safe to call from two threads at once."""
_LIGATURES = dict(zip(range(0xFB00, 0xFB07), ("ff", "fi", "fl", "ffi", "ffl", "st", "st"), strict=True))
# U+FFFE is PDFium's mark for a hyphen at the end of a line within a word.
_NO_WORDS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\ufffe\uffff\u00ad]")


class PdfReader:
    """pdf: for each page its passages with `page` and `chars`, then a picture of it with `page`.

    Passages are cut as `TextReader` cuts them; offsets count in what `page_text` gives. The picture is
    rendered at the smallest size whose shorter side has `options.min_side` pixels; a page with nothing on
    it gives none. Pages are read one by one, damaged ones are passed over.

    Raises ReadError where the document is locked by a password or damaged, or no page holds what is asked
    for; NeedsExtra where PDFium is not installed.
    """

    modality: Modality = "text"
    yields: tuple[Modality, ...] = ("text", "image")
    noun = "a PDF document"
    extensions = (".pdf",)
    kinds = ("pdf",)

    def read(self, path: Path, options: ReadOptions = ReadOptions()) -> Iterator[Segment]:  # noqa: B008
        require("pdf")
        found = failed = in_a_row = 0
        with _opened(path) as document:
            for number in range(len(document)):
                try:
                    segments = _page_segments(document, number, path, options)
                except MemoryError:
                    raise
                except Exception:  # whatever PDFium's binding makes of a damaged page
                    failed, in_a_row = failed + 1, in_a_row + 1
                    if in_a_row > MOST_FAILURES:
                        break
                    continue
                in_a_row = 0
                found += len(segments)
                yield from segments
        if not found:
            blank = "the document is blank" if "image" in options.modalities else "the document holds no text"
            raise ReadError("none of its pages can be read" if failed else blank)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import pypdfium2

    with ExitStack() as stack:
        with readable():
            # As a stream: names that are no Unicode are none for PDFium.
            file = stack.enter_context(open_file(path))
        with _PDFIUM:
            try:
                document = pypdfium2.PdfDocument(file)
            except pypdfium2.PdfiumError as error:
                raise ReadError(_reason(error.err_code)) from error
        try:
            yield document
        finally:
            with _PDFIUM:
                document.close()


def _reason(code: int | None) -> str:
    from pypdfium2 import raw

    if code == raw.FPDF_ERR_PASSWORD:
        return "the document is locked by a password"
    if code == raw.FPDF_ERR_SECURITY:
        return "the document is encrypted in a way that cannot be read"
    return "the document is damaged"


def _page_segments(document: Any, number: int, path: Path, options: ReadOptions) -> list[Segment]:
    segments: list[Segment] = []
    with _PDFIUM, closing(document[number]) as page:
        if "text" in options.modalities:
            segments += passage_segments(page_text(page), path, options, page=number + 1)
        if "image" in options.modalities and (picture := _picture(page, options.min_side)) is not None:
            segments.append(Segment("image", picture, path, page=number + 1))
    return segments


def page_text(page: Any) -> str:
    """The words of a page (of `pypdfium2.PdfDocument`) in the order of the file, a line break at each line's
    end; words parted by a hyphen there are whole, ligatures are letters, control characters left out."""
    with closing(page.get_textpage()) as text:
        lines = text.get_text_range().replace("\r\n", "\n").replace("\r", "\n")
    return _NO_WORDS.sub("", lines).translate(_LIGATURES)


def _picture(page: Any, min_side: int | None) -> Image | None:
    """The page as an RGB picture, None where it is of one colour."""
    width, height = page.get_size()  # points
    if not (math.isfinite(width * height) and width > 0 and height > 0):
        return None
    scale = DOTS_PER_POINT if min_side is None else min_side / min(width, height)
    scale = min(scale, math.sqrt(MOST_PIXELS / (width * height)), MOST_SIDE / max(width, height))
    with closing(page.render(scale=scale, rev_byteorder=True, limit_image_cache=True)) as bitmap:
        picture: Image = bitmap.to_pil().convert("RGB")  # a copy: the memory is the bitmap's
    return None if picture.getcolors(1) else picture
