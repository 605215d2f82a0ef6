"""Commands that ask a library: search, duplicates, info."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from multimodal.commands.common import InSpaceOption, LibraryOption, modalities_of, open_library
from multimodal.errors import NoMediaFile, QueryError

if TYPE_CHECKING:
    from multimodal.library import Filter
    from multimodal.query import Query
    from multimodal.types import Hit


class SearchCommand(TyperCommand):
    """Lets a term of a query begin with a minus: `search beach -people` is no group of options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = {name for option in self.params for name in (*option.opts, *option.secondary_opts)}
        known.update(ctx.help_option_names)
        return super().parse_args(ctx, [_guarded(word, known) for word in args])


_MINUS = "\ufdd0"
"""Stands for the sign of a term while options are told from arguments; no character (Unicode, 23.7)."""


def _guarded(word: str, known: set[str]) -> str:
    is_option = word in known or word.startswith("--") or re.fullmatch(r"-k\d+", word)
    return word if is_option or not word.startswith("-") or word == "-" else _MINUS + word[1:]


def search(
    query: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TERM...",
            help="Words, or a path of a picture, video, sound or text; more with + or -, weighed as 2:TERM.",
        ),
    ] = None,
    library: LibraryOption = None,
    space: InSpaceOption = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many results.")] = 10,
    modalities: Annotated[
        str | None, typer.Option("--in", metavar="LIST", help="Only these, e.g. image,video,audio,text.")
    ] = None,
    like: Annotated[
        str | None, typer.Option("--like", metavar="FILE@S", help="More like this moment of a file.")
    ] = None,
    paths: Annotated[
        list[str] | None,
        typer.Option(
            "--path", metavar="PATTERN", help="Only paths like this, as in .gitignore; ! leaves out."
        ),
    ] = None,
    dates: Annotated[
        str | None, typer.Option("--date", metavar="FROM..TO", help="Only of these days, e.g. 2023-06..2024.")
    ] = None,
    lasting: Annotated[
        str | None, typer.Option("--duration", metavar="FROM..TO", help="Only files of so many seconds.")
    ] = None,
    between: Annotated[
        str | None, typer.Option("--between", metavar="FROM..TO", help="Only moments in these seconds.")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("--where", metavar="SQL", help="E.g. \"megapixels > 2 AND suffix = '.jpg'\"."),
    ] = None,
    all_segments: Annotated[
        bool, typer.Option("--all-segments", help="Every moment, not only the best one of each file.")
    ] = False,
    duplicates: Annotated[bool, typer.Option("--duplicates", help="Copies on their own too.")] = False,
    mode: Annotated[
        str, typer.Option("--mode", metavar="MODE", help="hybrid, or meaning or words alone.")
    ] = "hybrid",
    min_confidence: Annotated[
        float | None,
        typer.Option("--min-confidence", metavar="P", help="From 0 to 1; 0 shows the nearest, fit or not."),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Without the index that very large libraries are searched by.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array on standard output.")] = False,
) -> None:
    """Find files, and moments in them, by meaning. The library is the nearest .multimodal from here up."""
    from multimodal.console import print_hits

    with open_library(library, space) as opened:
        hits = opened.search(
            _asked(query or [], like),
            k,
            modality=modalities_of(modalities),
            all_segments=all_segments,
            filter=_filter(paths, dates, lasting, between, where),
            duplicates=duplicates,
            mode=mode,  # type: ignore[arg-type]
            min_confidence=min_confidence,
            exact=exact,
        )
    if as_json:
        print(json.dumps([_as_dict(hit) for hit in hits], indent=1, ensure_ascii=False))
    else:
        print_hits(hits)


