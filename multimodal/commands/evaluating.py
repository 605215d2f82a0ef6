"""The command that measures: evaluate."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from multimodal.commands.common import SpaceOption, WorkersOption
from multimodal.errors import QueryError

if TYPE_CHECKING:
    from multimodal.evaluation.tables import Table
    from multimodal.space import Space
    from multimodal.types import FileRecord


def evaluate(
    pairs: Annotated[
        Path,
        typer.Argument(
            metavar="PAIRS.csv", help="Two columns of texts or paths; or text, path, start, end: moments."
        ),
    ],
    space: SpaceOption = "starter",
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="NAME", help="Another space: is it better, on the same pairs?"),
    ] = None,
    zero_shot: Annotated[
        bool, typer.Option("--zero-shot", help="The texts are labels: how often is the right one first?")
    ] = False,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Compress, crop and disturb the media: what is left?")
    ] = False,
    workers: WorkersOption = None,
    as_json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the measures as JSON; - prints them.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write the tables as markdown.")
    ] = None,
) -> None:
    """Measure how well each kind of thing in PAIRS.csv finds the one it is paired with."""
    from multimodal.evaluation.moments import is_moments
    from multimodal.space import load_space

    if is_moments(pairs):
        if against or zero_shot or robustness:
            raise QueryError("Moments (columns start and end) are measured by themselves.")
        found, tables, left_out = _moments(load_space(space), pairs, workers)
    else:
        other = load_space(against) if against else None
        found, tables, left_out = _pairs(load_space(space), other, pairs, zero_shot, robustness, workers)
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    if str(as_json) == "-":
        print(text, end="")
    else:
        for table in tables:
            _print(table)
    if as_json is not None and str(as_json) != "-":
        _write(as_json, text)
    if markdown is not None:
        _write(markdown, "\n".join(table.markdown() for table in tables))
    for record in left_out:
        print(f"  left out  {record.path}: {record.reason}", file=sys.stderr)
    if left_out:
        raise typer.Exit(3)


def _pairs(
    space: Space, other: Space | None, path: Path, zero_shot: bool, robustness: bool, workers: int | None
) -> tuple[dict[str, Any], list[Table], Sequence[FileRecord]]:
    """What was asked of a file of pairs: plain values, tables, and the files that failed."""
    from multimodal import evaluation
    from multimodal.evaluation import tables as made
    from multimodal.pairs import read_pairs

    pairs = read_pairs(path)
    with _progress() as show:
        whole = evaluation.evaluate(space, pairs, workers=workers, progress=show)
    found, tables = whole.as_dict(), [made.retrieval_table(whole)]
    if other is not None:
        with _progress() as show:
            second = evaluation.evaluate(other, pairs, workers=workers, progress=show)
        compared = evaluation.compare(whole, second)
        found["against"] = second.as_dict()
        found["comparison"] = [asdict(one) for one in compared]
        tables += [made.retrieval_table(second), made.comparison_table(compared, space.name, other.name)]
    if zero_shot:
        with _progress() as show:
            labelled = evaluation.evaluate_zero_shot(space, pairs, workers=workers, progress=show)
        found["zero_shot"] = [_plain(one) for one in labelled]
        tables.append(made.zero_shot_table(labelled))
    if robustness:
        with _progress() as show:
            worn = evaluation.evaluate_robustness(space, pairs, workers=workers, progress=show)
        found["robustness"] = [asdict(one) for one in worn]
        tables.append(made.robustness_table(worn))
    return found, tables, whole.left_out


def _moments(
    space: Space, path: Path, workers: int | None
) -> tuple[dict[str, Any], list[Table], Sequence[FileRecord]]:
    from multimodal.evaluation import evaluate_moments
    from multimodal.evaluation.tables import moments_table

    with _progress() as show:
        found = evaluate_moments(space, path, workers=workers, progress=show)
    return {"space": space.name, "moments": _plain(found)}, [moments_table(found)], found.left_out


def _plain(found: Any) -> dict[str, Any]:
    """A result for JSON; which files failed is told once, with the retrieval."""
    return {name: value for name, value in asdict(found).items() if name != "left_out"}


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise QueryError(f"The measures cannot be written to {path}: {reason}.") from error


def _print(table: Table) -> None:
    """Below each value the bounds of its 95 % interval."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as Drawn

    from multimodal.evaluation.tables import cell

    drawn = Drawn(box=SIMPLE_HEAD, title=table.title, title_justify="left")
    for place, name in enumerate(table.heads):
        drawn.add_column(name, justify="left" if place == 0 else "right", no_wrap=True)
    for row in table.rows:
        drawn.add_row(*(cell(value) for value in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    console.print(drawn)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    """A bar on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress("embedding", *columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
