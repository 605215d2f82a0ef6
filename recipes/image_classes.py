"""Sentence vectors of the classifier's 1,000 classes: what ConSE mixes.

Names come from WordNet (as timm lists them) and from open_clip's prompt list; a class's vector is the
unit mean over its prompts, so that neither wording is privileged.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recipes.text_teacher import embed_texts

PROMPTS = ("{}", "a photo of a {}", "A {}.")


@lru_cache(maxsize=1)
def class_names() -> list[tuple[str, ...]]:
    """Names of each class in the classifier's order: the prompt list's first, then WordNet's lemmas."""
    import timm
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

    info = Path(timm.__file__).parent / "data" / "_info"
    lemmas = dict(
        line.split("\t", 1) for line in (info / "imagenet_synset_to_lemma.txt").read_text().splitlines()
    )
    synsets = (info / "imagenet_synsets.txt").read_text().split()
    return [
        tuple(dict.fromkeys([name, *(lemma.strip() for lemma in lemmas[synset].split(","))]))
        for name, synset in zip(IMAGENET_CLASSNAMES, synsets, strict=True)
    ]


def class_vectors(synonym_weight: float = 0.25) -> NDArray[np.float32]:
    """Unit rows (1000, 384): the first name's prompts, plus `synonym_weight` of the mean of the others'."""
    rows = []
    for names in class_names():
        first = embed_texts([p.format(names[0]) for p in PROMPTS]).mean(0)
        if len(names) > 1:
            others = embed_texts([p.format(n) for n in names[1:] for p in PROMPTS]).mean(0)
            first = first + synonym_weight * others
        rows.append(first / np.linalg.norm(first))
    return np.stack(rows).astype(np.float32)
