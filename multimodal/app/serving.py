"""The server of the page: Gradio behind a guard, and the files of the library."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multimodal.app.guard import Guard, check_address, is_local
from multimodal.app.service import Service
from multimodal.errors import NoMediaFile, QueryError
from multimodal.library import Library

UPLOAD = 200 * 2**20
"""Bytes that an upload may have."""
PRIVATE = "default-src 'none'; sandbox"
"""The policy for a file of the library: an HTML or SVG file runs nothing."""


@dataclass(frozen=True)
class Address:
    """Where the page is served; `auth` is a name and a password."""

    host: str = "127.0.0.1"
    port: int = 7860
    auth: tuple[str, str] | None = None


def build(library: Library, folder: Path, address: Address | None = None) -> Any:
    """The ASGI application of a library; `folder` is what its Index button reads. Raises QueryError."""
    given = address or Address()
    check_address(given.host, given.auth)
    try:
        import gradio as gr
        from fastapi import FastAPI, HTTPException
        from fastapi.responses import FileResponse
    except ImportError as error:
        raise QueryError("The page needs Gradio: pip install 'multimodal[app]'.") from error
    from multimodal.app.cards import STYLE
    from multimodal.app.page import build_page

    service = Service(library, folder)
    server = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    def media(number: int) -> Any:
        path = service.file(number)
        if path is None:
            raise HTTPException(404, "There is no such file in the library.")
        return FileResponse(path, headers={"content-security-policy": PRIVATE})

    server.add_api_route("/media/{number}", media)
    system = ["system-ui", "sans-serif"]
    theme = gr.themes.Base(font=system, font_mono=["ui-monospace", "monospace"])
    gr.mount_gradio_app(
        server,
        build_page(service),
        path="",
        allowed_paths=[],
        blocked_paths=[str(Path.home()), str(folder)],
        max_file_size=UPLOAD,
        mcp_server=True,
        ssr_mode=False,
        theme=theme,
        css=STYLE,
        footer_links=[],
        enable_monitoring=False,
        show_error=False,
    )
    return Guard(server, given.auth, is_local(given.host))


def serve(
    folder: str | Path, address: Address | None = None, ready: Callable[[str], object] | None = None
) -> None:
    """Serve the page of a folder's library until interrupted; `ready` is told its address.

    The library is FOLDER/.multimodal or the nearest above; a folder without one is indexed from the page.
    Raises NoMediaFile, QueryError (an open address without a password, a port in use).
    """
    given = address or Address()
    check_address(given.host, given.auth)
    place = Path(folder).expanduser().absolute()
    if not place.is_dir():
        raise NoMediaFile(f"{folder} is no folder.")
    with tempfile.TemporaryDirectory(prefix="multimodal-app-") as scratch:
        os.environ["GRADIO_TEMP_DIR"] = scratch  # uploads go with the server
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        import uvicorn

        with Library(_home(place)) as library:
            application = build(library, place, given)
            config = uvicorn.Config(
                application, given.host, given.port, log_level="warning", timeout_graceful_shutdown=1
            )
            server = uvicorn.Server(config)
            if ready is not None:
                ready(f"http://{given.host}:{given.port}/")
            try:
                server.run()
            except SystemExit as error:
                raise QueryError(f"The port {given.port} of {given.host} cannot be used.") from error


def _home(folder: Path) -> Path:
    from multimodal.errors import NoLibrary

    try:
        return Library.find(folder)
    except NoLibrary:
        return folder / ".multimodal"
