"""Arithmetic of queries: what is looked for is a sum of terms of any modality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal.errors import QueryError
from multimodal.query import Query, Term, combined, parsed
from multimodal.types import Modality
from tests.fakes import fake_space

AXES = np.eye(6, dtype=np.float32)
GAP: dict[Modality, np.ndarray] = {"text": 5 * AXES[4], "image": 5 * AXES[5]}
"""What all texts and all pictures have in common, far larger than what tells them apart."""


def embed(term: Term) -> tuple[Modality, np.ndarray]:
    modality: Modality = "image" if isinstance(term.item, Path) else "text"
    row = GAP[modality] + AXES[int(str(term.item)[-1])]
    return modality, (row / np.linalg.norm(row)).astype(np.float32)


def centre(modality: Modality) -> np.ndarray:
    return (GAP[modality] / np.sqrt(26)).astype(np.float32)


def test_operators_make_weighted_terms():
    query = 2 * (fake_space().query("beach") + Path("dog.jpg")) - "people"
    assert repr(query) == "Query(+2:'beach' +2:dog.jpg -'people')"
    assert repr("sea" - Query.of("boats")) == "Query(+'sea' -'boats')"
    assert repr("sea" + Query.of(Path("a.mp4"), at=12.5)) == "Query(+'sea' +a.mp4@12.5)"
    assert query.words == "beach"


def test_a_single_term_is_its_own_vector():
    modality, vector = combined(3 * Query.of("0"), embed, centre)
    assert modality == "text"
    np.testing.assert_array_equal(vector, embed(Term("0"))[1])


def test_terms_of_two_modalities_count_alike():
    modality, vector = combined(Query.of("0") + Path("1"), embed, centre)
    assert modality is None
    np.testing.assert_allclose(vector[:2], np.sqrt(0.5), atol=1e-3)
    assert np.abs(vector[4:]).max() < 1e-3  # nothing is left of what only tells kinds apart
    _, plain = combined(Query.of("0") + Path("1"), embed, lambda _: None)
    assert np.abs(plain[4:]).min() > 0.6  # without centres it is all that is left


def test_a_term_taken_away_points_the_other_way():
    _, vector = combined(Query.of("0") - "1", embed, centre)
    assert vector[0] > 0.5 and vector[1] < -0.5
    _, away = combined(-Query.of("0"), embed, centre)
    assert away[0] < -0.9


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.1, 9)), min_size=1, max_size=5))
def test_every_sum_is_a_unit_vector_and_scale_does_not_matter(terms: list[tuple[int, float]]):
    query = Query(tuple(Term(str(axis), weight) for axis, weight in terms))
    _, vector = combined(query, embed, centre)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(combined(query * 7, embed, centre)[1], vector, atol=1e-5)


def test_terms_that_cancel_are_refused():
    with pytest.raises(QueryError, match="cancel"):
        combined(Query.of("0") - "0", embed, centre)
    with pytest.raises(QueryError, match="empty"):
        combined(Query(()), embed, centre)
    with pytest.raises(QueryError, match="Only a file has moments"):
        Query.of("beach", at=3.0)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["beach"], "Query(+'beach')"),
        (["3:10 to Yuma"], "Query(+'3:10 to Yuma')"),
        (["beach", "+dog.jpg", "-people", "2:sunset"], "Query(+'beach' +dog.jpg -'people' +2:'sunset')"),
        (["a dog", "-0.5:a leash"], "Query(+'a dog' -0.5:'a leash')"),
        (["-people"], "Query(-'people')"),
        (["sea", "12: angry men"], "Query(+'sea' +'12: angry men')"),
    ],
)
def test_words_of_a_command_line(words: list[str], meant: str):
    assert repr(parsed(words, lambda word: Path(word) if "." in word else word)) == meant


@pytest.mark.parametrize("words", [["a", "+"], ["a", "-"], ["+", "b"]])
def test_a_sign_alone_is_refused(words: list[str]):
    with pytest.raises(QueryError, match="empty"):
        parsed(words, str)
