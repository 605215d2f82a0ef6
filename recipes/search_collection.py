"""A labelled collection of all kinds, from what no training has seen: what search is measured on.

Test: held-out stamps (pictures, and clips cut together from them) and the 200 held-out sounds, by the
starter. Validation: the validation stamps and sounds, by the twin that was trained without them
(`recipes.search_twin`). Texts are captions and definitions of WordNet's nouns, which no training used.
Pictures and sounds of which `search_concepts.txt` does not say what they show are left out, but for drawn
letters and signs: nobody could say what they do not answer.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from multimodal import Audio, Clip, Space, load_space
from multimodal.types import Modality
from recipes.fetch import BUILD
from recipes.image_data import MODE
from recipes.image_features import flatten, load
from recipes.picture import Picture
from recipes.pictures import openclipart, stamps
from recipes.search_concepts import concepts, has, shown_by
from recipes.search_twin import TWIN, validation_clips
from recipes.sounds import RATE, gather
from recipes.split import validation
from recipes.wordnet import Sense, nouns

Part = Literal["test", "validation"]
CACHE = BUILD / "search"
FRAMES = 8
SIZE = (320, 240)
AS_CLIPS = 4
"""Tenths of the pictures that are in the collection as clips."""
PASSAGES = 400
"""Texts about things from anywhere."""
BESIDE = 3
"""Texts about things of the same kind, for each that is shown."""
CONCRETE = ("animal", "artifact", "body", "food", "object", "plant", "phenomenon", "event", "person", "act")


@dataclass
class Item:
    """A row of the collection: its caption and the numbers of the concepts it shows.

    Of a text about something else, `beside` are the concepts that it was chosen for as a neighbour. A clip
    has the vectors of its frames that vote, (f, dim), and which of them show what the caption says, (f,).
    """

    modality: Modality
    key: str
    caption: str
    concepts: frozenset[int]
    beside: frozenset[int] = frozenset()
    vector: NDArray[np.float32] | None = None
    frames: NDArray[np.float32] | None = None
    shown: NDArray[np.bool_] | None = None


def draw(key: str) -> int:
    """A number from a key: draws that do not move when items come or go."""
    return int(blake2b(f"search {key}".encode(), digest_size=8).hexdigest(), 16)


def collection(part: Part) -> list[Item]:
    """The labelled items and the letters and signs, each picture once: as a picture or as a clip."""
    kept = []
    for item in everything(part):
        if item.modality in ("image", "video"):
            as_clip = draw(f"kind {item.key}") % 10 < AS_CLIPS
            if (item.modality == "video") != as_clip:
                continue
        if item.modality == "text" or item.concepts or item.key.startswith("symbols/"):
            kept.append(item)
    return kept


def everything(part: Part) -> list[Item]:
    """Every item of a part with its vector, computed once and kept in `build/search/`; pictures twice."""
    store, items = CACHE / f"{part}.npz", _described(part)
    if not store.is_file():
        space = space_of(part)
        clips = _clips(part, space)
        frames, shown = (np.concatenate(arrays) for arrays in zip(*clips, strict=True))
        CACHE.mkdir(parents=True, exist_ok=True)
        np.savez(
            store,
            image=space.embed([flatten(p.open()) for p in pictures(part)]),
            audio=space.embed([sound for _, _, sound in sounds(part)]),
            text=space.embed([item.caption for item in items if item.modality == "text"]),
            frames=frames,
            shown=shown,
            counts=[len(mine) for _, mine in clips],
        )
    with np.load(store) as kept:
        ends = np.cumsum(kept["counts"])[:-1]
        rows = {name: iter(kept[name]) for name in ("image", "audio", "text")}
        of_clips = iter(zip(np.split(kept["frames"], ends), np.split(kept["shown"], ends), strict=True))
    for item in items:
        if item.modality == "video":
            item.frames, item.shown = next(of_clips)
            mean = item.frames.mean(axis=0)
            item.vector = mean / np.linalg.norm(mean)
        else:
            item.vector = next(rows[item.modality])
    return items


def space_of(part: Part) -> Space:
    """The starter for tests, the twin for choices."""
    return load_space() if part == "test" else load_space(TWIN)


def pictures(part: Part) -> list[Picture]:
    """Stamps of a part: the held-out ones, those that exist as SVG alone too, or the validation stamps."""
    if part == "test":
        return [p for p in stamps() if p.held_out and (p.drawn or _can_be_drawn(p))]
    return [p for p in stamps() if not p.held_out and p.drawn and validation(p.key)]


def _can_be_drawn(picture: Picture) -> bool:
    try:
        picture.open()
    except ValueError:
        return False
    return True


def sounds(part: Part) -> list[tuple[str, str, Audio]]:
    """(key, caption, sound) of a part."""
    clips, samples = gather()
    chosen = [c for c in clips if c.part in ("test", "seen-test")] if part == "test" else validation_clips()
    heard = [samples[c.start : c.start + c.length].astype(np.float32) / 32768 for c in chosen]
    return [(c.key, c.caption or "", Audio(sound, RATE)) for c, sound in zip(chosen, heard, strict=True)]


def _clips(part: Part, space: Space) -> list[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Of each picture's clip the vectors (f, dim) of its frames that vote, and which of them show it."""
    readable = set(load("openclipart", MODE).keys)
    others = random.Random(0).sample([p for p in openclipart() if p.key in readable], 600)
    tower = space["video"].tower
    found = []
    for picture in pictures(part):
        made, shown = clip(picture, others)
        prepared, _, places = tower.preprocess(made)
        found.append((space["image"].embed(list(prepared)), shown[places]))
    return found


