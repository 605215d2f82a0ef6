"""Each rung by its name, fitted on texts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import QueryError
from multimodal.ladder.extras import needed
from multimodal.ladder.grams import Grams
from multimodal.ladder.models import Sentences, WordSum
from multimodal.ladder.rung import Rung
from multimodal.ladder.words import Counts, words_of
from multimodal.towers.base import unit

if TYPE_CHECKING:
    from multimodal.space import Space

Floats = NDArray[np.float32]
Learned = tuple[Sequence[str], Floats, "Grams | None"]

VECTORS = ("word2vec-cbow", "word2vec-skipgram", "fasttext", "glove")
WEIGHTINGS = ("mean", "idf", "sif")
RUNGS = ("onehot", "tfidf", *VECTORS, "transformer")
"""Names that `fit` takes; those of word vectors also with +idf or +sif behind them."""
ENOUGH = 5_000_000
"""Words that training looks at: few texts are read up to 50 times, many at least 5 times."""
GLOVE_EPOCHS = 25
"""At least: each of its epochs sees a pair of words once, however often they met."""
BUCKETS = 200_000
"""Of FastText's n-grams: a tenth of its default, 80 MB; a million words of text fill fewer."""
LONGEST = 10_000
"""Words of a sentence beyond which gensim would leave the rest out."""


def fit(name: str, texts: Sequence[str], **how: Any) -> Rung:
    """The rung of a name, fitted on texts; deterministic.

    `onehot`, `tfidf`: `least` times that a word must occur (1), `most` words kept (20,000).
    `word2vec-cbow`, `word2vec-skipgram`, `fasttext`, `glove`: `dim` (100), `window` (5; glove 10), `epochs`
    (by the length of the texts), `least` (1), `seed` (0); or `path`, a file of vectors in its usual format
    (`multimodal.ladder.formats`) with `limit`, words read; the texts are then only counted, for the weights.
    `transformer`: `space`, whose text tower it is. Raises QueryError (an unknown name or option, no words),
    SpaceError (a file that cannot be read, the extra is missing).
    """
    kind, _, weighting = name.partition("+")
    if kind not in RUNGS or (weighting and (kind not in VECTORS or weighting not in WEIGHTINGS)):
        names = ", ".join(RUNGS)
        raise QueryError(f"There is no rung {name!r}: give {names}, word vectors also with +idf or +sif.")
    if isinstance(texts, str):
        raise QueryError("Give a list of texts, not one text.")
    makers: dict[str, Callable[..., Rung]] = {"onehot": _onehot, "tfidf": _tfidf, "transformer": _transformer}
    maker: Callable[..., Rung] = makers.get(kind) or _vectors
    try:
        return maker(name, texts, **how)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise QueryError(
            f"The rung {name!r} has no such option: {str(error).split('argument ')[-1]}."
        ) from error


def _onehot(name: str, texts: Sequence[str], least: int = 1, most: int = 20_000) -> Rung:
    counts = _bag(texts, least, most)
    return Rung(name, WordSum(counts.words, np.ones(len(counts.words), np.float32), once=True))


def _tfidf(name: str, texts: Sequence[str], least: int = 1, most: int = 20_000) -> Rung:
    counts = _bag(texts, least, most)
    return Rung(name, WordSum(counts.words, counts.idf()))


def _bag(texts: Sequence[str], least: int, most: int) -> Counts:
    """Words of texts, as scikit-learn counts them."""
    with needed():
        from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(analyzer=words_of)
    try:
        table = counter.fit_transform(texts)
    except ValueError:
        raise QueryError("The texts hold no words.") from None
    occurrences, documents = np.asarray(table.sum(axis=0)).ravel(), table.getnnz(axis=0)
    words = counter.get_feature_names_out()
    order = np.lexsort((words, -occurrences))
    order = order[occurrences[order] >= least][:most]
    if not len(order):
        raise QueryError(f"The texts hold no word that occurs at least {least} times.")
    kept = tuple(str(word) for word in words[order])
    return Counts(kept, occurrences[order].astype(np.int64), documents[order].astype(np.int64), len(texts))


