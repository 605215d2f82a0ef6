"""Probes from five examples a class, beside zero-shot labels: one task for each kind of media.

    python -m recipes.evaluate_probe [--draws 40]

Pictures, sounds: what kind of thing they show (the field of their concept's noun in WordNet), of the held-out
items of `recipes.search_collection`. Texts: sentiment of the sentences below. Clips: how the camera moves
over a held-out picture. Training examples are drawn anew each time, all others are the test; the interval is
over items, each with its share of right answers. For texts, rungs of the ladder are probed in the same way.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from multimodal import Clip, Space, load_space
from multimodal.evaluation.measure import Measure, measured
from multimodal.labels import Classifier
from multimodal.probe import Probe
from multimodal.types import Modality
from recipes.image_features import flatten
from recipes.search_collection import collection, pictures
from recipes.search_concepts import concepts

EACH = 5
NAMES = {"animal": "animal", "artifact": "man-made thing", "food": "food", "plant": "plant",
         "person": "person", "phenomenon": "weather", "event": "event",
         "body": "part of the body"}  # fmt: skip
MOVES = ("left", "right", "up", "down", "closer", "away")
SIZE = 224
PRAISE = """\
The soup was warm and rich and I would order it again.
What a lovely evening, we laughed until midnight.
My new bike rides like a dream.
She played so well that the hall stood up and cheered.
The staff went out of their way to help us.
This is the best bread in town.
I slept wonderfully, the bed was perfect.
The children adored the puppet show.
Everything arrived early and in perfect order.
His speech moved me to tears of joy.
A bright, clean room with a splendid view.
The update made my phone faster, I am delighted.
We found the garden more beautiful than in the pictures.
Finally a film that respects its audience.
The doctor took her time and explained it kindly.
I could read this book a hundred times.
Our guide was funny, patient and full of stories.
The cake was light and tasted of real lemons.
Great value, I recommend it to everyone.
The trip could not have gone better.
He fixed the roof in one day and it has held ever since.
Their harmony on stage is a pleasure to watch.
The colours are vivid and the print is flawless.
Thank you for this marvellous gift.
I am proud of what the team has done.
The water was clear and the beach nearly empty.
Such a friendly dog, we took him home at once.
The keyboard feels solid and types beautifully.
It was a relief how quickly they answered.
The last chapter is a triumph.
"""
BLAME = """\
The soup was cold and tasted of nothing.
What a dreadful evening, we left after ten minutes.
My new bike broke on the first ride.
She sang so badly that people walked out.
The staff ignored us for an hour.
This is the worst bread in town.
I did not sleep at all, the bed was a disaster.
The children were bored and cried.
Everything arrived late and broken.
His speech was an insult to all of us.
A dark, dirty room that smelled of smoke.
The update ruined my phone, I am furious.
We found the garden neglected and full of rubbish.
Another film that wastes your time.
The doctor was rude and would not listen.
I could not finish this tedious book.
Our guide was late, grumpy and knew nothing.
The cake was dry and far too sweet.
A waste of money, stay away.
The trip went wrong from the first day.
He charged twice as much and the roof still leaks.
Their quarrel on stage was painful to watch.
The colours are dull and the print is smudged.
I regret ever buying this useless thing.
I am ashamed of how we were treated.
The water was brown and the beach full of litter.
A vicious dog, it bit my son at once.
The keyboard feels cheap and keys get stuck.
It was infuriating how they never answered.
The last chapter is a letdown.
"""


def fields(modality: Modality) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """Rows and fields of the held-out items of a modality, of fields with enough of them."""
    rows, names = [], []
    for item in collection("test"):
        if item.modality == modality and len(item.concepts) == 1 and item.vector is not None:
            sense = concepts()[next(iter(item.concepts))].sense
            if sense is not None and sense.field in NAMES:
                rows.append(item.vector)
                names.append(NAMES[sense.field])
    labels = np.array(names)
    often = np.isin(labels, [name for name in np.unique(labels) if (labels == name).sum() >= 2 * EACH])
    return np.stack(rows)[often], labels[often]


def sentences() -> tuple[list[str], NDArray[np.str_]]:
    """Sentences and their sentiment."""
    told = [(line, name) for name, text in (("praise", PRAISE), ("complaint", BLAME))
            for line in text.splitlines()]  # fmt: skip
    return [line for line, _ in told], np.array([name for _, name in told])


def moving(picture: Image.Image, move: str) -> Clip:
    """Eight frames of a camera that moves over a picture, or towards it."""
    canvas = flatten(picture).resize((2 * SIZE, 2 * SIZE))
    frames = []
    for step in np.linspace(0, 1, 8):
        if move in ("closer", "away"):
            side = round(2 * SIZE * (1 - 0.5 * (step if move == "closer" else 1 - step)))
            left = top = (2 * SIZE - side) // 2
        else:
            side, there = SIZE, round(SIZE * (step if move in ("right", "down") else 1 - step))
            left, top = (there, SIZE // 2) if move in ("left", "right") else (SIZE // 2, there)
        frames.append(canvas.crop((left, top, left + side, top + side)).resize((SIZE, SIZE)))
    return Clip(frames, np.arange(8) * 0.5)


def clips(space: Space) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.str_]]:
    """Rows of composed clips, what changes in them (the last frames' rows less the first's), their moves."""
    whole, change, labels = [], [], []
    for number, picture in enumerate(pictures("test")[:120]):
        clip = moving(picture.open(), MOVES[number % len(MOVES)])
        frames = space["image"].encode(list(clip.frames))
        whole.append(space["video"].encode([clip])[0])
        change.append(frames[-3:].mean(axis=0) - frames[:3].mean(axis=0))
        labels.append(MOVES[number % len(MOVES)])
    return np.stack(whole), np.stack(change), np.array(labels)


def probed(features: Callable[[NDArray[np.intp]], NDArray[np.floating]], labels: NDArray[np.str_],
           draws: int) -> Measure:  # fmt: skip
    """Accuracy of probes from EACH examples a class; `features` may be fitted on the training places."""
    right, seen = np.zeros(len(labels)), np.zeros(len(labels))
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        chosen = np.concatenate(
            [rng.choice(np.flatnonzero(labels == name), EACH, replace=False) for name in np.unique(labels)]
        )
        rest = np.setdiff1d(np.arange(len(labels)), chosen)
        rows = features(chosen)
        right[rest] += Probe().fit(rows[chosen], labels[chosen]).predict(rows[rest]) == labels[rest]
        seen[rest] += 1
    return measured(right[seen > 0] / seen[seen > 0])


def zero_shot(space: Space, rows: NDArray[np.float32], labels: NDArray[np.str_], modality: Modality,
              templates: list[str] | None = None) -> Measure:  # fmt: skip
    names = list(np.unique(labels))
    asked = Classifier(space, names, templates).rows(modality)
    return measured(np.array(names)[(rows @ asked.T).argmax(axis=1)] == labels)


def table(space: Space, draws: int) -> Iterator[str]:
    """Lines of Markdown."""
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

    yield f"| task | n | classes | probe, {EACH} a class | zero-shot | other features, probed alike |"
    yield "|---|---|---|---|---|---|"

    def line(task: str, labels: NDArray[np.str_], probe: Measure, zero: Measure, other: str = "") -> str:
        return f"| {task} | {len(labels)} | {len(np.unique(labels))} | {probe} | {zero} | {other} |"

    kinds: tuple[Modality, ...] = ("image", "audio")
    for modality in kinds:
        rows, labels = fields(modality)
        zero = zero_shot(space, rows, labels, modality)
        yield line(f"{modality}: kind of thing", labels, probed(lambda _, r=rows: r, labels, draws), zero)
    texts, labels = sentences()
    rows = space.embed(texts)
    others = []
    for name, made in (("one-hot", CountVectorizer(binary=True)), ("tf-idf", TfidfVectorizer())):

        def fitted(chosen: NDArray[np.intp], made: CountVectorizer = made) -> NDArray[np.floating]:
            made.fit([texts[place] for place in chosen])
            return np.asarray(made.transform(texts).todense())

        others.append(f"{name} {probed(fitted, labels, draws)}")
    zero = zero_shot(space, rows, labels, "text", ["This is {}."])
    yield line("text: sentiment", labels, probed(lambda _: rows, labels, draws), zero, ", ".join(others))
    whole, change, moves = clips(space)
    zero = zero_shot(space, whole, moves, "video", ["the camera moves {}"])
    moved = f"change between frames {probed(lambda _: change, moves, draws)}"
    yield line("video: camera's move", moves, probed(lambda _: whole, moves, draws), zero, moved)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=40)
    args = parser.parse_args()
    for line in table(load_space(), args.draws):
        print(line, flush=True)


if __name__ == "__main__":
    main()
