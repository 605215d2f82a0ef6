"""A text tower that needs no network: a table of words.

Each word begins as what the teacher makes of it by itself, a text is the sum of its words weighted by how
rare they are (the idea of Model2Vec by MinishLab, with the SIF weights of Arora et al. 2017); then the table
moves so that these sums come near what the teacher makes of whole texts: a ridge regression on the words of
all texts at once, drawn to the table as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multimodal.distil.teaching import text_rows
from multimodal.errors import NoMediaFile, QueryError
from multimodal.ladder import Rung, words_of
from multimodal.ladder.models import WordSum
from multimodal.ladder.source import WithRung, headed
from multimodal.ladder.words import Counts
from multimodal.phrases import EVERYDAY

if TYPE_CHECKING:
    from multimodal.space import Space

Floats = NDArray[np.float32]

PULLS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Strengths of the pull to the words' own vectors that are tried on a tenth of the texts, left out for it."""
TRIED = 24
"""Dimensions that the strength is chosen on: the others want the same."""


def table(
    space: Space,
    texts: Sequence[str],
    words: int = 20_000,
    seed: int = 0,
    run: Path | None = None,
    progress: Callable[[str, int, int], object] | None = None,
) -> WithRung:
    """The space's source with its texts embedded by a table of at most `words` words.

    Words that are not among the texts' say nothing to the student.
    """
    given = list(texts)
    counts = Counts.of((words_of(text) for text in given), most=words)
    alone, wanted = (text_rows(space, some, run, progress) for some in (counts.words, given))
    start = WordSum(counts.words, counts.sif(), table=alone)
    model = WordSum(counts.words, start.weights, table=_moved(start, given, wanted, seed))
    rung = Rung("distilled", model)
    return WithRung(space._source, rung, headed(rung, space, given, wanted))


def read(texts: str | Path | Sequence[str] | None) -> list[str]:
    """Texts, each once; the phrases that ship for None. Raises NoMediaFile, QueryError."""
    if texts is None or isinstance(texts, (str, Path)):
        source = EVERYDAY if texts is None else Path(texts)
        try:
            lines: Sequence[str] = source.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, ValueError) as error:
            if not source.is_file():
                raise NoMediaFile(f"{source} does not exist or is not a file.") from None
            raise QueryError(f"{source} cannot be read as texts: {error}.") from error
    else:
        lines = texts
    found = list(dict.fromkeys(line.strip() for line in lines if words_of(line)))
    if len(found) < 10:
        raise QueryError(f"A student needs at least 10 different texts, not {len(found)}.")
    return found


def _moved(start: WordSum, texts: list[str], wanted: Floats, seed: int) -> Floats:
    """The table (V, dim) whose sums come nearest to `wanted` (n, dim), pulled as left out texts want."""
    assert start.table is not None
    bags = _bags(start, texts)
    missing = wanted - bags @ start.table
    order = np.random.default_rng(seed).permutation(len(texts))
    apart, kept = order[: len(order) // 10], order[len(order) // 10 :]
    dims = np.linspace(0, wanted.shape[1] - 1, min(TRIED, wanted.shape[1])).astype(int)
    errors = []
    for pull in PULLS:
        change = _ridge(bags[kept], missing[np.ix_(kept, dims)], pull)
        errors.append(float(np.square(missing[np.ix_(apart, dims)] - bags[apart] @ change).mean()))
    change = _ridge(bags, missing, PULLS[int(np.argmin(errors))])
    return np.asarray(start.table + change, np.float32)


def _bags(model: WordSum, texts: list[str]) -> Any:
    """Texts as rows of word weights (n, V), sparse, scaled so that their sums of the table have length 1."""
    from scipy.sparse import csr_matrix, diags

    counted = [model.counted(text)[:2] for text in texts]
    ends = np.cumsum([0, *(len(places) for places, _ in counted)])
    values = np.concatenate([weights for _, weights in counted])
    columns = np.concatenate([places for places, _ in counted])
    bags = csr_matrix((values, columns, ends), shape=(len(texts), len(model.words)))
    lengths = np.linalg.norm(bags @ model.table, axis=1)
    return csr_matrix(diags(1 / np.maximum(lengths, 1e-6)) @ bags)


def _ridge(bags: Any, missing: NDArray[np.floating], pull: float) -> Floats:
    """The change (V, d) of the table that explains what is missing (n, d), by conjugate gradients."""
    from scipy.sparse.linalg import LinearOperator, cg

    turned = bags.T.tocsr()
    size = bags.shape[1]
    # bags.T @ bags would be full where words are frequent: ten times as much work.
    inner = LinearOperator((size, size), matvec=lambda x: turned @ (bags @ x) + pull * x, dtype=np.float64)
    sought = turned @ missing
    columns = [cg(inner, sought[:, place], rtol=1e-3, maxiter=60)[0] for place in range(sought.shape[1])]
    return np.stack(columns, axis=1).astype(np.float32)
