"""Videos of many tracks, and long ones, for the tests: other containers around what `tests.media` encodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_ASS_HEAD = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, \
Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, \
MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


class Texts(NamedTuple):
    """A subtitle track: (start, end, text) cues in seconds; the text may hold tags of ASS."""

    codec: str
    cues: Sequence[tuple[float, float, str]]
    language: str = "eng"


def remux(
    source: Path,
    target: Path,
    *,
    sounds: Sequence[Path] = (),
    texts: Sequence[Texts] = (),
    default_sound: int = 0,
    options: Mapping[str, str] | None = None,
) -> Path:
    """The packets of `source`, and the first stream of each of `sounds`, in another container, with subtitle
    tracks; the sound track of that number is marked as the default. `options` go to the muxer."""
    import av

    inputs = [av.open(str(path)) for path in (source, *sounds)]
    try:
        with av.open(str(target), "w", options=dict(options or {})) as container:
            packets: list[Any] = []
            heard = 0
            for number, given in enumerate(inputs):
                streams = [s for s in given.streams if s.type in ("video", "audio")]
                copies = {
                    s.index: container.add_stream_from_template(s) for s in streams[: 1 if number else None]
                }
                for stream in streams:
                    if stream.type == "audio" and stream.index in copies:
                        copies[stream.index].disposition = int(heard == default_sound)
                        heard += 1
                for packet in given.demux(*[s for s in streams if s.index in copies]):
                    if packet.dts is not None:
                        packet.stream = copies[packet.stream_index]
                        packets.append(packet)
            packets += [packet for track in texts for packet in _text_packets(container, track)]
            for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
                container.mux(packet)
    finally:
        for given in inputs:
            given.close()
    return target


def _text_packets(container: Any, track: Texts) -> list[Any]:
    from av.subtitles.subtitle import SubtitleSet

    stream = container.add_stream(track.codec)
    stream.codec_context.subtitle_header = _ASS_HEAD
    stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
    stream.metadata["language"] = track.language
    packets = []
    for number, (start, end, text) in enumerate(track.cues):
        line = f"{number},0,Default,,0,0,0,,{text}".encode()
        pts, length = round(1000 * start), round(1000 * (end - start))
        packet = stream.codec_context.encode_subtitle(SubtitleSet.create(line, 0, length, pts))
        packet.stream, packet.time_base = stream, Fraction(1, 1000)
        packet.pts = packet.dts = pts
        packet.duration = length
        packets.append(packet)
    return packets


def ramp(width: int, height: int) -> NDArray[np.uint8]:
    """A grey picture (height, 4 * width) of soft waves, to be looked at through a moving window."""
    x, y = np.arange(4 * width), np.arange(height)[:, None]
    waves = np.sin(x / 9) + np.sin(x / 31 + y / 13) + np.sin(y / 7)
    return (128 + 30 * waves).astype(np.uint8)


def write_long_video(
    path: Path, cuts: Sequence[float], end: float, *, rate: int = 10, marks: Sequence[float] = ()
) -> Path:
    """A video of 64 x 48 pixels and `end` seconds, `rate` frames a second, written as it is made.

    A pattern moves to and fro by two pixels a frame; at each of `cuts` it turns its levels over and jumps.
    The sound track is a low tone with a second of a high one at each of `marks`.
    """
    import av

    width, height, sound_rate = 64, 48, 8000
    wave, cut_frames = ramp(width, height), {round(cut * rate) for cut in cuts}
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = width, height, "gray", 100
        stream.pix_fmt, stream.bit_rate = "yuv420p", 150_000
        stream.codec_context.time_base = Fraction(1, rate)
        sound: Any = container.add_stream("mp2", rate=16_000)
        sound.codec_context.layout, sound.bit_rate = "mono", 32_000
        planes = np.full((height * 3 // 2, width), 128, np.uint8)
        scene = 0
        for number in range(round(end * rate)):
            scene += number in cut_frames
            at = abs((2 * number + 61 * scene) % (6 * width) - 3 * width)  # to and fro
            grey = wave[:, at : at + width]
            planes[:height] = grey if scene % 2 else 255 - grey
            frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
            if number % rate == 0:
                second = marked_second(number // rate, marks, sound_rate)
                block = av.AudioFrame.from_ndarray(second[None], "s16", "mono")
                block.sample_rate, block.pts = sound_rate, number // rate * sound_rate
                block.time_base = Fraction(1, sound_rate)
                container.mux(sound.encode(block))
        for last in (stream, sound):
            container.mux(last.encode(None))
    return path


def marked_second(number: int, marks: Sequence[float], rate: int, low: float = 110) -> NDArray[np.int16]:
    """The samples (rate,) from second `number` on: a low tone (0: silence), 1 s of 880 Hz at each mark."""
    t = number + np.arange(rate) / rate
    level = 3000 * np.sin(2 * np.pi * low * t)
    for mark in marks:
        if number - 1 < mark < number + 1:
            inside = (t >= mark) & (t < mark + 1)
            level[inside] = 12_000 * np.sin(2 * np.pi * 880 * t[inside])
    return level.astype(np.int16)


def write_long_sound(
    path: Path, seconds: int, marks: Sequence[float], rate: int = 16_000, low: float = 0
) -> Path:
    """A sound of that length by soundfile, written as it is made: `marked_second` after the other."""
    import soundfile

    with soundfile.SoundFile(str(path), "w", rate, 1, "PCM_16") as file:
        plain = marked_second(0, (), rate, low)
        for number in range(seconds):
            near = any(number - 1 < mark < number + 1 for mark in marks)
            file.write(marked_second(number, marks, rate, low) if near else plain)
    return path
