"""Files into segments: `read(path)` yields the passages, pictures, shots and stretches of sound of a file.

`READERS` is the table, one row per kind of file; another kind is another row. What a file is gets
decided by its content first and by its extension only where the content does not tell. Importing this
package loads no decoder, so that a folder can be scanned by `EXTENSIONS` alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from multimodal.errors import NoMediaFile, ReadError, UnsupportedFile, UnwantedModality
from multimodal.readers.audio import AudioReader
from multimodal.readers.base import Reader, readable
from multimodal.readers.documents import TEXTS
from multimodal.readers.docx import DocxReader
from multimodal.readers.extras import EXTRAS, require
from multimodal.readers.html import HtmlReader
from multimodal.readers.image import ImageReader
from multimodal.readers.pdf import PdfReader
from multimodal.readers.sniff import content_kind
from multimodal.readers.subtitles import SubtitleReader
from multimodal.readers.table import TableReader
from multimodal.readers.text import TextReader
from multimodal.readers.video import VideoReader
from multimodal.types import Facts, ReadOptions, Segment

__all__ = ["EXTENSIONS", "READERS", "Reader", "facts", "read", "reader_for"]

VERSION = 2
"""Raise when the same file would give other segments; rows of older versions become stale."""

READERS: tuple[Reader, ...] = (
    ImageReader(),
    VideoReader(),
    AudioReader(),
    TextReader(),
    SubtitleReader(),
    HtmlReader(),
    PdfReader(),
    DocxReader(),
    TableReader(),
)

EXTENSIONS: dict[str, Reader] = {extension: reader for reader in READERS for extension in reader.extensions}
"""The extensions a folder is searched for, lower case with the dot."""

_BY_KIND: dict[str, Reader] = {kind: reader for reader in READERS for kind in reader.kinds}


def read(path: Path, options: ReadOptions = ReadOptions()) -> Iterator[Segment]:  # noqa: B008 - frozen
    """Yields the segments of a file, those of one kind in the order of their time; always the same.

    Decoding is lazy: a file of many hours never stands in memory whole. Raises NoMediaFile and
    UnsupportedFile at once (NeedsExtra, and UnwantedModality where no part of it is in
    `options.modalities`), ReadError at once or while iterating.
    """
    path = Path(path)
    reader = reader_for(path)
    if set(options.modalities).isdisjoint(reader.yields):
        raise UnwantedModality(reader.modality)
    return reader.read(path, options)


def facts(path: Path) -> Facts:
    """What a file says of itself: size of the picture, length, date. Nothing for one that cannot be read."""
    try:
        kind, reader = content_kind(path), reader_for(path)
    except ReadError:
        return Facts()
    from multimodal.readers.about import facts_of

    return facts_of(path, reader.modality, kind)


def reader_for(path: Path) -> Reader:
    """The reader for a file, by its first bytes (and streams), else by its extension.

    Raises NoMediaFile (no such file, a folder, a device), UnsupportedFile (no reader takes it), NeedsExtra
    (its reader is not installed) or ReadError (it is empty, cannot be opened, or holds something other
    than its extension says).
    """
    path = Path(path)
    _check_file(path)
    kind = content_kind(path)
    reader = _reader_of(kind, path)
    if kind in EXTRAS:
        require(kind)
    return reader


def _reader_of(kind: str | None, path: Path) -> Reader:
    named = EXTENSIONS.get(path.suffix.lower())
    textual = named is not None and TEXTS.issuperset(named.kinds)
    if kind == "text" and named is not None and textual:
        return named  # what plain text means (words, cues, a table) its extension says
    # Text under the name of a picture or a recording is an error page or a note, and not what it is sold as.
    sold = kind in TEXTS and named is not None and not textual
    if kind in _BY_KIND and (kind != "text" or not path.suffix) and not sold:
        return _BY_KIND[kind]
    if kind == "text" and path.suffix.lower() in _PROGRAMS:
        raise UnsupportedFile(f"no reader takes {path.suffix.lower()} files that hold text")
    if named is None:
        told = kind if kind != "text" else None  # text of another name is a program, a table, a log
        raise UnsupportedFile(f"no reader takes {told or _called(path)}")
    if kind is not None:
        like = _BY_KIND[kind].noun if kind in _BY_KIND and kind != "text" else kind
        raise ReadError(f"not {named.noun}: its content looks like {like}")
    return named


_PROGRAMS = (".ts", ".mts")
"""Extensions of transport streams and of TypeScript alike: programs are no damaged videos."""


def _called(path: Path) -> str:
    return f"{path.suffix.lower()} files" if path.suffix else "files of unknown content without an extension"


def _check_file(path: Path) -> None:
    with readable():
        if path.is_file():
            return
        if path.is_dir():
            raise NoMediaFile("it is a folder, not a file")
        raise NoMediaFile("it is not a regular file" if path.exists() else "there is no such file")
