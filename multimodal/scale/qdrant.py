"""A library handed over to Qdrant, for teams that already run one.

    images = Filter(must=[FieldCondition(key="modality", match=MatchValue(value="image"))])
    client.query_points("segments", query=vector.tolist(), query_filter=images, limit=10)

The payload of a point has the columns of `multimodal.library.tables`, and `library`, `space` and `state`, by
which the next export knows what has changed. Distances are cosines, vectors are kept as float16.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from multimodal.errors import QueryError
from multimodal.library import tables
from multimodal.library.opening import speaking
from multimodal.library.sqlite import SqliteStore
from multimodal.types import Modality, Role

if TYPE_CHECKING:
    from multimodal.library import Library

BATCH = 256
"""Points sent at once: of 512 dimensions some 3 MB as text, below the 32 MB that a server takes."""
KNOWN = 4096
"""Points asked for at once, without their vectors."""
INDEXED = "library", "modality", "path"
"""Fields that a server keeps an index of, so that filters by them are fast."""


class _Point(NamedTuple):
    id: str
    vector: list[float]
    payload: dict[str, Any]


def to_qdrant(
    library: Library,
    collection: str = "segments",
    *,
    url: str | None = None,
    path: str | Path | None = None,
    api_key: str | None = None,
    modality: Modality | Sequence[Modality] | None = None,
    role: Role | Sequence[Role] | None = None,
    where: str | None = None,
) -> int:
    """Bring a collection up to date with the embedded segments of a library; gives how many these are.

    The Qdrant is the server at `url` (`api_key`: by default QDRANT_API_KEY) or the one that the client keeps
    in the folder `path`. The collection is made where there is none. Points that are new or have changed are
    sent, then those of this library that are no more go; those of other libraries stay. Qdrant has no
    transactions: when it fails midway nothing is lost, and the next export completes it. `modality`, `role`
    and `where` are those of `tables.to_reader`: what they do not let through goes as well. Raises QueryError
    for a Qdrant that cannot be reached, a collection of another form, or where qdrant-client is not
    installed; NoLibrary, LibraryError.
    """
    try:
        from qdrant_client import QdrantClient
        from qdrant_client.http.exceptions import ApiException
    except ImportError:
        raise QueryError("The export to Qdrant needs multimodal[qdrant].") from None
    if (url is None) == (path is None):
        raise QueryError("A Qdrant is either the url of a server or the path of a folder.")
    with speaking(library.path), closing(SqliteStore.open(library.path)) as store:
        settings = store.settings()
    reader = tables.to_reader(library, modality, role=role, where=where, dtype="float16")
    key = api_key or os.environ.get("QDRANT_API_KEY")
    try:
        place: dict[str, Any] = {"path": str(path)}
        if path is None:  # without the check, which warns of what the first call says clearer
            place = {"url": url, "api_key": key, "check_compatibility": False}
        with closing(reader), closing(QdrantClient(**place)) as client:
            _make(client, collection, int(settings["dim"]), indexed=url is not None)
            points = _points(reader, str(settings["library"]), str(settings["space_id"]))
            return _bring(client, collection, points, str(settings["library"]))
    except (ApiException, OSError, ValueError, RuntimeError) as error:  # the last two of a folder
        raise QueryError(f"Qdrant does not take the export: {' '.join(str(error).split())}") from error


def _make(client: Any, collection: str, dim: int, indexed: bool) -> None:
    from qdrant_client import models

    if not client.collection_exists(collection):
        kept = models.VectorParams(
            size=dim, distance=models.Distance.COSINE, datatype=models.Datatype.FLOAT16
        )
        client.create_collection(collection, vectors_config=kept)
        for name in INDEXED if indexed else ():
            client.create_payload_index(collection, name, models.PayloadSchemaType.KEYWORD)
        return
    there = client.get_collection(collection).config.params.vectors
    if getattr(there, "size", None) != dim or there.distance != models.Distance.COSINE:
        raise QueryError(f"The collection {collection!r} does not hold cosines of {dim} dimensions.")


def _points(reader: Any, library: str, space: str) -> Iterator[_Point]:
    for batch in reader:
        batch = batch.filter(batch["vector"].is_valid())
        vectors = np.asarray(batch["vector"].flatten()).reshape(batch.num_rows, -1)
        for record, vector in zip(batch.drop_columns(["vector"]).to_pylist(), vectors, strict=True):
            if record["modified"] is not None:
                record["modified"] = record["modified"].isoformat()
            if record["metadata"] is not None:
                record["metadata"] = json.loads(record["metadata"])
            payload = {"library": library, "space": space, **record}
            told = json.dumps(payload, sort_keys=True).encode() + vector.tobytes()
            payload["state"] = blake2b(told, digest_size=12).hexdigest()
            name = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{library}/{record['number']}"))
            yield _Point(name, vector.astype(np.float32).tolist(), payload)


def _bring(client: Any, collection: str, points: Iterator[_Point], library: str) -> int:
    from qdrant_client import models

    gone = _known(client, collection, library)
    rows = 0
    while some := list(islice(points, BATCH)):
        rows += len(some)
        news = [one for one in some if gone.pop(one.id, None) != one.payload["state"]]
        if news:
            structs = [models.PointStruct(id=one.id, vector=one.vector, payload=one.payload) for one in news]
            client.upsert(collection, structs, wait=True)
    left = iter(gone)
    while ids := list(islice(left, KNOWN)):
        client.delete(collection, models.PointIdsList(points=[*ids]), wait=True)
    return rows


def _known(client: Any, collection: str, library: str) -> dict[str, str]:
    """The points of a library that are there, with their states."""
    from qdrant_client import models

    of = models.FieldCondition(key="library", match=models.MatchValue(value=library))
    how = {"scroll_filter": models.Filter(must=[of]), "limit": KNOWN, "with_payload": ["state"]}
    known: dict[str, str] = {}
    after: Any = None
    while True:
        found, after = client.scroll(collection, offset=after, with_vectors=False, **how)
        known.update((str(point.id), str(point.payload.get("state"))) for point in found)
        if after is None:
            return known
