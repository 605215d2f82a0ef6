"""XMP (ISO 16684-1): the words about a picture that photo managers write, inside it or beside it."""

from __future__ import annotations

from xml.parsers import expat

MAX_BYTES = 4 * 2**20
"""A packet of XMP above this is no description; those of cameras and photo managers have 1 to 100 kB."""

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_WORDS = (
    "http://purl.org/dc/elements/1.1/ title",
    "http://ns.adobe.com/photoshop/1.0/ Headline",
    "http://purl.org/dc/elements/1.1/ description",
    "http://purl.org/dc/elements/1.1/ subject",
)
_LANGUAGE = "http://www.w3.org/XML/1998/namespace lang"


class _Refused(Exception):
    """A document type: XMP has none, and entities can be bombs."""


def captions_of_xmp(data: bytes) -> list[str]:
    """The title, headline, description and keywords of an XMP packet or sidecar, those there are, in order.

    Keywords come as one caption, joined by commas. Of a text in several languages the default is taken,
    else the English one, else the first. Text in which nothing is left after stripping is left out. Of a
    damaged packet what stands before the damage is given; nothing where it is longer than MAX_BYTES or
    declares a document type. Never raises.
    """
    if len(data) > MAX_BYTES:
        return []
    packet = _Packet()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = packet.start
    parser.EndElementHandler = packet.end
    parser.CharacterDataHandler = packet.characters
    try:
        parser.Parse(data.strip(b"\0 \t\r\n"), True)
    except _Refused:
        return []
    except (expat.ExpatError, LookupError, ValueError):
        pass  # damaged, or of an encoding Python does not know
    return packet.captions()


def _refuse(*_: object) -> None:
    raise _Refused


class _Packet:
    """What the properties of interest held, gathered while the packet is parsed."""

    def __init__(self) -> None:
        self.found: dict[str, list[tuple[str, str]]] = {}  # property -> (language, text), as they came
        self._property: str | None = None
        self._depth = 0  # elements open inside the property
        self._language = ""
        self._text: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._property is not None:
            self._depth += 1
            self._text.clear()
            self._language = attributes.get(_LANGUAGE, "")
        elif name in _WORDS:
            self._property, self._depth, self._language = name, 0, ""
            self._text.clear()
        elif name == f"{_RDF} Description":
            for key in _WORDS:  # a simple property may be written as an attribute
                if key in attributes:
                    self._add(key, attributes[key])

    def end(self, _name: str) -> None:
        if self._property is None:
            return
        self._add(self._property, "".join(self._text))
        self._text.clear()
        if self._depth == 0:
            self._property = None
        self._depth -= 1

    def characters(self, text: str) -> None:
        if self._property is not None:
            self._text.append(text)

    def _add(self, key: str, text: str) -> None:
        if words := " ".join(text.split()):
            self.found.setdefault(key, []).append((self._language.lower(), words))

    def captions(self) -> list[str]:
        given = []
        for key in _WORDS:
            texts = self.found.get(key)
            if texts and key.endswith("subject"):
                given.append(", ".join(text for _, text in texts))
            elif texts:
                given.append(min(texts, key=lambda text: _rank(text[0]))[1])
        return given


def _rank(language: str) -> int:
    if language in ("x-default", ""):
        return 0
    return 1 if language.split("-")[0] == "en" else 2
