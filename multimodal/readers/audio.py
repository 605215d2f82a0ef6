"""Sounds through PyAV: decoded, resampled and mixed to mono in a stream, cut into segments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import ReadError, UnwantedModality
from multimodal.readers.container import (
    decoded,
    may_follow,
    open_media,
    read_only,
    seconds,
    sound_stream,
    stated,
    zero,
)
from multimodal.readers.tracks import subtitle_segments
from multimodal.types import Audio, Modality, ReadOptions, Segment

if TYPE_CHECKING:
    from av.audio.resampler import AudioResampler

Samples = NDArray[np.float32]

DRIFT = 0.1
"""Seconds. Samples further than this from their time stamp are brought back to it: silence is put in or
samples are dropped, as FFmpeg's `aresample=async=1` does from the same difference on."""

HOLE = 2.0
"""Seconds. Over a longer hole in the sound nothing is put in: a run of segments ends and another begins."""

LEAST_RATE = 1000
"""Hz. Below it there is nothing to hear, and each sample of a damaged header's 1 Hz would become 16,000."""

MOST_RATE = 6_144_000
"""Hz. Eight times the highest of any converter; the resampler's filter grows with it, to 50 MB here."""

SILENCE = 10 ** (-60 / 20)
"""Half the range of the samples (full scale: 1) below which a block is silent: -60 dBFS, the default of
FFmpeg's `silencedetect`. Dither of 16 bits stays below -84; speech that peaked there had 5 bits left."""

BLOCK = 0.02
"""Seconds that are silent or not as a whole; half a range of 20 ms leaves out a constant offset."""

LONG_SILENCE = 2.0
"""Seconds from which silence is a segment of its own, as in `silencedetect`: speech pauses for less."""

CANCELLED = 0.01
"""A mix with less than this share of its channels' power: they cancel, as with one wired in reverse."""


class AudioReader:
    """Sound alone: wav, flac, ogg, mp3, m4a, aac, opus and whatever else FFmpeg finds a sound stream in.

    Yields stretches of sound, silence of any length as one segment with the role "blank", then the
    subtitles where the file has any. Of several tracks, the one that is marked as the default is read.
    """

    modality: Modality = "audio"
    yields: tuple[Modality, ...] = ("audio", "text")
    noun = "a sound"
    extensions = (
        ".wav", ".flac", ".ogg", ".oga", ".mp3", ".m4a", ".aac", ".opus",
        ".wma", ".aiff", ".aif", ".caf", ".amr", ".ac3", ".mka", ".w64", ".au",
    )  # fmt: skip
    kinds = ("sound", "wav", "flac", "mp3", "aac", "aiff", "caf", "amr", "ac3", "w64", "au")

    def read(self, path: Path, options: ReadOptions = ReadOptions()) -> Iterator[Segment]:  # noqa: B008
        wanted, found = options.modalities, False
        if "audio" in wanted:
            for segment in sound_segments(path, options):
                yield segment
                found = True
        if "text" in wanted:
            for segment in subtitle_segments(path, options):
                yield segment
                found = True
        if not found:
            if "audio" not in wanted:
                raise UnwantedModality(self.modality)
            raise ReadError("no sound can be decoded from the file")


def sound_segments(path: Path, options: ReadOptions) -> Iterator[Segment]:
    """The sound of any file FFmpeg opens, as mono segments at `options.audio_rate`; none if it has none.

    Each lasts `options.audio_seconds`, the last of a run what is left; a rest of less than a quarter of
    that joins the segment before. Silence of at least 2 s, and a run of nothing but silence, is a segment
    with the role "blank" and ends a run; so does a hole in the sound, so that times stay right after it.
    """
    with open_media(path) as container:
        stream = sound_stream(container)
        if stream is None:
            return
        read_only(container, [stream])
        cutter = _Cutter(path, options)
        for start, block in _blocks(container, stream, options.audio_rate):
            if start is not None:
                yield from cutter.end_run()
                yield from cutter.begin_run(start)
            yield from cutter.add(block)
        yield from cutter.end_run()
        yield from cutter.finish()


