"""Sidecars: the files beside a picture, video or sound that hold its captions or its subtitles."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from multimodal.errors import ReadError
from multimodal.readers.base import readable
from multimodal.readers.captions import captions_in
from multimodal.readers.encodings import decode
from multimodal.readers.subtitles import MAX_BYTES as MAX_SUBTITLES
from multimodal.readers.subtitles import cues, subtitle_segments
from multimodal.readers.text import passages, read_bytes, read_text
from multimodal.types import Modality, ReadOptions, Segment

CAPTIONS = (".txt", ".json", ".xmp")
SUBTITLES = (".srt", ".vtt", ".ass", ".ssa")
"""Of what has a sound track: pictures have none."""
MAX_JSON = 16 * 2**20
"""A video's metadata has up to 2 MB; more is data of another kind."""
MAX_XMP = 4 * 2**20

# What may stand between the name of a video and the extension of its subtitles: BCP 47 tags ("en", "de-AT",
# "zh-Hans", yt-dlp's "en-orig"), and what players know beside them.
_TAG = re.compile(
    r"[a-z]{2,3}(?:[-_][a-z0-9]{2,8}){0,3}|forced|default|sdh|cc|hi|full|signs|songs|commentary|foreign"
    r"|arabic|chinese|czech|danish|dutch|english|finnish|french|german|greek|hebrew|hindi|hungarian|indonesian"
    r"|italian|japanese|korean|norwegian|polish|portuguese|romanian|russian|spanish|swedish|thai|turkish"
    r"|ukrainian|vietnamese",
    re.IGNORECASE,
)
_MOST_TAGS = 3
_TAKEOUT = ".supplemental-metadata"
_TAKEOUT_CHARS = 46
"""Google Takeout breaks off the name of a sidecar, without ".json", after so many characters."""
_NUMBER = re.compile(r"(.*?)(\(\d{1,4}\))")


