"""Cut pictures, sounds and videos for samples/ out of the files of packages.

Nothing here is drawn by chance: the same sources and the same encoders give the same files, but for the
serial numbers that ogg and Matroska draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import librosa
import numpy as np
import soundfile as sf
from numpy.typing import NDArray
from PIL import Image

RATE = 44100
FRAMES_A_SECOND = 20
SIZE = (640, 360)
LONGEST_SIDE = 1280
GAP = 0.15  # seconds between two repetitions of a sound
FADE = 0.05  # seconds at each end of a cut, so that it does not click

Samples = NDArray[np.float32]


class Scene(NamedTuple):
    """A picture held for some seconds, slowly coming nearer, with a sound under it (None: silence).

    `middle` is the height at which a photo is cut to 16:9: 0 keeps its top, 1 its bottom.
    """

    picture: Path
    sound: Path | None
    middle: float = 0.5
    seconds: float = 4.0


def make_picture(source: Path, target: Path) -> None:
    """Save `source` as `target`, at most 1280 pixels a side; alpha is kept in png and webp, else on white."""
    with Image.open(source) as opened:
        picture = opened.convert(
            "RGBA" if "A" in opened.getbands() or "transparency" in opened.info else "RGB"
        )
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    if picture.mode == "RGBA" and target.suffix not in {".png", ".webp"}:
        picture = _on_white(picture)
    options: dict[str, dict[str, object]] = {
        ".jpg": {"quality": 85, "optimize": True, "progressive": True},
        ".webp": {"quality": 85, "method": 6},
        ".png": {"optimize": True},
        ".tiff": {"compression": "tiff_lzw"},
        ".bmp": {},
    }
    picture.save(target, **options[target.suffix])


def make_pan(source: Path, target: Path, width: int = 240, frames: int = 24) -> None:
    """An animated gif whose window, two thirds as high as it is wide, moves down the picture and back up."""
    with Image.open(source) as opened:
        picture = opened.convert("RGB")
    picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    height = width * 2 // 3
    ways = (
        1 - np.cos(np.linspace(0, 2 * np.pi, frames, endpoint=False))
    ) / 2  # 0 at the top, 1 at the bottom
    tops = np.round(ways * (picture.height - height)).astype(int)
    shots = [picture.crop((0, int(top), width, int(top) + height)).quantize(96) for top in tops]
    shots[0].save(target, save_all=True, append_images=shots[1:], duration=125, loop=0, optimize=True)


def read_sound(source: Path, start: float = 0.0, seconds: float | None = None, times: int = 1) -> Samples:
    """Mono samples at 44.1 kHz, `times` times with a short silence between, peak at most 0.9."""
    samples, _ = librosa.load(source, sr=RATE, mono=True, offset=start, duration=seconds)
    samples = samples * (0.9 / max(float(np.abs(samples).max()), 1e-9))
    edge = min(int(FADE * RATE), len(samples) // 2)
    if seconds is not None:
        samples[-edge:] *= np.linspace(1, 0, edge, dtype=np.float32)
    gap = np.zeros(int(GAP * RATE), np.float32)
    return np.concatenate(([samples, gap] * times)[: 2 * times - 1]).astype(np.float32)


def write_sound(samples: Samples, target: Path) -> None:
    """Encode `samples` (n,) at 44.1 kHz as the ending of `target` says."""
    if target.suffix in {".wav", ".flac", ".ogg"}:
        sf.write(target, samples, RATE)
        return
    codec, rate = {".mp3": ("libmp3lame", RATE), ".m4a": ("aac", RATE), ".opus": ("libopus", 48000)}[
        target.suffix
    ]
    with av.open(str(target), "w", format="ogg" if target.suffix == ".opus" else None) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "mono"
        stream.bit_rate = 64_000
        _encode_sound(container, stream, samples)


def make_video(scenes: Sequence[Scene], target: Path) -> None:
    """Cut scenes together, 640 x 360 at 20 frames a second: h264 and aac in mp4 and mkv, VP9 and opus in
    webm, mpeg4 in avi. No sound track where no scene has a sound.
    """
    webm, avi = target.suffix == ".webm", target.suffix == ".avi"
    with av.open(str(target), "w") as container:
        video = container.add_stream(
            "libvpx-vp9" if webm else "mpeg4" if avi else "libx264", rate=FRAMES_A_SECOND
        )
        video.width, video.height = SIZE
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1
        if avi:
            video.bit_rate = 600_000
        else:
            video.options = {"crf": "34" if webm else "26"} | ({"b": "0"} if webm else {"preset": "slow"})
        sound = None
        if any(scene.sound for scene in scenes):
            sound = container.add_stream("libopus" if webm else "aac", rate=48000 if webm else RATE)
            sound.layout = "mono"
            sound.bit_rate = 64_000
        number = 0
        for scene in scenes:
            for picture in _approach(scene):
                frame = av.VideoFrame.from_image(picture)
                frame.pts, frame.time_base = number, Fraction(1, FRAMES_A_SECOND)
                container.mux(video.encode(frame))
                number += 1
        container.mux(video.encode())
        if sound is not None:
            track = np.concatenate([_under(scene) for scene in scenes])
            _encode_sound(container, sound, track)


def shrink_video(source: Path, target: Path) -> None:
    """Encode a video again at 640 x 360 with its sound track, h264 and aac."""
    with av.open(str(source)) as opened, av.open(str(target), "w") as container:
        video = container.add_stream("libx264", rate=opened.streams.video[0].average_rate)
        video.width, video.height = SIZE
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1
        video.options = {"crf": "24", "preset": "slow"}
        sound = container.add_stream("aac", rate=RATE)
        sound.layout = "mono"
        for frame in opened.decode(video=0):
            small = frame.reformat(*SIZE, format="yuv420p")
            small.pts, small.time_base = frame.pts, frame.time_base
            container.mux(video.encode(small))
        container.mux(video.encode())
        opened.seek(0)
        resampler = av.AudioResampler("flt", "mono", RATE)
        blocks = [out for frame in opened.decode(audio=0) for out in resampler.resample(frame)]
        blocks += resampler.resample(None)
        _encode_sound(container, sound, np.concatenate([block.to_ndarray()[0] for block in blocks]))


def _encode_sound(container: av.container.OutputContainer, stream: av.AudioStream, samples: Samples) -> None:
    resampler = av.AudioResampler(stream.format, "mono", stream.rate, frame_size=stream.frame_size or 1024)
    block = RATE  # a second at a time
    for start in range(0, len(samples), block):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + block].copy(), "flt", "mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        for out in resampler.resample(frame):
            container.mux(stream.encode(out))
    for out in resampler.resample(None):
        container.mux(stream.encode(out))
    container.mux(stream.encode())


def _approach(scene: Scene) -> Iterator[Image.Image]:
    """Frames of a scene: the window shrinks by a tenth over its length."""
    with Image.open(scene.picture) as opened:
        picture = opened.convert("RGBA")
    canvas = _framed(picture, scene.middle)
    count = round(scene.seconds * FRAMES_A_SECOND)
    for step in range(count):
        share = 1 - 0.1 * step / count
        width, height = canvas.width * share, canvas.height * share
        left, top = (canvas.width - width) / 2, (canvas.height - height) / 2
        box = (left, top, left + width, top + height)
        yield canvas.resize(SIZE, Image.Resampling.BICUBIC, box=box)


def _framed(picture: Image.Image, middle: float) -> Image.Image:
    """The picture filling 16:9, twice as large as a frame: a photo cut, a cut-out whole on white."""
    wide, high = SIZE[0] * 2, SIZE[1] * 2
    cut_out = picture.getchannel("A").getextrema()[0] == 0  # somewhere wholly transparent
    if cut_out:
        scale = 0.9 * min(wide / picture.width, high / picture.height)
    else:
        scale = max(wide / picture.width, high / picture.height)
    size = (round(picture.width * scale), round(picture.height * scale))
    picture = _on_white(picture.resize(size, Image.Resampling.LANCZOS))
    canvas = Image.new("RGB", (wide, high), "white")
    top = (high - picture.height) // 2 if cut_out else round((high - picture.height) * middle)
    canvas.paste(picture, ((wide - picture.width) // 2, top))
    return canvas


def _under(scene: Scene) -> Samples:
    """The sound of a scene, repeated or cut to its length, faded at both ends."""
    count = round(scene.seconds * RATE)
    if scene.sound is None:
        return np.zeros(count, np.float32)
    samples = read_sound(scene.sound)
    pause = np.zeros(int(GAP * RATE), np.float32)
    whole = np.concatenate([samples, pause])
    track = np.tile(whole, -(-count // len(whole)))[:count]
    edge = int(FADE * RATE)
    track[:edge] *= np.linspace(0, 1, edge, dtype=np.float32)
    track[-edge:] *= np.linspace(1, 0, edge, dtype=np.float32)
    return track


def _on_white(picture: Image.Image) -> Image.Image:
    canvas = Image.new("RGBA", picture.size, "white")
    canvas.alpha_composite(picture.convert("RGBA"))
    return canvas.convert("RGB")
