"""A library as LangChain sees it: its own tests for vector stores and embeddings, and what is ours alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("langchain_core", reason="langchain-core is not installed")
standard = pytest.importorskip("langchain_tests.integration_tests", reason="langchain-tests is not installed")
units = pytest.importorskip("langchain_tests.unit_tests", reason="langchain-tests is not installed")

from langchain_core.documents import Document  # noqa: E402
from langchain_core.embeddings import DeterministicFakeEmbedding  # noqa: E402

from multimodal import Library, QueryError  # noqa: E402
from multimodal.integrations.common import condition  # noqa: E402
from multimodal.integrations.langchain import (  # noqa: E402
    MultimodalEmbeddings,
    MultimodalVectorStore,
    relevance,
)
from multimodal.library import tables  # noqa: E402
from multimodal.library.imports import import_vectors  # noqa: E402
from multimodal.space import Space  # noqa: E402
from tests.fakes import DIM, fake_space  # noqa: E402


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
class TestVectorStore(standard.VectorStoreIntegrationTests):
    """LangChain's standard tests; langchain-core brings anyio, whose plugin runs the asynchronous ones."""

    @pytest.fixture
    def vectorstore(self, library: Library) -> Iterator[MultimodalVectorStore]:
        yield MultimodalVectorStore(library)


class TestEmbeddings(units.EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[MultimodalEmbeddings]:
        return MultimodalEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"space": fake_space()}


@pytest.mark.anyio
class TestEmbeddingsAtWork(standard.EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[MultimodalEmbeddings]:
        return MultimodalEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"space": fake_space()}


@pytest.fixture
def store(library: Library, media: Path) -> MultimodalVectorStore:
    store = MultimodalVectorStore(library)
    assert store.add_files(media).count("added") == 4
    return store


def test_what_is_found_is_of_every_kind(store: MultimodalVectorStore, media: Path):
    store.add_texts(["red fox"], [{"author": "Ann"}], ids=["fox"])
    assert store.similarity_search("red fox", k=1, modality="text") == [
        Document(id="fox", page_content="red fox", metadata={"author": "Ann"})
    ]
    picture = store.similarity_search("green", k=1, modality="image")[0]
    assert picture.id is None and picture.page_content == f"image {media / 'green.png'}"
    assert picture.metadata == {"source": str(media / "green.png"), "modality": "image", "role": "content"}
    sounds = store.similarity_search("high", k=5, modality="audio")
    assert [one.page_content for one in sounds] == [f"audio {media / 'high.wav'}, 0.0 to 6.0 s"]
    assert sounds[0].metadata["source"] == str(media / "high.wav")
    assert (sounds[0].metadata["start"], sounds[0].metadata["end"]) == (0.0, 6.0)
    text = store.similarity_search("owl at night", k=1)[0]
    assert text.page_content == "owl at night" and text.metadata["source"] == str(media / "owl.txt")


def test_a_file_or_a_sum_is_a_query_too(store: MultimodalVectorStore, media: Path, space: Space):
    document, score = store.search_with_item(media / "red.png", k=1)[0]
    assert document.metadata["source"] == str(media / "red.png") and score > 0
    both = store.search_with_item(space.query("green") - "red", k=1, modality="image")
    assert both[0][0].metadata["source"] == str(media / "green.png")


def test_scores_fall_and_relevance_lies_between_0_and_1(store: MultimodalVectorStore):
    store.add_texts(["red fox", "blue whale", "high tower", "owl"])
    scores = [score for _, score in store.similarity_search_with_score("red fox", k=8)]
    assert scores == sorted(scores, reverse=True)
    found = store.similarity_search_with_relevance_scores("red fox", k=8)
    shares = [share for _, share in found]
    assert shares == sorted(shares, reverse=True) and all(0 <= share <= 1 for share in shares)
    few = store.similarity_search_with_relevance_scores("red fox", k=8, score_threshold=shares[1])
    assert len(few) == sum(share >= shares[1] for share in shares) < 8
    assert relevance(0) == 0.5 and relevance(1.96) == pytest.approx(0.975, abs=1e-4)


def test_varied_results_are_unlike_each_other(store: MultimodalVectorStore):
    store.add_texts(["red fox", "red fox fox", "fox red red", "red whale"])
    best = [one.page_content for one in store.similarity_search("red fox", k=2, modality="text")]
    assert set(best) <= {"red fox", "red fox fox", "fox red red"}
    how = {"k": 2, "fetch_k": 10, "modality": "text"}
    varied = [
        one.page_content for one in store.max_marginal_relevance_search("red fox", lambda_mult=0.3, **how)
    ]
    assert varied[0] == "red fox" and varied[1] not in best
    same = store.max_marginal_relevance_search("red fox", lambda_mult=1.0, **how)
    assert same[0].page_content == "red fox" and "red whale" not in [one.page_content for one in same]
    retriever = store.as_retriever(search_type="mmr", search_kwargs=how)
    assert retriever.invoke("red fox")[0].page_content == "red fox"


