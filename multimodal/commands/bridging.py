"""The command that gives a space sound: bridge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from multimodal.commands.common import SpaceOption, stages
from multimodal.errors import QueryError


def bridge(
    audio: Annotated[
        str,
        typer.Option(
            "--audio",
            metavar="NAME=PATH",
            help="wav2clip=Wav2CLIP.pt, imagebind=FILE.pth, languagebind-audio=FOLDER or clap=FOLDER.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where the space is written.")
    ],
    space: SpaceOption = "starter",
    sentences: Annotated[
        Path | None,
        typer.Option("--sentences", metavar="FILE", help="To fit a text bridge with, one a line; some ship."),
    ] = None,
) -> None:
    """Give a space the sounds of a published audio encoder, and write it to a folder.

    An encoder that was trained for the space is added as it is; one with a text tower of its own is fitted to
    it from sentences alone.
    """
    from multimodal.library.captioning import read_captions
    from multimodal.sound import bridge_audio, registry, with_audio
    from multimodal.space import load_space

    name, equals, path = audio.partition("=")
    if not (equals and name and path):
        raise QueryError("--audio takes NAME=PATH, as in wav2clip=Wav2CLIP.pt.")
    loaded = load_space(space)
    if name == "clap":
        from multimodal.sound import clap

        texts = None if sentences is None else read_captions(sentences)
        model = clap.read(Path(path))
        with stages() as show:
            made = bridge_audio(model, loaded, texts, progress=show)
    else:
        made = with_audio(loaded, name, path)
    made.save(output)
    entry = registry.ENTRIES[name]
    print(f"{output}: {space} with the sounds of {name} ({entry.licence}); use it with --space {output}")
