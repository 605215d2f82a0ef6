"""The command that opens the page: app."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer


def app(
    folder: Annotated[Path, typer.Argument(help="A folder with a library, or to be indexed.")] = Path("."),
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Any but 127.0.0.1 needs --auth.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 7860,
    auth: Annotated[
        str | None,
        typer.Option(
            "--auth", metavar="USER:PASSWORD", help="Ask for these; $MULTIMODAL_AUTH keeps them from view."
        ),
    ] = None,
) -> None:
    """Search a library in the browser; agents find the same tools at /gradio_api/mcp."""
    from multimodal.app import Address, serve
    from multimodal.app.guard import parse_auth

    given = parse_auth(auth or os.environ.get("MULTIMODAL_AUTH"))
    print(f"Starting; stop with Ctrl-C. Folder: {folder.absolute()}", file=sys.stderr)
    serve(folder, Address(host, port, given), lambda url: print(url, flush=True))
