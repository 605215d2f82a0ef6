"""What is left of a space when its media are worn: compressed, noisy, cropped, resampled, quiet."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import QueryError, ReadError
from multimodal.evaluation.items import embedded, item_key
from multimodal.evaluation.measure import Measure, measured
from multimodal.measures import judge
from multimodal.pairs import Pairs, read_pairs
from multimodal.towers.base import unit
from multimodal.types import Audio, Clip, Item, Modality, Segment

if TYPE_CHECKING:
    from PIL.Image import Image

    from multimodal.space import Space

SEGMENTS = 8
"""Of a long file, the segments that are worn and looked at."""


@dataclass(frozen=True)
class Robustness:
    """`items` of one modality after one damage: `cosine` with themselves unharmed, `recall` (at 10, of their
    partners among all partners), and `loss` of recall against the unharmed items, item by item."""

    modality: Modality
    damage: str
    items: int
    cosine: Measure
    recall: Measure
    loss: Measure


def jpeg(quality: int) -> Callable[[Image], Image]:
    """Pictures saved as JPEG of that quality, 1 to 95."""

    def worn(picture: Image) -> Image:
        from PIL import Image

        file = io.BytesIO()
        picture.convert("RGB").save(file, "JPEG", quality=quality)
        return Image.open(file).convert("RGB")

    return worn


def grain(deviation: float) -> Callable[[Image], Image]:
    """Pictures with normal noise of that standard deviation, of full scale, from a fixed seed."""

    def worn(picture: Image) -> Image:
        from PIL import Image

        pixels = np.asarray(picture.convert("RGB"), np.float32)
        noise = np.random.default_rng(0).normal(0, 255 * deviation, pixels.shape)
        return Image.fromarray(np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8))

    return worn


def crop(share: float) -> Callable[[Image], Image]:
    """The middle of pictures, that share of each side."""

    def worn(picture: Image) -> Image:
        wide, high = (max(1, round(side * share)) for side in picture.size)
        left, top = (picture.width - wide) // 2, (picture.height - high) // 2
        return picture.crop((left, top, left + wide, top + high))

    return worn


def resampled(rate: int) -> Callable[[Audio], Audio]:
    """Sounds that went through that rate in Hz, and back."""

    def worn(sound: Audio) -> Audio:
        import soxr

        low = soxr.resample(sound.samples, sound.rate, min(rate, sound.rate))
        back = soxr.resample(low, min(rate, sound.rate), sound.rate)
        return Audio(np.ascontiguousarray(back, np.float32), sound.rate)

    return worn


def louder(decibels: float) -> Callable[[Audio], Audio]:
    """Sounds with another volume."""
    factor = np.float32(10 ** (decibels / 20))
    return lambda sound: Audio(np.clip(sound.samples * factor, -1, 1), sound.rate)


def hiss(decibels: float) -> Callable[[Audio], Audio]:
    """Sounds with white noise so far below them, from a fixed seed."""

    def worn(sound: Audio) -> Audio:
        power = float(np.mean(np.square(sound.samples, dtype=np.float64)))
        noise = np.random.default_rng(0).normal(0, np.sqrt(power / 10 ** (decibels / 10)), len(sound.samples))
        return Audio(np.clip(sound.samples + noise, -1, 1).astype(np.float32), sound.rate)

    return worn


PICTURES: Mapping[str, Callable[[Image], Image]] = MappingProxyType(
    {f"JPEG {quality}": jpeg(quality) for quality in (90, 70, 50, 30, 10)}
    | {f"noise {deviation:.2f}": grain(deviation) for deviation in (0.05, 0.1, 0.2)}
    | {f"crop {share:.0%}": crop(share) for share in (0.9, 0.75, 0.5)}
)
SOUNDS: Mapping[str, Callable[[Audio], Audio]] = MappingProxyType(
    {f"{rate // 1000} kHz": resampled(rate) for rate in (8_000, 4_000)}
    | {f"{decibels:+d} dB": louder(decibels) for decibels in (-20, -40, 12)}
    | {f"noise at {decibels} dB": hiss(decibels) for decibels in (20, 10, 0)}
)
"""The damages, mild first, and what they do to a picture (or each frame of a video) and to a sound."""


def evaluate_robustness(
    space: Space,
    pairs: str | Path | Pairs | Sequence[tuple[Item, Item]],
    *,
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> list[Robustness]:
    """Wear the pictures, videos and sounds of pairs, and let them look for their partners, which stay whole.

    Raises NoMediaFile, QueryError (no pair holds media), NoEncoder, SpaceError.
    """
    if isinstance(pairs, (str, Path)):
        pairs = read_pairs(pairs)
    elif not isinstance(pairs, Pairs):
        pairs = Pairs(("left", "right"), list(pairs))
    known, _ = embedded(space, pairs, workers, None)
    partners: dict[Modality, dict[object, tuple[Item, set[object]]]] = {}
    for left, right in pairs.pairs:
        if item_key(left) in known and item_key(right) in known:
            for item, partner in ((left, right), (right, left)):
                modality = known[item_key(item)][0]
                if modality != "text":
                    entry = partners.setdefault(modality, {}).setdefault(item_key(item), (item, set()))
                    entry[1].add(item_key(partner))
    if not partners:
        raise QueryError("None of the pairs holds a picture, a video or a sound to wear.")
    total, done = sum(map(len, partners.values())), 0
    found: list[Robustness] = []
    for modality, entries in partners.items():
        rows: dict[str, list[NDArray[np.float32]]] = {}
        for item, _ in entries.values():
            for damage, row in _worn_rows(space, item, modality):
                rows.setdefault(damage, []).append(row)
            done += 1
            if progress is not None:
                progress(done, total)
        sought = list(dict.fromkeys(key for _, keys in entries.values() for key in sorted(keys, key=str)))
        marks = np.array([[key in keys for key in sought] for _, keys in entries.values()])
        candidates = np.stack([known[key][1] for key in sought])
        found += _judged(
            {damage: np.stack(part) for damage, part in rows.items()}, modality, candidates, marks
        )
    return found


def _judged(
    rows: dict[str, NDArray[np.float32]],
    modality: Modality,
    candidates: NDArray[np.float32],
    marks: NDArray[np.bool_],
) -> Iterator[Robustness]:
    whole = rows["none"]
    recall = {name: judge(part @ candidates.T, marks).rank <= 10 for name, part in rows.items()}
    for name, part in rows.items():
        loss = recall["none"].astype(float) - recall[name]
        alike = np.einsum("nd,nd->n", part, whole)
        yield Robustness(modality, name, len(part), measured(alike), measured(recall[name]), measured(loss))


def _worn_rows(space: Space, item: Item, modality: Modality) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The unit row of an item unharmed, as "none", and after each damage."""
    contents = _contents(space, item, modality)
    damages: Mapping[str, Callable[[Any], Any]] = SOUNDS if modality == "audio" else PICTURES
    for name, wear in {"none": lambda content: content, **damages}.items():
        worn = [_wear(content, wear) for content in contents]
        yield name, unit(space[modality].encode(worn).mean(axis=0))


def _contents(space: Space, item: Item, modality: Modality) -> list[Any]:
    if isinstance(item, Path):
        kept = (one for one in space.read(item) if one.modality == modality and one.role == "content")
        found = [one.content for one in islice(kept, SEGMENTS)]
        if not found:
            raise ReadError(f"{item} holds nothing to embed")
        return found
    return [item.content if isinstance(item, Segment) else item]


def _wear(content: Any, wear: Callable[[Any], Any]) -> Any:
    if isinstance(content, Clip):
        return replace(content, frames=[wear(frame) for frame in content.frames])
    return wear(content)
