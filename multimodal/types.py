"""What the parts hand to each other: frozen dataclasses of the standard library and numpy only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

Modality: TypeAlias = Literal["text", "image", "video", "audio"]
MODALITIES: tuple[Modality, ...] = ("text", "image", "video", "audio")

Role: TypeAlias = Literal["content", "caption", "subtitles", "blank"]
"""What a segment is to its file: a part of it; words about the whole of it (a sidecar, XMP, IPTC); what is
said from `start` to `end`; or nothing to see or hear (silence, black), kept for its times, not embedded."""

Vectors: TypeAlias = NDArray[np.float32]
"""Unit rows, shape (n, dim), float32."""


@dataclass(frozen=True, eq=False)
class Audio:
    """A mono sound: `samples` (n,) float32 in [-1, 1] at `rate` Hz."""

    samples: NDArray[np.float32]
    rate: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 1:
            raise ValueError(f"Audio takes mono samples of shape (n,), not {self.samples.shape}")
        if self.rate <= 0:
            raise ValueError(f"Audio takes a positive sample rate in Hz, not {self.rate}")

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames of a video: `frames` are RGB pictures, `times` (t,) their seconds, ascending."""

    frames: Sequence[Image]
    times: NDArray[np.float64]

    def __post_init__(self) -> None:
        if not len(self.frames) or len(self.frames) != len(self.times):
            raise ValueError(
                f"Clip takes as many times as frames, at least one, not {len(self.frames)} frames"
                f" and {len(self.times)} times"
            )


Content: TypeAlias = "str | Image | Clip | Audio"


@dataclass(frozen=True, eq=False)
class Segment:
    """One embeddable piece of a file: a passage, a picture, a shot, a stretch of sound.

    `start` and `end` are seconds from the beginning of the file; None where the file has no time.
    `page` counts from 1 in files that have pages. `chars` are offsets (begin, end) of a passage in the
    visible text of its file or page. The content of a blank segment is the empty text.
    """

    modality: Modality
    content: Content
    path: Path | None = None
    start: float | None = None
    end: float | None = None
    page: int | None = None
    chars: tuple[int, int] | None = None
    role: Role = "content"


Item: TypeAlias = "str | Path | Image | Audio | Clip | Segment"
"""A `str` is always text; everything else is always media."""


@dataclass(frozen=True, eq=False)
class Frames:
    """Some frames of a clip, embedded: `vectors` (f, dim) float32 unit rows at `times` (f,) seconds."""

    times: NDArray[np.float64]
    vectors: Vectors


@dataclass(frozen=True)
class ReadOptions:
    """How finely a reader cuts a file. Lengths in seconds, sizes in pixels, passages in characters.

    A space states its own in `Space.read_options`, so that a file gives the same vectors whichever
    way it is read.
    """

    modalities: tuple[Modality, ...] = MODALITIES
    """What is wanted: a reader does not decode what would give others."""
    min_side: int | None = None
    """A decoder may deliver a smaller picture than the file holds, never with a shorter side below this."""
    audio_rate: int = 16_000
    """Hz; sounds are decoded to this rate, mono."""
    audio_seconds: float = 5.0
    """Length of a sound's segments; a remainder shorter than a quarter of it joins the one before."""
    frame_rate: float = 2.0
    """Frames per second that are looked at in a video."""
    video_seconds: float = 15.0
    """A segment of a video ends at a hard cut, at the latest after this long."""
    video_min_seconds: float = 2.0
    """A long shot is cut into parts no shorter than this; a shot that is shorter is still its own segment."""
    passage_chars: int = 600
    """Texts are split at paragraphs and sentences into passages of at most this many characters."""


@dataclass(frozen=True)
class Facts:
    """What a file says of itself: the size of its picture in pixels, upright; its seconds; its date.

    `taken` is as ISO 8601 says, without a zone where the file names none: "2024-05-03T17:20:00".
    """

    width: int | None = None
    height: int | None = None
    duration: float | None = None
    taken: str | None = None


@dataclass(frozen=True)
class Hit:
    """One search result: a moment of a file.

    `score` orders and compares across modalities: at 0 the hit is as near as what generic queries find in
    this library, in standard deviations of that (`multimodal.library.calibration`). `cosine` is the plain
    similarity.
    """

    path: Path
    modality: Modality
    score: float
    cosine: float
    start: float | None = None
    end: float | None = None
    text: str | None = None
    page: int | None = None
    chars: tuple[int, int] | None = None
    role: Role = "content"
    number: int | None = None
    """Names the segment in its library, as in the tables it gives out."""
    id: str | None = None
    """Of a row that was imported: the name it came with. Its path is then the address it came with."""
    duplicates: tuple[Path, ...] = ()
    """Files that show the same and were left out of the list for it."""
    confidence: float | None = None
    """Probability in [0, 1] that a query whose best hit looks like this one has an answer in the library."""
    frames: tuple[tuple[float, float], ...] = ()
    """Of a moment of a video: (seconds, weight) of the frames that were compared; the weights sum to 1."""
    snippet: str | None = None
    """The part of its text in which words of the query were found."""
    marks: tuple[tuple[int, int], ...] = ()
    """Where in `snippet` they stand, (begin, end)."""

    def _repr_html_(self) -> str:
        return _displayed(self)


class Hits(list[Hit]):
    """Hits, best first. `presence` is the probability in [0, 1] that the library has what was asked for;
    `note` says in a sentence why there are none."""

    def __init__(
        self, hits: Iterable[Hit] = (), note: str | None = None, presence: float | None = None
    ) -> None:
        super().__init__(hits)
        self.note = note
        self.presence = presence

    def _repr_html_(self) -> str:
        return _displayed(self)


def _displayed(hits: Hit | Hits) -> str:
    """Hits as a notebook shows them, by what is loaded when the first one is shown."""
    from importlib import import_module

    return str(import_module("multimodal.display").shown(hits))


@dataclass(frozen=True)
class Match:
    """How well a caption fits: `probability` over the captions given, `margin` in cosine to the next best."""

    caption: str
    cosine: float
    probability: float
    margin: float


FileStatus: TypeAlias = Literal["added", "reused", "unchanged", "skipped", "failed", "removed"]


@dataclass(frozen=True)
class FileRecord:
    """What became of one file of a run; `reason` says why it was skipped or failed."""

    path: Path
    status: FileStatus
    segments: int = 0
    seconds: float = 0.0
    reason: str | None = None


@dataclass(frozen=True)
class IndexReport:
    """One record per file seen, in the order they were finished, and the seconds the run took."""

    records: Sequence[FileRecord]
    seconds: float = 0.0

    def count(self, status: FileStatus) -> int:
        return sum(record.status == status for record in self.records)

    @property
    def segments(self) -> int:
        return sum(record.segments for record in self.records if record.status == "added")

    @property
    def problems(self) -> list[FileRecord]:
        return [record for record in self.records if record.status in ("skipped", "failed")]


@dataclass(frozen=True)
class LibraryStats:
    """Counts of a library: files, segments per modality, bytes on disk."""

    files: int
    segments: Mapping[Modality, int] = field(default_factory=dict)
    space: str = ""
    space_id: str = ""
    dim: int = 0
    bytes: int = 0
