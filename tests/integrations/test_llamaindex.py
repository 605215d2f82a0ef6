"""A library as LlamaIndex sees it: embeddings, a retriever of every kind of node, nodes of its own."""

from __future__ import annotations

import asyncio
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llama_index.core", reason="llama-index-core is not installed")

from llama_index.core import VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import Document, ImageNode, MetadataMode, QueryBundle, TextNode

from multimodal import Library, QueryError
from multimodal.integrations.llamaindex import LibraryRetriever, MultimodalEmbedding
from multimodal.space import Space


@pytest.fixture
def retriever(library: Library, media: Path) -> LibraryRetriever:
    library.add(media)
    return LibraryRetriever(library, k=3)


def test_every_kind_of_segment_is_a_node(retriever: LibraryRetriever, media: Path):
    retriever.add_nodes([TextNode(id_="fox", text="red fox", metadata={"author": "Ann"})])
    nodes = retriever.retrieve("red fox")
    first = next(one for one in nodes if type(one.node) is TextNode)
    assert type(first.node) is TextNode and first.node_id == "fox" and first.text == "red fox"
    assert first.metadata == {"author": "Ann"}
    pictures = LibraryRetriever(retriever.library, k=1, modality="image").retrieve("green")
    (picture,) = (one.node for one in pictures)
    assert isinstance(picture, ImageNode) and picture.image_path == str(media / "green.png")
    assert picture.resolve_image() == str(media / "green.png")
    assert picture.metadata == {"source": str(media / "green.png"), "modality": "image", "role": "content"}
    sound = LibraryRetriever(retriever.library, k=1, modality="audio").retrieve("high")[0]
    assert type(sound.node) is TextNode and sound.text.startswith(f"audio {media / 'high.wav'}, ")
    assert sound.metadata["end"] > sound.metadata["start"] >= 0
    names = [one.node_id for one in LibraryRetriever(retriever.library, k=9).retrieve("red")]
    assert len(names) == len(set(names)) >= 5
    assert names == [one.node_id for one in LibraryRetriever(retriever.library, k=9).retrieve("red")]


def test_scores_fall(retriever: LibraryRetriever):
    scores = [one.score for one in retriever.retrieve("red fox")]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)  # type: ignore[type-var]


def test_a_picture_and_a_picture_with_words_are_queries(retriever: LibraryRetriever, media: Path):
    path = str(media / "red.png")
    alone = retriever.retrieve(QueryBundle(query_str="", image_path=path))
    assert alone[0].node.metadata["source"] == path
    both = LibraryRetriever(retriever.library, k=2, modality="image").retrieve(
        QueryBundle(query_str="green", image_path=path)
    )
    assert {one.node.metadata["source"] for one in both} == {path, str(media / "green.png")}
    with pytest.raises(QueryError, match="empty"):
        retriever.retrieve(QueryBundle(query_str=" "))


def test_nodes_are_replaced_and_deleted_by_their_ids(retriever: LibraryRetriever):
    nodes = [TextNode(id_="a", text="red fox"), Document(id_="b", text="blue whale", metadata={"n": 2})]
    assert retriever.add_nodes(nodes) == ["a", "b"]
    retriever.add_nodes([TextNode(id_="a", text="green frog")])
    found = {one.node_id: one.text for one in LibraryRetriever(retriever.library, k=20).retrieve("frog")}
    assert found["a"] == "green frog" and found["b"] == "blue whale" and "red fox" not in found.values()
    assert retriever.delete_nodes(["a", "none"]) == 1
    assert retriever.delete_nodes() == 1 and retriever.delete_nodes() == 0
    assert len(
        LibraryRetriever(retriever.library, k=20).retrieve("frog")
    ) == retriever.library.stats().files + (
        sum(retriever.library.stats().segments.values()) - retriever.library.stats().files
    )


def test_where_there_is_no_library_nothing_is_found(library: Library):
    retriever = LibraryRetriever(library)
    assert retriever.retrieve("fox") == [] and retriever.delete_nodes() == 0
    assert not library.path.exists()
    retriever.add_nodes([TextNode(text="red fox")])
    assert retriever.retrieve("fox")[0].text == "red fox"


def test_embeddings_are_those_of_the_space(space: Space, media: Path):
    model = MultimodalEmbedding(space, embed_batch_size=2)
    assert model.model_name == "fake" and model.class_name() == "MultimodalEmbedding"
    texts = ["red", "owl", "high"]
    assert np.allclose(model.get_text_embedding_batch(texts), space.embed(texts))
    assert np.allclose(model.get_query_embedding("red"), space.embed("red")[0])
    picture = model.get_image_embedding(str(media / "red.png"))
    assert np.allclose(picture, space.embed(media / "red.png")[0])
    assert np.allclose(model.get_image_embedding(BytesIO((media / "red.png").read_bytes())), picture)
    assert model.similarity(picture, model.get_text_embedding("red")) > 0.9
    nodes = model([TextNode(text="red"), TextNode(text="owl")])
    assert np.allclose(nodes[1].embedding, space.embed("owl")[0])
    with pytest.raises(QueryError):
        model.get_text_embedding(" ")


def test_they_work_asynchronously(retriever: LibraryRetriever, space: Space, media: Path):
    model = MultimodalEmbedding(space)

    async def together() -> None:
        nodes = await retriever.aretrieve("owl at night")
        assert nodes[0].node.metadata["source"] == str(media / "owl.txt")
        assert np.allclose(await model.aget_query_embedding("red"), space.embed("red")[0])
        assert np.allclose(await model.aget_text_embedding("red"), space.embed("red")[0])
        picture = await model.aget_image_embedding(str(media / "red.png"))
        assert np.allclose(picture, space.embed(media / "red.png")[0])

    asyncio.run(together())


def test_the_framework_works_with_them(retriever: LibraryRetriever, space: Space, media: Path):
    """An index of LlamaIndex over our embeddings, and an engine over our retriever."""
    index = VectorStoreIndex(
        [TextNode(text="red fox"), TextNode(text="blue whale")], embed_model=MultimodalEmbedding(space)
    )
    assert index.as_retriever(similarity_top_k=1).retrieve("whale")[0].text == "blue whale"
    engine = RetrieverQueryEngine.from_args(LibraryRetriever(retriever.library, k=2), llm=MockLLM())
    answer = engine.query("owl at night")
    assert answer.source_nodes[0].node.get_content(MetadataMode.NONE) == "owl at night"
    assert "owl at night" in str(answer)
