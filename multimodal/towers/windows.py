"""Texts longer than a tower's context: split into windows of tokens, whose features are pooled into one.

The feature of a long text is the mean of its windows' unit features, weighted by their tokens: what the
OpenAI cookbook recommends for texts above a model's context ("Embedding texts that are longer than the
model's maximum context length"). Unit features, because a length says nothing about a window's share of the
text; weighted, so that a short last window counts for what it holds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from multimodal.towers.base import unit

BLOCK = 32
"""Windows that go through a tower at once where a batch of texts has more windows than texts."""


def spans(count: int, most: int) -> list[tuple[int, int]]:
    """`count` tokens as stretches (begin, end) of at most `most`, in order, as few and as even as can be."""
    windows = max(1, -(-count // most))
    short, longer = divmod(count, windows)
    cuts = [number * short + min(number, longer) for number in range(windows + 1)]
    return list(zip(cuts, cuts[1:], strict=False))  # noqa: RUF007


def pooled(features: NDArray[np.float32], counts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    """Features (n, d) of n texts from those of their windows (w, d), one text's windows after another's;
    counts[i] are the tokens of each window of text i. The feature of a text of one window is that window's.
    """
    if all(len(tokens) == 1 for tokens in counts):
        return features
    rows, begin = [], 0
    for tokens in counts:
        windows = features[begin : begin + len(tokens)]
        begin += len(tokens)
        if len(tokens) == 1:
            rows.append(windows[0])
        else:
            weights = np.array(tokens, dtype=np.float32) / np.float32(sum(tokens))
            rows.append(weights @ unit(windows))
    return np.stack(rows)
