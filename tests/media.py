"""Makes real media files of every format the readers take, with the real encoders.

Everything is generated from a seed and from numbers, so a test knows what a file holds: `picture(seed)`
is a picture unlike those of other seeds, `tone` a sine of a known pitch, `write_video` cuts between
pictures at known times. `write(path)` picks the encoder by the extension.

    IMAGE_EXTENSIONS, VIDEO_EXTENSIONS, AUDIO_EXTENSIONS, TEXT_EXTENSIONS, SUBTITLE_EXTENSIONS
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tests import media_images, media_texts

IMAGE_EXTENSIONS = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *media_images.EXTENSIONS,
)
VIDEO_EXTENSIONS = (
    ".mp4", ".m4v", ".mkv", ".webm", ".mov", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg",
    ".wmv", ".flv", ".3gp", ".ogv", ".mxf",
)  # fmt: skip
AUDIO_EXTENSIONS = (
    ".wav", ".flac", ".ogg", ".oga", ".mp3", ".m4a", ".aac", ".opus",
    ".wma", ".aiff", ".aif", ".caf", ".amr", ".ac3", ".mka", ".w64", ".au",
)  # fmt: skip
TEXT_EXTENSIONS = media_texts.EXTENSIONS
SUBTITLE_EXTENSIONS = media_texts.SUBTITLE_EXTENSIONS
ALL_EXTENSIONS = (
    IMAGE_EXTENSIONS + VIDEO_EXTENSIONS + AUDIO_EXTENSIONS + TEXT_EXTENSIONS + SUBTITLE_EXTENSIONS
)

VIDEO_CODECS = {
    ".webm": "libvpx-vp9", ".avi": "mpeg4", ".mts": "mpeg2video", ".mpg": "mpeg2video",
    ".mpeg": "mpeg1video", ".wmv": "wmv2", ".ogv": "libvpx", ".mxf": "mpeg2video",
}  # fmt: skip
"""What `write_video` encodes with where nothing is asked; all others take H.264."""
SOUND_CODECS = {
    ".mp3": "libmp3lame", ".opus": "libopus", ".webm": "libopus", ".avi": "pcm_s16le", ".mts": "ac3",
    ".mpg": "mp2", ".mpeg": "mp2", ".wmv": "wmav2", ".wma": "wmav2", ".ogv": "libopus", ".mxf": "pcm_s16le",
    ".amr": "libopencore_amrnb", ".ac3": "ac3",
}  # fmt: skip
"""What sounds and sound tracks are encoded with through PyAV; all others take AAC.

An avi cannot say that MP3 begins 25 ms early, and would show its first picture for a frame too long.
"""

SOUND_RATES = {
    ".amr": 8_000,
    **dict.fromkeys((".opus", ".webm", ".ogv", ".ac3", ".mts", ".mpg", ".mpeg", ".mxf"), 48_000),
}
"""Hz, where the codec or the container does not take any rate."""
MUXERS = {
    ".m4v": "mp4", ".aac": "adts", ".m4a": "ipod", ".opus": "ogg", ".ogv": "ogg", ".mka": "matroska",
    ".ts": "mpegts", ".m2ts": "mpegts", ".mts": "mpegts", ".wma": "asf", ".wmv": "asf",
}  # fmt: skip
"""FFmpeg's names, where it does not go by the extension."""
FRAMED = (".avi", ".mts", ".mpg", ".mpeg", ".wmv", ".mxf")
"""Formats of a constant frame rate: a frame's place is its time."""

PASSAGES = (
    "The red fox crossed the frozen lake before sunrise. Nobody in the village heard it pass.",
    "Bread needs flour, water, salt and patience. The oven does the rest.",
    "On the night train to Lisbon a girl taught her brother to whistle.",
)


def picture(seed: int = 0, width: int = 320, height: int = 240) -> Image.Image:
    """An RGB picture of `width` x `height`: a background and four shapes; each seed gives another."""
    rng = np.random.default_rng(seed)
    hue = (seed * 0.381966) % 1.0  # the golden angle keeps neighbouring seeds far apart in colour
    ground = tuple(int(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.6, 0.35 + 0.6 * rng.random()))
    image = Image.new("RGB", (width, height), ground)
    draw = ImageDraw.Draw(image)
    for _ in range(4):
        x, y = rng.random(2) * (width, height)
        w, h = (0.15 + 0.35 * rng.random(2)) * (width, height)
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x - w / 2, y - h / 2, x + w / 2, y + h / 2), fill=colour)
    return image


