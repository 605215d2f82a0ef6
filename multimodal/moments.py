"""Pictures and moments as HTML that needs no file beside it: thumbnails and players as data URIs."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal.errors import ReadError
from multimodal.readers.container import open_media
from multimodal.types import Audio, Modality

if TYPE_CHECKING:
    from PIL.Image import Image

THUMB = 180
"""Pixels of a thumbnail's longer side."""
FILM_BYTES = 1_500_000
"""A video up to this size is played in the page; of a larger one a frame is shown."""
SOUND_SECONDS = 30.0
"""Most of a sound that is put in a page: 240 kB."""
SOUND_RATE = 24_000
FILMS = {".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".ogv": "video/ogg"}
"""What browsers play."""


def moment(path: Path, modality: Modality, start: float, end: float | None) -> str:
    """A moment of a video or a sound as a player that starts there. Raises ReadError.

    Of a video that no browser plays, or a large one, it is the frame in the middle. The file is entered
    at that moment, not read from its beginning.
    """
    if modality == "audio":
        return audio_player(sound_at(path, start, end))
    if path.suffix.lower() in FILMS and path.is_file() and path.stat().st_size <= FILM_BYTES:
        until = "" if end is None else f",{end:.2f}"
        source = f"data:{FILMS[path.suffix.lower()]};base64,{_base64(path.read_bytes())}#t={start:.2f}{until}"
        return f'<video controls preload="metadata" style="max-width:100%" src="{source}"></video>'
    return thumbnail(frame_at(path, start, end))


def thumbnail(picture: Image) -> str:
    """A picture as an <img> of at most THUMB pixels."""
    small = picture.convert("RGB")
    small.thumbnail((THUMB, THUMB))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=80)
    return f'<img style="max-width:100%" src="data:image/jpeg;base64,{_base64(file.getvalue())}">'


def audio_player(sound: Audio) -> str:
    """A sound as an <audio>, its first SOUND_SECONDS."""
    import soundfile

    file = io.BytesIO()
    samples = sound.samples[: int(SOUND_SECONDS * sound.rate)]
    soundfile.write(file, samples, sound.rate, format="OGG", subtype="VORBIS")
    source = f"data:audio/ogg;base64,{_base64(file.getvalue())}"
    return f'<audio controls style="width:100%" src="{source}"></audio>'


def frame_at(path: Path, start: float, end: float | None) -> Image:
    """The frame in the middle of a moment, or the last one before it."""
    import av

    wanted = start if end is None else (start + end) / 2
    last: Any = None
    with open_media(path) as container:
        if not container.streams.video:
            raise ReadError("it holds no pictures any more")
        stream = container.streams.video[0]
        begin = _enter(container, stream, wanted)
        try:
            for frame in container.decode(stream):
                if last is not None and frame.time is not None and frame.time - begin > wanted:
                    break
                last = frame
        except av.FFmpegError:  # damaged from there on
            pass
        if last is None:
            raise ReadError("that moment is not in the file any more")
        return last.to_image()


def sound_at(path: Path, start: float, end: float | None) -> Audio:
    """The samples of a moment, mono."""
    import av

    until = min(start + SOUND_SECONDS, np.inf if end is None else end)
    parts: list[Any] = []
    with open_media(path) as container:
        if not container.streams.audio:
            raise ReadError("it holds no sound any more")
        stream = container.streams.audio[0]
        begin = _enter(container, stream, start)
        resampler = av.AudioResampler(format="flt", layout="mono", rate=SOUND_RATE)
        try:
            for frame in container.decode(stream):
                time = 0.0 if frame.time is None else frame.time - begin
                if time >= until:
                    break
                for piece in resampler.resample(frame):
                    skipped = max(0, round((start - time) * SOUND_RATE)) if not parts else 0
                    samples = piece.to_ndarray().reshape(-1)[skipped:]
                    parts.extend([samples] if len(samples) else [])
        except av.FFmpegError:  # damaged from there on
            pass
    if not parts:
        raise ReadError("that moment is not in the file any more")
    samples = np.concatenate(parts)[: max(1, round((until - start) * SOUND_RATE))]
    return Audio(np.asarray(samples, np.float32), SOUND_RATE)


def _enter(container: Any, stream: Any, seconds: float) -> float:
    """Go to the last key frame before `seconds` of the file; returns what its first time stamp is."""
    import av

    begin = float(stream.start_time * stream.time_base) if stream.start_time is not None else 0.0
    if seconds > 0:
        try:
            container.seek(int((seconds + begin) / stream.time_base), stream=stream)
        except av.FFmpegError:  # a format without an index is read from its beginning
            container.seek(0)
    return begin


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
