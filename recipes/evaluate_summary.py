"""Summaries against even sampling: how much of a film or a folder k chosen segments cover.

    python -m recipes.evaluate_summary [--part test|validation] [--films 30] [--folders 100]

Films are cut from pictures that no training has seen: eight subjects, some of them often on the screen and
some once, in shots of 2 to 12 seconds of a moving camera; or, for even sampling at its best, one shot of
five seconds for each subject. Folders hold bursts of views of their subjects, in order. Measured are the
mean, over all segments, of the best cosine to a chosen one, and the share of subjects that one is chosen
of. Even sampling takes the segments in the middle of k equal stretches; MMR (Carbonell and Goldstein, 1998)
weighs nearness to the mean against nearness to what is chosen. Mixed folders hold pictures, clips, sounds
and texts of labelled concepts; there it is measured whether to take the means of the modalities away.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ImageEnhance, ImageOps
from PIL.Image import Image

from multimodal import Space, load_space
from multimodal.evaluation.measure import measured
from multimodal.library.summary import representatives
from multimodal.types import Vectors
from recipes.picture import Picture
from recipes.search_collection import SIZE, Part, collection, pictures, still

SUBJECTS = 8
SHOTS = 24
SHOT_SECONDS = (2, 12)
EVEN_SECONDS = 5
RATE = 6
LARGEST = 12
"""Views of a subject in a folder."""
LAMBDAS = (0.3, 0.5, 0.7)


@dataclass
class Collection:
    """Unit rows (n, dim) in their order, the subject of each (n,), and where it lies, in seconds or files."""

    rows: Vectors
    subjects: NDArray[np.int64]
    middles: NDArray[np.floating]
    length: float


Choose = Callable[[Collection, int], NDArray[np.int64]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=["test", "validation"], default="test")
    parser.add_argument("--films", type=int, default=30)
    parser.add_argument("--folders", type=int, default=100)
    args = parser.parse_args()
    part: Part = args.part
    drawn = {p.captions[0]: p for p in pictures(part) if not p.key.startswith("symbols/")}
    stock, space = list(drawn.values()), load_space()
    print(f"{part}: {len(stock)} pictures, {SUBJECTS} subjects each time")
    sets = {
        "films": films(space, stock, args.films, even=False),
        "films, a shot of each": films(space, stock, args.films, even=True),
        "folders": folders(space, stock, args.folders),
    }
    for name, found in sets.items():
        for k in (SUBJECTS // 2, SUBJECTS, 2 * SUBJECTS):
            compare(f"{name}, k = {k}", [one for one in found if len(one.rows) > k], k, CHOICES)
    mixed(part, args.folders)


def compare(
    title: str, found: Sequence[Collection], k: int, choices: Mapping[str, Choose], against: str = "even"
) -> None:
    """A table of the choices, each with its paired difference to `against`."""
    if not found:
        return
    segments = np.mean([len(one.rows) for one in found])
    print(f"\n{title} ({len(found)} of them, {segments:.0f} segments on average)")
    print("| choice | cosine | difference | subjects | difference |\n|---|---|---|---|---|")
    values = {
        name: np.array([covered(one, choose(one, k)) for one in found]) for name, choose in choices.items()
    }
    for name, mine in values.items():
        cells = []
        for column in range(2):
            cells.append(str(measured(mine[:, column])))
            cells.append(
                "" if name == against else str(measured(mine[:, column] - values[against][:, column]))
            )
        print(f"| {name} | {' | '.join(cells)} |")


def covered(found: Collection, chosen: NDArray[np.int64]) -> tuple[float, float]:
    """The mean best cosine of all rows to the chosen, and the share of subjects among these."""
    cosines = (found.rows @ found.rows[chosen].T).max(axis=1)
    return float(cosines.mean()), len(set(found.subjects[chosen])) / len(set(found.subjects))


def even(found: Collection, k: int) -> NDArray[np.int64]:
    """What lies in the middle of k equal stretches."""
    wanted = (np.arange(k) + 0.5) * found.length / k
    return np.unique(np.abs(found.middles[:, None] - wanted).argmin(axis=0))


def medoids(found: Collection, k: int) -> NDArray[np.int64]:
    return representatives(found.rows.__getitem__, len(found.rows), k)


def centred_medoids(found: Collection, k: int) -> NDArray[np.int64]:
    rows = found.rows - found.rows.mean(axis=0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return representatives(rows.__getitem__, len(rows), k)


def mmr(weight: float) -> Choose:
    def choose(found: Collection, k: int) -> NDArray[np.int64]:
        relevance = found.rows @ found.rows.mean(axis=0)
        chosen = [int(relevance.argmax())]
        while len(chosen) < k:
            near = (found.rows @ found.rows[chosen].T).max(axis=1)
            scores = weight * relevance - (1 - weight) * near
            scores[chosen] = -np.inf
            chosen.append(int(scores.argmax()))
        return np.array(chosen)

    return choose


CHOICES: dict[str, Choose] = {
    "even": even,
    "medoids": medoids,
    "medoids of centred rows": centred_medoids,
    **{f"MMR, {weight:g} to the mean": mmr(weight) for weight in LAMBDAS},
}


def films(space: Space, stock: Sequence[Picture], count: int, even: bool) -> list[Collection]:
    """Films as they are read: each of its segments belongs to the shot that it lies in the middle of."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            rng = random.Random(f"film {number} {even}")
            cast = [picture.open() for picture in rng.sample(list(stock), SUBJECTS)]
            order = list(range(SUBJECTS)) if even else often(rng, SHOTS)
            lengths = [EVEN_SECONDS if even else rng.randint(*SHOT_SECONDS) for _ in order]
            path = Path(folder) / f"{number}.mp4"
            shoot(path, [cast[subject] for subject in order], lengths, rng)
            segments = [s for s in space.read(path) if s.modality == "video" and s.role == "content"]
            middles = np.array([((s.start or 0.0) + (s.end or 0.0)) / 2 for s in segments])
            shots = np.searchsorted(np.cumsum(lengths), middles).clip(max=len(order) - 1)
            subjects = np.array(order)[shots]
            found.append(Collection(space.embed(segments), subjects, middles, float(sum(lengths))))
            path.unlink()
    return found


