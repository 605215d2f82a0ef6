"""Sound from silent film: the pictures of videos teach the sounds of the same seconds, without any labels.

>>> better = fit_from_videos(load_space(), "holidays/", output="my-space")

As Wav2CLIP does (Wu et al. 2022, Wav2CLIP: Learning Robust Audio Representations from CLIP): the picture
side stays as it is, the sound side learns to be where the pictures are that it is heard with.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import NoMediaFile, QueryError
from multimodal.pairs import Pairs
from multimodal.towers.base import identity, unit
from multimodal.training.data import LEAST, SPLITS, Data, Kind, _share, assemble
from multimodal.training.features import content_key, features
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
    from multimodal.pipeline import EncodedFile
    from multimodal.space import Space

VERSION = 1
"""Raise when the same video would give other pairs."""
FOLDER = "films"
COVERED = 0.5
"""Share of a segment of pictures that must be heard, for the two to be a pair."""
ALIKE = 0.95
"""Cosine above which two segments of one film show the same thing, and are no negatives of each other."""
FEW = 10
"""With fewer films than this the end of each is for validation, else whole films are."""
SILENT = "no pictures of it are heard with sound"


@dataclass(frozen=True, eq=False)
class Film:
    """Segments of a video: unit rows of `pictures` (n, dim) and of what is heard meanwhile, `sounds` (n,
    dim), with their begin and end in seconds, `times` (n, 2). `key` is equal for equal contents."""

    key: str
    pictures: Vectors
    sounds: Vectors
    times: NDArray[np.float64]


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
    return learned if target is None or run is None else _written(learned, target, run)


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
    points = trade_off(data, generic(space, keep), whole, keep)
    return replace(
        learned,
        before=scored(data, rows_through(data.rows, {}), "train", "validation"),
        after=scored(data, rows_through(data.rows, learned.adapters), "train", "validation"),
        points=points,
        point=next(point for point in points if point.alpha == alpha),
    )


def films(
    space: Space,
    folder: str | Path,
    run: Path | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[list[Film], list[FileRecord]]:
    """The videos at a path, by name, each content once, and those that give nothing to learn from: "failed"
    where they cannot be read, "skipped" where they are silent.

    With `run`, a folder, what was read lies there, and is taken from there. Raises NoMediaFile, LibraryError,
    NoEncoder, SpaceError.
    """
    from multimodal.pipeline import encode_files

    paths, place = _videos(Path(folder)), None if run is None else run / FOLDER
    ids = [space[modality].encoder_id for modality in ("video", "audio")]
    salt = identity({"version": VERSION}, *ids, repr(space.read_options))
    known: dict[Path, Film | str] = {}
    keys: dict[str, Path] = {}
    for path in paths:
        try:
            keys.setdefault(content_key(path, salt), path)
        except OSError as error:
            known[path] = (error.strerror or str(error)).lower()
    new = {os.path.abspath(path): key for key, path in keys.items()}
    for key, path in keys.items():
        before = None if place is None else _kept(place, key)
        if before is not None:
            known[path] = before
            del new[os.path.abspath(path)]
    done = len(keys) - len(new)
    with closing(encode_files([Path(path) for path in new], space, workers=workers)) as encoded:  # type: ignore[type-var]
        for file in encoded:
            key = new[os.path.abspath(file.path)]
            film = known[keys[key]] = _film(key, file)
            if place is not None and isinstance(film, Film):
                _keep(place, film)
            done += 1
            if progress is not None:
                progress(done, len(keys))
    there = [(path, known[path]) for path in paths if path in known]
    found = [one for _, one in there if isinstance(one, Film) and len(one.times)]
    return found, list(_left_out(there))


def _left_out(there: Sequence[tuple[Path, Film | str]]) -> Iterator[FileRecord]:
    for path, one in there:
        if isinstance(one, str):
            yield FileRecord(path, "failed", reason=one)
        elif not len(one.times):
            yield FileRecord(path, "skipped", reason=SILENT)


def _videos(folder: Path) -> list[Path]:
    """The videos at a path, by their names. Raises NoMediaFile where there are none."""
    from multimodal.library.scan import walk
    from multimodal.readers import EXTENSIONS

    if not folder.exists():
        raise NoMediaFile(f"{folder}: there is no such folder.")
    if folder.is_file():
        return [folder]
    paths = [folder / found.path for found in walk(folder).files]
    videos = [
        path for path in paths if getattr(EXTENSIONS.get(path.suffix.lower()), "modality", "") == "video"
    ]
    if not videos:
        raise NoMediaFile(f"{folder}: there are no videos in it.")
    return videos


def _film(key: str, file: EncodedFile) -> Film | str:
    """What a video teaches, or why it cannot be read."""
    if file.status == "failed":
        return file.reason or "it cannot be read"
    heard = [row for row in file.rows if row.modality == "audio" and row.vector is not None]
    seen = [row for row in file.rows if row.modality == "video" and row.vector is not None]
    times = np.array([[row.start or 0.0, row.end or 0.0] for row in seen]).reshape(-1, 2)
    spans = np.array([[row.start or 0.0, row.end or 0.0] for row in heard]).reshape(-1, 2)
    seconds = overlaps(times, spans)
    good = np.flatnonzero(seconds.sum(axis=1) >= COVERED * np.maximum(times[:, 1] - times[:, 0], 1e-6))
    if not len(good):
        nothing = np.zeros((0, 0), np.float32)
        return Film(key, nothing, nothing, np.zeros((0, 2)))
    sounds = seconds[good] @ np.stack([row.vector for row in heard if row.vector is not None])
    pictures = np.stack([row.vector for row in seen if row.vector is not None])[good]
    return Film(key, pictures.astype(np.float32), unit(sounds.astype(np.float32)), times[good])


def overlaps(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds that each of (n, 2) begins and ends shares with each of (m, 2): (n, m)."""
    begin = np.maximum(left[:, None, 0], right[None, :, 0])
    end = np.minimum(left[:, None, 1], right[None, :, 1])
    return np.maximum(end - begin, 0.0)


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


def _keep(place: Path, film: Film) -> None:
    """Write what was read of a film, whole or not at all."""
    place.mkdir(parents=True, exist_ok=True)
    part = place / f"{film.key}.part"
    with part.open("wb") as file:
        np.savez(file, pictures=film.pictures, sounds=film.sounds, times=film.times)
        file.flush()
        os.fsync(file.fileno())
    part.replace(place / f"{film.key}.npz")


def _kept(place: Path, key: str) -> Film | None:
    """What was read of a film before; one that cannot be read is read again."""
    try:
        with np.load(place / f"{key}.npz", allow_pickle=False) as arrays:
            return Film(key, arrays["pictures"], arrays["sounds"], arrays["times"])
    except (OSError, ValueError, KeyError, EOFError):
        return None