def duplicates(
    folder: Annotated[Path | None, typer.Argument(help="Only what lies below this folder.")] = None,
    library: LibraryOption = None,
    modalities: Annotated[
        str | None, typer.Option("--in", metavar="LIST", help="Only these, e.g. image,video,audio,text.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0.5, max=1.0, help="Least cosine of a copy with the largest.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array on standard output.")] = False,
) -> None:
    """Group the files of a library that show or say the same, and say which of each group is larger."""
    from multimodal.console import print_duplicates
    from multimodal.library import Library

    place = library if library is not None or folder is None else Library.find(folder)
    with open_library(place) as opened:
        given = {} if threshold is None else {"threshold": threshold}
        groups = opened.duplicates(folder, modality=modalities_of(modalities), **given)
    if as_json:
        print(json.dumps([group.as_dict() for group in groups], indent=1, ensure_ascii=False))
    else:
        print_duplicates(groups)


def info(library: LibraryOption = None, space: InSpaceOption = None) -> None:
    """What the library holds and which space made it."""
    from multimodal.console import print_stats

    with open_library(library, space) as opened:
        print_stats(opened.stats(), opened.path)


def _asked(words: list[str], like: str | None) -> Query:
    from multimodal.query import Query, parsed

    if not words and not like:
        raise QueryError("There is nothing to look for: give words, a file, or --like FILE@SECONDS.")
    query = Query(())
    if words:
        query = parsed([word.replace(_MINUS, "-", 1) for word in words], _query)
    return query + _moment(like) if like else query


def _filter(
    paths: list[str] | None, dates: str | None, lasting: str | None, between: str | None, where: str | None
) -> Filter:
    from multimodal.library import Filter

    return Filter(
        globs=tuple(paths or ()),
        date=None if dates is None else _range(dates, "--date"),
        duration=None if lasting is None else _seconds(lasting, "--duration"),
        between=None if between is None else _seconds(between, "--between"),
        where=where,
    )


def _range(text: str, option: str) -> tuple[str | None, str | None]:
    """ "FROM..TO", either of them left out for an open end; one value alone is both. Raises QueryError."""
    low, dots, high = (part.strip() for part in text.partition(".."))
    if not low and not high:
        raise QueryError(f"{option} takes FROM..TO, not {text!r}.")
    return (low or None), ((high if dots else low) or None)


def _seconds(text: str, option: str) -> tuple[float | None, float | None]:
    low, high = _range(text, option)
    try:
        return (None if low is None else float(low)), (None if high is None else float(high))
    except ValueError:
        raise QueryError(f"{option} takes seconds, as in 10..60, not {text!r}.") from None


def _moment(text: str) -> Query:
    """The moment that FILE@SECONDS names, or FILE@MINUTES:SECONDS. Raises QueryError, NoMediaFile."""
    from multimodal.query import Query

    name, mark, when = text.rpartition("@")
    clock = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)", when)
    if not mark or clock is None:
        raise QueryError(f"--like takes a file and a moment, as in film.mp4@12.5, not {text!r}.")
    if not Path(name).is_file():
        raise NoMediaFile(f"The query file {name} does not exist.")
    hours, minutes, seconds = (float(part or 0) for part in clock.groups())
    return Query.of(Path(name), at=3600 * hours + 60 * minutes + seconds)


def _query(text: str) -> str | Path:
    """A path where the words name a media file: one that exists, or that looks meant to."""
    from multimodal.readers import EXTENSIONS

    path = Path(text)
    looks_meant = path.suffix.lower() in EXTENSIONS and (
        "/" in text or "\\" in text or " " not in text.strip()
    )
    if looks_meant or (("/" in text or "\\" in text) and path.is_file()):
        if not path.is_file():
            raise NoMediaFile(f"The query file {text} does not exist.")
        return path
    return text


def _as_dict(hit: Hit) -> dict[str, Any]:
    from multimodal.export import shown_path

    return {
        "path": shown_path(hit.path),
        "modality": hit.modality,
        "start": hit.start,
        "end": hit.end,
        "score": round(hit.score, 4),
        "cosine": round(hit.cosine, 4),
        "confidence": None if hit.confidence is None else round(hit.confidence, 4),
        "role": hit.role,
        "page": hit.page,
        "chars": hit.chars,
        "text": hit.text,
        "snippet": hit.snippet,
        "marks": hit.marks,
        "frames": [{"time": time, "weight": round(weight, 4)} for time, weight in hit.frames],
        "number": hit.number,
        "id": hit.id,
        "duplicates": [shown_path(path) for path in hit.duplicates],
    }
