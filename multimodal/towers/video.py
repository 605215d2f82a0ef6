"""Video: frames through the image encoder, then temporal attention pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import SpaceError
from multimodal.towers.base import Preprocess, identity, softmax, tensors_hash
from multimodal.types import Clip, Content, Frames

if TYPE_CHECKING:
    from PIL.Image import Image

    from multimodal.encoder import Encoder

Floats = NDArray[np.float32]
PreparedClip = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int32]]
"""The frames that vote (v, ...), their seconds since the clip's first frame (v,), their places in it (v,)."""

KEPT = 8
"""Frame vectors that are kept of a clip: two seconds apart in the longest shots that are cut by default."""


@dataclass(frozen=True)
class ClipFrames:
    """A clip to its voting frames, each prepared as a picture: see `PreparedClip` and `voting`.

    Borders that stay one colour through the whole clip (letterbox bars, margins) are cut off first.
    """

    picture: Preprocess

    def __call__(self, content: Content) -> PreparedClip:
        if not isinstance(content, Clip):
            raise TypeError(f"expected a clip, got {type(content).__name__}")
        cropped = without_bars(content.frames)
        places = voting(cropped)
        frames = np.stack([np.asarray(self.picture(cropped[place])) for place in places])
        return frames, (content.times[places] - content.times[0]).astype(np.float32), places


@dataclass(frozen=True, eq=False)
class TemporalPooler:
    """Additive attention over frames, query-free: a = softmax(w' tanh(W f_i + U time(t_i) + b)).

    f_i (dim,) are unit frame vectors, time(t) is a sinusoidal code of seconds. With w = 0, as
    `TemporalPooler.mean` makes it, every frame weighs the same and the pooled vector is exactly the
    mean; training moves away from there only where it helps. The form is the attention pooling of
    Ilse et al. 2018 (Attention-based Deep Multiple Instance Learning) with time added.
    """

    W: Floats  # (hidden, dim)
    U: Floats  # (hidden, time_dim)
    b: Floats  # (hidden,)
    w: Floats  # (hidden,)

    @classmethod
    def mean(cls, dim: int, hidden: int = 128, time_dim: int = 16, seed: int = 0) -> TemporalPooler:
        """A pooler that equals the mean; W and U are random so that w has a gradient to follow."""
        rng = np.random.default_rng(seed)
        W = rng.normal(0, dim**-0.5, (hidden, dim)).astype(np.float32)
        U = rng.normal(0, time_dim**-0.5, (hidden, time_dim)).astype(np.float32)
        return cls(W, U, np.zeros(hidden, np.float32), np.zeros(hidden, np.float32))

    def weights(self, frames: Floats, times: Floats) -> Floats:
        """Attention (t,), sums to 1, for frame vectors (t, dim) at `times` (t,) seconds."""
        hidden = np.tanh(frames @ self.W.T + time_code(times, self.U.shape[1]) @ self.U.T + self.b)
        return softmax(hidden @ self.w)

    def pool(self, frames: Floats, times: Floats) -> Floats:
        """The weighted mean (dim,) of frame vectors (t, dim)."""
        return self.weights(frames, times) @ frames

    def tensors(self) -> dict[str, Floats]:
        return {"W": self.W, "U": self.U, "b": self.b, "w": self.w}

    def save(self, path: Path) -> None:
        from safetensors.numpy import save_file

        save_file(self.tensors(), str(path))

    @classmethod
    def load(cls, path: Path) -> TemporalPooler:
        """Read what `save` wrote. Raises SpaceError."""
        from safetensors.numpy import load_file

        try:
            return cls(**load_file(str(path)))
        except (OSError, ValueError, TypeError) as error:
            raise SpaceError(f"{path} cannot be read as a temporal pooler: {error}") from error


BAR_LEVELS = 16
"""A border is one colour where no channel is further than this from the frame's first pixel (0 to 255)."""
LEAST_LEFT = 0.25
"""Share of either side that must be left, else nothing is cut: a nearly empty frame is no letterbox."""


def without_bars(frames: Sequence[Image]) -> list[Image]:
    """Frames cropped alike to where anything but one border colour is seen in any of them."""
    if len({frame.size for frame in frames}) > 1:
        return list(frames)
    width, height = frames[0].size
    busy = np.zeros((height, width), dtype=bool)
    for frame in frames:
        pixels = np.asarray(frame.convert("RGB"), dtype=np.int16)
        busy |= np.abs(pixels - pixels[:1, :1]).max(axis=2) > BAR_LEVELS
    rows, columns = np.flatnonzero(busy.any(axis=1)), np.flatnonzero(busy.any(axis=0))
    if not len(rows):
        return list(frames)
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    if bottom - top < LEAST_LEFT * height or right - left < LEAST_LEFT * width:
        return list(frames)
    return [frame.crop((int(left), int(top), int(right), int(bottom))) for frame in frames]


