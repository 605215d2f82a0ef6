"""What a library keeps, and the protocol of whatever keeps it. `sqlite.py` is the store on a local disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from multimodal.types import Facts, Modality, Role

Kept: TypeAlias = Literal["indexed", "skipped", "failed"]


@dataclass(frozen=True)
class Root:
    """A folder whose files are in the library; `path` as stored: absolute, or relative to the library."""

    number: int
    path: str
    device: int


@dataclass(frozen=True)
class SegmentRow:
    """A segment to be stored; `vector` is the bytes of dim little-endian float16, None for a blank one.

    `frames` are the times (little-endian float32, seconds) and the vectors (as `vector`, one after the
    other) of frames that a video segment keeps.
    """

    modality: Modality
    start: float | None
    end: float | None
    text: str | None
    encoder: str
    vector: bytes | None
    page: int | None = None
    chars: tuple[int, int] | None = None
    role: Role = "content"
    frames: tuple[bytes, bytes] | None = None


class FileState(NamedTuple):
    """What the library remembers of a file; a tuple, because a run makes one for every file there is."""

    number: int
    size: int
    mtime_ns: int
    hash: bytes | None
    status: Kept
    reason: str | None
    recipe: str
    encoders: frozenset[str]
    segments: int
    companions: str
    facts: Facts


@dataclass(frozen=True)
class FileEntry:
    """A file to be stored in place of what was there; `rows` None keeps the segments it has, `facts` None
    what was known of it.

    `companions` tells of the files that were read with it (see `multimodal.library.scan.Companions`).
    """

    root: Root
    path: str
    size: int
    mtime_ns: int
    hash: bytes | None
    status: Kept
    reason: str | None
    recipe: str
    seconds: float
    rows: Sequence[SegmentRow] | None = ()
    companions: str = ""
    facts: Facts | None = Facts()  # noqa: RUF009 - frozen


@dataclass(frozen=True)
class StoredSegment:
    """What a hit shows of a segment; `root` is the stored path of its root, `id` names an imported one."""

    root: str
    path: str
    modality: Modality
    ordinal: int
    start: float | None
    end: float | None
    text: str | None
    page: int | None
    chars: tuple[int, int] | None
    role: Role
    id: str | None = None


@dataclass(frozen=True)
class ImportedRow:
    """A segment made elsewhere. `id` names it in its collection, `path` what it is a part of: an address
    of any kind. Rows without an id take the place of all rows of their path, which names them.
    `row.encoder` and `row.frames` are not looked at; `metadata` is a JSON object as text."""

    id: str | None
    path: str
    row: SegmentRow
    facts: Facts = Facts()  # noqa: RUF009 - frozen
    size: int = 0
    mtime_ns: int = 0
    metadata: str = "{}"


class Record(NamedTuple):
    """A segment with what is known of its file, as tables give it out; `vector` None where it has none or
    none was asked for."""

    number: int
    root: str
    path: str
    id: str | None
    modality: Modality
    role: Role
    page: int | None
    start: float | None
    end: float | None
    text: str | None
    begin_char: int | None
    end_char: int | None
    width: int | None
    height: int | None
    duration: float | None
    taken: str | None
    size: int
    mtime_ns: int
    metadata: str | None
    vector: bytes | None


COLLECTION = "import:"
"""What the stored path of a root begins with that is no folder but a collection of imported rows. No path
does: a relative one begins with dots, and the name of a drive is one letter."""


KeptFrames: TypeAlias = "tuple[NDArray[np.float32], NDArray[np.float32]]"
"""Times (f,) in seconds and unit vectors (f, dim) of some frames of a segment."""

VectorRows: TypeAlias = "list[tuple[int, int, bytes]]"
"""(segment number, file number, float16 bytes) of some segments."""


class Store(Protocol):
    """Rows of one library. Writes are transactions: whole or not at all, on disk when the call returns."""

    def settings(self) -> Mapping[str, Any]:
        """`library` (a random id), `space`, `space_id`, `dim`, and the counters `generation` (every write)
        and `deletions` (writes that took segments away)."""

    def put_setting(self, name: str, value: str | int) -> None:
        """Set what says nothing of the rows themselves; `storage` is how they are searched
        (`multimodal.library.codes`)."""

    def snapshot(self) -> AbstractContextManager[Store]:
        """Context in which all reads see one state, whatever is written meanwhile."""

    def roots(self) -> list[Root]:
        """All folders, oldest first; collections of imported rows are none."""

    def put_root(self, path: str, device: int) -> Root:
        """The root of that stored path, made where it is new; its device is brought up to date."""

    def move_files(self, source: Root, target: Root, prefix: str) -> None:
        """Make a root part of one above it: `prefix` is where it lies in there."""

    def files(self, root: Root) -> dict[str, FileState]:
        """Everything remembered below a root, by path relative to it."""

    def file(self, root: Root, path: str) -> FileState | None:
        """What is remembered of one file."""

    def rows(self, file: int) -> list[SegmentRow]:
        """The segments of a file in their order."""

    def write(self, entries: Sequence[FileEntry]) -> None:
        """Store files, each in place of all there was of it."""

    def delete(self, files: Sequence[int]) -> None:
        """Take files and all their segments away."""

    def segments(self, numbers: Sequence[int]) -> dict[int, StoredSegment]:
        """Segments by their numbers; one that is gone is left out."""

    def frames(self, numbers: Sequence[int]) -> dict[int, KeptFrames]:
        """Times (f,) in seconds and unit vectors (f, dim) of the frames that segments keep, of those that
        keep any."""

    def vectors(self, modality: Modality, after: int) -> Iterator[VectorRows]:
        """The vectors of a modality in groups, by ascending segment number from `after` (exclusive)."""

    def counts(self) -> tuple[int, dict[Modality, int]]:
        """Indexed files, and embedded segments by modality."""

    def put_imported(self, collection: str, batches: Iterable[Sequence[ImportedRow]]) -> tuple[int, int]:
        """Store rows made elsewhere, all or none, each in place of the one with its id; gives how many were
        stored and how many had to go for them."""

    def delete_imported(self, collection: str, ids: Sequence[str] | None) -> int:
        """Take rows made elsewhere away, None for all of the collection; gives how many there were."""

    def imported(self, numbers: Sequence[int]) -> dict[int, tuple[str, str, str]]:
        """(collection, id, metadata) of those segments that were made elsewhere."""

    def find_imported(self, collection: str, ids: Sequence[str]) -> dict[str, int]:
        """Segment numbers by the ids of rows made elsewhere."""

    def records(
        self, modalities: Sequence[Modality], roles: Sequence[Role], vectors: bool
    ) -> Iterator[list[Record]]:
        """Segments in groups, by ascending number."""

    def select(
        self, sql: str, values: Sequence[Any] = (), seconds: float | None = None
    ) -> list[tuple[Any, ...]]:
        """The rows of a query in SQL, over the views `items` and `item_files` and the tables of words.

        Raises TimeoutError where it takes longer than `seconds`.
        """

    def close(self) -> None:
        """Let go of it."""
