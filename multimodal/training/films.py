"""Sound from silent film: the pictures of videos teach the sounds of the same seconds, without any labels.

>>> better = fit_from_videos(load_space(), "holidays/", output="my-space")

As Wav2CLIP does (Wu et al. 2022, Wav2CLIP: Learning Robust Audio Representations from CLIP): the picture
side stays as it is, the sound side learns to be where the pictures are that it is heard with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import QueryError
from multimodal.pairs import Pairs
from multimodal.towers.base import unit
from multimodal.training.data import LEAST, SPLITS, Data, Kind, _share, assemble
from multimodal.training.features import features
from multimodal.training.film_rows import Film, films
from multimodal.training.fitting import (
    KEPT_APART,
    Given,
    Learned,
    _new_folder,
    _pairs,
    _written,
    generic,
    trained,
)
from multimodal.training.scores import recall, reciprocal, scored
from multimodal.training.settings import Settings
from multimodal.training.tradeoff import rows_through, trade_off
from multimodal.types import FileRecord, Vectors

if TYPE_CHECKING:
    from multimodal.space import Space

ALIKE = 0.95
"""Cosine above which two segments of one film show the same thing, and are no negatives of each other."""
FEW = 10
"""With fewer films than this the end of each is for validation, else whole films are."""


def fit_from_videos(
    space: Space,
    folder: str | Path,
    parts: str | Sequence[str] = ("audio",),
    *,
    output: str | Path | None = None,
    keep: Given | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
    listener: Callable[[dict[str, float]], object] | None = None,
    **options: Any,
) -> Space:
    """A space whose sounds have learned from the videos in a folder (or one video), without labels.

    Each segment of pictures is paired with the mean of the sounds that overlap it. Everything else is as
    `multimodal.training.fit` says: what `parts`, `keep`, `output` and the `options` are, that the towers
    stay as they are, and that a training that was killed goes on. Videos that were read lie in
    OUTPUT.run, and are not read again. `progress` is told of how many, of how many, videos are read.

    Raises NoMediaFile, QueryError, NoEncoder, SpaceError, LibraryError (an ignore file that is none).
    """
    return learn_from_videos(
        space,
        folder,
        parts,
        output=output,
        keep=keep,
        workers=workers,
        progress=progress,
        listener=listener,
        **options,
    ).space


def learn_from_videos(
    space: Space,
    folder: str | Path,
    parts: str | Sequence[str] = ("audio",),
    *,
    output: str | Path | None = None,
    keep: Given | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
    listener: Callable[[dict[str, float]], object] | None = None,
    **options: Any,
) -> Learned:
    """As `fit_from_videos`, with all that is known of how it went."""
    settings = Settings().with_(parts=(parts,) if isinstance(parts, str) else tuple(parts), **options)
    settings.adapted(("video", "audio"))  # what cannot be learned from videos is said before they are read
    target = None if output is None else _new_folder(Path(output))
    run = None if target is None else target.with_name(f"{target.name}.run")
    found, left_out = films(space, folder, run, workers, progress)
    kept = None
    if keep is not None:
        pairs: Pairs = _pairs(keep)
        known, failed = features(space, [item for pair in pairs.pairs for item in pair], run, workers)
        kept, left_out = assemble(pairs, known, KEPT_APART, settings.seed), [*left_out, *failed]
    learned = trained_from(space, settings, found, kept, left_out, run, listener)
    return learned if target is None or run is None else _written(learned, space.name, target, run)


def trained_from(
    space: Space,
    settings: Settings,
    found: Sequence[Film],
    keep: Data | None = None,
    left_out: Sequence[FileRecord] = (),
    run: Path | None = None,
    listener: Callable[[dict[str, float]], object] | None = None,
) -> Learned:
    """`learn_from_videos` from films that are read already.

    Sounds and pictures of one space lie apart (Liang et al. 2022, Mind the Gap). So the sounds learn twice:
    towards the pictures, and towards the pictures moved by the difference of the centres that the space
    ships; taken is what finds the pictures as they are better, by R@10 and mean reciprocal rank on
    validation. Raises QueryError, SpaceError.
    """
    data = data_of(found, settings.validation, settings.seed)
    plain = trained(space, settings, data, keep, left_out, run, listener)
    shifted = _moved(space.bank, data)
    if shifted is None:
        return plain
    other = _measured(trained(space, settings, shifted, keep, left_out, run, listener), space, data, keep)
    return max((plain, other), key=lambda one: _reached(data, one))


def _reached(data: Data, learned: Learned) -> float:
    scores = scored(data, rows_through(data.rows, learned.adapters), "train", "validation")
    return recall(scores) + reciprocal(scores)


def _moved(bank: Mapping[str, NDArray[Any]] | None, data: Data) -> Data | None:
    """The same with pictures that lie where sounds do; None where a space does not say where that is."""
    if bank is None or "centre.audio" not in bank or "centre.video" not in bank:
        return None
    way = np.asarray(bank["centre.audio"], np.float32) - np.asarray(bank["centre.video"], np.float32)
    rows = {**data.rows, "video": unit(data.rows["video"] + way)}
    return Data(rows, data.kinds, f"{data.id} moved")


def _measured(learned: Learned, space: Space, data: Data, keep: Data | None) -> Learned:
    """What was learned from moved pictures, with the numbers it has on the pictures as they are."""
    alpha = learned.point.alpha
    whole = {name: one.scaled(1 / alpha) for name, one in learned.adapters.items()} if alpha else {}
    points = trade_off(data, generic(space), whole, keep)
    return replace(
        learned,
        before=scored(data, rows_through(data.rows, {}), "train", "validation"),
        after=scored(data, rows_through(data.rows, learned.adapters), "train", "validation"),
        points=points,
        point=next(point for point in points if point.alpha == alpha),
    )


def data_of(found: Sequence[Film], share: float, seed: int) -> Data:
    """The pairs of films, about a `share` of them for validation: whole films by a hash of their contents, or
    the end of each where there are fewer than FEW.

    Segments of a film that look alike belong to each other's sounds. Raises QueryError for fewer than 2
    pairs to learn from.
    """
    pictures = np.concatenate([film.pictures for film in found]) if found else np.zeros((0, 1), np.float32)
    groups: list[NDArray[np.int64]] = []
    for film in found:
        groups.append(_alike(film.pictures) + sum(len(one) for one in groups))
    splits = _splits(found, groups, share, seed)
    if sum(int((split == 0).sum()) for split in splits) < LEAST:
        raise QueryError(
            f"The videos give {len(pictures)} segments with pictures and sound: too few to learn from."
        )
    group, places = np.concatenate(groups), np.arange(len(pictures))
    weight = np.ones(len(pictures), np.float32)
    kind = Kind(("video", "audio"), places, places, group, group, weight, np.concatenate(splits))
    digest = hashlib.blake2b(digest_size=8)
    for film, split in zip(found, splits, strict=True):
        digest.update(f"{film.key} {film.times.tolist()} {split.tolist()}\n".encode())
    sounds = np.concatenate([film.sounds for film in found])
    return Data({"video": pictures, "audio": sounds}, [kind], digest.hexdigest())


def _alike(pictures: Vectors) -> NDArray[np.int64]:
    """For each row (n, dim) the first one that it is like: (n,)."""
    first = np.arange(len(pictures))
    for place in range(len(pictures)):
        leaders = np.flatnonzero(first[:place] == np.arange(place))
        near = leaders[pictures[leaders] @ pictures[place] >= ALIKE]
        if len(near):
            first[place] = near[0]
    return first


def _splits(
    found: Sequence[Film], groups: Sequence[NDArray[np.int64]], share: float, seed: int
) -> list[NDArray[np.int64]]:
    """The split (n,) of each film's segments, as places in SPLITS; what looks alike stays together."""
    held = SPLITS.index("validation")
    splits = [np.zeros(len(film.times), np.int64) for film in found]
    if share <= 0:
        return splits
    if len(found) >= FEW:
        marks = [_share(f"{seed} {film.key}") for film in found]
        most = max(share, min(marks) + 1e-9)
        for split, mark in zip(splits, marks, strict=True):
            split[:] = held if mark < most else 0
        return splits
    for split, group in zip(splits, groups, strict=True):
        once = np.unique(group)
        ending = once[len(once) - round(share * len(once)) :]
        split[np.isin(group, ending)] = held
    return splits
