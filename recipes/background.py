"""How alike unrelated items are in the starter: the `background` table of config.json.

    python -m recipes.background

For each query and row modality: mean and standard deviation of the cosine between items that have
nothing to do with each other. Search scores are stated against it. Items come from what training and
validation used, never from the tests; two items count as unrelated when the cosine of their captions is
below 0.5.
"""

from __future__ import annotations

import io
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from multimodal import MODALITIES, Audio, Segment, Space, load_space
from recipes.config import write_section
from recipes.emoji import fluent_3d
from recipes.evaluate_video import SCENES, cut
from recipes.image_features import flatten
from recipes.picture import Picture
from recipes.pictures import gcompris, openclipart, stamps

ITEMS = 300
UNRELATED = 0.5
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


def table(space: Space) -> dict[str, dict[str, list[float]]]:
    """background[query][row] = [mean, standard deviation] for every pair the space has."""
    shown = pictures()
    captions: dict[str, list[str]] = {"text": [p.captions[0] for p in shown]}
    vectors = {"text": space.embed(captions["text"])}
    if "image" in space:
        captions["image"] = captions["text"]
        vectors["image"] = space.embed([_picture(p) for p in shown])
    if "video" in space:
        captions["video"], segments = moments(space, shown[:100])
        vectors["video"] = space.embed(segments)
    if "audio" in space:
        heard = sounds()
        captions["audio"] = [caption for caption, _ in heard]
        vectors["audio"] = space.embed([audio for _, audio in heard])
    meanings = {modality: space.embed(texts) for modality, texts in captions.items()}
    have = [m for m in MODALITIES if m in vectors]
    return {
        query: {row: _moments(vectors[query], vectors[row], meanings[query], meanings[row]) for row in have}
        for query in have
    }


def _picture(picture: Picture) -> Image.Image:
    out = io.BytesIO()
    flatten(picture.open()).save(out, "PNG")
    return Image.open(out)


def _moments(
    a: NDArray[np.float32], b: NDArray[np.float32], said_a: NDArray[np.float32], said_b: NDArray[np.float32]
) -> list[float]:
    cosines = (a @ b.T)[said_a @ said_b.T < UNRELATED]
    return [round(float(cosines.mean()), 4), round(float(cosines.std()), 4)]


def main() -> None:
    background = table(load_space())
    write_section("background", background)
    for query, rows in background.items():
        print(query, " ".join(f"{row} {mean:.3f}+-{sd:.3f}" for row, (mean, sd) in rows.items()))


if __name__ == "__main__":
    main()