class _Parts:
    """Blocks (channels, n) in a row, taken off again in other lengths."""

    def __init__(self) -> None:
        self.blocks: list[Samples] = []
        self.size = 0

    def add(self, block: Samples) -> None:
        if block.shape[1]:
            self.blocks.append(block)
            self.size += block.shape[1]

    def take(self, size: int) -> Samples:
        whole = np.concatenate(self.blocks, axis=1)
        self.size -= size
        self.blocks = [whole[:, size:]] if self.size else []  # a next run may have other channels
        return whole[:, :size]


class _Cutter:
    """Samples into segments. In the order of time it holds: sound that is to go out, silence that may still
    turn out to be a pause in it, samples of which the block is not full. Or else a blank stretch runs."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self.path, self.rate = path, options.audio_rate
        self.size = max(1, round(options.audio_seconds * self.rate))
        self.block, self.long = max(1, round(BLOCK * self.rate)), round(LONG_SILENCE * self.rate)
        self.sound, self.quiet, self.rest = _Parts(), _Parts(), _Parts()
        self.origin, self.judged = 0.0, 0  # where the run begins, in seconds, and its samples so far
        self.blank: float | None = None

    @property
    def now(self) -> float:
        return self.origin + self.judged / self.rate

    def begin_run(self, start: float) -> Iterator[Segment]:
        if self.blank is not None and start > self.now + BLOCK:  # else the silence goes on
            yield self._blank()
        self.origin, self.judged = start, 0

    def add(self, block: Samples) -> Iterator[Segment]:
        self.rest.add(block)
        if self.rest.size >= self.rate:  # a second at a time: decoders give 26 ms
            yield from self._judge()

    def _judge(self) -> Iterator[Segment]:
        """Whether the full blocks of what came in are loud."""
        count = self.rest.size // self.block
        if count:
            whole = finite(self.rest.take(count * self.block))
            loud = is_loud(whole.reshape(len(whole), count, self.block))
            edges = np.flatnonzero(np.diff(loud)) + 1
            for begin, end in zip([0, *edges], [*edges, count], strict=True):
                yield from self._add(whole[:, begin * self.block : end * self.block], bool(loud[begin]))

    def end_run(self) -> Iterator[Segment]:
        yield from self._judge()
        if self.rest.size:
            whole = finite(self.rest.take(self.rest.size))
            yield from self._add(whole, bool(is_loud(whole[:, None])[0]))
        if self.quiet.size and not self.sound.size and self.quiet.size == self.judged:
            self._fall_silent()
        if self.quiet.size:
            self.sound.add(self.quiet.take(self.quiet.size))
        yield from self._flush()

    def finish(self) -> Iterator[Segment]:
        if self.blank is not None:
            yield self._blank()

    def _add(self, samples: Samples, loud: bool) -> Iterator[Segment]:
        if loud:
            if self.blank is not None:
                yield self._blank()
            if self.quiet.size:
                self.sound.add(self.quiet.take(self.quiet.size))
            self.sound.add(samples)
            self.judged += samples.shape[1]
            while self.sound.size >= self.size + max(1, self.size // 4):
                yield self._segment(self.size)
            return
        self.judged += samples.shape[1]
        if self.blank is None:
            self.quiet.add(samples)
            if self.quiet.size >= self.long:
                yield from self._flush()
                self._fall_silent()

    def _flush(self) -> Iterator[Segment]:
        if self.sound.size:
            yield self._segment(self.sound.size)

    def _fall_silent(self) -> None:
        self.blank = self.origin + (self.judged - self.quiet.size) / self.rate
        self.quiet = _Parts()

    def _segment(self, size: int) -> Segment:
        begin = self.judged - self.quiet.size - self.sound.size
        start, end = (self.origin + place / self.rate for place in (begin, begin + size))
        return Segment("audio", Audio(mix(self.sound.take(size)), self.rate), self.path, start, end)

    def _blank(self) -> Segment:
        segment = Segment("audio", "", self.path, self.blank, self.now, role="blank")
        self.blank = None
        return segment


def finite(samples: Samples) -> Samples:
    """Samples with those that damage made infinite at full scale, and those that are no number at 0."""
    if np.isfinite(samples.sum()):  # one that is not would spread
        return samples
    return np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0)


def is_loud(samples: Samples) -> NDArray[np.bool_]:
    """Of samples (channels, blocks, n), which blocks (blocks,) are more than silence in any channel."""
    return (samples.max(axis=2) - samples.min(axis=2)).max(axis=0) >= 2 * SILENCE


def mix(samples: Samples) -> Samples:
    """(channels, n) into mono (n,) in [-1, 1]: the mean of the channels, which cannot clip.

    Where the mean would cancel what the channels hold (opposite phase), the loudest channel stands in.
    """
    mono = samples.mean(axis=0, dtype=np.float32)
    if len(samples) > 1:
        powers = np.square(samples, dtype=np.float64).mean(axis=1)
        # n channels of which one sounds keep 1/n of their mean power: that is no cancellation.
        if np.square(mono, dtype=np.float64).mean() < CANCELLED * powers.mean() / len(samples):
            mono = samples[int(powers.argmax())]
    clipped: Samples = np.clip(mono, -1.0, 1.0).astype(np.float32)
    return clipped


def _blocks(container: Any, stream: Any, rate: int) -> Iterator[tuple[float | None, Samples]]:
    """(seconds where a run begins, else None; samples (channels, n) at `rate`), channels fixed in a run."""
    origin, duration = zero(container), stated(container)
    resampler: AudioResampler | None = None
    shape: tuple[Any, ...] = ()
    begin: float | None = None
    clock = shift = (
        0.0  # where the samples so far reach, and what the time stamps are ahead of it, in seconds
    )
    drop = 0  # samples that are to be left out
    for frame in decoded(container, stream):
        if not frame.samples:
            continue
        if not LEAST_RATE <= frame.sample_rate <= MOST_RATE:
            raise ReadError(f"the sound states an impossible sample rate of {frame.sample_rate} Hz")
        time = seconds(frame, origin)
        ahead = 0.0 if time is None else time - shift - clock
        if abs(ahead) > DRIFT and not _believable(ahead, clock, duration):
            shift, ahead = shift + ahead, 0.0
        now = (frame.format.name, frame.layout.name, frame.layout.nb_channels, frame.sample_rate)
        if resampler is None or now != shape or ahead > HOLE:
            if resampler is not None:
                for block in _resampled(resampler, None):
                    yield begin, block
                    begin = None
            resampler, shape = _resampler(frame, rate), now
            clock = begin = clock + max(0.0, ahead)
        elif ahead > DRIFT:
            yield begin, np.zeros((frame.layout.nb_channels, round(ahead * rate)), np.float32)
            begin, clock = None, clock + ahead
        elif ahead < -DRIFT:
            drop, clock = drop + round(-ahead * rate), clock + ahead
        clock += frame.samples / frame.sample_rate
        frame.pts = None  # the resampler would fill or squeeze to follow small errors in them
        for block in _resampled(resampler, frame):
            drop, left = max(0, drop - block.shape[1]), block[:, drop:]
            yield begin, left
            begin = None
    if resampler is not None:
        for block in _resampled(resampler, None):
            yield begin, block
            begin = None


def _believable(ahead: float, clock: float, duration: float) -> bool:
    """Whether sound that states a time `ahead` of the `clock` belongs there; after a leap back, none does."""
    return ahead >= -HOLE if ahead < 0 else may_follow(clock + ahead, clock, duration)


def _resampler(frame: Any, rate: int) -> AudioResampler:
    from av.audio.resampler import AudioResampler

    # Channels stay apart: FFmpeg's own mix of floats to mono sums above 1.
    # Interleaved, as PyAV reads planes past the eighth from memory that is not theirs.
    return AudioResampler(format="flt", layout=frame.layout, rate=rate)


def _resampled(resampler: AudioResampler, frame: Any) -> Iterator[Samples]:
    import av

    try:
        frames = resampler.resample(frame)
    except (av.FFmpegError, ValueError) as error:
        raise ReadError("the sound has a form FFmpeg cannot resample") from error
    for out in frames:
        channels = out.layout.nb_channels
        if out.samples:
            samples = np.frombuffer(out.planes[0], np.float32, out.samples * channels)
            yield samples.reshape(out.samples, channels).T.copy()
