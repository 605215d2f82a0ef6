"""What a person likes: learned from opinions, kept in a file of its own, explained, and forgotten on request.

    >>> profile = Profile.open("me.profile", space)
    >>> profile.like(Path("owl.jpg")); profile.dislike("traffic")
    >>> library.search(profile.applied("something for the wall"))
    >>> profile.reranked(library.search("morning"), library)

The direction of a profile is Rocchio's (1971, Relevance feedback in information retrieval): the weighted mean
of what was liked less `AGAINST` times that of what was not, each taken from the centre of its modality. Older
opinions count less, by how many came after them, so that forgetting one leaves exactly what there would be
without it. A library knows nothing of profiles, nor one profile of another.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import QueryError, SpaceError, WrongSpace
from multimodal.query import Embedded, Query, Term
from multimodal.towers.base import unit
from multimodal.types import MODALITIES, Hit, Item, Modality, Segment, Vectors

if TYPE_CHECKING:
    from multimodal.library import Library
    from multimodal.space import Space

HALF_LIFE = 40
"""Opinions after which one counts half."""
AGAINST = 0.5
"""Weight of what was disliked: a person dislikes for more reasons than likes."""
WEIGHT = 1.0
"""Of the profile beside a query, which counts 1."""
FORMAT = 1


@dataclass(frozen=True, eq=False)
class Opinion:
    """A thing that was liked or not: `name` says which to a person, `vector` (dim,) is its unit row."""

    name: str
    liked: bool
    modality: Modality
    vector: NDArray[np.float32]


class Profile:
    """The opinions of one person, in the order they were given. Every change is written at once."""

    def __init__(self, space: Space, path: Path | None = None, opinions: Sequence[Opinion] = ()) -> None:
        """An unsaved profile where `path` is None."""
        self.space, self.path = space, path
        self.opinions: list[Opinion] = list(opinions)

    @classmethod
    def open(cls, path: str | Path, space: Space) -> Profile:
        """The profile in a file, an empty one where there is none yet.

        Raises WrongSpace for one of another space, SpaceError for what is no profile.
        """
        from safetensors import SafetensorError, safe_open

        source = Path(path)
        if not source.exists():
            return cls(space, source)
        try:
            with safe_open(source, "numpy") as file:
                about = json.loads((file.metadata() or {})["profile"])
                rows = file.get_tensor("vectors")
            names = [(entry["name"], bool(entry["liked"]), entry["modality"]) for entry in about["opinions"]]
            if rows.shape != (len(names), space.dim) or any(kind not in MODALITIES for *_, kind in names):
                raise ValueError("its parts do not belong together")
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise SpaceError(f"{source} is no profile that can be read: {error}.") from error
        if about["space_id"] != space.space_id:
            raise WrongSpace(f"The profile {source} is of another space than {space.name!r}.")
        told = [Opinion(*name, row) for name, row in zip(names, rows, strict=True)]
        return cls(space, source, told)

    def like(self, item: Item | Hit, name: str | None = None) -> None:
        """Remember that a thing is liked, instead of what was thought of it before. `name` is the path of a
        file, the words of a text, unless it is given; other things need one. Raises QueryError, ReadError."""
        self._add(item, name, liked=True)

    def dislike(self, item: Item | Hit, name: str | None = None) -> None:
        """The same for a thing that is not liked."""
        self._add(item, name, liked=False)

    def forget(self, name: str | Path | None = None) -> int:
        """Leave out what is called `name`, or everything, as if it had never been said; how many there were.

        The file is written anew, so that the vector is gone from it too.
        """
        wanted = None if name is None else str(name)
        kept = [one for one in self.opinions if wanted is not None and one.name != wanted]
        gone = len(self.opinions) - len(kept)
        self.opinions = kept
        self._write()
        return gone

    @property
    def direction(self) -> NDArray[np.float32] | None:
        """Where it points from the centres of the modalities: a unit row (dim,); None without opinions that
        say something."""
        total = np.zeros(self.space.dim, np.float64)
        for liked, part in ((True, 1.0), (False, -AGAINST)):
            weights, rows = [], []
            for later, one in enumerate(reversed(self.opinions)):
                if one.liked == liked:
                    weights.append(0.5 ** (later / HALF_LIFE))
                    rows.append(self.centred(one.vector[None], one.modality)[0])
            if rows:
                total += part * np.average(rows, axis=0, weights=weights)
        length = float(np.linalg.norm(total))
        return None if length < 1e-6 else (total / length).astype(np.float32)

    def centred(self, rows: Vectors, modality: Modality) -> Vectors:
        """Rows (n, dim) of a modality as unit rows from its centre, where the space ships one."""
        bank: Mapping[str, Any] = self.space.bank or {}
        centre = bank.get(f"centre.{modality}")
        return unit(rows if centre is None else rows - np.asarray(centre, np.float32))

    def affinity(self, rows: Vectors, modality: Modality) -> NDArray[np.float32]:
        """How much rows (n, dim) of a modality are to a person's taste: cosines (n,), 0 without opinions."""
        direction = self.direction
        if direction is None:
            return np.zeros(len(rows), np.float32)
        return np.asarray(self.centred(rows, modality) @ direction, np.float32)

    def applied(self, query: Query | Item, weight: float = WEIGHT) -> Query:
        """A query, and beside it what the person likes, to give to `Library.search`."""
        direction = self.direction
        asked = Query.of(query)
        if direction is None:
            return asked
        return Query((*asked.terms, Term(Embedded("text", direction, moved=True), weight)))

    def reranked(self, hits: Sequence[Hit], library: Library, weight: float = WEIGHT) -> list[Hit]:
        """Hits of a library by their score and the person's taste. Scores are in standard deviations; so is
        the taste, over these hits. Raises LibraryError, NoEncoder."""
        if not hits or self.direction is None:
            return list(hits)
        taste = np.array([self.affinity(_vector(hit, library)[None], hit.modality)[0] for hit in hits])
        spread = float(taste.std()) or 1.0
        scores = np.array([hit.score for hit in hits]) + weight * (taste - taste.mean()) / spread
        order = np.argsort(-scores, kind="stable")
        return [replace(hits[place], score=float(scores[place])) for place in order]

    def why(self, item: Item, k: int = 3) -> list[tuple[str, float]]:
        """The liked things that an item is most like: (name, cosine), "more like: ..."."""
        liked = [one for one in self.opinions if one.liked]
        if not liked:
            return []
        modality, row = self._row(item)
        near = self.centred(row[None], modality)[0]
        cosines = [float(self.centred(one.vector[None], one.modality)[0] @ near) for one in liked]
        order = np.argsort(cosines)[::-1][:k]
        return [(liked[place].name, cosines[place]) for place in order]

    def _add(self, item: Item | Hit, name: str | None, liked: bool) -> None:
        thing = item.path if isinstance(item, Hit) else item
        if name is None:
            if not isinstance(thing, (str, Path)):
                raise QueryError(
                    "A thing that is neither a file nor a text needs a name to be remembered by."
                )
            name = str(thing)
        modality, row = self._row(thing)
        self.opinions = [one for one in self.opinions if one.name != name]
        self.opinions.append(Opinion(name, liked, modality, row))
        self._write()

    def _row(self, item: Item) -> tuple[Modality, NDArray[np.float32]]:
        from multimodal.space import modality_of

        if isinstance(item, Path):
            return self.space.embed_file(item)
        modality = item.modality if isinstance(item, Segment) else modality_of(item)[0]
        return modality, self.space.embed(item)[0]

    def _write(self) -> None:
        """Raises SpaceError."""
        from safetensors.numpy import save_file

        if self.path is None:
            return
        told = [{"name": o.name, "liked": o.liked, "modality": o.modality} for o in self.opinions]
        about = {"format": FORMAT, "space_id": self.space.space_id, "opinions": told}
        rows = np.stack([o.vector for o in self.opinions]) if told else np.zeros((0, self.space.dim))
        unfinished = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(about, ensure_ascii=False)
            save_file({"vectors": np.ascontiguousarray(rows, np.float32)}, unfinished, {"profile": text})
            os.replace(unfinished, self.path)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise SpaceError(
                f"The profile {self.path} cannot be written: {error.strerror or error}."
            ) from error


def _vector(hit: Hit, library: Library) -> NDArray[np.float32]:
    """The unit row (dim,) of a hit's moment, or of its file where it has no time: nothing is decoded."""
    from multimodal.library.asking import asked

    at = None if hit.start is None or hit.end is None else (hit.start + hit.end) / 2
    return asked(Query.of(hit.path, at), library.space, library._known_rows, library._centre).vector
