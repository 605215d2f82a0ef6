"""What is seen and what is heard of one film: how much should the weaker of the two count?

    python -m recipes.evaluate_streams [--part test|validation]

Films are put together from the collection of `recipes.search_collection`: a clip or picture and a sound. Half
show and sound the same concept, half have a sound of something else. A query asks for a concept; a film that
shows or sounds it is right, one that does both is twice as good. The score of a film is that of its best row
and `weight` times the other stream's, where that is above 0. No weight changed anything that could be told
from chance, so a library lets the best row stand for the film: weight 0.
"""

from __future__ import annotations

import argparse
import random

import numpy as np
from numpy.typing import NDArray

from multimodal.evaluation.measure import measured
from multimodal.library.bank import Bank
from recipes.bank import FILE
from recipes.search_collection import Item, Part, collection, space_of
from recipes.search_concepts import concepts
from recipes.search_libraries import Shelf

WEIGHTS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)


def films(items: list[Item], seed: int) -> list[tuple[int, int]]:
    """Places of what is seen and of what is heard, each used once."""
    rng = random.Random(seed)
    seen = [n for n, item in enumerate(items) if item.modality in ("image", "video") and item.concepts]
    heard = [n for n, item in enumerate(items) if item.modality == "audio" and item.concepts]
    rng.shuffle(seen)
    rng.shuffle(heard)
    made, used = [], set[int]()
    for picture in seen:
        own = next((n for n in heard if n not in used and items[n].concepts & items[picture].concepts), None)
        if own is not None and len(made) % 2 == 0:
            made.append((picture, own))
            used.add(own)
        else:
            other = next(
                (n for n in heard if n not in used and not items[n].concepts & items[picture].concepts), None
            )
            if other is not None:
                made.append((picture, other))
                used.add(other)
    return made


def gain(order: NDArray[np.intp], worth: NDArray[np.float64]) -> float:
    """nDCG@10 with gains of 1 and 2."""
    discount = 1 / np.log2(np.arange(2, 12))
    ideal = np.sort(worth)[::-1][:10]
    return float(
        (worth[order[:10]] * discount[: len(order[:10])]).sum() / (ideal * discount[: len(ideal)]).sum()
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=["test", "validation"], default="validation")
    part: Part = parser.parse_args().part
    items = collection(part)
    shelf = Shelf(items, Bank.load(FILE))
    found: dict[float, list[float]] = {weight: [] for weight in WEIGHTS}
    for seed in range(5):
        made = films(items, seed)
        asked = sorted({c for pair in made for place in pair for c in items[place].concepts})
        rows = space_of(part).embed([concepts()[number].query for number in asked])
        scores = np.maximum(shelf.scores("text", rows), -3)
        seen, heard = scores[:, [a for a, _ in made]], scores[:, [b for _, b in made]]
        worth = np.array([[float(sum(c in items[p].concepts for p in pair)) for pair in made] for c in asked])
        for weight in WEIGHTS:
            best, other = np.maximum(seen, heard), np.minimum(seen, heard)
            fused = best + weight * np.maximum(other, 0)
            found[weight] += [
                gain(np.argsort(-line, kind="stable"), w) for line, w in zip(fused, worth, strict=True)
            ]
    print(f"{len(made)} films, {len(found[0.0])} queries")
    print("| weight | nDCG@10 | above the best row alone |\n|---|---|---|")
    for weight, values in found.items():
        change = np.array(values) - np.array(found[0.0])
        print(f"| {weight} | {measured(np.array(values))} | {measured(change)} |")


if __name__ == "__main__":
    main()
