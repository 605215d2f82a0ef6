"""Every error this package raises on purpose. Each message is one sentence a person can act on.

MultimodalError
├── ReadError            a file cannot be turned into segments (empty, truncated, not media ...)
│   ├── UnsupportedFile  no reader takes this kind of file
│   │   ├── NeedsExtra        one would, with an extra of this package installed
│   │   └── UnwantedModality  it holds nothing of what the options ask for
│   └── NoMediaFile      the path does not exist or is no file
├── SpaceError           a space cannot be loaded or does not hold what is asked of it
│   ├── UnknownSpace     no space of that name; the message lists near matches
│   └── NoEncoder        the space has no encoder for that modality
├── LibraryError         a library cannot be opened or written
│   ├── NoLibrary        there is no library at or above that folder
│   ├── WrongSpace       the library was made by another space
│   └── LibraryBusy      another process is writing to it
└── QueryError           the query is empty or of no known kind
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multimodal.types import Modality


_UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line ends, reversals of the writing direction, and halves of characters."""
_LONGEST = 300
"""Characters of a reason: a decoder may quote half the file."""


def plain(text: str) -> str:
    """A text on one line that no terminal obeys and every encoding of Unicode takes: what is no
    character to show, in the name of a file or in what it says, appears as its escape."""
    return _UNSHOWN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


class MultimodalError(Exception):
    """Base of all errors of this package."""


class ReadError(MultimodalError):
    """A file cannot be turned into segments; the message is the reason, without the path, on one line."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(plain(" ".join(reason.split()))[:_LONGEST])


class UnsupportedFile(ReadError):
    """No reader takes this kind of file."""


class NeedsExtra(UnsupportedFile):
    """The reader of this kind of file needs an extra: `pip install multimodal[EXTRA]`."""

    def __init__(self, extra: str) -> None:
        super().__init__(f"needs multimodal[{extra}]")
        self.extra = extra


class UnwantedModality(UnsupportedFile):
    """The file holds nothing of the modalities that were asked for."""

    def __init__(self, modality: Modality) -> None:
        super().__init__(f"it holds {modality} only, which is not asked for")
        self.modality = modality


class NoMediaFile(ReadError):
    """The path does not exist or is not a file."""


class SpaceError(MultimodalError):
    """A space cannot be loaded or does not hold what is asked of it."""


class UnknownSpace(SpaceError):
    """No space of that name."""


class NoEncoder(SpaceError):
    """The space has no encoder for that modality."""


class LibraryError(MultimodalError):
    """A library cannot be opened or written."""


class NoLibrary(LibraryError):
    """There is no library at or above that folder."""


class WrongSpace(LibraryError):
    """The library was made by another space."""


class LibraryBusy(LibraryError):
    """Another process is writing to the library."""


class QueryError(MultimodalError):
    """The query is empty or of no known kind."""
