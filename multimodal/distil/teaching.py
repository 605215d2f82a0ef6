"""What the teacher says, kept in a file as it comes, so that a run that was killed asks only for the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import SpaceError
from multimodal.towers.base import identity

if TYPE_CHECKING:
    from multimodal.space import Space

Floats = NDArray[np.float32]

CHUNK = 512
"""Items that are embedded between two writes and two words of progress."""


def text_rows(
    space: Space,
    texts: Sequence[str],
    run: Path | None = None,
    progress: Callable[[str, int, int], object] | None = None,
) -> Floats:
    """What the teacher makes of texts: unit rows (n, dim); those of the same texts in `run` serve again."""
    encoder = space["text"]
    order = sorted(
        range(len(texts)), key=lambda place: (len(texts[place]), texts[place])
    )  # little to fill up
    ordered = [texts[place] for place in order]
    name = identity(encoder.encoder_id, "\n".join(ordered))
    kept = None if run is None else run / f"teacher-{name}.f32"
    found = rows_of(lambda at, end: encoder.encode(ordered[at:end]), len(texts), space.dim, kept, progress)
    rows = np.empty_like(found)
    rows[order] = found
    return rows


def rows_of(
    embed: Callable[[int, int], Floats],
    count: int,
    dim: int,
    kept: Path | None = None,
    progress: Callable[[str, int, int], object] | None = None,
    chunk: int = CHUNK,
) -> Floats:
    """Rows (count, dim) that `embed(begin, end)` gives piece by piece; those in `kept` are not asked for.

    Raises SpaceError where `kept` cannot be written.
    """
    found = np.zeros((count, dim), np.float32)
    known = _read(kept, dim)[:count] if kept is not None else found[:0]
    found[: len(known)] = known
    try:
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(known.tobytes())  # without the half of a row that a kill may leave
        for at in range(len(known), count, chunk):
            end = min(at + chunk, count)
            found[at:end] = embed(at, end)
            if kept is not None:
                with kept.open("ab") as file:
                    file.write(found[at:end].tobytes())
            if progress is not None:
                progress("embedding", end, count)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpaceError(f"The teacher's vectors cannot be written to {kept}: {reason}.") from error
    return found


def _read(path: Path, dim: int) -> Floats:
    data = path.read_bytes() if path.is_file() else b""
    whole = len(data) // (4 * dim) * dim
    return np.frombuffer(data, np.float32, count=whole).reshape(-1, dim)