def companions_of(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The sidecars of each picture, video and sound of one folder, by name alone, sorted; media without any
    are left out.

    A sidecar has the name of its medium with or without the medium's extension, then .txt, .json or .xmp
    (yt-dlp's .info.json, Google Takeout's .supplemental-metadata.json and its shortened forms too), for
    videos and sounds also .srt, .vtt, .ass or .ssa behind up to three tags of language or purpose.
    Extensions may be in capitals; one sidecar may be that of several media of one name, as of a raw
    picture and its JPEG. Takes time linear in the number of names.
    """
    media, by_stem = _media(names)
    shortened: dict[str, list[str]] = defaultdict(list)
    for name in media:
        shortened[(name + _TAKEOUT)[:_TAKEOUT_CHARS]].append(name)
    found: dict[str, set[str]] = defaultdict(set)
    for name in names:
        stem, extension = _split(name)
        if extension in SUBTITLES:
            owners = [one for one in _spoken_owners(stem, by_stem) if media[one] != "image"]
        elif extension in CAPTIONS:
            owners = _owners(stem, by_stem)
            if extension == ".json":
                owners += _json_owners(stem, by_stem, shortened)
        else:
            continue
        for owner in owners:
            found[owner].add(name)
    return {name: tuple(sorted(found[name])) for name in media if name in found}


def _media(names: Iterable[str]) -> tuple[dict[str, Modality], dict[str, list[str]]]:
    """The modality of each medium, and the media by what a sidecar may be named after: the whole name, its
    extension in small letters, and the name without it."""
    from multimodal.readers import EXTENSIONS

    media: dict[str, Modality] = {}
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name in names:
        stem, extension = _split(name)
        reader = EXTENSIONS.get(extension)
        if stem and reader is not None and reader.modality != "text":
            media[name] = reader.modality
            by_stem[stem].append(name)
            by_stem[stem + extension].append(name)
    return media, by_stem


def _split(name: str) -> tuple[str, str]:
    """A name without its extension, and that with its dot, in small letters."""
    stem, dot, extension = name.rpartition(".")
    return (stem, dot + extension.lower()) if stem else (name, "")


def _owners(stem: str, by_stem: dict[str, list[str]]) -> list[str]:
    base, extension = _split(stem)
    return by_stem.get(stem, []) + (by_stem.get(base + extension, []) if base + extension != stem else [])


def _spoken_owners(stem: str, by_stem: dict[str, list[str]]) -> list[str]:
    """The media of a subtitle file: those of its whole stem, else of the longest before some tags."""
    for _ in range(_MOST_TAGS + 1):
        if owners := _owners(stem, by_stem):
            return owners
        stem, dot, tag = stem.rpartition(".")
        if not dot or not stem or not _TAG.fullmatch(tag):
            return []
    return []


def _json_owners(stem: str, by_stem: dict[str, list[str]], shortened: dict[str, list[str]]) -> list[str]:
    if stem.endswith(".info"):
        return _owners(stem.removesuffix(".info"), by_stem)
    if len(stem) == _TAKEOUT_CHARS and stem in shortened:
        return shortened[stem]
    # "a.jpg.supplemental-metadata(1)" and "a.jpg(1)" belong to "a(1).jpg".
    numbered = _NUMBER.fullmatch(stem)
    stem, number = (numbered[1], numbered[2]) if numbered else (stem, "")
    base, dot, ending = stem.rpartition(".")
    if dot and _TAKEOUT.startswith(dot + ending):
        stem = base
    elif not number:
        return []
    base, extension = _split(stem)
    name = f"{base}{number}{extension}"
    return [one for one in by_stem.get(name, []) if "".join(_split(one)) == name]


def read_companion(companion: Path, path: Path, options: ReadOptions) -> Iterator[Segment]:
    """Yields what a sidecar says of the medium `path`, as text segments of that path; maybe nothing.

    Subtitles have times and the role "subtitles". All else has the role "caption": the passages of a .txt;
    of a .json the title, captions, description, alternative text and keywords; of an .xmp the same as from
    inside a picture. Raises ReadError where the sidecar is damaged or larger than such files are.
    """
    if "text" not in options.modalities:
        return
    with readable():
        if companion.stat().st_size == 0:
            return
    extension = companion.suffix.lower()
    if extension in SUBTITLES:
        yield from subtitle_segments(cues(read_text(companion, MAX_SUBTITLES)), path, options)
        return
    said: set[str] = set()
    for text in _READ[extension](companion, path):
        for begin, end in passages(text, options.passage_chars):
            passage = text[begin:end]
            if passage not in said:
                said.add(passage)
                yield Segment("text", passage, path, role="caption")


def _of_text(companion: Path, _: Path) -> Iterator[str]:
    yield read_text(companion)


def _of_json(companion: Path, path: Path) -> Iterator[str]:
    try:
        value: Any = json.loads(decode(read_bytes(companion, MAX_JSON)))
    except (ValueError, RecursionError) as error:
        raise ReadError("not JSON, or damaged") from error
    names = {path.name.casefold(), companion.name.casefold()}
    for caption in captions_in(value, keywords=True):
        if caption.casefold() not in names and not _is_file_name(caption):
            yield caption


def _is_file_name(caption: str) -> bool:
    """Whether it is the name of some media file: Google Takeout has it for a title."""
    from multimodal.readers import EXTENSIONS

    _, extension = _split(caption)
    reader = EXTENSIONS.get(extension)
    return reader is not None and reader.modality != "text" and "\n" not in caption


def _of_xmp(companion: Path, _: Path) -> Iterator[str]:
    from multimodal.readers.xmp import captions_of_xmp

    data = read_bytes(companion, MAX_XMP)
    if b"\0" not in data and b"<" not in data[:1024]:
        raise ReadError("not XMP, or damaged")
    yield from captions_of_xmp(data)


_READ: dict[str, Callable[[Path, Path], Iterator[str]]] = {
    ".txt": _of_text,
    ".json": _of_json,
    ".xmp": _of_xmp,
}
