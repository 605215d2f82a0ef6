"""Distilling: a static text tower that mimics a space's own on unlabelled texts.

The student is a table of word vectors: the teacher's rows of single words, weighted by how rare a word is
(SIF: Arora et al. 2017, A simple but tough-to-beat baseline for sentence embeddings), as Model2Vec does. A
ridge map of their sum to the teacher's rows of the texts follows. Other modalities stay the teacher's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from multimodal.errors import QueryError

if TYPE_CHECKING:
    from multimodal.space import Space

STUDENTS = ("static",)
PHRASES = Path(__file__).parents[1] / "starter" / "bank.txt"


def texts_of(source: str | Path | Sequence[str] | None) -> list[str]:
    """Texts to learn from, once each: a file's lines, the lines of a folder's *.txt and *.md files, those
    given, or for None the bundled phrases. Raises QueryError."""
    if isinstance(source, Sequence) and not isinstance(source, str):
        lines = list(source)
    else:
        path = PHRASES if source is None else Path(source)
        files = [path]
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.suffix.lower() in (".txt", ".md"))
        try:
            lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise QueryError(f"{path} cannot be read as lines of text: {error}.") from error
    return list(dict.fromkeys(line.strip() for line in lines if line.strip()))


def distil(
    space: Space,
    source: str | Path | Sequence[str] | None = None,
    student: str = "static",
    *,
    most: int = 50_000,
) -> Space:
    """A space whose texts go through a small student of `space`'s text tower; save it to load it again.

    `source` as in `texts_of`; at most `most` words, the most frequent, are kept. A text without a word of
    them gives the mean of what was learned: give texts that use the words people will ask for. Raises
    QueryError for an unknown student, a space without texts, or fewer than 3 texts.
    """
    from multimodal.ladder.models import WordSum
    from multimodal.ladder.rung import Rung
    from multimodal.ladder.words import Counts, words_of

    if student not in STUDENTS:
        raise QueryError(f"There is no student {student!r}: give one of {', '.join(STUDENTS)}.")
    if "text" not in space:
        raise QueryError(f"{space.name} has no text tower to learn from.")
    texts = texts_of(source)
    if len(texts) < 3:
        raise QueryError(f"A student needs at least 3 texts to learn from, not {len(texts)}.")
    counts = Counts.of([words_of(text) for text in texts], most=most)
    words = tuple(counts.words)
    table = space.embed(list(words))
    return Rung(f"{student}-student", WordSum(words, counts.sif(), table=table)).into(space, texts)
