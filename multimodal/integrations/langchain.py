"""A library as a LangChain vector store, and a space as LangChain embeddings (langchain-core).

    >>> store = MultimodalVectorStore("photos/.multimodal")
    >>> store.add_files("photos")
    >>> store.add_texts(["The red fox lives in the forest."], [{"author": "Ann"}])
    >>> store.similarity_search("a fox")

What is found are the segments of the library, of whatever kind, and the texts that LangChain added. The
document of a text is the text; that of a picture, video or sound says what it is and where, and its metadata
has the path as `source`, `modality`, and seconds as `start` and `end`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from multimodal.errors import NoLibrary
from multimodal.integrations.common import (
    as_library,
    as_space,
    condition,
    found,
    metadata_of,
    put_texts,
    words_for,
)
from multimodal.library import Library
from multimodal.library.imports import imported, remove_vectors
from multimodal.library.tables import vectors_of
from multimodal.query import Query
from multimodal.space import Space
from multimodal.types import Hit, IndexReport, Item

COLLECTION = "langchain"


class MultimodalEmbeddings(Embeddings):
    """Texts, and files of any kind, as unit vectors of one space."""

    def __init__(self, space: Space | str | Path = "starter") -> None:
        self.space = as_space(space)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector (dim) for each text. Raises QueryError for an empty one."""
        return self.space.embed(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        """The vector (dim) of a text. Raises QueryError for an empty one."""
        return self.space.embed(text)[0].tolist()

    def embed_files(self, paths: Sequence[str | Path]) -> list[list[float]]:
        """One vector (dim) for each file: the mean of its segments. Raises ReadError."""
        return self.space.embed([Path(path) for path in paths]).tolist()

    def embed_image(self, uris: list[str]) -> list[list[float]]:
        """`embed_files`, under the name that LangChain's multimodal embeddings have for it."""
        return self.embed_files(uris)


class MultimodalVectorStore(VectorStore):
    """A library. Texts of LangChain are kept in a collection of their own, beside the indexed files.

    Every search takes the arguments of `Library.search` too (`modality="image"`, `where="page < 10"`), and
    `filter`: metadata that must be equal (a list: one of them), or SQL as in `where`. Scores are those of
    `Library.search`, higher is better.
    """

    def __init__(self, library: Library | str | Path, *, collection: str = COLLECTION) -> None:
        self.library = as_library(library)
        self.collection = collection

    @property
    def embeddings(self) -> MultimodalEmbeddings:
        """The library's space."""
        return MultimodalEmbeddings(self.library.space)

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Keep texts, in place of those of the same ids; gives the ids. Metadata must be JSON.

        Raises ValueError for lists of unlike lengths, QueryError for an empty text, LibraryBusy.
        """
        return put_texts(self.library, list(texts), metadatas, ids, self.collection)

    def add_files(self, paths: str | Path | Iterable[str | Path], **kwargs: Any) -> IndexReport:
        """Index folders or files: see `Library.add`."""
        return self.library.add(paths, **kwargs)

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Take texts out by their ids, None for all that LangChain added. Files are taken out by
        `Library.remove`."""
        try:
            remove_vectors(self.library, ids, collection=self.collection)
        except NoLibrary:  # then it holds none of them
            return True
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The texts of those ids, in their order; those it does not have are left out."""
        try:
            known = imported(self.library, ids, collection=self.collection)
        except NoLibrary:
            return []
        return [
            Document(id=name, page_content=known[name].text or "", metadata=dict(known[name].metadata))
            for name in dict.fromkeys(ids)
            if name in known
        ]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """The `k` best segments for a text, best first."""
        return [document for document, _ in self.search_with_item(query, k, **kwargs)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """The `k` best segments for a text with their scores, best first."""
        return self.search_with_item(query, k, **kwargs)

    def search_with_item(
        self, query: Query | Item, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """The `k` best segments, with their scores, for a text, a file (as a Path), a picture in memory or
        whatever else `Library.search` takes."""
        return [(_document(hit, about), hit.score) for hit, about in self._found(query, k, kwargs)]

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """`k` of the `fetch_k` best segments, chosen to be unlike each other (Carbonell and Goldstein 1998):
        `lambda_mult` is 1 for the best, 0 for the most varied."""
        hits = self._found(query, fetch_k, kwargs)
        if not hits:
            return []
        vectors = vectors_of(self.library, [hit.number for hit, _ in hits if hit.number is not None])
        there = [(hit, about) for hit, about in hits if hit.number in vectors]  # none has gone meanwhile
        rows = [vectors[hit.number].tolist() for hit, _ in there if hit.number is not None]
        chosen = maximal_marginal_relevance(self.library.space.embed(query)[0], rows, lambda_mult, k)
        return [_document(*there[place]) for place in chosen]

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        library: Library | str | Path | None = None,
        collection: str = COLLECTION,
        **kwargs: Any,
    ) -> MultimodalVectorStore:
        """A store in the folder `library` with some texts in it. `embedding` must be MultimodalEmbeddings:
        a library compares vectors of its own space only. Raises ValueError, WrongSpace."""
        if library is None:
            raise ValueError("say where the library is kept: from_texts(..., library='photos/.multimodal')")
        if not isinstance(embedding, MultimodalEmbeddings):
            raise ValueError("a library embeds by its own space: give MultimodalEmbeddings")
        place = library if isinstance(library, Library) else Library(library, embedding.space)
        store = cls(place, collection=collection)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return relevance

    def _found(
        self, query: Query | Item, k: int, how: Mapping[str, Any]
    ) -> list[tuple[Hit, Mapping[str, Any] | None]]:
        how = dict(how)
        wanted = how.pop("filter", None)
        if wanted is not None:
            told = wanted if isinstance(wanted, str) else condition(wanted)
            how["where"] = f"({told}) AND ({how['where']})" if how.get("where") else told
        return found(self.library, query, k, how)


def relevance(score: float) -> float:
    """The share, in [0, 1], of unrelated rows that lie below a score, as a normal distribution has it."""
    return 0.5 * (1 + math.erf(score / math.sqrt(2)))


def _document(hit: Hit, about: Mapping[str, Any] | None) -> Document:
    return Document(id=hit.id, page_content=words_for(hit), metadata=metadata_of(hit, about))


__all__ = ["MultimodalEmbeddings", "MultimodalVectorStore", "relevance"]
