"""Measure domain adaptation: 200 pairs of a domain with its own words, what they bring and what they cost.

    python -m recipes.adapt [--domain wesnoth|widelands] [--plot FILE.png] [NAME=VALUE ...]

Domains are pictures that no training of the starter saw: the units of Wesnoth (`wesnoth-1.16-data`: names
such as "Saurian Skirmisher"), or as many buildings, workers and wares of Widelands (`widelands-data`), on
which the default settings were chosen. Folds: each name is left out of training once, 200 of the others are
the pairs; it is looked for among all pictures of the domain. Elsewhere: the 250 held-out Tux Paint stamps and
the 200 held-out sounds, both ways, by the spaces of all folds. Brackets are bootstrap 95 % intervals over
queries. A text finds its picture where one of the same name is among the first ten.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from multimodal import Space, load_space
from multimodal.adapted import Adapter
from multimodal.evaluation.items import item_key
from multimodal.measures import interval
from multimodal.pairs import Pairs
from multimodal.towers.base import identity
from multimodal.training import Settings
from multimodal.training.data import Data, assemble
from multimodal.training.features import Feature
from multimodal.training.fitting import KEPT_APART, trained
from multimodal.training.tradeoff import ALPHAS
from multimodal.types import Item
from recipes.evaluate import held_out_stamps, stamp_path
from recipes.evaluate_audio import PROMPT, first_right, test_clips
from recipes.fetch import BUILD, apt
from recipes.pictures import stamps
from recipes.sounds import plain_caption

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

PAIRS = 200
FOLDS = 4
TUNED = 275
UNITS = "usr/share/games/wesnoth/1.16/data/core"


@dataclass(frozen=True, eq=False)
class Rows:
    """Texts and media that belong together line by line, as unit rows (n, dim); equal `names` are equal."""

    names: Sequence[str]
    modality: str
    texts: Floats
    media: Floats

    def hits(self, adapters: dict[str, Adapter], asked: NDArray[np.int64] | None = None) -> Bools:
        """Whether the right one is among the first 10, (2, n): texts look for media, media for texts."""
        texts = adapters["text"](self.texts) if "text" in adapters else self.texts
        media = adapters[self.modality](self.media) if self.modality in adapters else self.media
        scores = texts @ media.T
        found = np.stack([first_right(scores, self.names) < 10, first_right(scores.T, self.names) < 10])
        return found if asked is None else found[:, asked]


def wesnoth() -> tuple[list[str], list[Image.Image]]:
    """Names of units and their pictures, GPL-2+; the first picture that a unit's file names."""
    root = apt("wesnoth-1.16-data") / UNITS
    found: dict[str, Path] = {}
    for file in sorted((root / "units").rglob("*.cfg")):
        text = file.read_text(encoding="utf-8", errors="replace")
        defined = dict(re.findall(r"^#define (\w+)\n\s*(units/\S+)\n#enddef", text, re.M))
        name = re.search(r'^\s*name\s*=\s*_ "(?:\w+\^)?([^"]+)"', text, re.M)
        image = re.search(r'^\s*image\s*=\s*"?([^"~\n]+\.png)', text, re.M)
        if name and image:
            named = image[1]
            for word, value in defined.items():
                named = named.replace(f"{{{word}}}", value)
            path = root / "images" / named
            if path.is_file():
                found.setdefault(name[1], path)
    return list(found), [Image.open(path).convert("RGBA") for path in found.values()]


def widelands() -> tuple[list[str], list[Image.Image]]:
    """Names of buildings, workers and wares of five peoples and their pictures, GPL-2+; drawn at random."""
    root = apt("widelands-data") / "usr/share/games/widelands/data/tribes"
    peoples, found = {"amazons", "atlanteans", "barbarians", "empire", "frisians"}, dict[str, Path]()
    for path in sorted(root.rglob("menu.png")):
        people = [part for part in path.parts if part in peoples and part not in path.parent.name]
        found.setdefault(" ".join([*people, *path.parent.name.split("_")]), path)
    names = random.Random(0).sample(sorted(found), TUNED)
    drawn = [found[name] for name in names]
    larger = [path.with_name("idle_00.png") for path in drawn]
    chosen = [big if big.is_file() else path for big, path in zip(larger, drawn, strict=True)]
    return names, [Image.open(path).convert("RGBA") for path in chosen]


