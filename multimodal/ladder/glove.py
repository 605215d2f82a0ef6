"""GloVe (Pennington et al. 2014): word vectors whose products are the logarithms of co-occurrence counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

RATE = 0.05
"""AdaGrad's step, and its squares begin at 1, as in the authors' program."""
POWER = 0.75
BATCH = 1024


def co_occurrences(
    texts: Sequence[NDArray[np.int64]], words: int, window: int = 10
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """How often words stand near each other: rows (m,), columns (m,), counts (m,) above 0, sorted.

    Texts are word numbers (t,), -1 for a word that is passed over but keeps its place. Two words at a
    distance of d words, at most `window`, count 1 / d, both ways round.
    """
    numbers = np.concatenate([np.append(text, -1) for text in texts])
    owner = np.repeat(np.arange(len(texts)), [len(text) + 1 for text in texts])
    keys: NDArray[np.int64] = np.zeros(0, np.int64)
    counts: NDArray[Any] = np.zeros(0)
    for distance in range(1, min(window, len(numbers) - 1) + 1):
        one, other = numbers[:-distance], numbers[distance:]
        near = (one >= 0) & (other >= 0) & (owner[:-distance] == owner[distance:])
        one, other = one[near], other[near]
        both = np.concatenate([keys, one * words + other, other * words + one])
        added = np.concatenate([counts, np.full(2 * len(one), 1 / distance)])
        keys, inverse = np.unique(both, return_inverse=True)
        counts = np.bincount(inverse, added, len(keys))
    return keys // words, keys % words, counts.astype(np.float32)


def trained(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    counts: Floats,
    words: int,
    dim: int = 100,
    epochs: int = 25,
    most: float = 10.0,
    seed: int = 0,
) -> tuple[Floats, list[float]]:
    """Word vectors (words, dim) fitted to co-occurrences, and the mean weighted error of each epoch.

    Least squares of w_i . v_j + b_i + c_j on ln x_ij, each weighted by min(1, (x_ij / most) ** 0.75), by
    AdaGrad over the pairs in random order; a word's vector is w + v. `most` is 10, the authors' value
    for small corpora, theirs for billions of words is 100. Deterministic on one machine.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    # the last number of each row is the word's bias
    tables = [
        torch.nn.Embedding.from_pretrained(
            (torch.rand((words, dim + 1), generator=generator) - 0.5) / dim, freeze=False, sparse=True
        )
        for _ in range(2)
    ]
    parameters = [table.weight for table in tables]
    adagrad = torch.optim.Adagrad(parameters, lr=RATE, initial_accumulator_value=1.0)
    here, there, x = torch.from_numpy(rows), torch.from_numpy(columns), torch.from_numpy(counts)
    logs, weights = x.log(), (x / most).clamp(max=1) ** POWER
    errors = []
    for _ in range(epochs):
        total = 0.0
        for batch in torch.randperm(len(x), generator=generator).split(BATCH):
            w, v = tables[0](here[batch]), tables[1](there[batch])  # (b, dim + 1)
            fitted = (w[:, :-1] * v[:, :-1]).sum(1) + w[:, -1] + v[:, -1]
            loss = (weights[batch] * (fitted - logs[batch]) ** 2).sum()
            adagrad.zero_grad()
            loss.backward()
            with torch.sparse.check_sparse_tensor_invariants(False):  # unsaid, torch warns of each step
                adagrad.step()
            total += float(loss.detach())
        errors.append(total / len(x))
    vectors = (parameters[0] + parameters[1]).detach()[:, :-1]
    return np.ascontiguousarray(vectors.numpy(), np.float32), errors
