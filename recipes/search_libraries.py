"""Libraries to search, of some sizes and kinds, with queries that they can and cannot answer."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from multimodal import MODALITIES, Audio
from multimodal.library import calibration
from multimodal.library.bank import Bank, Kind
from multimodal.library.calibration import Judged, Reference
from multimodal.types import Modality
from recipes.search_collection import CACHE, Item, Part, draw, space_of
from recipes.search_concepts import Question, has, questions
from recipes.search_queries import embed, gibberish, other_nouns
from recipes.wordnet import nouns

Floats = NDArray[np.float32]
SAMPLE = 256
"""Clips whose frames say what attention adds to a best cosine."""
MANY_SOUNDS, MANY_TEXTS = 2000, 6000
LIKE = 0.55
"""Cosine of captions above which a row of the large library may answer a query that is to have no answer."""


@dataclass(eq=False)
class Shelf:
    """Items as `Library.search` finds them: by modality, nearest first, judged by the bank."""

    items: Sequence[Item]
    bank: Bank
    _known: dict[tuple[Kind, Modality], Reference] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.vectors = np.stack([item.vector for item in self.items if item.vector is not None])
        kinds = np.array([item.modality for item in self.items])
        self.places = {m: np.flatnonzero(kinds == m) for m in MODALITIES if (kinds == m).any()}

    def reference(self, kind: Kind, modality: Modality) -> Reference:
        if (kind, modality) not in self._known:
            places = self.places[modality]
            kept = {i: self.items[p].frames for i, p in enumerate(places)}
            sample = {i: frames for i, frames in list(kept.items())[:SAMPLE] if frames is not None}
            rows = self.vectors[places]
            self._known[kind, modality] = calibration.measure(self.bank, kind, modality, rows, None, sample)
        return self._known[kind, modality]

    def nearest(self, kind: Kind, query: Floats, modality: Modality) -> NDArray[np.int64]:
        """Places of the candidates of a modality."""
        places = self.places[modality]
        seen = self.bank.seen(kind, query)
        order = np.argsort(-(self.bank.compared(kind, modality, self.vectors[places]) @ seen), kind="stable")
        return places[order[: calibration.CANDIDATES]]

    def judge(self, kind: Kind, query: Floats, frames: bool = True) -> dict[Modality, tuple[NDArray, Judged]]:
        found = {}
        for modality in self.places:
            near = self.nearest(kind, query, modality)
            kept = [self.items[p].frames for p in near] if frames else None
            reference, rows = self.reference(kind, modality), self.vectors[near]
            found[modality] = near, calibration.judge(self.bank, reference, kind, query, modality, rows, kept)
        return found

    def scores(self, kind: Kind, queries: Floats) -> NDArray[np.float64]:
        """Scores (q, n) of every item, minus infinity for those that are not among the candidates."""
        scores = np.full((len(queries), len(self.items)), -np.inf)
        for row, query in zip(scores, queries, strict=True):
            for near, judged in self.judge(kind, query).values():
                row[near] = judged.scores
        return scores

    def levels(self, kind: Kind, query: Floats) -> list[float]:
        """The best level of each modality."""
        return [float(judged.levels.max()) for _, judged in self.judge(kind, query).values()]


@dataclass(frozen=True)
class Case:
    """Queries to a library: texts, vectors, what each is ("present" or a kind of absence), answers."""

    name: str
    shelf: Shelf
    texts: list[str]
    vectors: Floats
    kinds: NDArray[np.str_]
    answers: NDArray[np.bool_]
    """(q, n): which items answer."""


def cases(part: Part, items: Sequence[Item], bank: Bank, large: bool = True) -> Iterator[Case]:
    """Two halves of a collection, each asked for what it has, for what the other has, and for neither.

    A half has the items of its concepts and the texts beside them, and what belongs to none. Of each half:
    the whole, parts by modality, samples of 6, 25 and 100 items, and the whole among thousands of others.
    """
    asked = questions()
    nothing, elsewhere = gibberish(part), other_nouns(part, items)
    vectors = embed(part, [*(q.text for q in asked), *nothing, *elsewhere])
    for side in (0, 1):
        mine = [q for q in asked if draw(f"side {q.text}") % 2 == side]
        half = _half(items, mine)
        shown = frozenset[int]().union(*(item.concepts for item in half))
        present = [q for q in mine if q.answers & shown]
        absent = [q for q in asked if q not in mine and _answered(q, items) and not _touches(q, shown)]
        some, more = nothing[side::2], elsewhere[side::2]
        texts = [*(q.text for q in present), *(q.text for q in absent), *some, *more]
        lengths = (len(present), len(absent), len(some), len(more))
        kinds = np.repeat(["present", "near", "gibberish", "elsewhere"], lengths)
        rows = np.stack([vectors[text] for text in texts])
        for name, chosen in _parts(half, side):
            yield _case(name, chosen, bank, texts, rows, kinds, present)
        if large:
            refused = [t for t, kind in zip(texts, kinds, strict=True) if kind in ("near", "elsewhere")]
            others = bulk(part, refused, np.stack([vectors[t] for t in refused]))
            yield _case("large", [*half, *others], bank, texts, rows, kinds, present)


def _case(
    name: str,
    items: Sequence[Item],
    bank: Bank,
    texts: list[str],
    rows: Floats,
    kinds: NDArray[np.str_],
    present: Sequence[Question],
) -> Case:
    answers = np.zeros((len(texts), len(items)), bool)
    for number, question in enumerate(present):
        answers[number] = [bool(question.answers & item.concepts) for item in items]
    asked = (kinds != "present") | answers.any(axis=1)
    kept = [text for text, ask in zip(texts, asked, strict=True) if ask]
    return Case(name, Shelf(items, bank), kept, rows[asked], kinds[asked], answers[asked])


def _half(items: Sequence[Item], mine: Sequence[Question]) -> list[Item]:
    own = frozenset[int]().union(*(q.answers for q in mine))
    asked = frozenset[int]().union(*(q.asked for q in mine))
    every = frozenset[int]().union(*(q.answers for q in questions()))
    found = []
    for item in items:
        mentioned = item.concepts & own if item.concepts & every else True
        if mentioned and (not item.beside or item.beside & asked):
            found.append(item)
    return found


def _answered(question: Question, items: Sequence[Item]) -> bool:
    return any(question.answers & item.concepts for item in items)


def _touches(question: Question, shown: frozenset[int]) -> bool:
    return bool((question.answers | question.near) & shown)


def _parts(half: Sequence[Item], side: int) -> Iterator[tuple[str, list[Item]]]:
    yield "mixed", list(half)
    for modality in MODALITIES:
        yield f"{modality} alone", [item for item in half if item.modality == modality]
    yield "no text", [item for item in half if item.modality != "text"]
    rng = random.Random(side)
    for size, times in ((6, 6), (25, 6), (100, 2)):
        for _ in range(times):
            yield f"{size} items", rng.sample(list(half), size)


def bulk(part: Part, refused: Sequence[str], vectors: Floats) -> list[Item]:
    """Thousands of rows that training saw, without those whose captions come near what is to be refused."""
    from recipes.text_teacher import embed_texts

    kept = []
    for modality, captions, rows in _many(part):
        like = embed_texts([caption or "nothing" for caption in captions]) @ vectors.T
        for caption, row, alike in zip(captions, rows, like.max(axis=1), strict=True):
            if alike < LIKE and not has(caption, refused):
                kept.append(Item(modality, f"bulk/{len(kept)}", caption, frozenset(), vector=row))
    return kept


@lru_cache(maxsize=1)
def _many(part: Part) -> list[tuple[Modality, list[str], Floats]]:
    """Pictures and sounds of the training sets and definitions, with captions; kept in `build/search/`."""
    store = CACHE / f"large-{part}.npz"
    if not store.is_file():
        found = {"image": _training_pictures(part), "audio": _training_sounds(part)}
        senses = nouns().senses
        drawn = sorted(senses, key=lambda number: draw(f"large {number}"))[:MANY_TEXTS]
        texts = [f"{senses[n].words[0]}: {senses[n].definition}" for n in drawn]
        found["text"] = texts, space_of(part).embed(texts)
        arrays = {f"{name}_captions": np.array(captions) for name, (captions, _) in found.items()}
        np.savez(store, **arrays, **{name: rows for name, (_, rows) in found.items()})
    with np.load(store) as held:
        kinds: tuple[Modality, ...] = ("image", "audio", "text")
        return [(kind, [str(c) for c in held[f"{kind}_captions"]], held[kind]) for kind in kinds]


def _training_pictures(part: Part) -> tuple[list[str], Floats]:
    from multimodal.towers.image_module import load_image_module
    from recipes.config import STARTER
    from recipes.image_data import SOURCES, read
    from recipes.image_train import embed as embed_rows
    from recipes.search_twin import TWIN

    module = load_image_module((STARTER if part == "test" else TWIN) / "image.safetensors")
    wanted = {"openclipart", "gcompris", "art4apps", "wallpapers", "fluent-emoji-3d", "noto", "samples"}
    captions, rows = [], []
    for source in SOURCES:
        if source.name in wanted:
            pictures, features = read(source, lambda picture: True)
            captions += [p.captions[0] if p.captions else "" for p in pictures]
            rows.append(embed_rows(module, features.first()))
    return captions, np.concatenate(rows)


def _training_sounds(part: Part) -> tuple[list[str], Floats]:
    from recipes.search_twin import unheard
    from recipes.sounds import RATE, gather

    clips, samples = gather()
    heard = [c for c in clips if c.part == "train" and not (c.caption and unheard(c.caption))]
    drawn = random.Random(1).sample(heard, MANY_SOUNDS)
    cut = [samples[c.start : c.start + min(c.length, 5 * RATE)].astype(np.float32) / 32768 for c in drawn]
    return [c.caption or "" for c in drawn], space_of(part).embed([Audio(sound, RATE) for sound in cut])
