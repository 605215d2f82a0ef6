"""Measure the ranking of searches on what no training saw: tables in Markdown on stdout.

    python -m recipes.evaluate_search [--part test|validation] [--only TABLE ...] [--small]

`--part validation` is for choices: it uses the twin of the starter (`recipes.search_twin`) and also prints
the coefficients of `multimodal.library.calibration`. `--small` leaves out the library of thousands of rows.
Brackets hold bootstrap 95 % intervals. What is in the collection: `recipes.search_collection`.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from multimodal import MODALITIES
from multimodal.library.bank import Bank
from multimodal.library.calibration import frame_scores, hubness
from multimodal.types import Modality
from recipes.bank import FILE
from recipes.measures import interval
from recipes.search_collection import Item, Part, collection, everything
from recipes.search_concepts import questions
from recipes.search_libraries import Shelf, cases
from recipes.search_presence import fitted, presence_table
from recipes.search_queries import embed

Floats = NDArray[np.float32]
Scores = NDArray[np.floating]
TABLES = ("mixed", "nothing", "attention", "hubs", "media", "terms")
TAUS = (0.01, 0.03, 0.05, 0.1, 0.2)
PAIRS = 300


def ndcg(scores: Scores, right: NDArray[np.bool_], k: int = 10) -> NDArray[np.float64]:
    """nDCG@k (q,) of scores (q, n) with binary gains; every query has something right."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    discounts = 1 / np.log2(np.arange(2, order.shape[1] + 2))
    gains = (np.take_along_axis(right, order, axis=1) * discounts).sum(axis=1)
    best = np.cumsum(1 / np.log2(np.arange(2, k + 2)))
    found: NDArray[np.float64] = gains / best[np.minimum(right.sum(axis=1), k) - 1]
    return found


