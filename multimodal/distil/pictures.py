"""A small vision transformer that learns what a teacher makes of pictures.

The teacher sees each picture once, the student another crop of it each time, mirrored half the time, and has
to give the same vector (Hinton et al. 2015, with vectors in place of classes).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multimodal.distil.configs import Vit
from multimodal.distil.teaching import rows_of
from multimodal.errors import NoMediaFile, QueryError, ReadError, SpaceError
from multimodal.readers import EXTENSIONS
from multimodal.students import WithStudent, taught
from multimodal.towers.base import identity, tensors_hash
from multimodal.towers.pixels import ResizeCrop
from multimodal.types import Content

if TYPE_CHECKING:
    from torch import Tensor

    from multimodal.distil.fitting import Progress
    from multimodal.space import Space

Floats = NDArray[np.float32]

VERSION = 1
"""Raise when the same pictures and sizes would give other weights."""
LEAST = 10
CHUNK = 64
"""Pictures that are held whole at once."""
APART = 0.05
"""Share of the pictures that is not learned from."""
MOST_APART = 500
LARGER = 8 / 7
"""Side of what crops are taken from, of the student's: 128 pixels for 112."""
SMALLEST = 0.7
"""Side of a crop at least, of the whole picture's."""
PLAIN = ResizeCrop((224, 224), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), resize_mode="squash")
"""How pictures are fitted where the teacher has another way than `ResizeCrop`."""


def found(given: str | Path | Sequence[Path]) -> list[Path]:
    """The pictures below a folder, by their extensions, or those of a list, sorted.

    Raises NoMediaFile, QueryError."""
    if isinstance(given, (str, Path)):
        walked = (Path(where, name) for where, _, names in os.walk(given) for name in names)
        paths = [path for path in walked if not path.name.startswith(".") and _is_picture(path)]
    else:
        paths = [Path(one) for one in given]
        for path in paths:
            if not path.is_file():
                raise NoMediaFile(f"{path} does not exist or is not a file.")
    if len(paths) < LEAST:
        raise QueryError(f"A student needs at least {LEAST} pictures, not {len(paths)}.")
    return sorted(paths)


