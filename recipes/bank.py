"""The generic queries that searches are judged against: multimodal/starter/bank.safetensors.

    python -m recipes.bank

`text` holds the vectors of the everyday phrases in bank.txt (written for this package), `image`, `video` and
`audio` those of items that training used, never of tests; `centre.<modality>` the mean vector of rows of a
modality. All float16. `multimodal.library.calibration` says what they are for.
"""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from multimodal import Space, load_space
from multimodal.phrases import everyday
from recipes.config import STARTER
from recipes.generic import moments, pictures, shown, sounds
from recipes.wordnet import nouns

FILE = STARTER / "bank.safetensors"
EACH = 112
"""Queries of each kind but text: with them the file stays below a megabyte."""
PASSAGES = 400


def passages() -> list[str]:
    """Definitions of 400 nouns, drawn by number: what a text says of a thing."""
    senses = nouns().senses
    chosen = random.Random(0).sample(sorted(senses), PASSAGES)
    return [f"{senses[number].words[0]}: {senses[number].definition}." for number in chosen]


def rows(space: Space) -> dict[str, NDArray[np.float32]]:
    """Rows (n, dim) by modality: of passages, pictures, moments of videos and sounds."""
    drawn = pictures()
    found = {"text": space.embed(passages())}
    if "image" in space:
        found["image"] = space.embed([shown(p) for p in drawn])
    if "video" in space:
        found["video"] = space.embed(moments(space, drawn)[1])
    if "audio" in space:
        found["audio"] = space.embed([audio for _, audio in sounds()])
    return found


def tensors(space: Space) -> dict[str, NDArray[np.float16]]:
    """What the file holds."""
    found = rows(space)
    made = {f"centre.{modality}": vectors.mean(axis=0) for modality, vectors in found.items()}
    made["text"] = space.embed(everyday())
    for modality, vectors in found.items():
        if modality != "text":
            chosen = sorted(random.Random(0).sample(range(len(vectors)), min(EACH, len(vectors))))
            made[modality] = vectors[chosen]
    return {name: vectors.astype(np.float16) for name, vectors in made.items()}


def main() -> None:
    made = tensors(load_space())
    save_file(made, str(FILE), metadata={"format": "bank 1"})
    FILE.chmod(0o644)
    for name, vectors in made.items():
        print(name, vectors.shape)
    print(f"{FILE.name}: {FILE.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
