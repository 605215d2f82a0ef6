"""Photographs made up from noise: as many bytes a pixel and as much detail as a camera's JPEGs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZES = ((1600, 1200), (2048, 1536), (2592, 1944), (3264, 2448), (3648, 2736), (4032, 3024))
"""2 to 12 megapixels, the sizes of cameras and phones."""
SCENES = 6
QUALITY = 90
FALLOFF, NOISE = 0.75, 0.1
"""What an octave weighs against the one below, and the noise of the sensor: 0.25 bytes a pixel."""


def write_photos(folder: Path, count: int) -> list[Path]:
    """`count` JPEGs of 2 to 12 megapixels, quality 90, 4:2:0; what already lies in `folder` stays."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"photo{number:04}.jpg" for number in range(count)]
    missing = [number for number, path in enumerate(paths) if not path.exists()]
    for seed in range(SCENES) if missing else ():
        picture = scene(seed)
        for number in missing:
            if number % SCENES == seed:
                _variant(picture, number).save(paths[number], quality=QUALITY)
    return paths


def scene(seed: int, width: int = 4032, height: int = 3024) -> NDArray[np.uint8]:
    """(height, width, 3) noise whose amplitude falls towards high frequencies, as in photographs."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for octave in range(2, 12):
        rows, columns = max(2, height >> (12 - octave)), max(2, width >> (12 - octave))
        for channel in range(3):
            noise = rng.normal(0, FALLOFF ** (octave - 2), (rows, columns)).astype(np.float32)
            layer = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
            # Most detail is common to the channels, as light is.
            total[:, :, channel] += 0.3 * np.asarray(layer)
            if channel == 1:
                total += 0.7 * np.asarray(layer)[:, :, None]
    total += rng.normal(0, NOISE, total.shape).astype(np.float32)  # the sensor's own
    low, high = np.percentile(total[::8, ::8], (1, 99))
    return np.asarray(np.clip((total - low) / (high - low) * 255, 0, 255), np.uint8)


def _variant(scene: NDArray[np.uint8], number: int) -> Image.Image:
    """A part of the scene in one of the sizes, mirrored and turned on end by its number."""
    rng = np.random.default_rng(1000 + number)
    width, height = SIZES[number // SCENES % len(SIZES)]
    top, left = (int(rng.integers(0, room + 1)) for room in (scene.shape[0] - height, scene.shape[1] - width))
    picture = Image.fromarray(scene[top : top + height, left : left + width])
    for turn in _turns(number):
        picture = picture.transpose(turn)
    return picture


def _turns(number: int) -> Iterator[Image.Transpose]:
    if number % 2:
        yield Image.Transpose.FLIP_LEFT_RIGHT
    if number % 5 == 0:
        yield Image.Transpose.ROTATE_90
