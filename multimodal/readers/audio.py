"""Sounds through PyAV: decoded, resampled and mixed to mono in a stream, cut into segments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import ReadError
from multimodal.readers.container import LONGEST_GAP, decoded, open_media, seconds, sound_stream, zero
from multimodal.types import Audio, Modality, ReadOptions, Segment

if TYPE_CHECKING:
    from av.audio.resampler import AudioResampler

GAP = 0.1
"""Seconds. A time stamp later than the samples before it account for by more than this is a hole."""

LEAST_RATE = 1000
"""Hz. Below it there is nothing to hear, and each sample of a damaged header's 1 Hz would become 16,000."""

CANCELLED = 0.01
"""A mix with less than this share of its channels' power: they cancel, as with one wired in reverse."""


class AudioReader:
    """Sound alone: wav, flac, ogg, mp3, m4a, aac, opus and whatever else FFmpeg finds a sound stream in."""

    modality: Modality = "audio"
    yields: tuple[Modality, ...] = ("audio",)
    noun = "a sound"
    extensions = (".wav", ".flac", ".ogg", ".oga", ".mp3", ".m4a", ".aac", ".opus")
    kinds = ("sound", "wav", "flac", "mp3", "aac")

    def read(self, path: Path, options: ReadOptions = ReadOptions()) -> Iterator[Segment]:  # noqa: B008
        found = False
        for segment in sound_segments(path, options):
            yield segment
            found = True
        if not found:
            raise ReadError("no sound can be decoded from the file")


def sound_segments(path: Path, options: ReadOptions) -> Iterator[Segment]:
    """The sound of any file FFmpeg opens, as mono segments at `options.audio_rate`; none if it has none.

    Each lasts `options.audio_seconds`, the last of a run what is left; a rest of less than a quarter of
    that joins the segment before. A hole in the sound ends a run, so that times stay right after it.
    """
    rate = options.audio_rate
    size = max(1, round(options.audio_seconds * rate))
    with open_media(path) as container:
        stream = sound_stream(container)
        if stream is None:
            return
        begin, parts = 0.0, _Parts()
        for start, block in _blocks(container, stream, rate):
            if start is not None:
                if parts.size:
                    yield _segment(parts.take(parts.size), rate, begin, path)
                begin = start
            parts.add(block)
            while parts.size >= size + max(1, size // 4):
                yield _segment(parts.take(size), rate, begin, path)
                begin += size / rate
        if parts.size:
            yield _segment(parts.take(parts.size), rate, begin, path)


class _Parts:
    """Blocks (channels, n) in a row, taken off again in other lengths."""

    def __init__(self) -> None:
        self.blocks: list[NDArray[np.float32]] = []
        self.size = 0

    def add(self, block: NDArray[np.float32]) -> None:
        self.blocks.append(block)
        self.size += block.shape[1]

    def take(self, size: int) -> NDArray[np.float32]:
        whole = np.concatenate(self.blocks, axis=1)
        self.size -= size
        self.blocks = [whole[:, size:]] if self.size else []  # a next run may have other channels
        return whole[:, :size]


def _segment(samples: NDArray[np.float32], rate: int, begin: float, path: Path) -> Segment:
    return Segment("audio", Audio(mix(samples), rate), path, begin, begin + samples.shape[1] / rate)


def mix(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """(channels, n) into mono (n,) in [-1, 1]: the mean of the channels, which cannot clip.

    Where the mean would cancel what the channels hold (opposite phase), the loudest channel stands in.
    """
    samples = np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0)
    mono = samples.mean(axis=0, dtype=np.float32)
    if len(samples) > 1:
        powers = np.square(samples, dtype=np.float64).mean(axis=1)
        # n channels of which one sounds keep 1/n of their mean power: that is no cancellation.
        if np.square(mono, dtype=np.float64).mean() < CANCELLED * powers.mean() / len(samples):
            mono = samples[int(powers.argmax())]
    clipped: NDArray[np.float32] = np.clip(mono, -1.0, 1.0).astype(np.float32)
    return clipped


def _blocks(container: Any, stream: Any, rate: int) -> Iterator[tuple[float | None, NDArray[np.float32]]]:
    """(seconds where a run begins, else None; samples (channels, n) at `rate`), channels fixed in a run."""
    origin = zero(container)
    resampler: AudioResampler | None = None
    shape: tuple[Any, ...] = ()
    begin: float | None = None
    clock = 0.0  # where the samples so far reach, in seconds
    for frame in decoded(container, stream):
        if not frame.samples:
            continue
        if frame.sample_rate < LEAST_RATE:
            raise ReadError(f"the sound states an impossible sample rate of {frame.sample_rate} Hz")
        time = seconds(frame, origin)
        if resampler is None:
            clock = min(max(0.0, time or 0.0), LONGEST_GAP)
        hole = time is not None and clock + GAP < time <= clock + LONGEST_GAP
        now = (frame.format.name, frame.layout.name, frame.sample_rate)
        if resampler is None or hole or now != shape:
            if resampler is not None:
                for block in _resampled(resampler, None):
                    yield begin, block
                    begin = None
            resampler, shape = _resampler(frame, rate), now
            begin = clock = time if hole and time is not None else clock
        clock += frame.samples / frame.sample_rate
        frame.pts = None  # the resampler would fill or squeeze to follow small errors in them
        for block in _resampled(resampler, frame):
            yield begin, block
            begin = None
    if resampler is not None:
        for block in _resampled(resampler, None):
            yield begin, block
            begin = None


def _resampler(frame: Any, rate: int) -> AudioResampler:
    from av.audio.resampler import AudioResampler

    # Channels stay apart: FFmpeg's own mix of floats to mono sums above 1.
    # Interleaved, as PyAV reads planes past the eighth from memory that is not theirs.
    return AudioResampler(format="flt", layout=frame.layout, rate=rate)


def _resampled(resampler: AudioResampler, frame: Any) -> Iterator[NDArray[np.float32]]:
    import av

    try:
        frames = resampler.resample(frame)
    except av.FFmpegError as error:
        raise ReadError("the sound has a form FFmpeg cannot resample") from error
    for out in frames:
        channels = out.layout.nb_channels
        if out.samples:
            samples = np.frombuffer(out.planes[0], np.float32, out.samples * channels)
            yield samples.reshape(out.samples, channels).T.copy()
