"""HTML reduced to what a person sees: title, words in their blocks, alternative texts of pictures.

lxml's parser gives its events one by one to a small target: 0.1 s for a megabyte of the worst nesting,
and no tree in memory. Beautiful Soup makes one: with lxml 1 to 3 s, with html.parser minutes where
markup is broken on purpose ("<!--" or "</" repeated are quadratic there).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from multimodal.errors import ReadError
from multimodal.readers.encodings import checked, decode, encoding_of
from multimodal.readers.text import passage_segments, read_bytes, told
from multimodal.types import Modality, ReadOptions, Segment

CHUNK = 1 << 16
"""Characters given to the parser at once."""


def _tags(names: str) -> frozenset[str]:
    return frozenset(names.split())


_UNSEEN = _tags(
    "script style template noscript noframes noembed iframe object svg canvas audio video datalist rp"
    " param source track"
)
"""What stands in these is not shown by a browser that runs scripts and plays media."""
_VOID = _tags("area base br col embed frame hr img input link meta param source track wbr")
_BLOCKS = _tags(
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption"
    " figure footer form frameset h1 h2 h3 h4 h5 h6 header hgroup hr legend main menu nav ol p pre search"
    " section summary table ul title head html tbody thead tfoot optgroup select textarea"
)
_LINES = _tags("br tr li option")
_CELLS = _tags("td th")
_HIDING = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_META = re.compile(rb"<meta[^>]{1,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{2,40})", re.IGNORECASE)
_XML = re.compile(rb"\s*<\?xml[^>]{1,200}?encoding\s*=\s*[\"']([A-Za-z0-9_.:-]{2,40})[\"']")
_OF_PAGES = re.compile(
    r"utf-8|cp\d+|iso8859-\d+|koi8-[ru]|mac-\w+|gb\w+|big5|euc_\w+|iso2022_jp|shift_jis|tis-620"
)
# Names that browsers read as a larger encoding (WHATWG, Encoding Standard, section 4.2).
_MEANT = {
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "tis-620": "cp874",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
}


class HtmlReader:
    """html, htm and xhtml: the passages of the visible text, as `TextReader` cuts them.

    Scripts, styles, templates, comments and hidden elements are not in it; the title, alternative texts
    and closed details are. The encoding is that of a byte order mark, of a meta element or an XML
    declaration in the first 1,024 bytes, else the one its bytes tell. Raises ReadError as `TextReader`.
    """

    modality: Modality = "text"
    yields: tuple[Modality, ...] = ("text",)
    noun = "a web page"
    extensions = (".html", ".htm", ".xhtml")
    kinds = ("html",)

    def read(self, path: Path, options: ReadOptions = ReadOptions()) -> Iterator[Segment]:  # noqa: B008
        text = visible_text(decode_html(read_bytes(path)))
        yield from told(passage_segments(text, path, options))


def decode_html(data: bytes) -> str:
    """The bytes of a page as text, by what the page states (see `HtmlReader`). Raises ReadError."""
    _, mark = encoding_of(data[:4])
    stated = None if mark else _stated(data[:1024])
    if stated is not None:
        text = data.decode(stated, "replace")
        if text.count("\ufffd") <= len(text) // 100:  # else it states what it is not
            return checked(text)
    return decode(data)


def _stated(head: bytes) -> str | None:
    match = _XML.match(head) or _META.search(head)
    if match is None:
        return None
    label = match[1].decode("ascii").lower()
    if label.startswith(("utf-16", "utf-32", "ucs-")):
        return "utf-8"  # it was read from letters of one byte (HTML Standard, 13.2.3.3)
    try:
        name = codecs.lookup("cp1252" if label == "us-ascii" else label.removeprefix("x-")).name
    except LookupError:
        return None
    return _MEANT.get(name, name) if _OF_PAGES.fullmatch(name) else None


def visible_text(source: str) -> str:
    """The text a browser would show: blocks parted by an empty line, rows and items by a line break.

    Raises ReadError where the source cannot be parsed.
    """
    from lxml import etree

    page = _Page()
    parser = etree.HTMLParser(target=page, huge_tree=True)
    try:
        for begin in range(0, len(source), CHUNK):
            parser.feed(source[begin : begin + CHUNK])
        parser.close()
    except etree.LxmlError as error:
        if not page.parts:
            raise ReadError(f"the page cannot be parsed: {str(error).splitlines()[0]}") from error
    text = "".join(page.parts).replace("\u00ad", "")  # a hyphen is seen only where a line ends there
    text = "\n".join(line.strip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


class _Page:
    """Takes the parser's events. Space is collapsed as a browser does, except in `pre`."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._depth = self._hidden = self._pre = 0
        self._spaced = True  # whether what was said last ends with space

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._depth += tag not in _VOID
        if self._hidden:
            return
        if _hides(tag, attributes):
            self._hidden = 0 if tag in _VOID else self._depth
            return
        self._part(tag)
        if tag == "pre" and not self._pre:
            self._pre = self._depth
        if tag in ("img", "area") or (tag == "input" and attributes.get("type", "").lower() == "image"):
            self._say(f" {attributes.get('alt', '')} ")

    def end(self, tag: str) -> None:
        if not self._hidden:
            self._part(tag)
        if tag in _VOID:
            return
        if self._hidden == self._depth:
            self._hidden = 0
        if self._pre == self._depth:
            self._pre = 0
        self._depth -= 1

    def data(self, text: str) -> None:
        if self._hidden:
            return
        if self._pre:
            self.parts.append(text)
            self._spaced = text[-1:].isspace()
        else:
            self._say(text)

    def comment(self, text: str) -> None: ...
    def pi(self, target: str, data: str | None = None) -> None: ...
    def close(self) -> None: ...

    def _say(self, text: str) -> None:
        words = " ".join(text.split())
        if text[:1].isspace() and not self._spaced:
            self.parts.append(" ")
            self._spaced = True
        if words:
            self.parts.append(words)
            self._spaced = text[-1].isspace()
            if self._spaced:
                self.parts.append(" ")

    def _part(self, tag: str) -> None:
        mark = "\n\n" if tag in _BLOCKS else "\n" if tag in _LINES else "\t" if tag in _CELLS else ""
        if mark and self.parts and self.parts[-1] != mark:
            self.parts.append(mark)
            self._spaced = True


def _hides(tag: str, attributes: Mapping[str, str]) -> bool:
    if tag in _UNSEEN or "hidden" in attributes or (tag == "dialog" and "open" not in attributes):
        return True
    return "style" in attributes and _HIDING.search(attributes["style"]) is not None
