"""Profiles with simulated users, on the labelled collection of `recipes.search_collection`.

    python -m recipes.evaluate_profile [--part test|validation] [--users 300]

A user cares for things of one kind (a field of WordNet's nouns: animals, food, plants ...) in pictures,
clips, sounds and short texts. He likes some of them, drawn at random, and dislikes as many others; what he
has not seen yet is ordered for a vague query. Right are things of his kind.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from multimodal import load_space
from multimodal.evaluation.measure import measured
from multimodal.measures import judge
from multimodal.profile import Opinion, Profile
from recipes.search_collection import Item, Part, collection
from recipes.search_concepts import concepts

QUERIES = (
    "something nice",
    "something to look at",
    "what is there",
    "a thing",
    "something for a quiet evening",
)
LEAST = 24
"""Items of a kind that somebody may care for: some to like, more to find."""
LIKES = (0, 1, 3, 5, 10)


def kinds(items: list[Item]) -> list[str]:
    """The field of each item's concept."""
    senses = [concepts()[next(iter(item.concepts))].sense for item in items]
    return [sense.field if sense is not None else "" for sense in senses]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=["test", "validation"], default="test")
    parser.add_argument("--users", type=int, default=300)
    args = parser.parse_args()
    part: Part = args.part
    items = [item for item in collection(part) if len(item.concepts) == 1 and item.vector is not None]
    kind = np.array(kinds(items))
    often = [name for name in np.unique(kind) if name and (kind == name).sum() >= LEAST]
    print(f"{len(items)} items, kinds: " + ", ".join(f"{name} {(kind == name).sum()}" for name in often))
    space = load_space()  # the twin ships no centres; its texts are the starter's
    centre = Profile(space)
    rows = np.stack([centre.centred(item.vector[None], item.modality)[0] for item in items])
    asked = centre.centred(space.embed(list(QUERIES)), "text")
    found = {(likes, both): users(space, items, kind, often, rows, asked, likes, both, args.users)
             for both in (False, True) for likes in LIKES}  # fmt: skip
    print("| likes | nDCG@10 | gain | with as many dislikes | gain |\n|---|---|---|---|---|")
    for likes in LIKES:
        cells = []
        for both in (False, True):
            values = found[likes, both]
            cells += [str(measured(values)), str(measured(values - found[0, both]))]
        print(f"| {likes} | {' | '.join(cells)} |")


def users(
    space: object, items: list[Item], kind: NDArray[np.str_], often: list[str], rows: NDArray[np.float32],
    asked: NDArray[np.float32], likes: int, both: bool, count: int,
) -> NDArray[np.float64]:  # fmt: skip
    """nDCG@10 (count,) of users after that many likes; the same users whatever the number is."""
    found = []
    for user in range(count):
        rng = np.random.default_rng(user)
        mine = often[user % len(often)]
        own, others = (
            rng.permutation(np.flatnonzero(kind == mine)),
            rng.permutation(np.flatnonzero(kind != mine)),
        )
        seen, unliked = own[: max(LIKES)], others[: max(LIKES)]
        told = [(place, True) for place in seen[:likes]]
        told += [(place, False) for place in unliked[:likes]] if both else []
        opinions = [
            Opinion(items[p].key, liked, items[p].modality, np.asarray(items[p].vector)) for p, liked in told
        ]
        direction = Profile(space, None, opinions).direction  # type: ignore[arg-type]
        rest = np.setdiff1d(np.arange(len(items)), np.concatenate([seen, unliked]))
        query = asked[user % len(asked)] + (0 if direction is None else direction)
        scores = rows[rest] @ (query / np.linalg.norm(query))
        found.append(judge(scores[None], (kind[rest] == mine)[None]).ndcg[0])
    return np.array(found)


if __name__ == "__main__":
    main()
