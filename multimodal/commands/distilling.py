"""The command that makes a small text tower of a large one: distil."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from multimodal.errors import SpaceError


def distil(
    texts: Annotated[
        Path | None, typer.Argument(metavar="[TEXTS]", help="Texts, one a line; without, phrases that ship.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Where the space is written.")
    ] = None,
    teacher: Annotated[
        str, typer.Option("--teacher", metavar="NAME", help="The space whose text tower teaches.")
    ] = "starter",
    words: Annotated[int, typer.Option("--words", min=10, help="Most words of the student.")] = 20_000,
) -> None:
    """Teach a table of words what a text tower makes of texts: many times as fast, and without a network."""
    from multimodal.distil import distil as made_of
    from multimodal.space import load_space

    if output is None:
        raise SpaceError("Say where the space goes: -o DIR.")
    if output.exists() and any(output.iterdir()):
        raise SpaceError(f"{output} is not empty: name a new folder.")
    loaded = load_space(teacher)
    began = time.perf_counter()

    def show(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\rtexts the teacher has embedded: {done} of {total}", end="", file=sys.stderr)

    space = made_of(loaded, texts, words=words, progress=show)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    space.save(output)
    rung = space._source.rung  # type: ignore[attr-defined]
    size = rung.size / 1e6
    print(f"{len(rung.words)} words, {size:.1f} MB, {time.perf_counter() - began:.0f} s; space {output}")