def teach(
    space: Space,
    paths: Sequence[Path],
    config: Vit,
    seed: int = 0,
    run: Path | None = None,
    progress: Progress | None = None,
) -> tuple[WithStudent, float, bool, int]:
    """The space's source with a student for its pictures, its mean cosine to the teacher on pictures it did
    not learn from, whether the training went on from an earlier one in `run`, and how many files could not be
    read. Raises QueryError, SpaceError."""
    import torch

    from multimodal.distil import fitting
    from multimodal.towers.student import scaled, vision

    fit = _fitted(space, config.size)
    pixels, wanted, read = _seen(space, paths, fit, run, progress)
    if len(read) < LEAST:
        raise QueryError(f"A student needs at least {LEAST} pictures that can be read, not {len(read)}.")
    order = np.random.default_rng([seed, 1]).permutation(len(read))
    few = max(1, min(int(APART * len(read)), MOST_APART))
    apart, learned = order[:few], order[few:]
    sizes = {name: getattr(config, name) for name in ("layers", "width", "heads", "size", "patch")}
    about = {**sizes, "dim": space.dim, "preprocess": fit.config()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = vision(about)

    def rows(places: NDArray[np.int64], step: int) -> tuple[Tensor, Tensor]:
        crops = cropped(np.asarray(pixels[places]), config.size, np.random.default_rng([seed, 3, step]))
        return model(scaled(crops, fit)), torch.from_numpy(wanted[places])

    def batches(epoch: int) -> list[NDArray[np.int64]]:
        mixed = np.random.default_rng([seed, 2, epoch]).permutation(learned)
        return [mixed[at : at + config.batch] for at in range(0, len(mixed), config.batch)]

    asked = identity(tensors_hash({"rows": wanted}), {"version": VERSION, "seed": seed}, str(config))
    kept = None if run is None else run / f"{asked}.safetensors"
    resumed = fitting.fit(model, config, batches, rows, seed, kept, progress)
    source = taught(space._source, lambda folder: _write(folder, model.state_dict(), about))
    new = source.build("image").encode(_picture(space, paths[read[place]]) for place in apart)
    return source, fitting.cosine(new, wanted[apart]), resumed, len(paths) - len(read)


def cropped(pixels: NDArray[np.uint8], size: int, rng: np.random.Generator) -> Tensor:
    """A random crop (n, size, size, 3) of each of some pictures (n, k, k, 3), half of them mirrored."""
    import torch
    from torch.nn import functional as F

    count = len(pixels)
    side = rng.uniform(SMALLEST, 1.0, count)
    moves = rng.uniform(-1.0, 1.0, (2, count)) * (1.0 - side)
    turns = np.zeros((count, 2, 3), np.float32)
    turns[:, 0, 0] = side * rng.choice([-1.0, 1.0], count)
    turns[:, 1, 1] = side
    turns[:, :, 2] = moves.T
    grid = F.affine_grid(torch.from_numpy(turns), [count, 3, size, size], align_corners=False)
    given = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    return F.grid_sample(given, grid, align_corners=False).permute(0, 2, 3, 1)


def _seen(
    space: Space, paths: Sequence[Path], fit: ResizeCrop, run: Path | None, progress: Progress | None
) -> tuple[NDArray[np.uint8], Floats, NDArray[np.int64]]:
    """Of the pictures that can be read: pixels (n, k, k, 3) to crop from, the teacher's rows (n, dim), and
    their places in `paths`."""
    side = round(fit.size[0] * LARGER)
    wide, encoder = replace(fit, size=(side, side)), space["image"]
    facts = [f"{path.absolute()} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in paths]
    name = identity({"version": VERSION, "fit": str(wide)}, encoder.encoder_id, "\n".join(facts))
    shape = (len(paths), side, side, 3)
    pixels = np.zeros(shape, np.uint8) if run is None else _file(run / f"pixels-{name}.npy", shape)

    def embed(begin: int, end: int) -> Floats:
        pictures = {}
        for place in range(begin, end):
            with suppress(ReadError, OSError):
                pictures[place] = _picture(space, paths[place])
                pixels[place] = wide(pictures[place])
        made = np.zeros((end - begin, space.dim), np.float32)  # zeros: it cannot be read
        made[[place - begin for place in pictures]] = encoder.encode(pictures.values())
        if isinstance(pixels, np.memmap):
            pixels.flush()
        return made

    kept = None if run is None else run / f"teacher-{name}.f32"
    rows = rows_of(embed, len(paths), space.dim, kept, progress, chunk=CHUNK)
    read = np.flatnonzero(rows.any(axis=1))
    return (pixels if len(read) == len(paths) else pixels[read]), rows[read], read


def _picture(space: Space, path: Path) -> Content:
    """The first picture of a file. Raises ReadError."""
    for segment in space.read(path):
        if segment.modality == "image":
            return segment.content
    raise ReadError(f"{path} holds no picture")


def _file(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An array of zeros in a file, or what is there already. Raises SpaceError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode: Any = "r+" if path.is_file() else "w+"
        return np.lib.format.open_memmap(path, mode=mode, dtype=np.uint8, shape=shape)
    except (OSError, ValueError) as error:
        raise SpaceError(f"{path} cannot be written: {error}.") from error


def _is_picture(path: Path) -> bool:
    reader = EXTENSIONS.get(path.suffix.lower())
    return reader is not None and reader.modality == "image"


def _fitted(space: Space, size: int) -> ResizeCrop:
    """Pictures fitted to a student's size as the teacher fits them."""
    fit: Any = space["image"].tower.preprocess
    return replace(fit if isinstance(fit, ResizeCrop) else PLAIN, size=(size, size))


def _write(folder: Path, tensors: Mapping[str, Tensor], about: dict[str, Any]) -> dict[str, Any]:
    """Write a student's weights; gives what `WithStudent` is told of it."""
    from safetensors.numpy import save_file

    stored = {name: np.ascontiguousarray(tensor.detach().numpy()) for name, tensor in tensors.items()}
    save_file(stored, str(folder / "image.safetensors"))
    (folder / "image.safetensors").chmod(0o644)  # safetensors writes files that only their owner reads
    return {"image": {**about, "weights": "image.safetensors", "weights_hash": tensors_hash(stored)}}