def domain_rows(space: Space, name: str) -> Rows:
    names, pictures = {"wesnoth": wesnoth, "widelands": widelands}[name]()
    white = [Image.new("RGBA", picture.size, "white") for picture in pictures]
    for under, picture in zip(white, pictures, strict=True):
        under.alpha_composite(picture)
    images = [under.convert("RGB") for under in white]
    return Rows([n.lower() for n in names], "image", space.embed(names), space.embed(images))


def elsewhere_rows(space: Space) -> dict[str, Rows]:
    held = held_out_stamps()
    texts = [picture.captions[0] for picture in held]
    clips, sounds, _ = test_clips()
    names = [plain_caption(clip.caption or "") for clip in clips]
    prompts = [PROMPT.format(name) for name in names]
    return {
        "kept": pairs_to_keep(space),
        "stamps": Rows(texts, "image", space.embed(texts), space.embed([stamp_path(p) for p in held])),
        "sounds": Rows(names, "audio", space.embed(prompts), space.embed(sounds)),
    }


def pairs_to_keep(space: Space) -> Rows:
    """Pairs of everyday pictures that a user might have beside the domain's: half of the stamps that the
    starter was trained on, one of each caption."""
    by_caption = {
        p.captions[0]: p for p in stamps() if not p.held_out and p.drawn and not p.key.startswith("symbols/")
    }
    texts = sorted(by_caption)[::2]
    paths = [stamp_path(by_caption[text]) for text in texts]
    return Rows(texts, "image", space.embed(texts), space.embed(paths))


def kept_rows(space: Space, domain: str) -> tuple[Rows, Rows, dict[str, Rows]]:
    """All rows, computed once for a space."""
    file = BUILD / "adapt" / f"{domain}-{identity(*(space[m].encoder_id for m in space))}.npz"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        parts = {"domain": domain_rows(space, domain), **elsewhere_rows(space)}
        arrays = {
            f"{name}.{key}": np.asarray(value)
            for name, rows in parts.items()
            for key, value in vars(rows).items()
        }
        np.savez(file, **arrays)
    with np.load(file) as kept:
        made = {
            name: Rows(
                kept[f"{name}.names"].tolist(),
                str(kept[f"{name}.modality"]),
                kept[f"{name}.texts"],
                kept[f"{name}.media"],
            )
            for name in ("domain", "kept", "stamps", "sounds")
        }
    return made.pop("domain"), made.pop("kept"), made


@dataclass(frozen=True, eq=False)
class Fold:
    asked: NDArray[np.int64]
    taken: dict[str, Adapter]
    alpha: float
    full: dict[str, Adapter]


def data_of(rows: Rows, places: NDArray[np.int64], settings: Settings, share: float) -> Data:
    """Some lines of rows as pairs to learn from, a share of them set aside."""
    pairs: list[tuple[Item, Item]] = []
    known: dict[object, Feature] = {}
    for place in places.tolist():
        text, picture = rows.names[place], Path(f"{place}.png")
        pairs.append((text, picture))
        known[item_key(text)] = Feature(f"t{text}", "text", rows.texts[place])
        known[item_key(picture)] = Feature(f"p{place}", "image", rows.media[place])
    return assemble(Pairs(("text", "image"), pairs), known, share, settings.seed)


def folds(space: Space, rows: Rows, settings: Settings, keep: Rows | None = None) -> list[Fold]:
    """Spaces trained on 200 of the names that are not in the fold."""
    order = np.random.default_rng(0).permutation(len(rows.names))
    kept = None if keep is None else data_of(keep, np.arange(len(keep.names)), settings, KEPT_APART)
    made = []
    for fold in range(FOLDS):
        asked = np.sort(order[fold::FOLDS])
        train = order[~np.isin(order, asked)][:PAIRS]
        data = data_of(rows, train, settings, settings.validation)
        learned = trained(space, settings, data, kept)
        alpha = learned.point.alpha
        full = {m: one.scaled(1 / alpha) for m, one in learned.adapters.items()} if alpha else {}
        made.append(Fold(asked, dict(learned.adapters), alpha, full))
    return made