def write_image(path: Path, image: Image.Image | None = None, **save: Any) -> Path:
    """Saves `image` (or `picture()`) with Pillow in the format of the extension; `save` goes to Pillow."""
    image = picture() if image is None else image
    if path.suffix.lower() in media_images.EXTENSIONS:
        return media_images.write_image(path, image, **save)
    if path.suffix.lower() == ".jfif":
        save.setdefault("format", "JPEG")
    image.save(path, **save)
    return path


def write_animation(
    path: Path, scenes: Sequence[Image.Image], durations: Sequence[float], **save: Any
) -> Path:
    """An animated gif, webp or png (APNG): scene i is shown for durations[i] seconds."""
    if path.suffix.lower() == ".webp":
        save.setdefault("lossless", True)
    save.setdefault("loop", 0)
    first, *rest = scenes
    first.save(path, save_all=True, append_images=rest, duration=[round(1000 * d) for d in durations], **save)
    return path


def tone(
    seconds: float, rate: int = 44_100, hz: float = 440.0, channels: int = 1, gain: float = 0.5
) -> NDArray[np.float32]:
    """A sine of `hz`, peak `gain`, shape (round(seconds * rate), channels), the same in each channel."""
    t = np.arange(round(seconds * rate)) / rate
    wave = gain * np.sin(2 * np.pi * hz * t)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


def write_sound(
    path: Path, samples: NDArray[np.float32] | None = None, rate: int = 44_100, subtype: str | None = None
) -> Path:
    """Writes (n,) or (n, channels) samples in [-1, 1] in the format of the extension.

    wav, flac, ogg, oga, aiff, aif, caf, w64 and au go through soundfile (`subtype` as soundfile names it,
    such as "PCM_24"), the others through PyAV.
    """
    samples = tone(3.0, rate) if samples is None else samples
    samples = samples[:, None] if samples.ndim == 1 else samples
    suffix = path.suffix.lower()
    if suffix in (".wav", ".flac", ".ogg", ".oga", ".aiff", ".aif", ".caf", ".w64", ".au"):
        import soundfile

        kind = {".oga": "OGG", ".aif": "AIFF"}.get(suffix, suffix[1:].upper())
        soundfile.write(path, samples, rate, subtype=subtype, format=kind)
        return path
    import av

    with av.open(str(path), "w", format=MUXERS.get(suffix)) as container:
        _mux(container, [], None, _sound_packets(container, suffix, samples, rate))
    return path


def write_video(
    path: Path,
    scenes: Sequence[Image.Image] | None = None,
    seconds: float = 2.0,
    rate: int = 25,
    *,
    sound: NDArray[np.float32] | None = None,
    sound_rate: int = 44_100,
    rotation: int = 0,
    codec: str | None = None,
    pixels: str = "yuv420p",
) -> Path:
    """A video of hard cuts: each scene stands for `seconds`, `rate` frames a second.

    `sound` (n,) or (n, channels) in [-1, 1] becomes its sound track; `rotation` in degrees
    counterclockwise is written as the display matrix (mp4, m4v, mov), the frames stay as they are.
    """
    scenes = [picture(seed) for seed in range(3)] if scenes is None else scenes
    frames = (scene for scene in scenes for _ in range(round(seconds * rate)))
    times = (Fraction(i, rate) for i in range(len(scenes) * round(seconds * rate)))
    return write_frames(
        path, zip(times, frames, strict=True), rate, sound=sound, sound_rate=sound_rate,
        rotation=rotation, codec=codec, pixels=pixels,
    )  # fmt: skip


