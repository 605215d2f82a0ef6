"""The extras of this package that readers need, and which of them are installed."""

from __future__ import annotations

from importlib.util import find_spec

from multimodal.errors import NeedsExtra

EXTRAS: dict[str, str] = {
    "heic": "pillow_heif",
    "jxl": "pillow_jxl",
    "raw": "rawpy",
    "svg": "resvg_py",
    "pdf": "pypdfium2",
    "docx": "docx",
}
"""Extra, as in `pip install multimodal[heic]`, -> the module it brings. The kind of content that needs an
extra (see `multimodal.readers.sniff`) has its name."""


def installed() -> tuple[str, ...]:
    """The extras whose module can be found, in the order of EXTRAS; nothing is imported."""
    return tuple(extra for extra in EXTRAS if find_spec(EXTRAS[extra]) is not None)


def require(extra: str) -> None:
    """Raises NeedsExtra where the module of an extra is not installed."""
    if find_spec(EXTRAS[extra]) is None:
        raise NeedsExtra(extra)
