"""Measure a trained temporal pooler against the mean, on videos composed of pictures and distractor frames.

    python -m recipes.pool

A video is 2 to 3 views of a stamp (mirrored, cropped, darker) among 3 to 5 frames that say little: blurred,
noisy, dim or empty pictures and title cards, of other stamps, two a second. Trained on stamps that are not
held out, their captions and distractors of theirs; measured on held-out stamps and distractors of those.
Brackets are bootstrap 95 % intervals. The pooler ships in the starter only if it is better.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from multimodal import Space, load_space
from multimodal.measures import interval
from multimodal.towers.video import TemporalPooler
from multimodal.training.pooling import Seen, pooled_rows, train_pooler
from recipes.evaluate import held_out_stamps
from recipes.evaluate_audio import first_right
from recipes.image_features import flatten
from recipes.picture import Picture
from recipes.pictures import stamps

RATE = 2.0
SIDE = 300


def still(picture: Picture) -> Image.Image:
    drawn = flatten(picture.open())
    drawn.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
    return ImageOps.pad(drawn, (SIDE, SIDE), color="white")


def views(image: Image.Image) -> list[Image.Image]:
    cropped = image.crop((SIDE // 12, SIDE // 12, SIDE - SIDE // 12, SIDE - SIDE // 12))
    return [image, ImageOps.mirror(image), ImageEnhance.Brightness(cropped).enhance(0.8)]


def distractor(image: Image.Image, caption: str, kind: int, rng: np.random.Generator) -> Image.Image:
    """A frame of one of five kinds; its words come from elsewhere than the picture's caption."""
    if kind == 0:
        return image.filter(ImageFilter.GaussianBlur(float(rng.uniform(15, 30))))
    if kind == 1:
        noise = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        return Image.blend(image, Image.fromarray(noise), 0.75)
    if kind == 2:
        return ImageEnhance.Brightness(image).enhance(float(rng.uniform(0.05, 0.12)))
    colour = tuple(int(value) for value in rng.integers(0, 256, 3))
    card = Image.new("RGB", (SIDE, SIDE), colour)
    if kind == 3:
        draw = ImageDraw.Draw(card)
        for line, word in enumerate(caption.split()[:6]):
            draw.text(
                (30, 60 + 30 * line), word, fill="white" if sum(colour) < 380 else "black", font_size=26
            )
    return card


def compose(space: Space, pictures: list[Picture], seed: int) -> tuple[list[Seen], NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    images = [still(picture) for picture in pictures]
    wanted = space.embed([view for image in images for view in views(image)]).reshape(len(images), 3, -1)
    strange = [
        distractor(
            images[i], pictures[int(rng.integers(len(pictures)))].captions[0], int(rng.integers(5)), rng
        )
        for i in rng.integers(0, len(images), len(images))
    ]
    others = space.embed(strange)
    videos = []
    for rows in wanted:
        chosen = rows[rng.permutation(3)[: rng.integers(2, 4)]]
        frames = np.concatenate([chosen, others[rng.integers(0, len(others), rng.integers(3, 6))]])
        frames = frames[rng.permutation(len(frames))]
        videos.append(Seen(frames, (np.arange(len(frames)) / RATE).astype(np.float32)))
    return videos, space.embed([picture.captions[0] for picture in pictures])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--space", default="starter")
    space = load_space(parser.parse_args().space)
    learned = [p for p in stamps() if not p.held_out and p.drawn and not p.key.startswith("symbols/")]
    asked = [p for p in held_out_stamps() if not p.key.startswith("symbols/")]
    videos, texts = compose(space, learned, seed=0)
    tests, captions = compose(space, asked, seed=1)
    pooler = train_pooler(videos, texts)
    names = [picture.captions[0] for picture in asked]
    print(f"trained on {len(videos)} videos; measured on {len(tests)}")
    print("\n| R@10 | n | mean | attention | difference |\n|---|---|---|---|---|")
    rows = [pooled_rows(one, tests) for one in (TemporalPooler.mean(space.dim), pooler)]
    for way in ("text to video", "video to text"):
        scores = [captions @ one.T if way == "text to video" else one @ captions.T for one in rows]
        before, after = (first_right(one, names) < 10 for one in scores)
        low, high = interval(after.astype(float) - before)
        gap = after.mean() - before.mean()
        shares = f"{before.mean():.3f} | {after.mean():.3f} | {gap:+.3f} [{low:+.3f}, {high:+.3f}]"
        print(f"| {way} | {len(before)} | {shares} |")


if __name__ == "__main__":
    main()
