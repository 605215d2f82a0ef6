"""Make the image tower: features of every picture, a trained residual, image.onnx and image.safetensors.

    python -m recipes.image [--permissive-only] [--validate] [--folder FOLDER] [--threads N]

`--validate` trains without the validation stamps, prints their numbers as it goes and writes nothing:
settings are chosen on it. `--permissive-only` leaves out every source under copyleft terms.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from multimodal.towers.image_module import SIZE, StarterImageModule
from recipes import image_data, image_features
from recipes.config import STARTER, write_section
from recipes.export import difference, export
from recipes.image_train import Settings, embed, train
from recipes.measures import fit_logit_scale, ranks, recall

AGREE = 1e-3
LOGIT_SCALE = 17.0
"""What `--validate` found for choices among ten captions; written to config.json."""


def measure(module: StarterImageModule, keep=image_data.is_validation) -> str:  # type: ignore[no-untyped-def]
    """R@1/5/10 both ways over stamps, with and without symbols, in one line."""
    pictures, rows, texts = image_data.stamps(keep)
    vectors = embed(module, rows)
    plain = np.array([not p.key.startswith("symbols/") for p in pictures])
    parts = []
    for name, some in (("all", np.ones(len(plain), dtype=bool)), ("no symbols", plain)):
        scores = texts[some] @ vectors[some].T
        for way, table in (("t2i", scores), ("i2t", scores.T)):
            better = ranks(table)
            numbers = "/".join(f"{recall(better, k):.3f}" for k in (1, 5, 10))
            parts.append(f"{name} {int(some.sum())} {way} {numbers}")
        parts.append(f"logit scale {fit_logit_scale(scores.T):.1f}")
    return "; ".join(parts)


def write(module: StarterImageModule, folder: Path) -> None:
    """Weights, graph and, in the starter's own folder, their section of config.json."""
    example = torch.randint(0, 256, (2, SIZE, SIZE, 3), dtype=torch.uint8)
    export(module, example, folder, "image", "pixels")
    apart = difference(module, example, folder / "image.onnx")
    if apart > AGREE:
        raise SystemExit(f"torch and onnxruntime differ by {apart}")
    size = (folder / "image.safetensors").stat().st_size / 1e6
    print(f"image.safetensors: {size:.1f} MB; torch to onnxruntime: {apart:.1e} at most")
    if folder.resolve() == STARTER:
        preprocess = {
            "size": SIZE,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "interpolation": "bicubic",
            "resize_mode": image_data.MODE,
        }
        section = {"graph": "image.onnx", "weights": "image.safetensors", "feature_dim": 384}
        write_section("image", {**section, "preprocess": preprocess})
        write_section("logit_scale", LOGIT_SCALE)


def main() -> None:
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("--permissive-only", action="store_true")
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--folder", type=Path, default=STARTER)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=Settings().steps)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    image_features.ensure(image_data.MODE, args.threads)
    begun = time.time()
    data = image_data.gather(args.permissive_only, args.validate)
    photos = image_data.photos(args.permissive_only)
    print(f"{len(data.pictures)} pictures, {len(data.share)} rows, {len(data.texts)} wordings")

    def report(step: int, module: StarterImageModule) -> None:
        if args.validate:
            print(measure(module), flush=True)

    module = train(data, photos, replace(Settings(), steps=args.steps), report)
    print(f"trained in {time.time() - begun:.0f} s")
    if not args.validate:
        write(module, args.folder)


if __name__ == "__main__":
    main()