def found(scores: Scores, right: NDArray[np.bool_], k: int = 10) -> NDArray[np.bool_]:
    """Whether something right is among the first k, (q,)."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    hits: NDArray[np.bool_] = np.take_along_axis(right, order, axis=1).any(axis=1)
    return hits


def said(values: NDArray) -> str:
    low, high = interval(values)
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


class Collected:
    """The collection of a part with everything that tables ask of it."""

    def __init__(self, part: Part) -> None:
        self.part, self.bank = part, Bank.load(FILE)
        self.items = collection(part)
        self.shelf = Shelf(self.items, self.bank)
        self.kinds = np.array([item.modality for item in self.items])
        asked = [q for q in questions() if any(q.answers & item.concepts for item in self.items)]
        self.texts = [q.text for q in asked]
        vectors = embed(part, self.texts)
        self.queries = np.stack([vectors[text] for text in self.texts])
        self.right = np.array([[bool(q.answers & item.concepts) for item in self.items] for q in asked])
        self.cosines = self.queries @ self.shelf.vectors.T


def by_modality(scores: Scores, data: Collected, right: NDArray[np.bool_]) -> Iterator[str]:
    """nDCG@10 / R@10 within each modality, over the queries that have an answer there."""
    for modality in MODALITIES:
        mine = data.kinds == modality
        asked = right[:, mine].any(axis=1)
        part, wanted = scores[np.ix_(asked, mine)], right[np.ix_(asked, mine)]
        yield f"{ndcg(part, wanted).mean():.3f} / {found(part, wanted).mean():.3f} ({asked.sum()})"


def mixed(data: Collected) -> Iterator[str]:
    """Text queries over everything: cosines, z-scores by modality, calibrated scores."""
    phrases = data.bank.queries["text"]
    near = {m: phrases @ data.shelf.vectors[data.kinds == m].T for m in MODALITIES}
    mean = np.array([near[m].mean() for m in data.kinds])
    deviation = np.array([near[m].std() for m in data.kinds])
    rows = {
        "cosine": data.cosines,
        "z-score by modality": (data.cosines - mean) / deviation,
        "calibrated": data.shelf.scores("text", data.queries),
    }
    counts = ", ".join(f"{int((data.kinds == m).sum())} {m}" for m in MODALITIES)
    yield (
        f"\n| text queries over {counts} | n | mixed nDCG@10 | above cosine | "
        + " | ".join(MODALITIES)
        + " |"
    )
    yield "|---|---|---|---|" + "---|" * len(MODALITIES)
    base = ndcg(data.cosines, data.right)
    for name, scores in rows.items():
        value = ndcg(scores, data.right)
        cells = " | ".join(by_modality(scores, data, data.right))
        yield f"| {name} | {len(value)} | {said(value)} | {said(value - base)} | {cells} |"


def attention(data: Collected) -> Iterator[str]:
    """Text queries over all pictures as clips with frames of others: pooled before and after the query."""
    clips = [item for item in everything(data.part) if item.modality == "video"]
    asked = [q for q in questions() if any(q.answers & clip.concepts for clip in clips)]
    vectors = embed(data.part, [q.text for q in asked])
    queries = np.stack([vectors[q.text] for q in asked])
    right = np.array([[bool(q.answers & clip.concepts) for clip in clips] for q in asked])
    plain = queries @ np.stack([clip.vector for clip in clips if clip.vector is not None]).T
    base = ndcg(plain, right)
    shown = np.mean([clip.shown.mean() for clip in clips if clip.shown is not None])
    yield (
        f"\n| {len(clips)} clips, {shown:.0%} of their frames show what they are about"
        " | n | nDCG@10 | above mean | R@1 | R@10 |"
    )
    yield "|---|---|---|---|---|---|"
    yield _clip_row("mean of frames", plain, base, right)
    for tau in TAUS:
        yield _clip_row(f"attention, tau {tau}", _attended(queries, clips, plain, tau), base, right)


def _clip_row(name: str, scores: Scores, base: NDArray[np.float64], right: NDArray[np.bool_]) -> str:
    value = ndcg(scores, right)
    first, ten = found(scores, right, 1).mean(), found(scores, right).mean()
    return f"| {name} | {len(value)} | {said(value)} | {said(value - base)} | {first:.3f} | {ten:.3f} |"


def _attended(queries: Floats, clips: Sequence[Item], plain: Scores, tau: float, best: int = 100) -> Scores:
    """The best hundred of each query again, by attention; the others stay below."""
    scores = plain - 10.0
    for row, query, cosines in zip(scores, queries, plain, strict=True):
        for place in np.argsort(-cosines)[:best]:
            frames = clips[place].frames
            if frames is not None:
                row[place] = frame_scores(query, frames, tau)[0]
    return scores


def hubs(data: Collected) -> Iterator[str]:
    """Ways to judge rows by the bank, within each modality: QB-Norm, z-scores, hubness."""
    phrases = data.bank.queries["text"]
    near = phrases @ data.shelf.vectors.T
    hub = hubness(data.bank, data.shelf.vectors)
    ways: dict[str, Callable[[NDArray[np.bool_]], Scores]] = {"cosine": lambda mine: data.cosines[:, mine]}
    for beta in (5, 10, 20):
        ways[f"QB-Norm, beta {beta}"] = lambda mine, b=beta: _qb_norm(data.cosines[:, mine], near[:, mine], b)
    ways["z-score of the row"] = lambda mine: ((data.cosines - near.mean(axis=0)) / near.std(axis=0))[:, mine]
    for part in (0.25, 0.5, 1.0):
        ways[f"less {part:g} of hubness"] = lambda mine, p=part: (data.cosines - p * hub)[:, mine]
    yield f"\n| {len(phrases)} phrases; nDCG@10 within | " + " | ".join(MODALITIES) + " |"
    yield "|---|" + "---|" * len(MODALITIES)
    for name, way in ways.items():
        cells = []
        for modality in MODALITIES:
            mine = data.kinds == modality
            asked = data.right[:, mine].any(axis=1)
            wanted = data.right[np.ix_(asked, mine)]
            value, base = ndcg(way(mine)[asked], wanted), ndcg(data.cosines[np.ix_(asked, mine)], wanted)
            low, high = interval(value - base)
            cells.append(f"{value.mean():.3f} [{low:+.3f}, {high:+.3f}]")
        yield f"| {name} | " + " | ".join(cells) + " |"


def _qb_norm(cosines: Scores, near: Floats, beta: float) -> Scores:
    """The dynamic inverted softmax: where a query's first hit is a row that some phrase has as its first."""
    taken = np.zeros(cosines.shape[1], bool)
    taken[near.argmax(axis=1)] = True
    inverted = beta * cosines - np.log(np.exp(beta * near).sum(axis=0))
    active = taken[cosines.argmax(axis=1)]
    return np.where(active[:, None], inverted, cosines)


