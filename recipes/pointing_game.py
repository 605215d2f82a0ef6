"""The pointing game on composed pictures (Zhang et al. 2018, Top-down neural attention by excitation).

    python -m recipes.pointing_game [collages of each kind] [seed]

Held-out stamps are laid on white in squares of 2 x 2 and 3 x 3. A caption of one of them is asked for: a
method scores where the highest place of its map lies in that stamp's box. Chance is the box's share of the
collage. Compared are what `space.explain` does, its patches at the network's own size, class activation by
gradients (Selvaraju et al. 2017, Grad-CAM) and covering squares (Zeiler & Fergus 2014). The same with sounds:
of three samples in a row one is asked for by its name, and chance is its share of the time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from multimodal import Audio, Space, load_space
from multimodal.explain import dense
from recipes.image_data import is_test
from recipes.picture import Picture
from recipes.pictures import stamps

SIDE = 640
ASKED = 2
"""Stamps asked for in each collage."""
COVER = 1 / 3
"""Side of the covering square, as a share of the collage's; it stops at 7 x 7 places."""
SOUNDS = Path(__file__).parent.parent / "samples" / "sounds"
HEARD = 2.4
"""Seconds of each sound."""
Box = tuple[int, int, int, int]
Point = tuple[float, float]


def collage(chosen: list[Picture], across: int) -> tuple[Image.Image, list[Box]]:
    """Pictures in a square of `across` x `across` cells, and the box (left, top, right, bottom) of each."""
    page, cell, boxes = Image.new("RGB", (SIDE, SIDE), "white"), SIDE // across, []
    for n, one in enumerate(chosen):
        stamp = one.open()
        scale = 0.9 * cell / max(stamp.size)
        stamp = stamp.resize((max(1, int(stamp.width * scale)), max(1, int(stamp.height * scale))))
        left = n % across * cell + (cell - stamp.width) // 2
        top = n // across * cell + (cell - stamp.height) // 2
        page.paste(stamp, (left, top), stamp)
        boxes.append((left, top, left + stamp.width, top + stamp.height))
    return page, boxes


def explained(space: Space, page: Image.Image, caption: str) -> Point:
    """The middle of the place that `space.explain` puts first."""
    left, top, right, bottom = space.explain(page, caption).top(1)[0][0].box  # type: ignore[misc]
    return (left + right) / 2, (top + bottom) / 2


def patches(space: Space, page: Image.Image, caption: str) -> Point:
    """The patch most like the caption, at the network's own size."""
    seen = space.tokens(page)
    left, top, right, bottom = seen.boxes[int((seen.embeddings @ space.embed(caption)[0]).argmax())]
    return float(left + right) / 2, float(top + bottom) / 2


def gradients(space: Space, page: Image.Image, caption: str) -> Point:
    """Grad-CAM of the cosine on the last map."""
    tower = space["image"].tower
    module = dense.image_module(tower.weights)  # type: ignore[attr-defined]
    maps, last = dense._maps(module, tower.preprocess(page))
    last = last.detach().requires_grad_()
    means = torch.cat([stage.mean((2, 3)) for stage in maps], 1).detach()
    row = module.embed(F.avg_pool2d(last, 3).flatten(2).transpose(1, 2), means)[0]
    (row @ torch.from_numpy(space.embed(caption)[0])).backward()
    assert last.grad is not None
    heat = (last.grad[0].mean((1, 2))[:, None, None] * last[0]).sum(0)
    return peak(heat.detach().numpy())


def covering(space: Space, page: Image.Image, caption: str) -> Point:
    """Where a grey square lowers the cosine most."""
    pixels, size = np.asarray(page), int(SIDE * COVER)
    grey = pixels.reshape(-1, 3).mean(axis=0).astype(np.uint8)
    starts = np.linspace(0, SIDE - size, 7).astype(int).tolist()
    covered = []
    for top in starts:
        for left in starts:
            one = pixels.copy()
            one[top : top + size, left : left + size] = grey
            covered.append(Image.fromarray(one))
    fall = -(space["image"].encode(covered) @ space.embed(caption)[0]).reshape(7, 7)
    row, column = np.unravel_index(int(fall.argmax()), fall.shape)
    return starts[column] + size / 2, starts[row] + size / 2


