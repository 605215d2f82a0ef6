"""Commands that hand vectors out: embed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from multimodal.commands.common import SpaceOption, WorkersOption, exit_for
from multimodal.errors import NoMediaFile, QueryError

if TYPE_CHECKING:
    from multimodal.scale.shards import ShardReport


def embed(
    files: Annotated[
        list[str],
        typer.Argument(help="Files of any kind, or WebDataset shards (.tar), also s3://bucket/shards/*.tar."),
    ],
    output: Annotated[
        str,
        typer.Option(
            "-o", "--output", help="A .parquet file; of shards also a .tar, or a folder or address."
        ),
    ],
    space: SpaceOption = "starter",
    workers: WorkersOption = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="FORMAT", help="Of shards into a folder: parquet, or tar (WebDataset)."),
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", metavar="NAME", help="Of shards: local, or ray (a cluster).")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="ADDRESS", help="The Ray cluster; default: this machine alone."),
    ] = None,
) -> None:
    """Write the vectors of files to a parquet table: path, modality, start, end, text, vector.

    Of shards into a folder or address each becomes a file of its name, and what is there is passed over.
    """
    if address and engine != "ray":
        raise QueryError("--address is that of a Ray cluster: give --engine ray too.")
    shards = [name.split("?", 1)[0].lower().endswith(".tar") for name in files]
    if all(shards):
        _embed_shards(files, output, to, space, workers=workers, engine=engine or "local", address=address)
        return
    if any(shards):
        raise QueryError("Give shards (.tar) or other files, not both.")
    if to is not None or engine is not None:
        raise QueryError("--to and --engine are for shards (.tar).")
    _embed_files([Path(name) for name in files], Path(output), space, workers)


def _embed_files(files: list[Path], output: Path, space: str, workers: int | None) -> None:
    from multimodal.console import print_problems
    from multimodal.export import write_parquet
    from multimodal.space import load_space

    if output.suffix != ".parquet":
        raise QueryError(f"The output is written as parquet; name it something.parquet, not {output.name!r}.")
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise NoMediaFile(f"{missing[0]} does not exist or is not a file.")
    report = write_parquet(files, output, load_space(space), workers=workers)
    print(f"{report.segments} vectors of {report.count('added')} files in {output}", file=sys.stderr)
    print_problems(report)
    exit_for(report)


def _embed_shards(files: list[str], output: str, to: str | None, space: str, **how: object) -> None:
    from multimodal.scale.shard_files import form_of
    from multimodal.scale.shards import embed_shards, embed_shards_to_file
    from multimodal.space import load_space

    form = form_of(output)
    if form is not None and to not in (None, form):
        raise QueryError(f"The output {output} says {form}, --to says {to}.")
    if form is not None and "://" in output:
        raise QueryError("One file of all shards is written on this machine: give a folder of that store.")
    how["progress"] = lambda name: print(f"  {name}", file=sys.stderr)
    if form is not None:
        report = embed_shards_to_file(files, output, load_space(space), **how)
    else:
        report = embed_shards(files, output, load_space(space), form=to or "parquet", **how)  # type: ignore[arg-type]
    _tell(report, output)


def _tell(report: ShardReport, output: str) -> None:
    """Exit code 3 where a shard or a file in one failed."""
    there = f", {len(report.passed)} were there" if report.passed else ""
    shards, rows = f"{len(report.done)} shards{there}", f"{report.rows} rows of {report.files} files"
    print(f"{shards}: {rows} in {output}, {report.failed} files failed", file=sys.stderr)
    for name, reason in report.problems:
        print(f"  failed   {name}: {reason}", file=sys.stderr)
    if report.problems or report.failed:
        raise typer.Exit(3)
