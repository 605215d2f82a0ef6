"""The command that learns: train."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from multimodal.commands.common import SpaceOption, WorkersOption
from multimodal.errors import QueryError

if TYPE_CHECKING:
    from multimodal.training import Learned

Told = tuple[Callable[[int, int], None], Callable[[dict[str, float]], None]]


def train(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where the space is written.")
    ],
    pairs: Annotated[
        Path | None,
        typer.Argument(
            metavar="PAIRS.csv", help="Two columns of texts or paths; also, if you like, weight and split."
        ),
    ] = None,
    videos: Annotated[
        Path | None,
        typer.Option("--from-videos", metavar="FOLDER", help="Instead of pairs: sounds learn from pictures."),
    ] = None,
    space: SpaceOption = "starter",
    parts: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="What learns: head (an adapter each), head.text, head.image, audio; inside an open_clip"
            " model lora, lora.text, lora.image, all; audio.tower (the starter's own); pooler (frames of"
            " videos). By default head, from videos audio.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="PAIRS.csv", help="Generic pairs that must be found as before."),
    ] = None,
    loss: Annotated[str, typer.Option(metavar="NAME", help="clip or siglip.")] = "clip",
    epochs: Annotated[int | None, typer.Option(help="At most.", show_default=False)] = None,
    batch: Annotated[int | None, typer.Option(help="Pairs that are each other's negatives.")] = None,
    rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    seed: Annotated[int, typer.Option(help="Of all that is drawn at random.")] = 0,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting; may be repeated."),
    ] = None,
    workers: WorkersOption = None,
    as_json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write how it went as JSON; - prints it.")
    ] = None,
) -> None:
    """Teach a space with pairs of things that belong together, and write it to a folder.

    With --from-videos no pairs are needed: what is seen in videos teaches what is heard with it.
    The result is a space like any other: index, search and evaluate with --space DIR. A training that was
    killed goes on when the same command is typed again.
    """
    from multimodal.space import load_space
    from multimodal.training import learn, learn_from_videos

    if (pairs is None) == (videos is None):
        raise QueryError("What to learn from is either PAIRS.csv or --from-videos FOLDER.")
    given = {"epochs": epochs, "batch": batch, "rate": rate}
    settings = {name: value for name, value in given.items() if value is not None} | _options(options or [])
    loaded = load_space(space)
    wanted = parts if parts is not None else "head" if videos is None else "audio"
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    with _progress(int(settings.get("epochs", 0))) as (embedded, epoch):
        told = {"output": output, "keep": keep, "workers": workers, "progress": embedded, "listener": epoch}
        asked = {"loss": loss, "seed": seed, **settings, **told}
        if pairs is not None:
            learned = learn(loaded, pairs, names, **asked)
        elif videos is not None:
            learned = learn_from_videos(loaded, videos, names, **asked)
    if str(as_json) == "-":
        print(json.dumps(learned.as_dict(), indent=1))
    else:
        _print(learned, output)
    if as_json is not None and str(as_json) != "-":
        try:
            as_json.write_text(json.dumps(learned.as_dict(), indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise QueryError(f"The numbers cannot be written to {as_json}: {reason}.") from error
    failed = [record for record in learned.left_out if record.status == "failed"]
    if silent := len(learned.left_out) - len(failed):
        print(f"  left out  {silent} videos of which no pictures are heard with sound", file=sys.stderr)
    for record in failed:
        print(f"  left out  {record.path}: {record.reason}", file=sys.stderr)
    if failed:
        raise typer.Exit(3)


def _options(texts: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE with the type that the setting has. Raises QueryError."""
    from dataclasses import asdict

    from multimodal.training import Settings

    known, found = asdict(Settings()), dict[str, Any]()
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in known or name == "parts":
            names = ", ".join(key for key in known if key != "parts")
            raise QueryError(f"--set takes NAME=VALUE with one of {names}, not {text!r}.")
        default = known[name]
        try:
            if isinstance(default, bool):
                found[name] = {"true": True, "1": True, "false": False, "0": False}[value.lower()]
            else:
                found[name] = value if default is None else type(default)(value)
        except (ValueError, KeyError):
            raise QueryError(f"{name} is a {type(default).__name__}, which {value!r} is not.") from None
    return found


def _print(learned: Learned, output: Path) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    chosen = "" if learned.split == "test" else ", which epoch and alpha were chosen on"
    table = Table(box=SIMPLE_HEAD, title=f"R@10 of {learned.split} pairs{chosen}", title_justify="left")
    for place, name in enumerate(("direction", "queries", "candidates", "before", "after")):
        table.add_column(name, justify="right" if place else "left", no_wrap=True)
    for before, after in zip(learned.before, learned.after, strict=True):
        counts = str(len(before.rank)), str(before.candidates)
        shares = (f"{(score.rank <= 10).mean():.3f}" for score in (before, after))
        table.add_row(f"{before.query} to {before.target}", *counts, *shares)
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    if learned.before:
        console.print(table)
    kept = f"{learned.point.kept:.3f} of what it knew is kept ({learned.points[0].kept:.3f} before)"
    print(f"alpha {learned.point.alpha:g}, epoch {learned.best_epoch + 1} of {len(learned.history)}; {kept}")
    if learned.point.alpha == 0:
        print("Nothing better was found: the space is as it was. Try more pairs, or --set lose=0.05.")
    print(f"{output}: use it with --space {output}; its card is {output / 'README.md'}")


@contextmanager
def _progress(epochs: int) -> Iterator[Told]:
    """Bars on standard error: items embedded, then epochs with loss and R@10; a line each elsewhere."""
    if not sys.stderr.isatty():
        yield (lambda done, total: None), _told
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        embedding, learning = (
            bar.add_task("embedding", total=None),
            bar.add_task("training", total=epochs or None),
        )
        yield (
            lambda done, total: bar.update(embedding, completed=done, total=total),
            lambda line: bar.update(learning, completed=int(line["epoch"]), description=_line(line)),
        )


def _told(line: dict[str, float]) -> None:
    print(f"  epoch {line['epoch']:.0f}: {_line(line)}", file=sys.stderr)


def _line(line: dict[str, float]) -> str:
    return f"loss {line['loss']:.3f}, R@10 {line['recall@10']:.3f}"