def _transformer(name: str, texts: Sequence[str], space: Space | None = None, most: int = 5000) -> Rung:
    if space is None:
        raise QueryError("The rung 'transformer' is the text tower of a space: give space=load_space().")
    return Rung(space.name, Sentences(space, Counts.of(map(words_of, texts), most=most).words))


def _vectors(
    name: str, texts: Sequence[str], path: str | Path | None = None, limit: int | None = None, **how: Any
) -> Rung:
    kind, _, weighting = name.partition("+")
    sentences = [words_of(text) for text in texts]
    counts = Counts.of(sentences, least=how.get("least", 1))
    if path is not None:
        from multimodal.ladder.formats import read_vectors

        if how:
            raise QueryError(f"{', '.join(how)} are for training, and {path} is trained: leave them out.")
        learned: Learned = read_vectors(path, limit)
    else:
        learned = (_glove if kind == "glove" else _gensim)(kind, sentences, counts, **how)
    words, table, grams = learned
    seen = counts.aligned(words)
    weights = np.ones(len(words), np.float32)
    if weighting in ("idf", "sif"):
        weights = seen.idf() if weighting == "idf" else seen.sif()
    model = WordSum(tuple(words), weights, table=table, grams=grams)
    if weighting == "sif":
        model = WordSum(model.words, weights, table=table, grams=grams, common=_common(model, texts))
    return Rung(name, model)


def _common(model: WordSum, texts: Sequence[str]) -> Floats:
    """The first right singular vector (1, dim) of the texts' rows: what all sentences share."""
    rows = model.features(texts).astype(np.float64)
    values, vectors = np.linalg.eigh(rows.T @ rows)
    return unit(vectors[:, np.argmax(values)][None])


def _gensim(
    kind: str,
    sentences: Sequence[Sequence[str]],
    counts: Counts,
    dim: int = 100,
    window: int = 5,
    epochs: int | None = None,
    least: int = 1,
    seed: int = 0,
) -> Learned:
    with needed():
        from gensim.models import FastText, Word2Vec

    settings: dict[str, Any] = {
        "sentences": list(_pieces(sentences)),
        "vector_size": dim,
        "window": window,
        "min_count": least,
        "epochs": epochs or _epochs(counts, 50),
        "seed": seed,
        "workers": 1,  # more would not give the same vectors twice
        "sg": int(kind != "word2vec-cbow"),
    }
    if kind != "fasttext":
        vectors = Word2Vec(**settings).wv
        return list(vectors.index_to_key), np.asarray(vectors.vectors, np.float32), None
    known = FastText(bucket=BUCKETS, **settings).wv
    used = np.unique(np.concatenate([np.asarray(one, np.int64) for one in known.buckets_word]))
    grams = Grams(used, np.asarray(known.vectors_ngrams[used], np.float32), known.min_n, known.max_n, BUCKETS)
    return list(known.index_to_key), np.asarray(known.vectors, np.float32), grams


def _glove(
    kind: str,
    sentences: Sequence[Sequence[str]],
    counts: Counts,
    dim: int = 100,
    window: int = 10,
    epochs: int | None = None,
    least: int = 1,
    seed: int = 0,
) -> Learned:
    from multimodal.ladder import glove

    places = {word: place for place, word in enumerate(counts.words)}
    numbers = [np.array([places.get(word, -1) for word in words], np.int64) for words in sentences]
    rows, columns, near = glove.co_occurrences(numbers, len(places), window)
    if not len(near):
        raise QueryError("No two words stand near each other in the texts.")
    epochs = epochs or max(_epochs(counts, 50), GLOVE_EPOCHS)
    return counts.words, glove.trained(rows, columns, near, len(places), dim, epochs, seed=seed)[0], None


def _epochs(counts: Counts, most: int) -> int:
    return min(max(math.ceil(ENOUGH / int(counts.occurrences.sum())), 5), most)


def _pieces(sentences: Sequence[Sequence[str]]) -> Iterator[Sequence[str]]:
    for words in sentences:
        for begin in range(0, len(words), LONGEST):
            yield words[begin : begin + LONGEST]
