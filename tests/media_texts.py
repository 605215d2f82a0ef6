"""Makes texts of every format the readers take: pages, documents, tables, subtitles, with real encoders.

EXTENSIONS, SUBTITLE_EXTENSIONS
"""

from __future__ import annotations

import csv
import ctypes
import html
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from hashlib import md5
from pathlib import Path

EXTENSIONS = (
    *(".txt", ".md", ".html", ".htm", ".xhtml", ".pdf", ".docx", ".docm"),
    *(".csv", ".tsv", ".jsonl", ".ndjson"),
)
SUBTITLE_EXTENSIONS = (".srt", ".vtt", ".ass", ".ssa")

Cues = Sequence[tuple[float, float, str]]


def write(path: Path, paragraphs: Sequence[str]) -> Path:
    """A file of the kind the extension names that holds these paragraphs (a table: these captions)."""
    return _WRITERS[path.suffix.lower()](path, paragraphs)


def write_plain(path: Path, paragraphs: Sequence[str]) -> Path:
    path.write_text("\n\n".join(paragraphs), encoding="utf-8")
    return path


def write_html(path: Path, paragraphs: Sequence[str], title: str = "") -> Path:
    head = f"<title>{html.escape(title)}</title>" if title else ""
    body = "\n".join(f"<p>{html.escape(paragraph)}</p>" for paragraph in paragraphs)
    start = '<!DOCTYPE html>\n<html><head><meta charset="utf-8">'
    if path.suffix.lower() == ".xhtml":
        start = '<?xml version="1.0" encoding="utf-8"?>\n<html xmlns="http://www.w3.org/1999/xhtml"><head>'
    path.write_text(f"{start}{head}</head>\n<body>\n{body}\n</body></html>\n", encoding="utf-8")
    return path


def write_docx(path: Path, paragraphs: Sequence[str]) -> Path:
    """A document of python-docx; with the extension .docm it says that it has macros."""
    from docx import Document

    document = Document()
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    document.save(str(path))
    if path.suffix.lower() == ".docm":
        plain = b"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
        macros = b"application/vnd.ms-word.document.macroEnabled.main+xml"
        rewrite_zip(path, lambda _, data: data.replace(plain, macros))
    return path


def rewrite_zip(path: Path, change: Callable[[str, bytes], bytes], **more: bytes) -> Path:
    """The archive with `change(name, data)` in place of each file's data, and further files."""
    with zipfile.ZipFile(path) as archive:
        files = {name: change(name, archive.read(name)) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (files | more).items():
            archive.writestr(name, data)
    return path


def write_pdf(path: Path, paragraphs: Sequence[str]) -> Path:
    return write_pages(path, [wrapped(paragraphs)])


def wrapped(paragraphs: Sequence[str], width: int = 80) -> list[str]:
    """Lines as a typesetter breaks them."""
    import textwrap

    return [line for paragraph in paragraphs for line in textwrap.wrap(paragraph, width)]


def write_pages(path: Path, pages: Sequence[Sequence[str]], size: tuple[float, float] = (595, 842)) -> Path:
    """A PDF of PDFium: pages of `size` points, each of lines of text; a page without lines is blank."""
    import pypdfium2
    from pypdfium2 import raw

    document = pypdfium2.PdfDocument.new()
    for lines in pages:
        page = document.new_page(*size)
        for number, line in enumerate(lines):
            text = raw.FPDFPageObj_NewTextObj(document.raw, b"Helvetica", 12.0)
            letters = ctypes.create_string_buffer((line + "\0").encode("utf-16-le"))
            raw.FPDFText_SetText(text, ctypes.cast(letters, ctypes.POINTER(ctypes.c_ushort)))
            raw.FPDFPageObj_Transform(text, 1, 0, 0, 1, 60, size[1] - 60 - 16 * number)
            raw.FPDFPage_InsertObject(page.raw, text)
        page.gen_content()
        page.close()
    document.save(str(path))
    document.close()
    return path


def raw_pdf(objects: Sequence[bytes], trailer: bytes = b"") -> bytes:
    """A PDF of these objects, numbered from 1, the first of them its catalogue."""
    data, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    data += b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
    sizes = len(objects) + 1, trailer, data.index(b"xref\n")
    return data + b"trailer\n<< /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % sizes


def stream(data: bytes, entries: bytes = b"") -> bytes:
    return b"<< %s /Length %d >>\nstream\n%s\nendstream" % (entries, len(data), data)


def one_page(content: bytes, resources: bytes = b"", box: bytes = b"0 0 300 300") -> list[bytes]:
    """The objects of a PDF of one page, its content the fourth of them."""
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [%s] /Resources << %s >> /Contents 4 0 R >>"
    return [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        page % (box, resources),
        stream(content),
    ]


def write_locked_pdf(path: Path, words: str, user: str, owner: str = "owner") -> Path:
    """A PDF encrypted as PDF 32000-1, 7.6.3 says (revision 2, RC4 of 40 bits)."""
    padding = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
    mine, theirs = ((password.encode() + padding)[:32] for password in (user, owner))
    permissions, name = -44, b"0123456789abcdef"
    entry = _rc4(md5(theirs).digest()[:5], mine)
    key = md5(mine + entry + permissions.to_bytes(4, "little", signed=True) + name).digest()[:5]
    font = b"/Font << /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >>"
    objects = one_page(b"", font)
    content = b"BT /F 12 Tf 20 200 Td (%s) Tj ET" % words.encode()
    objects[3] = stream(_rc4(md5(key + b"\x04\0\0\0\0").digest()[:10], content))
    lock = b"<< /Filter /Standard /V 1 /R 2 /O <%s> /U <%s> /P %d >>"
    parts = entry.hex().encode(), _rc4(key, padding).hex().encode(), permissions
    trailer = b"/ID [<%s> <%s>] /Encrypt %s" % (name.hex().encode(), name.hex().encode(), lock % parts)
    path.write_bytes(raw_pdf(objects, trailer))
    return path


def _rc4(key: bytes, data: bytes) -> bytes:
    box, j, found = list(range(256)), 0, bytearray()
    for i in range(256):
        j = (j + box[i] + key[i % len(key)]) % 256
        box[i], box[j] = box[j], box[i]
    i = j = 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + box[i]) % 256
        box[i], box[j] = box[j], box[i]
        found.append(byte ^ box[(box[i] + box[j]) % 256])
    return bytes(found)


