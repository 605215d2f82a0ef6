"""The files a run has to read: what decides their rows, and their way to the encoders."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from multimodal import readers
from multimodal.errors import ReadError
from multimodal.library.scan import Found, said
from multimodal.library.store import FileState, Root
from multimodal.pipeline.wire import Limits, Task
from multimodal.readers import extras
from multimodal.readers.base import open_file
from multimodal.space import Space
from multimodal.towers.base import identity
from multimodal.types import FileStatus


@dataclass
class Job:
    """A file that is new or changed."""

    root: Root
    path: Path
    found: Found
    known: FileState | None
    hash: bytes | None = None

    @property
    def companions(self) -> tuple[Path, ...]:
        """The files that are read with it."""
        return tuple(self.path.with_name(Path(found.path).name) for found in self.found.companions)

    @property
    def content(self) -> tuple[bytes | None, str]:
        """What decides the rows of a file: its bytes, and its extension, by which a reader may go."""
        return self.hash, self.path.suffix.lower()


@dataclass(frozen=True)
class Recipe:
    """What rows depend on besides the file; those of another recipe or encoder are stale."""

    space: Space
    encoders: frozenset[str]
    reading: str
    refusing: str

    @classmethod
    def of(cls, space: Space, limits: Limits = Limits()) -> Recipe:  # noqa: B008 - frozen
        """`limits` decide what fails, not what the rows of the others are."""
        encoders = {str(modality): space[modality].encoder_id for modality in space}
        reading = identity("read", asdict(space.read_options), str(readers.VERSION))
        able = [*sorted(readers.EXTENSIONS), *extras.installed()]
        refusing = identity(reading, ",".join(able), encoders, asdict(limits))
        return cls(space, frozenset(encoders.values()), reading, refusing)

    def is_current(self, state: FileState) -> bool:
        if state.status != "skipped" and state.hash is None:
            # It or a file beside it could not be opened, which may have changed without the file changing;
            # or it changed while it was read.
            return False
        if state.status == "indexed":
            return state.recipe == self.reading and state.encoders <= self.encoders
        return state.recipe == self.refusing


class Feed:
    """Files on their way to the encoders, hashed as they are taken (from whichever thread takes them).

    `refused` fills with files that are none to encode, `copies` with those whose content went before.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = jobs
        self.refused: deque[tuple[Job, FileStatus, str]] = deque()
        self.copies: deque[tuple[Job, Job]] = deque()

    def __iter__(self) -> Iterator[Task]:
        first: dict[tuple[bytes | None, str], Job] = {}
        for job in self._jobs:
            try:
                if job.path.suffix.lower() not in readers.EXTENSIONS:
                    readers.reader_for(job.path)
                job.hash = job.hash or content_hash(job.path, job.companions)
            except ReadError as error:
                self.refused.append((job, "skipped", str(error)))
            except OSError as error:
                self.refused.append((job, "failed", said(error)))
            else:
                before = first.setdefault(job.content, job) if job.hash else job
                if before is job:
                    yield Task(job.path, job.companions)
                else:
                    self.copies.append((job, before))


def content_hash(path: Path, companions: Sequence[Path] = ()) -> bytes | None:
    """blake2b-128 of a file's bytes, and of the kinds and bytes of its companions; None where one of those
    cannot be read. Raises OSError where the file cannot."""
    digest = hashlib.blake2b(digest_size=16)
    _digest(path, digest)
    for one in companions:
        digest.update(f"|{one.suffix.lower()}|".encode())
        try:
            _digest(one, digest)
        except OSError:
            return None
    return digest.digest()


def _digest(path: Path, digest: hashlib.blake2b) -> None:
    with open_file(path) as file:
        buffer = bytearray(1 << 20)
        view = memoryview(buffer)
        while count := file.readinto(buffer):  # type: ignore[attr-defined]
            digest.update(view[:count])


def written(found: Found, problems: Mapping[str, str]) -> str:
    """How the companions of a file are remembered: their names, sizes and times, and what was wrong."""
    if not found.companions:
        return ""
    names = [Path(one.path).name for one in found.companions]
    return json.dumps(
        [
            [name, one.size, one.mtime_ns, problems.get(name)]
            for name, one in zip(names, found.companions, strict=True)
        ]
    )


def problems_in(remembered: str) -> dict[str, str]:
    """Companions, by name, that could not be read, with the reason."""
    return {name: problem for name, _, _, problem in json.loads(remembered or "[]") if problem}


def is_as_remembered(found: Found, state: FileState) -> bool:
    """Whether a file and its companions have the sizes and times that the library knows."""
    if (state.size, state.mtime_ns) != (found.size, found.mtime_ns):
        return False
    if not found.companions and not state.companions:
        return True
    now = [[Path(one.path).name, one.size, one.mtime_ns] for one in found.companions]
    return now == [one[:3] for one in json.loads(state.companions or "[]")]
