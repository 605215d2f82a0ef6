"""The command that makes a small tower of a large one: distil."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from multimodal.commands.common import stages
from multimodal.errors import SpaceError


def distil(
    given: Annotated[
        Path | None,
        typer.Argument(
            metavar="[TEXTS|IMAGES]",
            help="Texts, one a line, or a folder of pictures; without, phrases that ship.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Where the space is written.")
    ] = None,
    teacher: Annotated[
        str, typer.Option("--teacher", metavar="SPACE", help="The space whose tower teaches.")
    ] = "starter",
    student: Annotated[
        str | None,
        typer.Option(
            "--student",
            metavar="CONFIG",
            help="words (a table of words), transformer (a few layers over sub-words), vit (for pictures), or"
            " a JSON file with kind and fields; by default words, for a folder vit.",
        ),
    ] = None,
    words: Annotated[
        int | None, typer.Option("--words", min=10, help="Most words of a table; by default 20000.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all that is drawn at random.")] = 0,
) -> None:
    """Teach a small tower to give the vectors of a large one, without labels: smaller and many times as fast.

    Texts teach a text tower, pictures a picture tower, which embeds videos too. What a killed run had done
    lies in DIR.run, and the same command goes on from there.
    """
    from multimodal.distil import Words, learn
    from multimodal.distil import student as student_of
    from multimodal.space import load_space

    if output is None:
        raise SpaceError("Say where the space goes: -o DIR.")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise SpaceError(f"{output} is not empty: name a new folder.")
    config = None if student is None else student_of(student)
    loaded = load_space(teacher)
    began, run = time.perf_counter(), output.with_name(f"{output.name}.run")
    with stages() as show:
        made = learn(loaded, given, config, words=words, seed=seed, run=run, progress=show)
    made.space.save(output)
    for checkpoint in run.glob("*.safetensors"):  # it has served; the teacher's vectors serve other students
        checkpoint.unlink()
    told = "" if made.cosine is None else f"cosine to the teacher {made.cosine:.3f} on what was kept apart, "
    resumed = ", gone on with from an earlier run" if made.resumed else ""
    size = f"{made.bytes / 1e6:.1f} MB"
    if isinstance(made.config, Words):
        rung = made.space._source.rung  # type: ignore[attr-defined]
        size = f"{len(rung.words)} words, {size}"
    print(f"{size}, {told}{time.perf_counter() - began:.0f} s{resumed}; space {output}")
    if made.left_out:
        print(f"  left out  {made.left_out} files that could not be read", file=sys.stderr)