def write_frames(
    path: Path,
    frames: Iterable[tuple[float | Fraction, Image.Image]],
    rate: int = 25,
    *,
    sound: NDArray[np.float32] | None = None,
    sound_rate: int = 44_100,
    rotation: int = 0,
    codec: str | None = None,
    pixels: str = "yuv420p",
) -> Path:
    """A video of (seconds, picture) pairs, times ascending, kept to a millisecond; they may be irregular.

    `rate` is what the header claims. Pictures of one size, even width and height.
    """
    import av

    suffix = path.suffix.lower()
    frames = iter(frames)
    options = {"mpegts_m2ts_mode": "1"} if suffix == ".m2ts" else {}
    with av.open(str(path), "w", format=MUXERS.get(suffix), options=options) as container:
        stream: Any = container.add_stream(codec or VIDEO_CODECS.get(suffix, "libx264"), rate=rate)
        first = next(frames)
        stream.width, stream.height = first[1].size
        stream.pix_fmt = pixels
        stream.codec_context.time_base = Fraction(1, rate if suffix in FRAMED else 1000)
        if suffix in FRAMED:
            stream.bit_rate = 2_000_000
        if stream.codec_context.name == "libx264":
            stream.options = {"preset": "ultrafast", "threads": "1"}
        elif stream.codec_context.name == "libvpx-vp9":
            stream.options = {"cpu-used": "8", "deadline": "realtime", "threads": "1"}
        if rotation:
            stream.set_display_rotation(rotation)
        packets: list[Any] = []
        if sound is not None:
            sound = sound[:, None] if sound.ndim == 1 else sound
            packets = _sound_packets(container, suffix, sound, sound_rate)
        _mux(container, _chain(first, frames), stream, packets)
    return path


def _chain(first: Any, rest: Iterable[Any]) -> Iterable[Any]:
    yield first
    yield from rest


def _sound_packets(container: Any, suffix: str, samples: NDArray[np.float32], rate: int) -> list[Any]:
    """Encodes (n, channels) into packets of a new stream of `container`, not yet muxed."""
    import av

    layout = {1: "mono", 2: "stereo", 6: "5.1"}[samples.shape[1]]
    codec = SOUND_CODECS.get(suffix, "aac")
    stream: Any = container.add_stream(codec, rate=SOUND_RATES.get(suffix, rate))
    stream.codec_context.layout = layout
    if codec in ("wmav2", "libopencore_amrnb"):  # these know no default
        stream.bit_rate = 12_200 if suffix == ".amr" else 96_000
    packets: list[Any] = []
    for begin in range(0, len(samples), 1024):
        block = np.ascontiguousarray(samples[begin : begin + 1024].T)
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, begin, Fraction(1, rate)
        packets += stream.encode(frame)
    packets += stream.encode(None)
    return packets


def _mux(container: Any, frames: Iterable[Any], stream: Any, sound: list[Any]) -> None:
    import av

    due = 0
    for seconds, image in frames:
        while due < len(sound) and sound[due].pts * sound[due].time_base < seconds:
            container.mux(sound[due])
            due += 1
        frame = av.VideoFrame.from_image(image)
        frame.time_base = stream.codec_context.time_base
        frame.pts = round(seconds / frame.time_base)
        for packet in stream.encode(frame):
            container.mux(packet)
    for packet in [*(stream.encode(None) if stream is not None else []), *sound[due:]]:
        container.mux(packet)


def write_text(path: Path, text: str | None = None, encoding: str = "utf-8") -> Path:
    """A text of three paragraphs (`PASSAGES`), or `text`, in `encoding`."""
    path.write_bytes(("\n\n".join(PASSAGES) if text is None else text).encode(encoding))
    return path


def write_subtitles(path: Path, cues: Sequence[tuple[float, float, str]] | None = None) -> Path:
    """Subtitles (srt, vtt, ass, ssa) of (start, end, text) cues in seconds."""
    cues = [(4.0 * i, 4.0 * i + 2.5, text) for i, text in enumerate(PASSAGES)] if cues is None else cues
    return media_texts.write_subtitles(path, cues)


def write(path: Path, seed: int = 0) -> Path:
    """A small valid file of the kind the extension names; another seed gives other content."""
    suffix = path.suffix.lower()
    if suffix in media_images.EXTENSIONS:
        return media_images.write(path, seed)
    if suffix in IMAGE_EXTENSIONS:
        return write_image(path, picture(seed))
    if suffix in VIDEO_EXTENSIONS:
        return write_video(path, [picture(3 * seed + i) for i in range(2)], seconds=1.0, sound=tone(2.0))
    if suffix in AUDIO_EXTENSIONS:
        return write_sound(path, tone(2.0, hz=220.0 * (1 + seed % 8)))
    if suffix in TEXT_EXTENSIONS:
        return media_texts.write(path, [PASSAGES[seed % len(PASSAGES)] + f" Number {seed}."])
    if suffix in SUBTITLE_EXTENSIONS:
        return write_subtitles(path, [(1.0, 3.0, PASSAGES[seed % len(PASSAGES)])])
    raise ValueError(f"no encoder for {suffix}")