def peak(heat: NDArray[np.floating]) -> Point:
    """The middle of the highest place of a map, in pixels."""
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    return (float(column) + 0.5) / heat.shape[1] * SIDE, (float(row) + 0.5) / heat.shape[0] * SIDE


METHODS: dict[str, Callable[[Space, Image.Image, str], Point]] = {
    "explain": explained,
    "patches": patches,
    "Grad-CAM": gradients,
    "covering": covering,
}


def play(space: Space, count: int, across: int, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Hits (count, ASKED) of each method and the chance of each question, for `count` collages."""
    held_out = [picture for picture in stamps() if is_test(picture)]
    results: dict[str, list[list[float]]] = {name: [] for name in ("chance", *METHODS)}
    for _ in range(count):
        chosen = [held_out[n] for n in rng.choice(len(held_out), across * across, replace=False)]
        page, boxes = collage(chosen, across)
        asked = rng.choice(across * across, ASKED, replace=False).tolist()
        shares = [(boxes[n][2] - boxes[n][0]) * (boxes[n][3] - boxes[n][1]) / SIDE**2 for n in asked]
        results["chance"].append(shares)
        for name, method in METHODS.items():
            points = [method(space, page, chosen[n].captions[0]) for n in asked]
            inside = [
                boxes[n][0] <= x <= boxes[n][2] and boxes[n][1] <= y <= boxes[n][3]
                for n, (x, y) in zip(asked, points, strict=True)
            ]
            results[name].append([float(hit) for hit in inside])
    return {name: np.array(values) for name, values in results.items()}


def listen(space: Space, count: int, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Hits (count, 3) of `space.explain` on three sample sounds in a row, and the chance of each."""
    names, cuts = [], []
    for path in sorted(SOUNDS.iterdir()):
        first = next(segment for segment in space.read(path) if segment.role != "blank").content
        assert isinstance(first, Audio)
        cut = first.samples[: int(HEARD * first.rate)]
        names.append(path.stem.replace("-", " "))
        cuts.append(cut / max(1e-6, float(np.sqrt(np.mean(cut**2)))) * 0.1)
    results: dict[str, list[list[float]]] = {"chance": [], "explain": []}
    for _ in range(count):
        chosen = rng.choice(len(cuts), 3, replace=False).tolist()
        row = Audio(np.concatenate([cuts[n] for n in chosen]).astype(np.float32), 16_000)
        ends = np.cumsum([len(cuts[n]) for n in chosen]) / row.rate
        found = [np.mean(space.explain(row, names[n]).top(1)[0][0].seconds or np.nan) for n in chosen]
        results["explain"].append([float(np.searchsorted(ends, at) == n) for n, at in enumerate(found)])
        results["chance"].append((np.diff(ends, prepend=0) / ends[-1]).tolist())
    return {name: np.array(values) for name, values in results.items()}


def interval(values: NDArray[np.float64], rng: np.random.Generator) -> tuple[float, float]:
    """95% bootstrap interval of the mean of values (n, asked), drawn by collage."""
    drawn = rng.integers(0, len(values), (2000, len(values)))
    low, high = np.quantile(values.mean(axis=1)[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    rng = np.random.default_rng(int(sys.argv[2]) if len(sys.argv) > 2 else 7)
    space = load_space()
    games = {f"{across} x {across}": play(space, count, across, rng) for across in (2, 3)}
    games["both"] = {name: np.concatenate([game[name] for game in games.values()]) for name in games["2 x 2"]}
    games["sounds"] = listen(space, count, rng)
    for title, game in games.items():
        for name, values in game.items():
            low, high = interval(values, rng)
            print(f"{title:6} {name:9} {values.mean():.3f} [{low:.3f}, {high:.3f}] n={values.size}")


if __name__ == "__main__":
    main()
