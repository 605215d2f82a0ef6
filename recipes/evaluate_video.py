"""Find the moment: videos cut from held-out pictures, one scene a picture, and each scene's caption.

A caption is answered when the segment of its video that scores best overlaps the scene by an
intersection over union of at least 0.5.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from multimodal import Space
from recipes.image_features import flatten
from recipes.picture import Picture

SCENES = 10
SECONDS = 3.0
RATE = 12
SIZE = (320, 240)
OVERLAP = 0.5


def table(space: Space) -> Iterator[str]:
    """Lines of the result: right scene first, and among the best three."""
    from recipes.evaluate import header, held_out_stamps, row

    chosen = scenes(held_out_stamps())
    better = []
    with tempfile.TemporaryDirectory() as folder:
        for number, pictures in enumerate(chosen):
            path = Path(folder) / f"{number}.mp4"
            cut(pictures, path)
            better.extend(places(space, path, [p.captions[0] for p in pictures]))
    yield header(f"moments, {len(chosen)} videos of {SCENES} scenes", (1, 3))
    yield row("right scene of the video", len(better), np.array(better), (1, 3))


def scenes(pictures: Sequence[Picture], seed: int = 0) -> list[list[Picture]]:
    """Pictures of one video each, every caption once, without letters and other symbols."""
    once = {p.captions[0]: p for p in pictures if not p.key.startswith("symbols/")}
    found = list(once.values())
    random.Random(seed).shuffle(found)
    return [found[i : i + SCENES] for i in range(0, len(found) - SCENES + 1, SCENES)]


def cut(pictures: Sequence[Picture], path: Path) -> None:
    """A film of still scenes, SECONDS each, every picture whole on white."""
    import av

    with av.open(str(path), "w") as film:
        stream = film.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.bit_rate = 2_000_000
        stream.time_base = Fraction(1, RATE)
        for picture in pictures:
            frame = av.VideoFrame.from_image(_still(picture.open()))
            for _ in range(int(SECONDS * RATE)):
                frame.pts = None
                film.mux(stream.encode(frame))
        film.mux(stream.encode())


def _still(picture: Image.Image) -> Image.Image:
    canvas = Image.new("RGB", SIZE, "white")
    flat = flatten(picture)
    flat.thumbnail(SIZE, Image.Resampling.BICUBIC)
    canvas.paste(flat, ((SIZE[0] - flat.width) // 2, (SIZE[1] - flat.height) // 2))
    return canvas


def places(space: Space, path: Path, captions: Sequence[str]) -> list[int]:
    """For each scene's caption, how many segments score better than the best one on that scene."""
    segments = [s for s in space.read(path) if s.modality == "video"]
    scores = space.embed(list(captions)) @ space.embed(segments).T
    found = []
    for scene, row in enumerate(scores):
        begin = scene * SECONDS
        right = np.array([overlap(begin, begin + SECONDS, s.start or 0.0, s.end or 0.0) for s in segments])
        hits = right >= OVERLAP
        found.append(int((row > row[hits].max()).sum()) if hits.any() else len(segments))
    return found


def overlap(begin: float, end: float, start: float, stop: float) -> float:
    """Intersection over union of two stretches of time, in seconds."""
    shared = max(0.0, min(end, stop) - max(begin, start))
    return shared / (max(end, stop) - min(begin, start))