def write_table(path: Path, captions: Sequence[str]) -> Path:
    """A table of files and captions: csv, tsv or JSON lines."""
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        rows = [{"file": f"{i}.jpg", "caption": caption} for i, caption in enumerate(captions)]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    else:
        lines = io.StringIO()
        writer = csv.writer(lines, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\n")
        writer.writerows([("file", "caption"), *((f"{i}.jpg", c) for i, c in enumerate(captions))])
        text = lines.getvalue()
    path.write_text(text, encoding="utf-8")
    return path


def write_subtitles(path: Path, cues: Cues) -> Path:
    """Subtitles of (start, end, text) in seconds, in the format of the extension."""
    suffix = path.suffix.lower()
    if suffix in (".ass", ".ssa"):
        return _write_ass(path, cues)
    vtt = suffix == ".vtt"
    blocks = [
        f"{i}\n{_stamp(start, vtt)} --> {_stamp(end, vtt)}\n{text}\n"
        for i, (start, end, text) in enumerate(cues, 1)
    ]
    path.write_text(("WEBVTT\n\n" if vtt else "") + "\n".join(blocks), encoding="utf-8")
    return path


def _stamp(seconds: float, vtt: bool) -> str:
    ms = round(1000 * seconds)
    mark = "." if vtt else ","
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{mark}{ms % 1000:03}"


def _write_ass(path: Path, cues: Cues) -> Path:
    old = path.suffix.lower() == ".ssa"
    first, styles = ("Marked", "V4 Styles") if old else ("Layer", "V4+ Styles")
    lines = [
        "[Script Info]", f"ScriptType: v4.00{'' if old else '+'}", "",
        f"[{styles}]", "Format: Name, Fontname", "Style: Default,Arial", "",
        "[Events]", f"Format: {first}, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text",
    ]  # fmt: skip
    for start, end, text in cues:
        times = ",".join(f"{int(t) // 3600}:{int(t) // 60 % 60:02}:{t % 60:05.2f}" for t in (start, end))
        lines.append(f"Dialogue: {'Marked=0' if old else 0},{times},Default,,0,0,0,,{text}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


_WRITERS: dict[str, Callable[[Path, Sequence[str]], Path]] = {
    **dict.fromkeys((".txt", ".md"), write_plain),
    **dict.fromkeys((".html", ".htm", ".xhtml"), write_html),
    **dict.fromkeys((".docx", ".docm"), write_docx),
    ".pdf": write_pdf,
    **dict.fromkeys((".csv", ".tsv", ".jsonl", ".ndjson"), write_table),
}
