"""What videos teach: segments of pictures, and what is heard in the same seconds; each video is read once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import NoMediaFile
from multimodal.towers.base import identity, unit
from multimodal.training.features import content_key
from multimodal.types import FileRecord, Vectors

if TYPE_CHECKING:
    from multimodal.pipeline import EncodedFile
    from multimodal.space import Space

VERSION = 1
"""Raise when the same video would give other pairs."""
FOLDER = "films"
COVERED = 0.5
"""Share of a segment of pictures that must be heard, for the two to be a pair."""
SILENT = "no pictures of it are heard with sound"


@dataclass(frozen=True, eq=False)
class Film:
    """Segments of a video: unit rows of `pictures` (n, dim) and of what is heard meanwhile, `sounds` (n,
    dim), with their begin and end in seconds, `times` (n, 2). `key` is equal for equal contents."""

    key: str
    pictures: Vectors
    sounds: Vectors
    times: NDArray[np.float64]


def films(
    space: Space,
    folder: str | Path,
    run: Path | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[list[Film], list[FileRecord]]:
    """The videos at a path, by name, each content once, and those that give nothing to learn from: "failed"
    where they cannot be read, "skipped" where they are silent.

    With `run`, a folder, what was read lies there, and is taken from there. Raises NoMediaFile, LibraryError,
    NoEncoder, SpaceError.
    """
    from multimodal.pipeline import encode_files

    paths, place = _videos(Path(folder)), None if run is None else run / FOLDER
    ids = [space[modality].encoder_id for modality in ("video", "audio")]
    salt = identity({"version": VERSION}, *ids, repr(space.read_options))
    known: dict[Path, Film | str] = {}
    keys: dict[str, Path] = {}
    for path in paths:
        try:
            keys.setdefault(content_key(path, salt), path)
        except OSError as error:
            known[path] = (error.strerror or str(error)).lower()
    new = {os.path.abspath(path): key for key, path in keys.items()}
    for key, path in keys.items():
        before = None if place is None else _kept(place, key)
        if before is not None:
            known[path] = before
            del new[os.path.abspath(path)]
    done = len(keys) - len(new)
    with closing(encode_files([Path(path) for path in new], space, workers=workers)) as encoded:  # type: ignore[type-var]
        for file in encoded:
            key = new[os.path.abspath(file.path)]
            film = known[keys[key]] = _film(key, file)
            if place is not None and isinstance(film, Film):
                _keep(place, film)
            done += 1
            if progress is not None:
                progress(done, len(keys))
    there = [(path, known[path]) for path in paths if path in known]
    found = [one for _, one in there if isinstance(one, Film) and len(one.times)]
    return found, list(_left_out(there))


def _left_out(there: Sequence[tuple[Path, Film | str]]) -> Iterator[FileRecord]:
    for path, one in there:
        if isinstance(one, str):
            yield FileRecord(path, "failed", reason=one)
        elif not len(one.times):
            yield FileRecord(path, "skipped", reason=SILENT)


def _videos(folder: Path) -> list[Path]:
    """The videos at a path, by their names. Raises NoMediaFile where there are none."""
    from multimodal.library.scan import walk
    from multimodal.readers import EXTENSIONS

    if not folder.exists():
        raise NoMediaFile(f"{folder}: there is no such folder.")
    if folder.is_file():
        return [folder]
    paths = [folder / found.path for found in walk(folder).files]
    videos = [
        path for path in paths if getattr(EXTENSIONS.get(path.suffix.lower()), "modality", "") == "video"
    ]
    if not videos:
        raise NoMediaFile(f"{folder}: there are no videos in it.")
    return videos


def _film(key: str, file: EncodedFile) -> Film | str:
    """What a video teaches, or why it cannot be read."""
    if file.status == "failed":
        return file.reason or "it cannot be read"
    heard = [row for row in file.rows if row.modality == "audio" and row.vector is not None]
    seen = [row for row in file.rows if row.modality == "video" and row.vector is not None]
    times = np.array([[row.start or 0.0, row.end or 0.0] for row in seen]).reshape(-1, 2)
    spans = np.array([[row.start or 0.0, row.end or 0.0] for row in heard]).reshape(-1, 2)
    seconds = overlaps(times, spans)
    good = np.flatnonzero(seconds.sum(axis=1) >= COVERED * np.maximum(times[:, 1] - times[:, 0], 1e-6))
    if not len(good):
        nothing = np.zeros((0, 0), np.float32)
        return Film(key, nothing, nothing, np.zeros((0, 2)))
    sounds = seconds[good] @ np.stack([row.vector for row in heard if row.vector is not None])
    pictures = np.stack([row.vector for row in seen if row.vector is not None])[good]
    return Film(key, pictures.astype(np.float32), unit(sounds.astype(np.float32)), times[good])


def overlaps(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds that each of (n, 2) begins and ends shares with each of (m, 2): (n, m)."""
    begin = np.maximum(left[:, None, 0], right[None, :, 0])
    end = np.minimum(left[:, None, 1], right[None, :, 1])
    return np.maximum(end - begin, 0.0)


def _keep(place: Path, film: Film) -> None:
    """Write what was read of a film, whole or not at all."""
    place.mkdir(parents=True, exist_ok=True)
    part = place / f"{film.key}.part"
    with part.open("wb") as file:
        np.savez(file, pictures=film.pictures, sounds=film.sounds, times=film.times)
        file.flush()
        os.fsync(file.fileno())
    part.replace(place / f"{film.key}.npz")


def _kept(place: Path, key: str) -> Film | None:
    """What was read of a film before; one that cannot be read is read again."""
    try:
        with np.load(place / f"{key}.npz", allow_pickle=False) as arrays:
            return Film(key, arrays["pictures"], arrays["sounds"], arrays["times"])
    except (OSError, ValueError, KeyError, EOFError):
        return None
