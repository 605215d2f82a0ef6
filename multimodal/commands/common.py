"""Options that several commands share, and what they come to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from multimodal.errors import QueryError

if TYPE_CHECKING:
    from multimodal.library import Library
    from multimodal.space import Space
    from multimodal.types import IndexReport, Modality

LibraryOption = Annotated[
    Path | None, typer.Option("--library", metavar="DIR", help="Where the library is kept.")
]
SpaceOption = Annotated[
    str, typer.Option("--space", metavar="NAME", help="'starter', an open_clip MODEL/TAG, or a saved folder.")
]
InSpaceOption = Annotated[
    str | None,
    typer.Option("--space", metavar="NAME", help="Of several libraries of a folder, the one of this space."),
]
PrecisionOption = Annotated[
    str,
    typer.Option("--precision", metavar="NAME", help="auto, fp32, bf16, fp16 or int8, of open_clip models."),
]
BackendOption = Annotated[
    str,
    typer.Option(
        "--backend", metavar="NAME", help="torch, or openvino for the pictures; auto takes the faster."
    ),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Decoding processes; by default one for each core.")
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="PATTERN", help="Pass over these, as in .gitignore; may be repeated."),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout", metavar="SECONDS", min=1, help="Give up a file after this long without progress."
    ),
]
MemoryOption = Annotated[
    float | None,
    typer.Option("--memory", metavar="GB", min=0.25, help="Most memory of a decoding process (Linux)."),
]


def open_library(library: Path | None, space: str | None = None) -> Library:
    """The library in a folder, or the nearest from here up; `space` is for a folder with several.

    Raises NoLibrary.
    """
    from multimodal.library import Library

    return Library(library or Library.find(space=space))


def space_in(home: Path, name: str | None, precision: str, backend: str) -> Space | None:
    """The space of a library, old or new, computing as asked; None where the library may load it itself.

    Raises SpaceError.
    """
    from multimodal.space import load_space

    asked: dict[str, Any] = {"precision": precision, "backend": backend}
    if name is None and precision == "auto" and backend == "auto":
        return None
    if name is None and home.is_dir():
        from multimodal.library import Library

        with Library(home) as library:
            name = library.stats().space
    return load_space(name or "starter", **asked)


def modalities_of(text: str | None) -> list[Modality] | None:
    """The modalities of a list such as "image,video"; None for no list. Raises QueryError."""
    from multimodal.types import MODALITIES

    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in MODALITIES]
    if unknown or not names:
        raise QueryError(f"--in takes a list of {', '.join(MODALITIES)}, not {text!r}.")
    return names  # type: ignore[return-value]


def exit_for(report: IndexReport) -> None:
    """Exit code 3 where files failed."""
    if report.count("failed"):
        raise typer.Exit(3)


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], object] | None]:
    """A bar for each stage on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done, total=total)

        yield show