def clip(picture: Picture, others: Sequence[Picture]) -> tuple[Clip, NDArray[np.bool_]]:
    """8 frames, 1 to 6 of them of the picture in one stretch, the rest of one to three other pictures."""
    rng = random.Random(f"clip {picture.key}")
    mine = rng.randint(1, 6)
    drawn = [p.open() for p in rng.sample(list(others), rng.randint(1, 3))]
    rest = FRAMES - mine
    cast = sorted(rng.randrange(len(drawn)) for _ in range(rest))
    before = rng.randint(0, rest)
    own = picture.open()
    order = [*(drawn[i] for i in cast[:before]), *[own] * mine, *(drawn[i] for i in cast[before:])]
    shown = np.array([False] * before + [True] * mine + [False] * (rest - before))
    return Clip([still(p, rng) for p in order], np.arange(FRAMES) * 0.5), shown


def still(picture: Image.Image, rng: random.Random) -> Image.Image:
    """A frame of a moving camera: the picture on white, 75 to 100 % of it in view."""
    canvas = Image.new("RGB", SIZE, "white")
    flat = flatten(picture)
    flat.thumbnail(SIZE, Image.Resampling.BICUBIC)
    canvas.paste(flat, ((SIZE[0] - flat.width) // 2, (SIZE[1] - flat.height) // 2))
    keep = rng.uniform(0.75, 1.0)
    width, height = SIZE[0] * keep, SIZE[1] * keep
    left, top = rng.uniform(0, SIZE[0] - width), rng.uniform(0, SIZE[1] - height)
    return canvas.resize(SIZE, Image.Resampling.BICUBIC, (left, top, left + width, top + height))


def _described(part: Part) -> list[Item]:
    """The items of a part without their vectors: pictures, clips, sounds, texts."""
    items = []
    kinds: tuple[Modality, ...] = ("image", "video")
    for kind in kinds:
        for p in pictures(part):
            said, sign = p.captions[0], p.key.startswith("symbols/")
            items.append(Item(kind, p.key, said, frozenset() if sign else shown_by(said, "image")))
    items += [Item("audio", key, said, shown_by(said, "audio")) for key, said, _ in sounds(part)]
    there = set().union(*(item.concepts for item in items))
    for sense, name, shown, beside in _told(there):
        items.append(Item("text", f"wordnet/{sense.number}", told(sense, name), shown, beside))
    return items


def told(sense: Sense, name: str) -> str:
    """What a text says of a thing: half are captions ("Zebra."), half definitions that name it."""
    said = name if draw(f"caption {sense.number}") % 2 else f"{name}: {sense.definition}"
    return f"{said[0].upper()}{said[1:]}."


_Told = tuple[Sense, str, frozenset[int], frozenset[int]]


def _told(there: set[int]) -> list[_Told]:
    """Senses that texts are about, with names, the concepts that are meant and those they stand beside.

    Half of the concepts that are there have a text; so have up to three of what stands beside each in
    WordNet (who writes of zebras writes of donkeys too), and 400 things from anywhere.
    """
    table, senses = concepts(), nouns().senses
    owners: dict[int, set[int]] = {}
    for number in there:
        sense = table[number].sense
        if sense is not None:
            owners.setdefault(sense.number, set()).add(number)
    found = [(senses[n], table[min(c)].name, frozenset(c)) for n, c in sorted(owners.items())]
    known = {c.sense.number for c in table if c.sense}
    taken = set(known)
    words = {word for c in table for word in (c.query, *c.words)}

    def free(number: int) -> bool:
        sense = senses[number]
        if number in taken or sense.field not in CONCRETE or nouns().above(number) & known:
            return False
        return not has(f"{', '.join(sense.words)} {sense.definition}", words)

    beside: list[_Told] = []
    for sense, _, shown in found:
        kinds = [n for above in sense.kind_of for n in nouns().below[above] if free(n)]
        for number in sorted(kinds, key=lambda n: draw(f"beside {n}"))[:BESIDE]:
            beside.append((senses[number], senses[number].words[0], frozenset(), shown))
            taken.add(number)
    anywhere = (senses[n] for n in sorted(senses, key=lambda n: draw(f"sense {n}")) if free(n))
    own = [(*row, frozenset[int]()) for row in found if draw(f"defined {row[0].number}") % 2]
    rest = [(s, s.words[0], frozenset[int](), frozenset[int]()) for s in islice(anywhere, PASSAGES)]
    return own + beside + rest
