"""A page to search a library with, in the browser: `multimodal app FOLDER`, or `serve` from Python."""

from __future__ import annotations

from multimodal.app.serving import Address, build, serve

__all__ = ["Address", "build", "serve"]
