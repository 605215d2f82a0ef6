"""Text, images, videos and sounds in one space: search anything with anything, on your own machine.

    >>> from multimodal import Library, load_space
    >>> space = load_space()
    >>> space.similarity(Path("dog.jpg"), ["a dog", "a train"])

Importing this loads neither torch nor a model: names are looked up when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multimodal.encoder import Encoder
    from multimodal.errors import (
        LibraryBusy,
        LibraryError,
        MultimodalError,
        NoEncoder,
        NoLibrary,
        NoMediaFile,
        QueryError,
        ReadError,
        SpaceError,
        UnknownSpace,
        UnsupportedFile,
        WrongSpace,
    )
    from multimodal.explain import Explanation, Tokens
    from multimodal.gallery import Gallery, show
    from multimodal.library import Library
    from multimodal.space import Space, load_space
    from multimodal.types import (
        MODALITIES,
        Audio,
        Clip,
        FileRecord,
        Hit,
        IndexReport,
        LibraryStats,
        Match,
        ReadOptions,
        Segment,
    )

_HOMES = {
    "multimodal.encoder": ["Encoder"],
    "multimodal.errors": [
        "LibraryBusy",
        "LibraryError",
        "MultimodalError",
        "NoEncoder",
        "NoLibrary",
        "NoMediaFile",
        "QueryError",
        "ReadError",
        "SpaceError",
        "UnknownSpace",
        "UnsupportedFile",
        "WrongSpace",
    ],
    "multimodal.explain": ["Explanation", "Tokens"],
    "multimodal.gallery": ["Gallery", "show"],
    "multimodal.library": ["Library"],
    "multimodal.space": ["Space", "load_space"],
    "multimodal.types": [
        "MODALITIES",
        "Audio",
        "Clip",
        "FileRecord",
        "Hit",
        "IndexReport",
        "LibraryStats",
        "Match",
        "ReadOptions",
        "Segment",
    ],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

try:
    __version__ = version("multimodal")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0"

__all__ = [
    "MODALITIES",
    "Audio",
    "Clip",
    "Encoder",
    "Explanation",
    "FileRecord",
    "Gallery",
    "Hit",
    "IndexReport",
    "Library",
    "LibraryBusy",
    "LibraryError",
    "LibraryStats",
    "Match",
    "MultimodalError",
    "NoEncoder",
    "NoLibrary",
    "NoMediaFile",
    "QueryError",
    "ReadError",
    "ReadOptions",
    "Segment",
    "Space",
    "SpaceError",
    "Tokens",
    "UnknownSpace",
    "UnsupportedFile",
    "WrongSpace",
    "load_space",
    "show",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'multimodal' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
