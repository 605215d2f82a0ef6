"""Measure the starter on what it never saw, through the public API: a Markdown table on stdout.

    python -m recipes.evaluate [--photos FOLDER] [--space NAME] [--only images video audio photos]

Tests: the 250 held-out Tux Paint stamps and their captions (170 without `symbols/`), videos cut from
them, held-out sounds (`recipes.evaluate_audio`), and a folder of photos sorted into folders named by
their class. Brackets hold bootstrap 95 % intervals.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multimodal import Space, load_space
from recipes.measures import RANKS, interval, ranks
from recipes.picture import Picture
from recipes.pictures import stamps

PHOTO_PROMPT = "a photo of a {}"
PHOTO_ENDINGS = {".jpg", ".jpeg", ".png", ".webp"}


def row(name: str, count: int, better: NDArray[np.int64], at: Sequence[int] = RANKS) -> str:
    """One line of the table: recall at each rank with its interval."""
    cells = []
    for k in at:
        hits = better < k
        low, high = interval(hits)
        cells.append(f"{hits.mean():.3f} [{low:.3f}, {high:.3f}]")
    return f"| {name} | {count} | " + " | ".join(cells) + " |"


def header(title: str, at: Sequence[int] = RANKS, of: str = "R@") -> str:
    names = " | ".join(f"{of}{k}" for k in at)
    return f"\n| {title} | n | {names} |\n|---|---|" + "---|" * len(at)


def held_out_stamps() -> list[Picture]:
    """The 250 test pictures: held out and drawn as PNG."""
    return [p for p in stamps() if p.held_out and p.drawn]


def stamp_path(picture: Picture) -> Path:
    from recipes.pictures import stamp_root

    return stamp_root() / f"{picture.key}.png"


def images(space: Space) -> Iterator[str]:
    """Captions against pictures both ways, the trained tower beside ConSE alone."""
    pictures = held_out_stamps()
    texts = space.embed([p.captions[0] for p in pictures])
    plain = np.array([not p.key.startswith("symbols/") for p in pictures])
    towers = {"starter": space.embed([stamp_path(p) for p in pictures])}
    baseline = conse_alone(space, pictures)
    if baseline is not None:
        towers = {"ConSE alone": baseline, **towers}
    yield header("held-out stamps")
    for kind, chosen in (("all", np.ones(len(pictures), dtype=bool)), ("without symbols/", plain)):
        for name, vectors in towers.items():
            scores = texts[chosen] @ vectors[chosen].T
            count = int(chosen.sum())
            yield row(f"{kind}, text to image, {name}", count, ranks(scores))
            yield row(f"{kind}, image to text, {name}", count, ranks(scores.T))


def conse_alone(space: Space, pictures: list[Picture]) -> NDArray[np.float32] | None:
    """What the class posterior alone gives, on the tower's own pixels; None for other spaces."""
    if space.name != "starter":
        return None
    import torch

    from multimodal.towers.image_module import load_image_module
    from recipes.config import STARTER

    module = load_image_module(STARTER / "image.safetensors")
    tower = space["image"].tower
    found = []
    with torch.inference_mode():
        for picture in pictures:
            (segment,) = space.read(stamp_path(picture))
            pixels = torch.from_numpy(np.stack([tower.preprocess(segment.content)]))
            places, _ = module.backbone(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1.0)
            found.append(torch.nn.functional.normalize(module.conse(places), dim=-1).numpy())
    return np.concatenate(found)


def photos(space: Space, folder: Path) -> Iterator[str]:
    """Zero-shot classes of photos: each folder's name is a class, underscores are spaces."""
    classes = sorted(p for p in folder.iterdir() if p.is_dir())
    names = [p.name.replace("_", " ") for p in classes]
    files = [sorted(f for f in p.iterdir() if f.suffix.lower() in PHOTO_ENDINGS) for p in classes]
    paths = [(file, i) for i, found in enumerate(files) for file in found]
    texts = space.embed([PHOTO_PROMPT.format(name) for name in names])
    scores = space.embed([path for path, _ in paths]) @ texts.T
    truth = np.array([i for _, i in paths])
    better = (scores > scores[np.arange(len(truth)), truth][:, None]).sum(1)
    yield header(f"photos of {len(names)} classes", (1, 5), of="top-")
    yield row("zero-shot", len(paths), better, (1, 5))


def main() -> None:
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("--photos", type=Path, help="folder with one folder of photos a class")
    parser.add_argument("--space", default="starter")
    tests = ["images", "video", "audio", "photos"]
    parser.add_argument("--only", nargs="+", choices=tests, default=tests)
    args = parser.parse_args()
    space = load_space(args.space)
    parts: list[Iterator[str]] = []
    if "images" in args.only and "image" in space:
        parts.append(images(space))
    if "video" in args.only and "video" in space:
        from recipes.evaluate_video import table

        parts.append(table(space))
    if "audio" in args.only and "audio" in space and importlib.util.find_spec("recipes.evaluate_audio"):
        evaluate_audio = importlib.import_module("recipes.evaluate_audio")
        parts.append(iter(evaluate_audio.table(space)))
    if "photos" in args.only and args.photos:
        parts.append(photos(space, args.photos))
    for part in parts:
        for line in part:
            print(line, flush=True)


if __name__ == "__main__":
    main()
