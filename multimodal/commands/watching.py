"""The command that stays: watch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from multimodal.commands.common import ExcludeOption, LibraryOption, WorkersOption
from multimodal.errors import NoMediaFile


def watch(
    folder: Annotated[Path, typer.Argument(help="The folder to keep up with.")],
    library: LibraryOption = None,
    space: Annotated[
        str | None,
        typer.Option("--space", metavar="NAME", help="Space of a new library; see `embed --help`."),
    ] = None,
    exclude: ExcludeOption = None,
    workers: WorkersOption = None,
    debounce: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="How long the folder must rest first.")
    ] = 2.0,
    polling: Annotated[
        bool, typer.Option("--polling", help="Look at the files again and again; for network disks.")
    ] = False,
) -> None:
    """Index FOLDER, then what changes in it, until interrupted. Needs the extra: multimodal[watch]."""
    from multimodal.console import print_report
    from multimodal.library import Library
    from multimodal.library.watching import watch as reports
    from multimodal.space import load_space

    if not folder.is_dir():
        raise NoMediaFile(f"{folder} does not exist or is not a folder.")
    home = library or folder / ".multimodal"
    with Library(home, load_space(space) if space else None) as opened:
        for report in reports(
            opened,
            folder,
            debounce=debounce,
            polling=polling or None,
            exclude=exclude or (),
            workers=workers,
            on_problem=lambda problem: print(f"multimodal: {problem}", file=sys.stderr, flush=True),
        ):
            print_report(report, home)
