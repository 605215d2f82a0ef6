"""Commands about spaces: which there are, and fetching one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from multimodal.errors import SpaceError

if TYPE_CHECKING:
    from multimodal.catalogue import SpaceInfo

SHOWN = 25


class _Spaces(TyperGroup):
    """Takes `spaces siglip --local` for `spaces list siglip --local`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        asks_for_help = args and args[0] in ctx.help_option_names
        if not asks_for_help and (not args or args[0] not in self.commands):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_Spaces, help="Say which spaces there are (`multimodal spaces [WORD...]`), fetch one.")


@app.command("list")
def list_(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[WORD]...", help="Only with these in the name or licence.")
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Only what is on this machine.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="All of them, not only the first few.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array on standard output.")] = False,
) -> None:
    """List the spaces that --space takes, those on this machine first, then the best on ImageNet.

    Sizes are about 4 bytes for each parameter. ImageNet is zero-shot top-1, COCO recall at 1 from text to
    image and from image to text, in percent, as open_clip publishes them.
    """
    from multimodal.catalogue import spaces

    found = spaces(words or (), local)
    if as_json:
        print(json.dumps([space.as_dict() for space in found], indent=1))
        return
    shown = found if everything or words or local else found[:SHOWN]
    _print_table(shown)
    if len(shown) < len(found):
        print(f"and {len(found) - len(shown)} more: multimodal spaces --all, or spaces WORD")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="MODEL/TAG, or hf-hub:OWNER/REPO.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="To a folder, to be copied to another machine."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Download a space, once: resumes what was interrupted and checks every file by its hash."""
    from multimodal import sharing
    from multimodal.towers import folders, parts

    repo = name.removeprefix(parts.HUB) if name.startswith(parts.HUB) else None
    if out is None:
        if name == "starter" or Path(name).is_dir():
            raise SpaceError(f"{name} is on this machine: there is nothing to fetch.")
        known = repo is not None and (sharing.here(repo) is not None or parts.here(name))
        if not known and (repo is None or sharing.fetch(repo, show=not quiet) is None):
            parts.find(name, download=True, show=not quiet)
        print(f"{name} is on this machine: multimodal index FOLDER --space {name}")
    else:
        if repo is None or sharing.fetch(repo, out, not quiet) is None:
            folders.fetch_to(name, out, show=not quiet)
        print(f"{name} is in {out}: copy that folder anywhere, and give its path as the space")


def _print_table(found: list[SpaceInfo]) -> None:
    rows = [_HEAD, *(_cells(space) for space in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    for number, row in enumerate(rows):
        cells = [
            cell.ljust(width) if column in _WORDS else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
        if number:
            for model in found[number - 1].audio:
                print(f"  + sound: {model}")


_HEAD = ["space", "", "dim", "pixels", "parameters", "download", "ImageNet", "COCO", "licence"]
_WORDS = {0, 1, 8}
"""Columns that begin on the left."""


def _cells(space: SpaceInfo) -> list[str]:
    both = "" if space.coco_t2i is None else f"{space.coco_t2i:.1f} {space.coco_i2t:.1f}"
    return [
        space.name,
        "here" if space.here else "",
        str(space.dim or ""),
        str(space.size or ""),
        "" if space.parameters is None else f"{space.parameters / 1e6:.0f} M",
        "" if space.download is None else f"{space.download / 1e9:.1f} GB",
        "" if space.imagenet is None else f"{space.imagenet:.1f}",
        both,
        space.licence or "see its card",
    ]
