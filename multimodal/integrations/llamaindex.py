"""A library as a LlamaIndex retriever, and a space as LlamaIndex embeddings (llama-index-core).

    >>> retriever = LibraryRetriever("photos/.multimodal", k=5)
    >>> retriever.add_nodes([TextNode(text="The red fox lives in the forest.")])
    >>> retriever.retrieve("a fox")

A segment of a text is a TextNode, a picture an ImageNode with its `image_path`; a moment of a video or a
sound is a TextNode that says what it is and where. The metadata has the path as `source`, `modality`, and
seconds as `start` and `end`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.callbacks import CallbackManager
from llama_index.core.embeddings.multi_modal_base import MultiModalEmbedding
from llama_index.core.schema import BaseNode, ImageNode, MetadataMode, NodeWithScore, QueryBundle, TextNode

from multimodal.errors import NoLibrary, QueryError
from multimodal.integrations.common import as_library, as_space, found, metadata_of, put_texts, words_for
from multimodal.library import Library
from multimodal.library.imports import remove_vectors
from multimodal.query import Query
from multimodal.space import Space
from multimodal.types import Hit, Item

COLLECTION = "llamaindex"


class MultimodalEmbedding(MultiModalEmbedding):
    """Texts, pictures and other files as unit vectors of one space. Errors are those of `Space.embed`."""

    _space: Space = PrivateAttr()

    def __init__(self, space: Space | str | Path = "starter", **kwargs: Any) -> None:
        loaded = as_space(space)
        super().__init__(model_name=loaded.name, **kwargs)
        self._space = loaded

    @classmethod
    def class_name(cls) -> str:
        return "MultimodalEmbedding"

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._space.embed(text)[0].tolist()

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._space.embed(texts).tolist()

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_image_embedding(self, img_file_path: str | BytesIO) -> list[float]:
        """The path of any file, or the bytes of a picture."""
        if not isinstance(img_file_path, BytesIO):
            return self._space.embed(Path(img_file_path))[0].tolist()
        with TemporaryDirectory(prefix="multimodal-") as folder:  # read as a file is: upright, on white
            path = Path(folder) / "picture"
            path.write_bytes(img_file_path.getvalue())
            return self._space.embed(path)[0].tolist()

    async def _aget_image_embedding(self, img_file_path: str | BytesIO) -> list[float]:
        return await asyncio.to_thread(self._get_image_embedding, img_file_path)


class LibraryRetriever(BaseRetriever):
    """The best segments of a library for a text, for the file in `QueryBundle.image_path`, or for both."""

    def __init__(
        self,
        library: Library | str | Path,
        *,
        k: int = 10,
        collection: str = COLLECTION,
        callback_manager: CallbackManager | None = None,
        **search: Any,
    ) -> None:
        """`k` is the number of nodes; `search` are further arguments of `Library.search`, such as
        `modality="image"`. Texts of LlamaIndex are kept in `collection`."""
        super().__init__(callback_manager=callback_manager)
        self.library = as_library(library)
        self.k = k
        self.collection = collection
        self.search = search

    def add_nodes(self, nodes: Sequence[BaseNode]) -> list[str]:
        """Keep the texts of nodes, with their metadata, in place of those of the same ids; gives the ids.

        Raises QueryError for a node without text, LibraryBusy.
        """
        texts = [node.get_content(MetadataMode.NONE) for node in nodes]
        metadatas = [node.metadata for node in nodes]
        return put_texts(self.library, texts, metadatas, [node.node_id for node in nodes], self.collection)

    def delete_nodes(self, ids: Sequence[str] | None = None) -> int:
        """Take nodes out by their ids, None for all that were added; gives how many there were."""
        try:
            return remove_vectors(self.library, ids, collection=self.collection)
        except NoLibrary:
            return 0

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = found(self.library, _asked(query_bundle), self.k, self.search)
        return [NodeWithScore(node=_node(hit, about), score=hit.score) for hit, about in hits]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _asked(bundle: QueryBundle) -> Query:
    parts: list[Item] = [bundle.query_str] if bundle.query_str.strip() else []
    if bundle.image_path is not None:
        parts.append(Path(bundle.image_path))
    if not parts:
        raise QueryError("The text is empty.")
    query = Query.of(parts[0])
    return query + parts[1] if len(parts) > 1 else query


def _node(hit: Hit, about: Mapping[str, Any] | None) -> TextNode:
    name = hit.id or f"{hit.path}#{hit.number}"
    metadata, text = metadata_of(hit, about), words_for(hit)
    if hit.modality == "image":
        return ImageNode(id_=name, text=text, image_path=str(hit.path), metadata=metadata)
    return TextNode(id_=name, text=text, metadata=metadata)


__all__ = ["LibraryRetriever", "MultimodalEmbedding"]