THUMB = 16
"""Frames are compared as the means of 16 x 16 cells, where the noise of single pixels is gone."""
BLACK = 18
"""A frame is black where no cell and channel is above this (0 to 255), as for `multimodal.readers.clips`."""
SAME = 8
"""Frames are near-duplicates where no cell and channel differs by more than this. A still scene, with noise
of a standard deviation of 16 levels, coded at any rate, stays below 7; so does a thing of 24 pixels in a
width of 640 that moves by a third of its width. Of 546 pairs of frames in the six sample videos, 9 are
below, all with cosines above 0.995; from 8 to 12 these fall to 0.975. Of 160 captions .656 find their
moment (`recipes.evaluate`) with near-duplicates left out and with all frames."""


def voting(frames: Sequence[Image]) -> NDArray[np.int32]:
    """The places (v,), ascending, of the frames that stand for a clip: one for each that looks different.

    Black frames do not vote, so that a fade makes no clip like every other; where all are black, all do.
    The others form groups around the first of each kind, and of each group the middle one votes: right
    after a cut, encoders give a coarse picture.
    """
    from PIL.Image import Resampling

    size = (THUMB, THUMB)
    thumbs = [
        np.asarray(frame.convert("RGB").resize(size, Resampling.BOX), dtype=np.int16) for frame in frames
    ]
    groups: list[list[int]] = []
    for place, thumb in enumerate(thumbs):
        if thumb.max() <= BLACK:
            continue
        for group in groups:
            if np.abs(thumb - thumbs[group[0]]).max() <= SAME:
                group.append(place)
                break
        else:
            groups.append([place])
    if not groups:
        return np.arange(len(frames), dtype=np.int32)
    return np.array(sorted(group[len(group) // 2] for group in groups), dtype=np.int32)


def time_code(times: Floats, dim: int) -> Floats:
    """Sines and cosines (t, dim) of seconds, periods from 1 s to 1,000 s in geometric steps."""
    periods = np.geomspace(1.0, 1000.0, dim // 2)
    angles = 2 * np.pi * np.asarray(times, np.float64)[:, None] / periods
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


class VideoTower:
    """Clips to vectors of the shared space: image encoder per frame, temporal pooler over them."""

    def __init__(self, image: Encoder, pooler: TemporalPooler | None = None) -> None:
        self.image = image
        self.pooler = pooler or TemporalPooler.mean(image.dim)
        self.preprocess = ClipFrames(image.tower.preprocess)
        self.feature_dim = image.dim
        # With w = 0 the rest of the pooler does not touch the output, so it does not touch the id.
        state = tensors_hash(self.pooler.tensors()) if self.pooler.w.any() else "mean"
        method = {"bars": BAR_LEVELS, "left": LEAST_LEFT, "thumb": THUMB, "black": BLACK, "same": SAME}
        self.tower_id = "video-" + identity(image.encoder_id, state, method)

    def forward(self, batch: Sequence[PreparedClip]) -> Floats:
        """n prepared clips to pooled vectors (n, dim)."""
        return np.stack([self.pooler.pool(frames, times) for frames, times in self._frame_vectors(batch)])

    def forward_kept(self, batch: Sequence[PreparedClip]) -> tuple[Floats, list[Frames]]:
        """As `forward`, and of each clip at most KEPT of its voting frames, evenly spread over its time.

        Their vectors are unit rows (f, dim), their times (f,) seconds from the clip's first frame.
        """
        pooled, kept = [], []
        for frames, times in self._frame_vectors(batch):
            pooled.append(self.pooler.pool(frames, times))
            chosen = spread(times, KEPT)
            kept.append(Frames(times[chosen].astype(np.float64), frames[chosen]))
        return np.stack(pooled), kept

    def frame_weights(self, clip: Clip) -> Floats:
        """How much each frame of a clip counts: (t,), sums to 1, 0 for those that do not vote."""
        prepared = self.preprocess(clip)
        [(frames, times)] = self._frame_vectors([prepared])
        weights = np.zeros(len(clip.frames), np.float32)
        weights[prepared[2]] = self.pooler.weights(frames, times)
        return weights

    def _frame_vectors(self, batch: Sequence[PreparedClip]) -> list[tuple[Floats, Floats]]:
        rows = self.image.embed([frame for frames, *_ in batch for frame in frames])
        ends = np.cumsum([len(frames) for frames, *_ in batch])
        parts = np.split(rows, ends[:-1])
        return [(part, times) for part, (_, times, _) in zip(parts, batch, strict=True)]


def spread(times: Floats, most: int) -> NDArray[np.int64]:
    """Places, ascending, of at most `most` of ascending `times` (t,), those nearest to even steps."""
    if len(times) <= most:
        return np.arange(len(times))
    steps = np.linspace(times[0], times[-1], most)
    return np.unique(np.abs(times[:, None] - steps).argmin(axis=0))
