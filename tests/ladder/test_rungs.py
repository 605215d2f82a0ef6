"""Rungs by themselves: what libraries compute is what they compute, and nothing is lost by saving."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multimodal import ladder
from multimodal.errors import QueryError, SpaceError
from multimodal.ladder.words import Counts
from tests.fakes import fake_space
from tests.ladder.texts import TEXTS

SHORT = {"dim": 16, "epochs": 5}
TRAINED = ("word2vec-cbow", "word2vec-skipgram", "fasttext", "glove")


def fitted(name: str) -> ladder.Rung:
    return ladder.fit(name, TEXTS, **(SHORT if name.partition("+")[0] in TRAINED else {}))


def test_words_keep_apostrophes_and_part_scripts_without_blanks() -> None:
    assert ladder.words_of("The cow’s 2 CALVES, naïve.") == ["the", "cow’s", "2", "calves", "naïve"]
    assert ladder.words_of("東京の犬") == ["東", "京", "の", "犬"]
    assert ladder.words_of("--- !") == []


def test_onehot_says_which_words_a_text_has() -> None:
    rung = ladder.fit("onehot", ["a cow", "a horse a horse"])
    assert rung.words == ("a", "horse", "cow")
    np.testing.assert_allclose(rung.embed("horse horse a") ** 2, [[0.5, 0.5, 0]], atol=1e-6)
    assert rung.nearest("cow", 1) == [("a", 0.0)]


def test_tfidf_is_scikit_learns() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    rung = ladder.fit("tfidf", TEXTS)
    peer = TfidfVectorizer(analyzer=ladder.words_of).fit(TEXTS)
    order = [peer.vocabulary_[word] for word in rung.words]
    asked = ["a cherry and a wug and a leaf", *TEXTS[:5]]
    np.testing.assert_allclose(rung.embed(asked), peer.transform(asked).toarray()[:, order], atol=1e-6)


@pytest.mark.parametrize("sg", [0, 1])
def test_word2vec_is_gensims_mean(sg: int) -> None:
    from gensim.models import Word2Vec

    rung = fitted(("word2vec-cbow", "word2vec-skipgram")[sg])
    sentences = [ladder.words_of(text) for text in TEXTS]
    peer = Word2Vec(sentences, vector_size=16, window=5, min_count=1, epochs=5, seed=0, workers=1, sg=sg).wv
    mean = peer[["a", "ruby"]].mean(axis=0)
    np.testing.assert_allclose(rung.embed("a ruby"), mean[None] / np.linalg.norm(mean), atol=1e-5)
    found = [word for word, _ in rung.nearest("ruby", 5)]
    assert found == [word for word, _ in peer.most_similar("ruby", topn=5)]


def test_fasttext_embeds_words_it_never_saw_as_gensim_does_where_all_n_grams_were_seen() -> None:
    from gensim.models.fasttext_inner import compute_ngrams_bytes, ft_hash_bytes

    from multimodal.ladder.grams import ngram_buckets

    rung = fitted("fasttext")
    for word in ("cherry", "naïve", "東京", "a"):
        peer = [ft_hash_bytes(gram) % 200_000 for gram in compute_ngrams_bytes(word, 3, 6)]
        assert sorted(ngram_buckets(word, 3, 6, 200_000)) == sorted(peer)
    assert rung.out_of_vocabulary(["a cherrys leaf"]) == [["cherrys"]]
    assert np.linalg.norm(rung.embed("cherrys")) == pytest.approx(1, abs=1e-5)
    assert not rung.embed("zzzzqqq").any()
    assert rung.nearest("cherrys", 1)[0][0] in rung.words


def test_idf_and_sif_weigh_words() -> None:
    plain, idf, sif = (fitted(f"word2vec-skipgram{weights}") for weights in ("", "+idf", "+sif"))
    common, rare = plain.model.places["a"], plain.model.places["ruby"]
    assert np.all(plain.model.weights == 1)
    for rung in (idf, sif):
        assert rung.model.weights[rare] > rung.model.weights[common]
    total = sum(len(ladder.words_of(text)) for text in TEXTS)
    assert sif.model.weights[rare] == pytest.approx(1e-3 / (1e-3 + 4 / total))
    rows = sif.model.weights[[common, rare]] @ sif.model.table[[common, rare]]
    direction = sif.model.common[0]
    rows = rows - direction * (rows @ direction)
    np.testing.assert_allclose(sif.embed("a ruby")[0], rows / np.linalg.norm(rows), atol=1e-5)
    assert np.abs(sif.embed(TEXTS) @ direction).max() < 1e-5


@pytest.mark.parametrize("name", ["onehot", "tfidf", *TRAINED, "glove+sif"])
def test_a_rung_is_deterministic_and_survives_saving(name: str, tmp_path: Path) -> None:
    rung = fitted(name)
    assert fitted(name).rung_id == rung.rung_id
    again = ladder.load(rung.save(tmp_path / "rung"))
    assert (again.name, again.rung_id, again.words) == (rung.name, rung.rung_id, rung.words)
    asked = ["a ruby over the sea", "wug"]
    np.testing.assert_array_equal(again.embed(asked), rung.embed(asked))
    assert again.nearest("ruby", 3) == rung.nearest("ruby", 3)
    assert np.linalg.norm(rung.embed(TEXTS), axis=1) == pytest.approx(1, abs=1e-5)


def test_a_transformer_is_the_text_tower_of_a_space() -> None:
    space = fake_space()
    rung = ladder.fit("transformer", TEXTS, space=space)
    np.testing.assert_array_equal(rung.embed(TEXTS), space.embed(TEXTS))
    assert rung.nearest("red", 3) and rung.out_of_vocabulary(["a wug"]) == [[]]


def test_counts_of_other_words_are_aligned() -> None:
    counts = Counts.of([["a", "b", "a"], ["a"]]).aligned(["b", "x"])
    assert counts.occurrences.tolist() == [1, 0] and counts.documents.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("name", "how", "said"),
    [
        ("word3vec", {}, "no rung 'word3vec'"),
        ("tfidf+sif", {}, "no rung"),
        ("onehot", {"dim": 3}, "no such option: 'dim'"),
        ("glove", {"wide": 3}, "no such option: 'wide'"),
        ("transformer", {}, "space=load_space"),
        ("glove", {"path": "there-is-none.txt"}, "does not exist"),
        ("glove", {"path": "x.txt", "dim": 3}, "leave them out"),
        ("onehot", {"least": 100}, "at least 100 times"),
    ],
)
def test_wrong_use_is_told_in_a_sentence(name: str, how: dict[str, object], said: str) -> None:
    with pytest.raises((QueryError, SpaceError), match=said):
        ladder.fit(name, TEXTS, **how)


def test_texts_without_words_and_unknown_words_are_refused(tmp_path: Path) -> None:
    for name in ("onehot", "glove"):
        with pytest.raises(QueryError, match="no word"):
            ladder.fit(name, ["...", "!"])
    with pytest.raises(QueryError, match="list of texts"):
        ladder.fit("onehot", "one text")
    with pytest.raises(QueryError, match="'wug'"):
        fitted("onehot").nearest("wug")
    with pytest.raises(SpaceError, match="as a rung"):
        ladder.load(tmp_path)