def often(rng: random.Random, count: int) -> list[int]:
    """Every subject once and the rest by Zipf's law, shuffled; never one twice in a row if it can be."""
    weights = [1 / (subject + 1) for subject in range(SUBJECTS)]
    order = [*range(SUBJECTS), *rng.choices(range(SUBJECTS), weights, k=count - SUBJECTS)]
    rng.shuffle(order)
    for place in range(1, count):
        if order[place] == order[place - 1]:
            others = [p for p in range(count) if order[p] != order[place]]
            swap = rng.choice(others)
            order[place], order[swap] = order[swap], order[place]
    return order


def shoot(path: Path, shots: Sequence[Image], lengths: Sequence[int], rng: random.Random) -> None:
    """A film; within a shot the camera shows another view of its picture every second."""
    import av

    with av.open(str(path), "w") as film:
        stream = film.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.bit_rate = 1_500_000
        stream.time_base = Fraction(1, RATE)
        for picture, seconds in zip(shots, lengths, strict=True):
            for _ in range(seconds):
                frame = av.VideoFrame.from_image(still(picture, rng))
                for _ in range(RATE):
                    frame.pts = None
                    film.mux(stream.encode(frame))
        film.mux(stream.encode())


def folders(space: Space, stock: Sequence[Picture], count: int) -> list[Collection]:
    """Bursts of views, of as many views as chance says: 1 to LARGEST, few of them long."""
    found = []
    for number in range(count):
        rng = random.Random(f"folder {number}")
        views: list[Image] = []
        subjects: list[int] = []
        for subject, picture in enumerate(rng.sample(list(stock), SUBJECTS)):
            size = max(1, round(LARGEST / (rng.randrange(SUBJECTS) + 1)))
            views += [view(picture.open(), rng) for _ in range(size)]
            subjects += [subject] * size
        rows = space.embed(views)
        found.append(Collection(rows, np.array(subjects), np.arange(len(rows)) + 0.5, float(len(rows))))
    return found


def view(picture: Image, rng: random.Random) -> Image:
    """Another view: cut, mirrored half of the time, darker or lighter."""
    image = still(picture, rng)
    image = ImageOps.mirror(image) if rng.random() < 0.5 else image
    return ImageEnhance.Brightness(image).enhance(rng.uniform(0.7, 1.2))


def mixed(part: Part, count: int) -> None:
    """Folders of everything there is of eight concepts: whether to take the means of modalities away."""
    items = [item for item in collection(part) if len(item.concepts) == 1 and item.vector is not None]
    concepts = np.array([next(iter(item.concepts)) for item in items])
    kinds = np.array([item.modality for item in items])
    rows = np.stack([np.asarray(item.vector) for item in items])
    centred = rows.copy()
    for kind in np.unique(kinds):
        centred[kinds == kind] -= rows[kinds == kind].mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    often = [c for c in np.unique(concepts) if len(np.unique(kinds[concepts == c])) > 1]
    drawn = []
    for number in range(count):
        chosen = random.Random(f"mixed {number}").sample(often, SUBJECTS)
        places = np.flatnonzero(np.isin(concepts, chosen))
        places = places[np.argsort([items[p].key for p in places], kind="stable")]
        drawn.append(places)
    for k in (SUBJECTS // 2, SUBJECTS):
        found = [
            Collection(centred[p], concepts[p], np.arange(len(p)) + 0.5, float(len(p)))
            for p in drawn
            if len(p) > k
        ]
        raw = {id(one): rows[p] for one, p in zip(found, (p for p in drawn if len(p) > k), strict=True)}

        def plain(one: Collection, k: int, raw: Mapping[int, Vectors] = raw) -> NDArray[np.int64]:
            return representatives(raw[id(one)].__getitem__, len(one.rows), k)

        compare(
            f"mixed folders, k = {k}", found, k, {"even": even, "medoids": medoids, "medoids, raw": plain}
        )


if __name__ == "__main__":
    main()
