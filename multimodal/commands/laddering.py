"""The command that measures text embeddings from a bag of words to a transformer: ladder."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from multimodal.commands.common import SpaceOption, WorkersOption
from multimodal.errors import QueryError


def ladder(
    pairs: Annotated[
        Path, typer.Argument(metavar="PAIRS.csv", help="Two columns: texts, and texts or paths they tell of.")
    ],
    space: SpaceOption = "starter",
    rungs: Annotated[
        str | None,
        typer.Option(
            "--rungs",
            metavar="NAMES",
            help="Only these, with commas: onehot, tfidf, word2vec-cbow, word2vec-skipgram, fasttext, glove"
            " (these four also +idf, +sif), transformer, or the name of another space.",
        ),
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option("--corpus", metavar="FILE", help="More texts to learn words from, one a line."),
    ] = None,
    workers: WorkersOption = None,
    folds: Annotated[int, typer.Option("--folds", min=2, help="Parts that the pairs are split in.")] = 5,
    as_json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the measures as JSON; - prints them.")
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE", help="Write the table in Markdown; - prints it."),
    ] = None,
) -> None:
    """Measure small and old embeddings of texts beside the space's own, on the same held-out pairs."""
    from multimodal.climb import STEPS, climb
    from multimodal.space import load_space

    found = climb(
        load_space(space),
        pairs,
        STEPS if rungs is None else [name.strip() for name in rungs.split(",") if name.strip()],
        corpus=[] if corpus is None else _lines(corpus),
        folds=folds,
        spaces=load_space,
        workers=workers,
        progress=_progress if sys.stderr.isatty() else None,
    )
    printed = False
    for file, text in (
        (as_json, json.dumps(found.as_dict(), indent=1, ensure_ascii=False) + "\n"),
        (markdown, found.markdown()),
    ):
        if str(file) == "-":
            print(text, end="")
            printed = True
        elif file is not None:
            _write(file, text)
    if not printed:
        title = f"{found.texts} texts look for {found.candidates} things, {found.folds} folds, {found.space}"
        _print_table(found.table(), f"{title}; {found.unseen} with words unseen in training")
    for record in found.left_out:
        print(f"  left out  {record.path}: {record.reason}", file=sys.stderr)
    if found.left_out:
        raise typer.Exit(3)


def _print_table(rows: list[list[str]], title: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
    for place, name in enumerate(rows[0]):
        table.add_column(name, justify="right" if place else "left", no_wrap=True)
    for row in rows[1:]:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console = Console(width=130)
    console.print(table)


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise QueryError(f"{path} cannot be read as lines of text: {error}.") from error
    return [line for line in lines if line.strip()]


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise QueryError(f"The measures cannot be written to {path}: {reason}.") from error


def _progress(name: str) -> None:
    print(f"  {name}", file=sys.stderr)
