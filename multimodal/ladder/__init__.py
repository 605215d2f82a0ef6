"""The ladder of text embeddings: from a bag of words to a transformer, each a text tower of a space.

    >>> rung = ladder.fit("word2vec-skipgram+sif", texts)
    >>> rung.nearest("king"), rung.out_of_vocabulary(["a wug"])
    >>> small = rung.into(space, pairs)      # a Space: even a bag of words searches pictures
    >>> small.save("small-space")            # load_space("small-space")

Names of rungs: `onehot` and `tfidf` (scikit-learn), `word2vec-cbow`, `word2vec-skipgram` and `fasttext`
(gensim), `glove` (trained in torch, or its published files), and `transformer` (the text tower of a space).
Word vectors are averaged; with `+idf` behind the name they are weighted by inverse document frequency, with
`+sif` by smooth inverse frequency with the common component removed (Arora et al. 2017). Fitting needs the
extra `ladder`; what is fitted runs on numpy alone. `multimodal.climb` measures rungs on the same pairs.
"""

from __future__ import annotations

from multimodal.ladder.fitting import RUNGS, fit
from multimodal.ladder.head import Head, fit_head
from multimodal.ladder.rung import Rung, load
from multimodal.ladder.words import words_of

__all__ = ["RUNGS", "Head", "Rung", "fit", "fit_head", "load", "words_of"]
