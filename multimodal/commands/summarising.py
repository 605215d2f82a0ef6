"""The command that sums up: summary."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from multimodal.commands.common import (
    ExcludeOption,
    InSpaceOption,
    LibraryOption,
    WorkersOption,
    exit_for,
    modalities_of,
)
from multimodal.errors import NoLibrary, NoMediaFile, QueryError

if TYPE_CHECKING:
    from multimodal.types import Hit, Hits

SHEETS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def summary(
    path: Annotated[
        Path, typer.Argument(help="A film, recording, document or folder; new files are indexed.")
    ],
    k: Annotated[int, typer.Option("-k", min=1, help="How many moments, pictures or passages.")] = 9,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="A contact sheet: .png, .jpg or .webp."),
    ] = None,
    modalities: Annotated[
        str | None,
        typer.Option("--in", metavar="LIST", help="Only these, e.g. audio; else what each file mostly is."),
    ] = None,
    library: LibraryOption = None,
    space: InSpaceOption = None,
    exclude: ExcludeOption = None,
    workers: WorkersOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array on standard output.")] = False,
) -> None:
    """Choose the K moments, pictures or passages that stand for a long film, recording, document or folder.

    The library is the nearest .multimodal from PATH up, else one made beside it. The share is of the segments
    that each stands for. What a library knows of a PATH that is gone is summed up all the same.
    """
    from multimodal.console import index_progress, print_problems
    from multimodal.library import Library

    if output is not None and output.suffix.lower() not in SHEETS:
        raise QueryError(f"A contact sheet ends in {', '.join(SHEETS)}, not {output.suffix!r}.")
    wanted, report = modalities_of(modalities), None
    with Library(_home(path, library, space)) as opened:
        if path.exists():
            with index_progress(False) as show:
                report = opened.add(path, progress=show, exclude=exclude or (), workers=workers)
        hits = opened.summary(path, k, wanted)
    if output is not None:
        _write(hits, output)
    if as_json:
        print(json.dumps([_as_dict(hit) for hit in hits], indent=1, ensure_ascii=False))
    else:
        _print(hits)
    if report is not None:
        print_problems(report)
        exit_for(report)


def _home(path: Path, library: Path | None, space: str | None) -> Path:
    """The library asked for, the nearest one, or a new one in the folder. Raises NoMediaFile, NoLibrary."""
    from multimodal.library import Library

    if library is not None:
        return library
    folder = path if path.is_dir() else path.parent
    try:
        return Library.find(folder, space)
    except NoLibrary:
        if space is not None:
            raise
    if not path.exists():
        raise NoMediaFile(f"{path} does not exist.")
    return folder / ".multimodal"


def _write(hits: Sequence[Hit], output: Path) -> None:
    """The sheet, put in place when it is whole. Raises QueryError."""
    from multimodal.library.sheets import contact_sheet

    sheet = contact_sheet(hits)
    unfinished = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    try:
        sheet.save(unfinished, SHEETS[output.suffix.lower()])
        os.replace(unfinished, output)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        reason = (error.strerror or str(error)).lower()
        raise QueryError(f"The contact sheet cannot be written to {output}: {reason}.") from error


def _print(hits: Hits) -> None:
    from multimodal.console import clock
    from multimodal.errors import plain
    from multimodal.export import shown_path

    if not hits:
        print(hits.note)
        return
    paths = [plain(shown_path(Path(os.path.relpath(hit.path)))) for hit in hits]
    width = max(map(len, paths))
    for hit, path in zip(hits, paths, strict=True):
        page = "" if hit.page is None else f"page {hit.page}"
        moment = page if hit.start is None else f"{clock(hit.start)}-{clock(hit.end or hit.start)}"
        words = plain(" ".join((hit.text or "").split()))
        said = f'"{words if len(words) <= 60 else words[:57] + "..."}"' if words else ""
        print(f"{hit.score:4.0%}  {hit.modality:<5}  {path:<{width}}  {moment:<13}  {said}".rstrip())


def _as_dict(hit: Hit) -> dict[str, Any]:
    from multimodal.export import shown_path

    return {
        "path": shown_path(hit.path),
        "modality": hit.modality,
        "start": hit.start,
        "end": hit.end,
        "page": hit.page,
        "chars": hit.chars,
        "text": hit.text,
        "share": round(hit.score, 4),
        "cosine": round(hit.cosine, 4),
        "number": hit.number,
        "id": hit.id,
    }