def test_texts_stay_apart_from_files_and_collections(store: MultimodalVectorStore, media: Path, space: Space):
    import pyarrow as pa

    store.add_texts(["red fox"], ids=["a"])
    rows = {
        "id": ["a"],
        "modality": ["text"],
        "text": ["blue whale"],
        "vector": list(space.embed(["blue whale"])),
    }
    import_vectors(store.library, pa.table(rows), space="fake", collection="other")
    assert store.get_by_ids(["a"])[0].page_content == "red fox"
    store.library.add(media)
    assert store.get_by_ids(["a", "a"])[0].page_content == "red fox"
    assert store.delete() is True
    assert store.get_by_ids(["a"]) == []
    assert store.similarity_search("blue whale", k=1)[0].page_content == "blue whale"
    assert store.library.stats().files == 5


def test_a_store_is_made_of_texts_or_documents(tmp_path: Path, library: Library):
    embedding = MultimodalEmbeddings(fake_space())
    store = MultimodalVectorStore.from_texts(
        ["red fox", "blue whale"], embedding, [{"n": 1}, {"n": 2}], library=tmp_path / "new"
    )
    assert store.similarity_search("blue whale", k=1)[0].metadata == {"n": 2}
    assert np.allclose(store.embeddings.embed_query("red"), embedding.embed_query("red"))
    documents = [Document(id="x", page_content="red fox"), Document(page_content="owl")]
    again = MultimodalVectorStore.from_documents(documents, embedding, library=library, collection="mine")
    assert again.collection == "mine" and again.get_by_ids(["x"])[0].page_content == "red fox"
    with pytest.raises(ValueError, match="where the library is kept"):
        MultimodalVectorStore.from_texts(["a"], embedding)
    with pytest.raises(ValueError, match="its own space"):
        MultimodalVectorStore.from_texts(["a"], DeterministicFakeEmbedding(size=6), library=library)
    again.library.close()
    store.library.close()


def test_embeddings_are_those_of_the_space(space: Space, media: Path):
    embeddings = MultimodalEmbeddings(space)
    assert np.allclose(embeddings.embed_documents(["red", "owl"]), space.embed(["red", "owl"]))
    assert embeddings.embed_documents([]) == []
    files = embeddings.embed_files([media / "red.png", str(media / "high.wav")])
    assert np.allclose(files, space.embed([media / "red.png", media / "high.wav"])) and len(files[0]) == DIM
    assert embeddings.embed_image([str(media / "red.png")]) == files[:1]
    with pytest.raises(QueryError):
        embeddings.embed_query("  ")


def test_wrong_texts_are_refused_whole(store: MultimodalVectorStore):
    for texts, metadatas, ids in (
        (["a", "b"], [{}], None),
        (["a", "b"], None, ["1"]),
        (["a"], [{"n": float("nan")}], None),
    ):
        with pytest.raises(ValueError):
            store.add_texts(texts, metadatas, ids=ids)
    with pytest.raises(QueryError):
        store.add_texts(["a", " "])
    assert store.library.stats().files == 4
    assert store.add_texts([]) == []


async def _asynchronously(store: MultimodalVectorStore) -> None:
    ids = await store.aadd_documents([Document(page_content="red fox"), Document(page_content="owl")])
    assert (await store.asimilarity_search("red fox", k=1))[0].id == ids[0]
    assert len(await store.aget_by_ids(ids)) == 2
    assert await store.adelete(ids[:1])
    assert [one.id for one in await store.asimilarity_search("red fox", k=5)] == ids[1:]
    assert len(await store.amax_marginal_relevance_search("owl")) == 1


def test_it_works_asynchronously(library: Library):
    import asyncio

    asyncio.run(_asynchronously(MultimodalVectorStore(library)))


def rows_where(wanted: dict[str, Any]) -> list[int]:
    db = sqlite3.connect(":memory:")
    try:
        db.execute("CREATE TABLE items (number INTEGER, metadata TEXT)")
        kept = [
            '{"author": "Ann", "year": 2024, "open": true, "it\'s": 1}',
            '{"author": "Bob", "year": 2024.5, "open": false}',
            '{"author": "O\'Hara; DROP TABLE items --", "tags": ["a"]}',
            None,
        ]
        db.executemany("INSERT INTO items VALUES (?, ?)", list(enumerate(kept)))
        found = db.execute(f"SELECT number FROM items WHERE {condition(wanted)} ORDER BY number")
        return [number for (number,) in found]
    finally:
        db.close()


def test_conditions_on_metadata_are_sql():
    assert rows_where({}) == [0, 1, 2, 3]
    assert rows_where({"author": "Ann"}) == [0]
    assert rows_where({"author": "O'Hara; DROP TABLE items --"}) == [2]
    assert rows_where({"author": ["Ann", "Bob"], "year": 2024.5}) == [1]
    assert rows_where({"open": True}) == [0] and rows_where({"open": False}) == [1]
    assert rows_where({"year": None}) == [2, 3] and rows_where({"it's": 1}) == [0]
    for wrong in ({'a"b': 1}, {"a": {"$gt": 1}}, {"a": float("inf")}, {"a": "\0"}):
        with pytest.raises(ValueError, match="condition"):
            condition(wrong)


def test_conditions_are_understood_by_a_library(store: MultimodalVectorStore):
    store.add_texts(["red fox", "owl"], [{'it\'s "n"': 1, "n": 1}, {"n": 2}], ids=["a", "b"])
    for wanted, expected in (({"n": 1}, {"a"}), ({"n": [1, 2]}, {"a", "b"}), ({"n": "1"}, set())):
        table = tables.to_arrow(store.library, where=condition(wanted))
        assert set(table["id"].to_pylist()) == expected
