"""Features of frozen towers, computed once: kept by content, found again by any later training."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import QueryError
from multimodal.evaluation.items import embedded, item_key
from multimodal.pairs import Pairs
from multimodal.types import Audio, Clip, FileRecord, Item, Modality, Segment, Vectors

if TYPE_CHECKING:
    from multimodal.space import Space

Progress = Callable[[int, int], object]

SHARD = 1024
"""Items embedded before they are kept: what a kill loses at most."""
FOLDER = "features"


@dataclass(frozen=True)
class Feature:
    """What an item is, by what encoder, and its unit row (dim,) there."""

    key: str
    modality: Modality
    row: NDArray[np.float32]


def features(
    space: Space,
    items: Sequence[Item],
    folder: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[dict[object, Feature], list[FileRecord]]:
    """The feature of every item by its `item_key`, and the files that could not be read.

    Those found in `folder` under the same content and encoder are not computed again; new ones are written
    there, SHARD at a time. `progress` is told of how many, of how many, are there. Raises QueryError,
    NoEncoder, SpaceError.
    """
    known = _kept(folder, space) if folder is not None else {}
    once = {item_key(item): item for item in items}
    salt = repr(space.read_options)
    keys: dict[object, str] = {}
    left_out: list[FileRecord] = []
    for key, item in once.items():
        try:
            keys[key] = content_key(item, salt)
        except OSError as error:
            path = item if isinstance(item, Path) else Path()
            reason = "there is no such file" if not path.exists() else (error.strerror or str(error)).lower()
            left_out.append(FileRecord(path, "failed", reason=reason))
    new = [key for key in keys if keys[key] not in known]
    done = len(keys) - len(new)
    for begin in range(0, len(new), SHARD):
        part = new[begin : begin + SHARD]
        found, failed = embedded(
            space, Pairs(("item", "item"), [(once[k], once[k]) for k in part]), workers, None
        )
        made = [Feature(keys[key], *found[key]) for key in part if key in found]
        known.update((feature.key, feature) for feature in made)
        left_out += failed
        if folder is not None and made:
            _write(folder, space, made)
        done += len(part)
        if progress is not None:
            progress(done, len(keys))
    return {key: known[content] for key, content in keys.items() if content in known}, left_out


def content_key(item: Item, salt: str = "") -> str:
    """Equal for equal contents (32 hex digits), wherever a file lies; `salt` is how files are cut."""
    digest = hashlib.blake2b(digest_size=16)
    if isinstance(item, Segment):
        item = item.content
    if isinstance(item, str):
        digest.update(b"text" + item.strip().encode("utf-8", "surrogatepass"))
    elif isinstance(item, Path):
        digest.update(b"file" + salt.encode() + item.suffix.lower().encode("utf-8", "surrogatepass"))
        with item.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    else:
        for array in _arrays(item):
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    return digest.hexdigest()


def _arrays(item: Any) -> list[NDArray[Any]]:
    if isinstance(item, Audio):
        return [item.samples, np.array([item.rate])]
    if isinstance(item, Clip):
        return [*(np.asarray(frame) for frame in item.frames), item.times]
    if hasattr(item, "convert"):
        return [np.asarray(item.convert("RGBA"))]
    raise QueryError(
        f"A {type(item).__name__} cannot be learned from: give texts, files, pictures or sounds."
    )


def _write(folder: Path, space: Space, made: Sequence[Feature]) -> None:
    """One more shard, whole or not at all."""
    place = folder / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    name = hashlib.blake2b("".join(feature.key for feature in made).encode(), digest_size=8).hexdigest()
    part = place / f"{name}.part"
    with part.open("wb") as file:
        np.savez(
            file,
            key=np.array([feature.key for feature in made]),
            modality=np.array([feature.modality for feature in made]),
            encoder=np.array([space[feature.modality].encoder_id for feature in made]),
            row=np.stack([feature.row for feature in made]),
        )
        file.flush()
        os.fsync(file.fileno())
    part.replace(place / f"{name}.npz")


def _kept(folder: Path, space: Space) -> dict[str, Feature]:
    """What was written by the space's own encoders; a shard that cannot be read is computed again."""
    ids: Mapping[str, str] = {modality: space[modality].encoder_id for modality in space}
    known: dict[str, Feature] = {}
    for shard in sorted((folder / FOLDER).glob("*.npz")):
        try:
            with np.load(shard, allow_pickle=False) as arrays:
                rows: Vectors = arrays["row"]
                columns = (arrays["key"].tolist(), arrays["modality"].tolist(), arrays["encoder"].tolist())
        except (OSError, ValueError, KeyError, EOFError):
            continue
        for key, modality, encoder, row in zip(*columns, rows, strict=True):
            if ids.get(modality) == encoder:
                known[key] = Feature(key, modality, row)
    return known
