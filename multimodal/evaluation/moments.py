"""Moments of videos and sounds found by words: does the best segment lie where the thing happens?"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import NoMediaFile, QueryError
from multimodal.evaluation.measure import Measure, measured
from multimodal.types import FileRecord

if TYPE_CHECKING:
    from multimodal.pipeline import EncodedFile
    from multimodal.space import Space

COLUMNS = ("text", "path", "start", "end")
OVERLAPS = (0.3, 0.5)
"""Intersection over union that counts as found."""


@dataclass(frozen=True)
class Moment:
    """What a text tells of, in a file, from `start` to `end` seconds."""

    text: str
    path: Path
    start: float
    end: float


@dataclass(frozen=True)
class MomentReport:
    """How well `queries` texts find their moment within its file, among `segments` segments on average.

    `measures` are recall@1 and recall@5 at an intersection over union of 0.3 and 0.5 ("r@1 iou 0.5"), the
    mean intersection over union of the first answer ("mean iou"), and "pointing": the share whose first
    answer has its middle within the moment; "pointing by chance" is that of a segment taken blindly.
    """

    queries: int
    segments: float
    measures: dict[str, Measure]
    left_out: Sequence[FileRecord] = ()


def is_moments(path: Path) -> bool:
    """Whether a file of pairs tells of moments: its header has start and end."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return {"start", "end"} <= {cell.strip().lower() for cell in next(csv.reader(file), [])}
    except (OSError, ValueError, csv.Error):
        return False


def read_moments(path: str | Path) -> list[Moment]:
    """Moments from a CSV with the columns text, path, start, end (s). Raises NoMediaFile, QueryError."""
    source = Path(path)
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        if not source.is_file():
            raise NoMediaFile(f"{source} does not exist or is not a file.") from None
        raise QueryError(f"{source} cannot be read as moments: {error}.") from error
    found = []
    for line, row in enumerate(rows, 2):
        cells = {(name or "").strip().lower(): (cell or "").strip() for name, cell in row.items() if name}
        if not all(cells.get(name) for name in COLUMNS):
            raise QueryError(f"{source}, line {line}: a moment needs {', '.join(COLUMNS)}.")
        try:
            start, end = float(cells["start"]), float(cells["end"])
        except ValueError:
            raise QueryError(f"{source}, line {line}: start and end are seconds.") from None
        if not 0 <= start < end:
            raise QueryError(f"{source}, line {line}: a moment ends after it starts.")
        found.append(Moment(cells["text"], source.parent / cells["path"], start, end))
    if not found:
        raise QueryError(f"{source} holds no moments.")
    return found


def evaluate_moments(
    space: Space,
    moments: str | Path | Sequence[Moment],
    *,
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> MomentReport:
    """Measure how well texts find their moments. Raises NoMediaFile, QueryError, NoEncoder, SpaceError."""
    asked = read_moments(moments) if isinstance(moments, (str, Path)) else list(moments)
    files, left_out = _segments(space, list(dict.fromkeys(one.path for one in asked)), workers, progress)
    kept = [one for one in asked if one.path in files]
    if not kept:
        raise QueryError("None of the moments can be looked for: no file of theirs could be embedded.")
    rows = space.embed([one.text for one in kept])
    overlaps, pointed, blind, counts = [], [], [], []
    for one, row in zip(kept, rows, strict=True):
        times, vectors = files[one.path]
        order = np.argsort(-(vectors @ row), kind="stable")[:5]
        overlaps.append(np.pad(_overlap(times[order], one), (0, 5 - len(order))))
        inside = _within(times, one)
        pointed.append(inside[order[0]])
        blind.append(inside.mean())
        counts.append(len(times))
    shared = np.stack(overlaps)
    measures = {
        f"r@{k} iou {bar}": measured(shared[:, :k].max(axis=1) >= bar) for bar in OVERLAPS for k in (1, 5)
    }
    measures["mean iou"] = measured(shared[:, 0])
    measures["pointing"] = measured(np.array(pointed))
    measures["pointing by chance"] = measured(np.array(blind))
    return MomentReport(len(kept), float(np.mean(counts)), measures, left_out)


def _segments(
    space: Space, paths: list[Path], workers: int | None, progress: Callable[[int, int], object] | None
) -> tuple[dict[Path, tuple[NDArray[np.float64], NDArray[np.float32]]], list[FileRecord]]:
    """Begin and end (s, 2) and vectors (s, dim) of the pictures of each file, or of its sound."""
    from multimodal.pipeline import encode_files

    left_out = [
        FileRecord(path, "failed", reason="there is no such file") for path in paths if not path.is_file()
    ]
    there = [path for path in paths if path.is_file()]
    found: dict[Path, tuple[NDArray[np.float64], NDArray[np.float32]]] = {}
    if not there:
        return found, left_out
    with closing(encode_files(there, space, workers=workers)) as encoded:  # type: ignore[type-var]
        for done, file in enumerate(encoded, 1):
            kept = _timed(file)
            if kept is None:
                reason = file.reason or "it has no pictures or sounds with times"
                left_out.append(FileRecord(file.path, "failed", reason=reason))
            else:
                found[file.path] = kept
            if progress is not None:
                progress(done, len(there))
    return found, left_out


def _timed(file: EncodedFile) -> tuple[NDArray[np.float64], NDArray[np.float32]] | None:
    for modality in ("video", "audio"):
        rows = [
            row
            for row in file.rows
            if row.modality == modality and row.vector is not None and row.start is not None
        ]
        if rows:
            times = np.array([(row.start, row.start if row.end is None else row.end) for row in rows])
            return times, np.stack([row.vector for row in rows if row.vector is not None])
    return None


def _overlap(times: NDArray[np.float64], moment: Moment) -> NDArray[np.float64]:
    """Intersection over union (n,) of segments with a moment."""
    shared = np.minimum(times[:, 1], moment.end) - np.maximum(times[:, 0], moment.start)
    whole = np.maximum(times[:, 1], moment.end) - np.minimum(times[:, 0], moment.start)
    return np.asarray(np.clip(shared, 0, None) / np.maximum(whole, 1e-9))


def _within(times: NDArray[np.float64], moment: Moment) -> NDArray[np.bool_]:
    middle = times.mean(axis=1)
    return np.asarray((middle >= moment.start) & (middle <= moment.end))
