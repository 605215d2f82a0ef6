"""Commands that hand vectors out: embed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from multimodal.commands.common import SpaceOption, WorkersOption, exit_for
from multimodal.errors import NoMediaFile, QueryError


def embed(
    files: Annotated[list[Path], typer.Argument(help="Files of any kind.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A .parquet file.")],
    space: SpaceOption = "starter",
    workers: WorkersOption = None,
) -> None:
    """Write the vectors of files to a parquet table: path, modality, start, end, text, vector."""
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
