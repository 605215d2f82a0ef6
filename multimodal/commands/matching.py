"""Commands about captions: match, caption."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from multimodal.commands.common import LibraryOption, SpaceOption, exit_for
from multimodal.errors import NoMediaFile, QueryError, ReadError

if TYPE_CHECKING:
    from multimodal.library.auditing import Audit
    from multimodal.space import Space

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON array on standard output.")]


def match(
    media: Annotated[list[Path], typer.Argument(metavar="MEDIA...", help="Files, or a folder of them.")],
    captions: Annotated[
        Path | None, typer.Option("--captions", metavar="FILE", help="Captions, one a line.")
    ] = None,
    sidecars: Annotated[
        bool, typer.Option("--sidecars", help="List captions beside files that fit another file better.")
    ] = False,
    one_to_one: Annotated[
        bool, typer.Option("--one-to-one", help="Give each caption to one file at most.")
    ] = False,
    k: Annotated[int, typer.Option("-k", min=1, help="How many captions of each file.")] = 3,
    margin: Annotated[
        float, typer.Option("--margin", min=0, help="Least difference in cosine that is told of.")
    ] = 0.02,
    library: LibraryOption = None,
    space: SpaceOption = "starter",
    as_json: JsonOption = False,
) -> None:
    """Say which captions fit which files: from a file of captions, or those that lie beside the files."""
    if sidecars == (captions is not None) or (sidecars and len(media) != 1):
        raise QueryError("Give --captions FILE, or one folder and --sidecars.")
    if sidecars:
        _audit(media[0], library, margin, as_json)
        return
    from multimodal.library.captioning import read_captions
    from multimodal.space import load_space

    assert captions is not None
    loaded, sentences = load_space(space), read_captions(captions)
    paths, failed = list(_files(media)), []
    rows: list[dict[str, Any]] = []
    vectors = []
    for path in paths:
        try:
            vectors.append((path, *loaded.embed_file(path)))
        except ReadError as error:
            failed.append(_reason(path, error))
    if vectors:
        rows = _assigned(loaded, vectors, sentences) if one_to_one else _best(loaded, vectors, sentences, k)
    _show(rows, as_json)
    for reason in failed:
        typer.echo(f"  failed   {reason}", err=True)
    if failed:
        raise typer.Exit(3)


def caption(
    media: Annotated[list[Path], typer.Argument(metavar="MEDIA...", help="Files, or a folder of them.")],
    bank: Annotated[
        Path | None,
        typer.Option("--bank", metavar="FILE", help="Captions to choose from, one a line; some ship."),
    ] = None,
    library: Annotated[
        Path | None,
        typer.Option("--from-library", metavar="DIR", help="Choose from the texts of this library."),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many captions.")] = 3,
    space: SpaceOption = "starter",
    as_json: JsonOption = False,
) -> None:
    """Caption pictures, videos and sounds with sentences of a bank, videos and sounds by stretches."""
    from multimodal.library import Library
    from multimodal.library import captioning as captions
    from multimodal.space import load_space

    if library is not None:
        with Library(library) as opened:
            loaded = opened.space
            made = captions.CaptionBank.of("library", loaded, opened)
    else:
        loaded = load_space(space)
        made = captions.CaptionBank.of(bank, loaded)
    rows: list[dict[str, Any]] = []
    failed: list[str] = []
    for path in _files(media):
        try:
            for part in captions.caption(loaded, path, made, k):
                said = [_match(found.caption, found) for found in part.matches]
                rows.append({"path": str(path), "start": part.start, "end": part.end, "captions": said})
        except ReadError as error:
            failed.append(_reason(path, error))
    _show(rows, as_json)
    for reason in failed:
        typer.echo(f"  failed   {reason}", err=True)
    if failed:
        raise typer.Exit(3)


def _best(space: Space, vectors: Sequence[Any], sentences: list[str], k: int) -> list[dict[str, Any]]:
    from multimodal.matching import caption_rows, ranked

    rows = caption_rows(space, sentences)
    return [
        {
            "path": str(path),
            "captions": [
                _match(one.caption, one) for one in ranked(space, row @ rows.T, sentences, modality)[:k]
            ],
        }
        for path, modality, row in vectors
    ]


def _assigned(space: Space, vectors: Sequence[Any], sentences: list[str]) -> list[dict[str, Any]]:
    from multimodal.matching import assign

    found = assign(space, [(modality, row) for _, modality, row in vectors], sentences)
    rows: list[dict[str, Any]] = [
        {
            "path": str(vectors[pair.item][0]),
            "captions": [{**_match(sentences[pair.caption], pair), "doubtful": pair.doubtful}],
        }
        for pair in found.pairs
    ]
    return rows + [{"path": str(vectors[place][0]), "captions": []} for place in found.items]


def _match(caption: str, found: Any) -> dict[str, Any]:
    numbers = {name: round(getattr(found, name), 4) for name in ("cosine", "probability", "margin")}
    return {"caption": caption, **numbers}


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    """A line for each file and stretch, its captions below it."""
    from multimodal.console import clock
    from multimodal.errors import plain

    if as_json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    for row in rows:
        when = "" if row.get("start") is None else f"  {clock(row['start'])}-{clock(row['end'])}"
        print(f"{plain(row['path'])}{when}")
        for said in row["captions"]:
            doubt = "  (doubtful)" if said.get("doubtful") else ""
            print(f"  {said['probability']:5.0%}  {said['cosine']:5.2f}  {plain(said['caption'])}{doubt}")
        if not row["captions"]:
            print("  no caption is left for it")


def _audit(folder: Path, library: Path | None, margin: float, as_json: bool) -> None:
    from dataclasses import asdict

    from multimodal.console import index_progress, print_problems
    from multimodal.errors import plain
    from multimodal.library import Library
    from multimodal.library.auditing import audit
    from multimodal.library.means import file_means

    if not folder.is_dir():
        raise NoMediaFile(f"{folder} is no folder.")
    with Library(library or folder / ".multimodal") as opened, index_progress(False) as show:
        report = opened.add(folder, progress=show)
        found = audit(list(file_means(opened, folder)), margin)
    if as_json:
        rows = [{**asdict(one), "path": str(one.path), "better": str(one.better)} for one in found.misfits]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        _show_audit(found, plain)
    print_problems(report)
    exit_for(report)


def _show_audit(found: Audit, plain: Any) -> None:
    print(f"{found.captions} captions of {found.files} files, {len(found.misfits)} fit another file better")
    for one in found.misfits:
        swapped = ", and so the other way round" if one.mutual else ""
        print(f'  {plain(str(one.path))}: "{plain(one.caption[:80])}"')
        print(f"    fits {plain(str(one.better))} better by {one.margin:.2f}{swapped}")


def _files(media: Sequence[Path]) -> Iterator[Path]:
    """The files named, and those of a kind that is read in folders, by name. Raises NoMediaFile."""
    from multimodal.readers import EXTENSIONS

    for path in media:
        if path.is_dir():
            inside = (one for one in sorted(path.rglob("*")) if one.suffix.lower() in EXTENSIONS)
            yield from (one for one in inside if one.is_file() and not _hidden(one.relative_to(path)))
        elif path.is_file():
            yield path
        else:
            raise NoMediaFile(f"{path} does not exist.")


def _reason(path: Path, error: ReadError) -> str:
    said = str(error)
    return said if str(path) in said else f"{path}: {said}"


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