def report(rows: Rows, others: dict[str, Rows], found: list[Fold]) -> list[str]:
    lines = ["| R@10 | n | before | after | difference |", "|---|---|---|---|---|"]
    before = np.concatenate([rows.hits({}, fold.asked) for fold in found], axis=1)
    after = np.concatenate([rows.hits(fold.taken, fold.asked) for fold in found], axis=1)
    for way, one, two in zip(("text to them", "they to text"), before, after, strict=True):
        lines.append(_line(f"domain, {way}", one, two))
    kept, now = [], []
    for name, other in others.items():
        kept.append(other.hits({}))
        now.append(np.mean([other.hits(fold.taken) for fold in found], axis=0))
        for way, one, two in zip(("text to them", "they to text"), kept[-1], now[-1], strict=True):
            lines.append(_line(f"{name}, {way}", one, two))
    lines.append(
        _line("elsewhere, all", np.concatenate(kept, axis=1).ravel(), np.concatenate(now, axis=1).ravel())
    )
    return [*lines, f"\nalpha by fold: {', '.join(f'{fold.alpha:g}' for fold in found)}"]


def _line(title: str, before: NDArray[np.generic], after: NDArray[np.generic]) -> str:
    gap = after.astype(np.float64) - before.astype(np.float64)
    low, high = interval(gap)
    shares = f"{before.mean():.3f} | {after.mean():.3f} | {gap.mean():+.3f} [{low:+.3f}, {high:+.3f}]"
    return f"| {title} | {len(gap)} | {shares} |"


def curve(rows: Rows, others: dict[str, Rows], found: list[Fold]) -> list[tuple[float, float, float]]:
    """Alpha, R@10 on the domain's left out names, R@10 elsewhere: means over directions and folds."""
    made = []
    for alpha in ALPHAS:
        here, there = [], []
        for fold in found:
            scaled = {m: one.scaled(alpha) for m, one in fold.full.items()}
            here.append(rows.hits(scaled, fold.asked).mean())
            there.append(np.concatenate([other.hits(scaled).ravel() for other in others.values()]).mean())
        made.append((alpha, float(np.mean(here)), float(np.mean(there))))
    return made


def plot(points: list[tuple[float, float, float]], path: Path, domain: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([there for *_, there in points], [here for _, here, _ in points], marker=".")
    for alpha, here, there in points:
        axes.annotate(f"{alpha:g}", (there, here), textcoords="offset points", xytext=(4, 4), fontsize=8)
    axes.set(xlabel="R@10 elsewhere", ylabel=f"R@10 on {domain}, names not trained on")
    axes.set_title("Weights between before (0) and after (1)", fontsize=10)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--domain", choices=("wesnoth", "widelands"), default="wesnoth")
    parser.add_argument("--space", default="starter")
    parser.add_argument("--keep", action="store_true", help="give everyday pairs to keep as well")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("settings", nargs="*", metavar="NAME=VALUE")
    arguments = parser.parse_args()
    given = dict(text.split("=", 1) for text in arguments.settings)
    defaults = vars(Settings())
    settings = Settings().with_(**{name: type(defaults[name])(value) for name, value in given.items()})
    space = load_space(arguments.space)
    rows, keep, others = kept_rows(space, arguments.domain)
    found = folds(space, rows, settings, keep if arguments.keep else None)
    print("\n".join(report(rows, others, found)))
    points = curve(rows, others, found)
    print("\n| alpha | domain | elsewhere |\n|---|---|---|")
    for alpha, here, there in points:
        print(f"| {alpha:g} | {here:.3f} | {there:.3f} |")
    if arguments.plot:
        plot(points, arguments.plot, arguments.domain)


if __name__ == "__main__":
    main()
