"""Texts: their sub-words, and the words that carry them.

Which words carry a sentence is measured by leaving each out (occlusion: Li et al. 2016, Understanding neural
networks through representation erasure): it works on every tower alike. Attention says which sub-words the
network looked at, and that is often punctuation.
"""

from __future__ import annotations

import re
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.encoder import Encoder
from multimodal.explain.projected import beneath
from multimodal.explain.tokens import Place, Tokens, made
from multimodal.towers.minilm import MiniLMTower

WORD = re.compile(r"\w+(?:['’\-]\w+)*")


def words(text: str) -> list[tuple[int, int]]:
    """Offsets (begin, end) of the words of a text; of what is no word to us, its one stretch."""
    found = [match.span() for match in WORD.finditer(text)]
    return found or [(0, len(text))]


def tokens(encoder: Encoder, text: str, offset: int = 0) -> Tokens:
    """The sub-words of a text as its tower cuts it, with their offsets raised by `offset`.

    Weights are the attention that pooling pays to each in the last layer; special tokens are left out.
    """
    tower, rows = beneath(encoder)
    strings, chars, features, weights = _seen(tower, text)
    places = [
        Place(text=string, chars=(begin + offset, end + offset))
        for string, (begin, end) in zip(strings, chars, strict=True)
    ]
    return made("text", rows(features), weights, places)


def relevance(
    encoder: Encoder, text: str, query: NDArray[np.float32]
) -> tuple[list[tuple[int, int]], NDArray[np.float32]]:
    """The words of a text, and how much the cosine with `query` (dim,) falls when one is left out, (w,)."""
    spans = words(text)
    if len(spans) == 1:
        return spans, encoder.encode([text])[0] @ query[:, None]
    without = [f"{text[:begin].rstrip()} {text[end:].lstrip()}".strip() for begin, end in spans]
    cosines = encoder.encode([text, *without]) @ query
    return spans, (cosines[0] - cosines[1:]).astype(np.float32)


Seen = tuple[list[str], list[tuple[int, int]], NDArray[Any], "NDArray[Any] | None"]


@singledispatch
def _seen(tower: Any, text: str) -> Seen:
    """Strings, offsets, features (t, d) and attention (t,) of a tower's sub-words.

    A tower of any other make: its words, each embedded alone.
    """
    if hasattr(tower.preprocess, "context_length"):
        from multimodal.explain.clip import text_tokens

        found = text_tokens(tower, text)
        if found is not None:
            return found
    spans = words(text)
    strings = [text[begin:end] for begin, end in spans]
    features = tower.forward([tower.preprocess(string) for string in strings])
    return strings, spans, features, None


@_seen.register(MiniLMTower)
def _(tower: MiniLMTower, text: str) -> Seen:
    strings, chars = tower.preprocess.pieces(text)
    features, weights = [], []
    for window in np.atleast_2d(tower.preprocess(text)):
        ids = window[window >= 0][None]
        hidden, attention = tower.last_layer(ids, np.ones(ids.shape, np.float32))
        features.append(hidden[0, 1:-1])  # without [CLS] and [SEP]
        # the mean over the last layer is what is pooled, so each row of it counts the same
        weights.append(attention[0].mean(axis=(0, 1))[1:-1] * ids.shape[1])
    return strings, chars, np.concatenate(features), np.concatenate(weights)
