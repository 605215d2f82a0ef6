"""Items of each kind that training or validation used, never the tests: for what ships beside the weights."""

from __future__ import annotations

import io
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from multimodal import Audio, Segment, Space
from recipes.emoji import fluent_3d
from recipes.evaluate_video import SCENES, cut
from recipes.image_features import flatten
from recipes.picture import Picture
from recipes.pictures import gcompris, openclipart, stamps

ITEMS = 300
SOUND_SECONDS = 10


def pictures(seed: int = 0) -> list[Picture]:
    """Captioned pictures of several kinds, none of them held out."""
    rng = random.Random(seed)
    found: list[Picture] = []
    for source, count in ((stamps, 120), (gcompris, 80), (openclipart, 60), (fluent_3d, 40)):
        open_ones = [p for p in source() if not p.held_out and p.drawn and not p.key.startswith("symbols/")]
        found += rng.sample(open_ones, count)
    return found


def sounds(seed: int = 0) -> list[tuple[str, Audio]]:
    """Captions and sounds of the audio recipe's training part, at most 10 s each."""
    from recipes.sounds import RATE, gather

    clips, samples = gather()
    chosen = [c for c in clips if c.part == "train" and c.caption]
    random.Random(seed).shuffle(chosen)
    found = []
    for clip in chosen[:ITEMS]:
        stretch = samples[clip.start : clip.start + min(clip.length, SOUND_SECONDS * RATE)]
        found.append((clip.caption or "", Audio(stretch.astype(np.float32) / np.float32(32768), RATE)))
    return found


def moments(space: Space, of: Sequence[Picture]) -> tuple[list[str], list[Segment]]:
    """Video segments cut from pictures, each with the caption of the scene that its middle shows."""
    from recipes.evaluate_video import SECONDS

    captions, segments = [], []
    with tempfile.TemporaryDirectory() as folder:
        for begin in range(0, len(of) - SCENES + 1, SCENES):
            scenes = of[begin : begin + SCENES]
            path = Path(folder) / f"{begin}.mp4"
            cut(scenes, path)
            for segment in space.read(path):
                if segment.modality == "video":
                    middle = ((segment.start or 0.0) + (segment.end or 0.0)) / 2
                    captions.append(scenes[min(int(middle / SECONDS), SCENES - 1)].captions[0])
                    segments.append(segment)
    return captions, segments


def shown(picture: Picture) -> Image.Image:
    out = io.BytesIO()
    flatten(picture.open()).save(out, "PNG")
    return Image.open(out)
