"""Commands about probes, classifiers from a few labelled examples: probe train, probe apply."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from multimodal.commands.common import ExcludeOption, LibraryOption, SpaceOption, WorkersOption, exit_for
from multimodal.errors import NoMediaFile, QueryError

app = typer.Typer(help="Classifiers from a few labelled examples.", no_args_is_help=True)
COLUMNS = ("path", "modality", "label", "probability")


@app.command()
def train(
    labels: Annotated[
        Path, typer.Argument(metavar="LABELS.csv", help="Two columns: a file (or a text), and its label.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where the probe is written.")
    ],
    space: SpaceOption = "starter",
    workers: WorkersOption = None,
) -> None:
    """Learn the labels of LABELS.csv, from about five examples of each."""
    from multimodal.pairs import read_pairs
    from multimodal.probe import train_probe
    from multimodal.space import load_space

    pairs = read_pairs(labels)
    told = [(right, left) if isinstance(left, str) and not isinstance(right, str) else (left, right)
            for left, right in pairs.pairs]  # fmt: skip
    if not all(isinstance(label, str) for _, label in told):
        raise QueryError(f"{labels} has lines without a label.")
    found = train_probe(
        load_space(space), [item for item, _ in told], [str(label) for _, label in told], workers=workers
    )
    found.save(output)
    counts = ", ".join(f"{name} {count}" for name, count in found.examples.items())
    print(f"{sum(found.examples.values())} examples of {len(found.examples)} classes ({counts})")
    if found.held_out is not None:
        print(f"right of examples that were held out: {found.held_out}")
    few = [name for name, count in found.examples.items() if count < 5]
    if few:
        print(f"fewer than five examples: {', '.join(few)}")
    for record in found.left_out:
        print(f"  left out  {record.path}: {record.reason}", file=sys.stderr)
    if found.left_out:
        raise typer.Exit(3)


@app.command()
def apply(
    probe: Annotated[Path, typer.Argument(metavar="DIR", help="A probe.")],
    folder: Annotated[Path, typer.Argument(help="The folder (or file) to label; it is indexed first.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help=".csv, .json, .md or .parquet; else the screen."),
    ] = None,
    least: Annotated[
        float, typer.Option("--min-probability", min=0, max=1, help="Leave out labels below this.")
    ] = 0.0,
    library: LibraryOption = None,
    exclude: ExcludeOption = None,
    workers: WorkersOption = None,
) -> None:
    """Say what each file of FOLDER is, by what a probe has learned."""
    from multimodal.commands.tagging import table_writer
    from multimodal.console import index_progress, print_problems
    from multimodal.export import shown_path
    from multimodal.library import Library
    from multimodal.library.means import file_means
    from multimodal.probe import load_probe

    if not folder.exists():
        raise NoMediaFile(f"{folder} does not exist.")
    learned, write = load_probe(probe), table_writer(output, COLUMNS)
    home = library or (folder if folder.is_dir() else folder.parent) / ".multimodal"
    rows = []
    with Library(home) as opened, index_progress(False) as show:
        learned.check(opened.space)
        report = opened.add(folder, progress=show, exclude=exclude or (), workers=workers)
        for file in file_means(opened, folder.absolute()):
            if file.modality in learned.encoders:
                name, chance = learned.of_rows(file.vector[None])[0][0]
                values = (shown_path(file.path), file.modality, name, round(chance, 4))
                if chance >= least:
                    rows.append(dict(zip(COLUMNS, values, strict=True)))
    write(rows)
    print_problems(report)
    exit_for(report)
