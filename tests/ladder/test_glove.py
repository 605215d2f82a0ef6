"""GloVe's counting and training, and files of word vectors."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest

from multimodal import ladder
from multimodal.errors import SpaceError
from multimodal.ladder import glove
from multimodal.ladder.formats import read_vectors

TEXT = "the 0.1 0.2 -0.3\ncow 1 0 0\nat name@domain.com 0 1 0\n"


def test_co_occurrences_count_one_over_the_distance_inside_a_text() -> None:
    texts = [np.array([0, 1, 2, 0]), np.array([1, -1, 1])]
    rows, columns, counts = glove.co_occurrences(texts, 3, window=2)
    table = np.zeros((3, 3))
    table[rows, columns] = counts
    # 0 1 2 0: 0-1 1, 0-2 1/2, 1-2 1, 1-0 1/2, 2-0 1; 1 . 1: 1/2, seen from both ends
    np.testing.assert_allclose(table, [[0, 1.5, 1.5], [1.5, 1, 1], [1.5, 1, 0]])


def test_training_fits_the_logarithms_of_the_counts() -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(16, 3))
    table = np.exp(hidden @ hidden.T / 2)
    rows, columns = (part.ravel() for part in np.indices(table.shape))
    counts = table.ravel().astype(np.float32)
    vectors, errors = glove.trained(rows, columns, counts, 16, dim=8, epochs=50)
    assert errors[-1] < 0.3 * errors[0]
    product = np.corrcoef((vectors @ vectors.T).ravel(), (hidden @ hidden.T).ravel())[0, 1]
    assert product > 0.5
    np.testing.assert_array_equal(glove.trained(rows, columns, counts, 16, dim=8, epochs=50)[0], vectors)


@pytest.mark.parametrize("header", ["", "3 3\n"])
@pytest.mark.parametrize("ending", [".txt", ".txt.gz", ".zip", ".vec"])
def test_text_files_are_read_with_and_without_a_header(tmp_path: Path, header: str, ending: str) -> None:
    path, data = tmp_path / f"vectors{ending}", (header + TEXT).encode()
    if ending == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("glove.txt", data)
    else:
        path.write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    words, table, grams = read_vectors(path)
    if header:  # without it, how many numbers a line has is known from the first
        assert words == ["the", "cow", "at name@domain.com"]
    assert words[2] == "at name@domain.com" and grams is None
    np.testing.assert_allclose(table, [[0.1, 0.2, -0.3], [1, 0, 0], [0, 1, 0]], atol=1e-6)
    assert read_vectors(path, limit=2)[0] == ["the", "cow"]


def test_a_rung_of_a_file_knows_its_words(tmp_path: Path) -> None:
    path = tmp_path / "glove.txt"
    path.write_text(TEXT, encoding="utf-8")
    rung = ladder.fit("glove+idf", ["the cow", "the wug"], path=path)
    assert rung.dim == 3 and rung.out_of_vocabulary(["the wug"]) == [["wug"]]
    assert rung.nearest("cow", 1)[0][0] == "the"
    assert rung.model.weights[1] > rung.model.weights[0]


def test_binary_files_of_word2vec_and_fasttext_are_read(tmp_path: Path) -> None:
    from gensim.models import FastText
    from gensim.models.fasttext import save_facebook_model

    sentences = [["a", "cherry"], ["the", "sea"]]
    model = FastText(sentences, vector_size=6, min_count=1, epochs=1, bucket=500, seed=0, workers=1)
    model.wv.save_word2vec_format(str(tmp_path / "words.bin"), binary=True)
    words, table, grams = read_vectors(tmp_path / "words.bin")
    assert words == model.wv.index_to_key and grams is None
    np.testing.assert_allclose(table, model.wv.vectors, atol=1e-6)
    save_facebook_model(model, str(tmp_path / "subwords.bin"))
    rung = ladder.fit("fasttext", ["a cherry"], path=tmp_path / "subwords.bin")
    wug = model.wv["cherrywug"]  # every n-gram has a vector there, seen or not
    np.testing.assert_allclose(rung.embed("cherrywug")[0], wug / np.linalg.norm(wug), atol=1e-5)


@pytest.mark.parametrize("data", [b"", b"only words here\n", b"a 1 2\nb 1\n", b"a 1 x2\n", b"2 2\na 1 b\n"])
def test_what_is_no_file_of_vectors_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "vectors.txt"
    path.write_bytes(data)
    with pytest.raises(SpaceError, match=r"vectors\.txt"):
        read_vectors(path)
