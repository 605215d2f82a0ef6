"""The command that measures: evaluate."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from multimodal.commands.common import SpaceOption, WorkersOption
from multimodal.errors import QueryError

if TYPE_CHECKING:
    from multimodal.evaluate import Evaluation, Measure


def evaluate(
    pairs: Annotated[Path, typer.Argument(metavar="PAIRS.csv", help="Two columns of texts or paths.")],
    space: SpaceOption = "starter",
    workers: WorkersOption = None,
    as_json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the measures as JSON; - prints them.")
    ] = None,
) -> None:
    """Measure how well each kind of thing in PAIRS.csv finds the one it is paired with."""
    from multimodal.evaluate import evaluate as measure
    from multimodal.space import load_space

    with _progress() as show:
        found = measure(load_space(space), pairs, workers=workers, progress=show)
    text = json.dumps(found.as_dict(), indent=1, ensure_ascii=False) + "\n"
    if str(as_json) == "-":
        print(text, end="")
    else:
        _print_table(found)
    if as_json is not None and str(as_json) != "-":
        try:
            as_json.write_text(text, encoding="utf-8")
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise QueryError(f"The measures cannot be written to {as_json}: {reason}.") from error
    for record in found.left_out:
        print(f"  left out  {record.path}: {record.reason}", file=sys.stderr)
    if found.left_out:
        raise typer.Exit(3)


def _print_table(found: Evaluation) -> None:
    """One row for each direction; below each value the bounds of its 95 % interval."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, title=f"{found.pairs} pairs, space {found.space}", title_justify="left")
    table.add_column("query → answer", no_wrap=True)
    for name in ("n", "of", "R@1", "R@5", "R@10", "median rank", "nDCG@10", "mAP"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found.directions:
        shown = [_cell(one.measures[name], 3) for name in ("recall@1", "recall@5", "recall@10")]
        shown.append(_cell(one.measures["median rank"], 1))
        shown += [_cell(one.measures[name], 3) for name in ("ndcg@10", "map")]
        named = "" if one.columns == (one.query, one.target) else f"\n{one.columns[0]} → {one.columns[1]}"
        table.add_row(f"{one.query} → {one.target}{named}", str(one.queries), str(one.candidates), *shown)
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    console.print(table)


def _cell(measure: Measure, digits: int) -> str:
    return f"{measure.value:.{digits}f}\n{measure.low:.{digits}f}–{measure.high:.{digits}f}"


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