def media(data: Collected) -> Iterator[str]:
    """Items as queries: what shows the same is right, the item itself left out."""
    relates = np.array([[bool(q.answers & item.concepts) for q in questions()] for item in data.items])
    alike = (relates.astype(np.float32) @ relates.T.astype(np.float32)) > 0
    np.fill_diagonal(alike, False)
    yield "\n| queries | ranked by | n | mixed nDCG@10 | above cosine | " + " | ".join(MODALITIES) + " |"
    yield "|---|---|---|---|---|" + "---|" * len(MODALITIES)
    for modality in MODALITIES:
        mine = np.flatnonzero((data.kinds == modality) & alike.any(axis=1))
        right, queries = alike[mine], data.shelf.vectors[mine]
        base: NDArray[np.float64] | None = None
        for name in ("cosine", "calibrated"):
            plain = name == "cosine"
            scores: Scores = queries @ data.shelf.vectors.T if plain else data.shelf.scores(modality, queries)
            scores[np.arange(len(mine)), mine] = -np.inf
            value = ndcg(scores, right)
            base = value if base is None else base
            cells = " | ".join(by_modality(scores, data, right))
            yield f"| {modality} | {name} | {len(value)} | {said(value)} | {said(value - base)} | {cells} |"


def terms(data: Collected) -> Iterator[str]:
    """A text plus a picture of something else: do answers to both come first?"""
    rng = random.Random(0)
    shown = [i for i, item in enumerate(data.items) if item.modality == "image" and item.concepts]
    ways: dict[str, list[tuple[bool, bool]]] = {}
    for _ in range(PAIRS):
        picture = rng.choice(shown)
        text = rng.choice([i for i in range(len(data.texts)) if not data.right[i, picture]])
        of_picture = data.right[data.right[:, picture]].any(axis=0)
        of_picture[picture] = False
        q, p = data.queries[text], data.shelf.vectors[picture]
        moved, seen = q - _centre(data, "text"), p - _centre(data, "image")
        centred = _unit(_unit(moved) + _unit(seen))
        plain = data.shelf.vectors @ _unit(q + p)
        tried = {
            "sum of vectors, cosine": plain,
            "sum from the centres, cosine": data.shelf.vectors @ centred,
            "sum from the centres, calibrated": data.shelf.scores(None, centred[None])[0],
        }
        for name, scores in tried.items():
            scores[picture] = -np.inf
            first = np.argsort(-scores)[:10]
            ways.setdefault(name, []).append((data.right[text, first].any(), of_picture[first].any()))
    yield f"\n| text + picture, {PAIRS} pairs: among the first ten | the text's | the picture's | both |"
    yield "|---|---|---|---|"
    for name, hits in ways.items():
        pairs = np.array(hits)
        yield f"| {name} | {said(pairs[:, 0])} | {said(pairs[:, 1])} | {said(pairs.all(axis=1))} |"


def _centre(data: Collected, modality: Modality) -> Floats:
    centre = data.bank.centre(modality)
    assert centre is not None
    return centre


def _unit(vector: Floats) -> Floats:
    unit: Floats = vector / np.linalg.norm(vector)
    return unit


def main() -> None:
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("--part", choices=["test", "validation"], default="test")
    parser.add_argument("--only", nargs="+", choices=TABLES, default=TABLES)
    parser.add_argument("--small", action="store_true", help="without the library of thousands of rows")
    args = parser.parse_args()
    data = Collected(args.part)
    tables = {"mixed": mixed, "attention": attention, "hubs": hubs, "media": media, "terms": terms}
    for name in args.only:
        if name == "nothing":
            put = list(cases(args.part, data.items, data.bank, large=not args.small))
            lines = [*presence_table(put), *(fitted(put) if args.part == "validation" else [])]
        else:
            lines = list(tables[name](data))
        print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
