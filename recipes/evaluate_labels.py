"""Zero-shot labels on the labelled collection of `recipes.search_collection`.

    python -m recipes.evaluate_labels [--part test|validation]

Each picture, clip, sound and short text that shows one concept is told by the names of all concepts that its
modality shows: with the package's templates and with the bare name, what the difference is item by item, how
well the probabilities are calibrated and by which logit scale they would be best; and how often "none of
these" is said of what has a label, and of the same items once their own label and its kin are taken out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal import Space
from multimodal.evaluation.measure import Measure, measured
from multimodal.labels import Classifier
from multimodal.measures import calibration_errors
from multimodal.types import MODALITIES, Modality
from recipes.search_collection import Item, Part, collection, space_of
from recipes.search_concepts import concepts

SCALES = np.geomspace(3, 200, 60)
NONE_LABELS = 10
"""Labels that are given at a time where an item may be none of them."""


@dataclass(frozen=True)
class Task:
    """Items (n, dim) of one modality, their labels (n,) and the labels' names."""

    modality: Modality
    rows: NDArray[np.float32]
    truth: NDArray[np.int64]
    names: list[str]


def task(items: list[Item], modality: Modality) -> Task:
    """The items of a modality that show one concept."""
    kept = [item for item in items if item.modality == modality and len(item.concepts) == 1]
    shown = sorted({number for item in kept for number in item.concepts})
    names = [concepts()[number].query for number in shown]
    first = {name: names.index(name) for name in names}  # one name for two concepts is one label
    unique = sorted(set(first.values()))
    places = {number: unique.index(first[concepts()[number].query]) for number in shown}
    truth = np.array([places[next(iter(item.concepts))] for item in kept])
    rows = np.stack([item.vector for item in kept if item.vector is not None])
    return Task(modality, rows, truth, [names[place] for place in unique])


def told(space: Space, asked: Task) -> Iterator[str]:
    """A line of the first table: top-1 with and without templates, and calibration."""
    n = np.arange(len(asked.truth))
    with_templates = asked.rows @ Classifier(space, asked.names).rows(asked.modality).T
    bare = asked.rows @ Classifier(space, asked.names, ["{}"]).rows(asked.modality).T
    hit = with_templates.argmax(axis=1) == asked.truth
    gain = hit.astype(float) - (bare.argmax(axis=1) == asked.truth)

    def sure(scale: float) -> NDArray[np.float64]:
        logits = scale * with_templates.astype(np.float64)
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        chances = raised / raised.sum(axis=1, keepdims=True)
        return np.stack([chances.max(axis=1), hit], axis=1)

    def surprise(scale: float) -> float:
        logits = scale * with_templates.astype(np.float64)
        top = logits.max(axis=1)
        return float(
            (top + np.log(np.exp(logits - top[:, None]).sum(axis=1)) - logits[n, asked.truth]).mean()
        )

    best = float(SCALES[np.argmin([surprise(scale) for scale in SCALES])])
    own = measured(sure(space.logit_scale), calibration_errors)
    top5 = (with_templates > with_templates[n, asked.truth][:, None]).sum(axis=1) < 5
    yield (
        f"| {asked.modality} | {len(n)} | {len(asked.names)} | {measured(hit)} | {top5.mean():.3f}"
        f" | {measured(gain)} | {own} | {space.logit_scale:.1f} | {best:.1f}"
        f" | {measured(sure(best), calibration_errors).value:.3f} |"
    )


def refused(space: Space, asked: Task, seed: int = 0) -> tuple[Measure, Measure]:
    """How often "none of these" comes first for an item among ten labels with its own, and without it."""
    rng = np.random.default_rng(seed)
    text = Classifier(space, asked.names, ["{}"]).rows("text")
    said: tuple[list[bool], list[bool]] = [], []
    for row, own in zip(asked.rows, asked.truth, strict=True):
        far = np.flatnonzero(text @ text[own] < 0.5)  # kin of the label would be no wrong answer
        drawn = rng.choice(far, min(NONE_LABELS, len(far)), replace=False)
        for place, labels in enumerate(([own, *drawn[1:]], drawn)):
            classifier = Classifier(space, [asked.names[number] for number in labels], none=True)
            said[place].append(classifier.of_row(row, asked.modality)[0].name == "none of these")
    return measured(np.array(said[0])), measured(np.array(said[1]))


def main() -> None:
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("--part", choices=["test", "validation"], default="test")
    part: Part = parser.parse_args().part
    space, items = space_of(part), collection(part)
    tasks = [task(items, modality) for modality in MODALITIES]
    print("| items | n | labels | top-1 | top-5 | templates add | ECE | logit scale | best scale | its ECE |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for asked in tasks:
        for line in told(space, asked):
            print(line, flush=True)
    print("\n| items | refused, label there | refused, label not there |")
    print("|---|---|---|")
    for asked in tasks:
        kept, gone = refused(space, asked)
        print(f"| {asked.modality} | {kept} | {gone} |", flush=True)


if __name__ == "__main__":
    main()
