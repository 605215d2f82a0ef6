"""Word documents: paragraphs, tables, notes, headers and footers, through python-docx (extra `docx`).

What is unpacked is bounded before and while it is unpacked, and only the parts that are XML are:
python-docx would load every picture and sound of the document into memory.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from multimodal.errors import ReadError
from multimodal.readers.base import open_file, readable
from multimodal.readers.extras import require
from multimodal.readers.text import passage_segments, told
from multimodal.types import Modality, ReadOptions, Segment

MAX_BYTES = 32 * 2**20
"""Of XML, unpacked. A novel has 5 MB; the tree of 32 MB takes 0.5 GB."""
MAX_PARTS = 10_000
"""Files in the archive; each picture of a document is one."""
CHUNK = 1 << 18

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_PARAGRAPH, _TABLE, _BOX = _W + "p", _W + "tbl", _W + "txbxContent"
_UNSEEN = frozenset(
    (
        *(_W + tag for tag in ("del", "moveFrom", "instrText", "delText", "rPr", "pPr")),
        "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback",  # the same once more
    )
)
_MARKS = {_W + "tab": "\t", _W + "ptab": "\t", _W + "br": "\n", _W + "cr": "\n", _W + "noBreakHyphen": "-"}
_NOTES = ("footnotes", "endnotes")
_FOLLOWED = ("officeDocument", "header", "footer", *_NOTES)
"""Relations to parts with text, by the last word of their type. Others (pictures, fonts) may lead nowhere."""
_MAIN = b"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
# Of templates and of documents with macros, which hold text in the same way.
_OTHER_MAINS = re.compile(
    rb"application/vnd\.(?:ms-word\.(?:document|template)\.macroEnabled(?:Template)?"
    rb"|openxmlformats-officedocument\.wordprocessingml\.template)\.main\+xml"
)


class DocxReader:
    """docx and docm: passages of the document's text, as `TextReader` cuts them.

    In this order: headers, the body with its tables and text boxes, footnotes, endnotes, footers, each
    header and footer once. Deleted text of tracked changes and field codes are left out.

    Raises ReadError for a document without text, a damaged or encrypted one, and one that unpacks to more
    than 32 MB of XML, whatever its headers state; NeedsExtra where python-docx is not installed.
    """

    modality: Modality = "text"
    yields: tuple[Modality, ...] = ("text",)
    noun = "a Word document"
    extensions = (".docx", ".docm")
    kinds = ("docx",)

    def read(self, path: Path, options: ReadOptions = ReadOptions()) -> Iterator[Segment]:  # noqa: B008
        require("docx")
        yield from told(passage_segments(document_text(path), path, options))


def document_text(path: Path) -> str:
    """The words of a document: paragraphs parted by an empty line, rows of a table by a line break and their
    cells by a tab. Raises ReadError."""
    with readable(), open_file(path) as file:
        try:
            parts = _parts(xml_of(file))
            return "\n\n".join(block for part in parts for block in _blocks(part))
        except (ReadError, MemoryError, OSError):
            raise
        except RuntimeError as error:
            if "encrypted" in str(error):  # so zipfile says it
                raise ReadError("the document is locked by a password") from error
            raise ReadError("the document is damaged") from error
        except Exception as error:  # BadZipFile, zlib.error, XMLSyntaxError, KeyError: what is stumbled over
            raise ReadError("the document is damaged") from error


def xml_of(file: IO[bytes]) -> BytesIO:
    """A copy of the archive with its XML alone, as python-docx reads it: relations to other parts left out.

    Raises ReadError where it is larger than MAX_BYTES, and whatever zipfile and lxml raise.
    """
    slim = BytesIO()
    left = MAX_BYTES
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(slim, "w") as copy:
        parts = [part for part in archive.infolist() if part.filename.lower().endswith((".xml", ".rels"))]
        if len(parts) > MAX_PARTS:
            raise ReadError(f"the document has more than {MAX_PARTS:,} parts")
        if sum(part.file_size for part in parts) > MAX_BYTES:
            raise ReadError(_TOO_LONG)
        for part in parts:
            with archive.open(part) as stream:
                data = _read(stream, left)
            left -= len(data)
            if part.filename == "[Content_Types].xml":
                data = _OTHER_MAINS.sub(_MAIN, data)
            elif part.filename.endswith(".rels"):
                data = _followed(data)
            copy.writestr(zipfile.ZipInfo(part.filename), data)
    slim.seek(0)
    return slim


_TOO_LONG = f"the document unpacks to more than {MAX_BYTES // 2**20} MB"


def _read(stream: IO[bytes], most: int) -> bytes:
    """All of a stream. Raises ReadError as soon as it gives more than `most` bytes, whatever it states."""
    chunks, size = [], 0
    while chunk := stream.read(CHUNK):
        size += len(chunk)
        if size > most:
            raise ReadError(_TOO_LONG)
        chunks.append(chunk)
    return b"".join(chunks)


def _followed(relations: bytes) -> bytes:
    from docx.oxml.parser import parse_xml
    from lxml import etree

    root = parse_xml(relations)
    for relation in list(root):
        known = relation.get("Type", "").rpartition("/")[2] in _FOLLOWED
        if not known or relation.get("TargetMode") == "External":
            root.remove(relation)
    return bytes(etree.tostring(root))


def _parts(archive: BytesIO) -> list[Any]:
    """The roots of the parts that hold text, in the order of `DocxReader`."""
    from docx import Document
    from docx.oxml.parser import parse_xml

    document = Document(archive)
    found: dict[str, dict[str, Any]] = {}
    for relation in document.part.rels.values():
        kind, part = relation.reltype.rpartition("/")[2], relation.target_part
        root = parse_xml(part.blob) if kind in _NOTES else part.element
        found.setdefault(kind, {})[str(part.partname)] = root
    ordered = {kind: [parts[name] for name in sorted(parts)] for kind, parts in found.items()}
    before, after = ordered.get("header", []), ordered.get("footer", [])
    notes = [root for kind in _NOTES for root in ordered.get(kind, [])]
    return [*before, document.element.body, *notes, *after]


def _blocks(root: Any) -> Iterator[str]:
    """The text of each paragraph and each table below an element, that of text boxes after their own."""
    for element in _outermost(root, (_PARAGRAPH, _TABLE)):
        if element.tag == _TABLE:
            yield from _table(element)
            continue
        if words := _words(element):
            yield words
        for box in _outermost(element, (_BOX,)):
            yield from _blocks(box)


def _table(table: Any) -> Iterator[str]:
    """Its rows as lines of one block; a row with whole texts in its cells gives them as blocks."""
    lines: list[str] = []
    for row in _outermost(table, (_W + "tr",)):
        cells = [list(_blocks(cell)) for cell in _outermost(row, (_W + "tc",))]
        if all(len(cell) < 2 for cell in cells):
            lines.append("\t".join(" ".join(cell) for cell in cells).strip())
            continue
        if any(lines):
            yield "\n".join(lines)
        lines = []
        yield from (block for cell in cells for block in cell)
    if any(lines):
        yield "\n".join(lines)


def _outermost(root: Any, tags: tuple[str, ...]) -> Iterator[Any]:
    """The elements of these tags below an element and in no other of them, in their order."""
    waiting = list(reversed(root))
    while waiting:
        element = waiting.pop()
        if element.tag in tags:
            yield element
        elif element.tag not in _UNSEEN:
            waiting.extend(reversed(element))


def _words(paragraph: Any) -> str:
    """The text of a paragraph without that of text boxes inside it."""
    said: list[str] = []
    for element in _outermost(paragraph, (_W + "t", _BOX, *_MARKS)):
        said.append(_MARKS.get(element.tag) or (element.tag != _BOX and element.text) or "")
    return "".join(said).strip()
