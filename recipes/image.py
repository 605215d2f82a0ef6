"""Make the image tower: features of every picture, a trained residual, image.onnx and image.safetensors.

    python -m recipes.image [--permissive-only] [--validate] [--folder FOLDER] [--threads N]
        [--seeds N] [--set NAME=VALUE]...

`--validate` trains without the validation stamps, prints their numbers and writes nothing: settings are
chosen on it. `--permissive-only` leaves out every source under copyleft terms. With several `--seeds` the
residual is the mean of what as many trainings learned, and as many times as wide. `--set` changes a setting
of `multimodal train`, or of the recipe (`recipes.image_train.Tower`).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch

from multimodal.towers.image_module import SIZE, StarterImageModule
from multimodal.training.settings import Settings
from recipes import image_data, image_features
from recipes.config import STARTER, write_section
from recipes.export import difference, export
from recipes.image_train import SETTINGS, Tower, embed, joined, train
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


def changed(options: list[str]) -> tuple[Settings, Tower]:
    """The recipe with other values, given as NAME=VALUE."""
    settings, tower = SETTINGS, Tower()
    for option in options:
        name, _, value = option.partition("=")
        if name in {one.name for one in fields(tower)}:
            tower = replace(tower, **{name: type(getattr(tower, name))(value)})
        else:
            settings = settings.with_(**{name: type(getattr(settings, name))(value)})
    return settings, tower


def main() -> None:
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("--permissive-only", action="store_true")
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--folder", type=Path, default=STARTER)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    image_features.ensure(image_data.MODE, args.threads)
    begun = time.time()
    settings, tower = changed(args.set)
    data = image_data.gather(args.permissive_only, args.validate)
    photos = image_data.photos(args.permissive_only)
    print(f"{len(data.pictures)} pictures, {len(data.share)} rows, {len(data.texts)} wordings")

    def told(line: dict[str, float]) -> None:
        print(f"step {line['step']:.0f}: {line['seconds']:.0f} s, loss {line['loss']:.3f}", flush=True)

    modules = []
    for seed in range(args.seeds):
        modules.append(train(data, photos, replace(settings, seed=seed), tower, listener=told))
        if args.validate:
            print(f"seed {seed}: {measure(modules[-1])}", flush=True)
    module = joined(modules) if args.seeds > 1 else modules[0]
    print(f"trained in {time.time() - begun:.0f} s")
    if args.validate:
        print(measure(module))
    else:
        write(module, args.folder)


if __name__ == "__main__":
    main()
