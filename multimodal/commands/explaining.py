"""Commands that show why: explain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from multimodal.commands.common import SpaceOption
from multimodal.errors import NoMediaFile


def explain(
    media: Annotated[Path, typer.Argument(help="A picture, video, sound or text file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A .png, .jpg, .svg, .pdf or .webp file.")],
    query: Annotated[
        str | None,
        typer.Option(
            "--query", "-q", help="Words, or a file; without it, what carries the file's own vector."
        ),
    ] = None,
    start: Annotated[float | None, typer.Option("--start", min=0, help="From this second on.")] = None,
    end: Annotated[float | None, typer.Option("--end", min=0, help="Up to this second.")] = None,
    space: SpaceOption = "starter",
) -> None:
    """Draw which words, places, frames or sounds of a file answer a query."""
    from multimodal.explain.explanation import check_figure
    from multimodal.space import load_space

    check_figure(output)
    if not media.is_file():
        raise NoMediaFile(f"{media} does not exist or is not a file.")
    asked = Path(query) if query is not None and Path(query).is_file() else query
    why = load_space(space).explain(media, asked, start, end)
    why.save(output)
    for place, relevance in why.top(1 if why.modality == "image" else 3):
        print(f"  {relevance:5.2f}  {place.described()}")
    print(f"{output}: cosine {why.cosine:.2f}")
