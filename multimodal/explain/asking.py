"""What is asked for: the unit row of a query of any kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import QueryError
from multimodal.query import Embedded, Query, Term, combined
from multimodal.types import Item, Modality, Segment

if TYPE_CHECKING:
    from multimodal.space import Space

Asked: TypeAlias = tuple[Modality, NDArray[np.float32], str]
"""The modality of a query (a sum of several counts as text), its unit row (dim,), and what to call it."""


def asked(space: Space, query: Query | Item, part: Callable[[Item], Path | Segment]) -> Asked:
    """The row of a query; `part` says what an item is. Raises ReadError, NoEncoder, QueryError."""

    def row(term: Term) -> tuple[Modality, NDArray[np.float32]]:
        if isinstance(term.item, Embedded):
            return term.item.modality, term.item.vector
        item = part(term.item)
        if isinstance(item, Segment):
            return item.modality, space[item.modality].encode([item.content])[0]
        if term.at is None:
            return space.embed_file(item)
        for segment in space.read(item):
            timed = segment.role != "blank" and segment.start is not None and segment.end is not None
            if timed and segment.start <= term.at < segment.end:  # type: ignore[operator]
                return segment.modality, space[segment.modality].encode([segment.content])[0]
        raise QueryError(f"{item.name} has no moment at {term.at:g} s.")

    bank = space.bank or {}
    wanted = Query.of(query)
    modality, vector = combined(wanted, row, lambda of: bank.get(f"centre.{of}"))
    return modality or "text", vector, _named(wanted, part)


def _named(query: Query, part: Callable[[Item], Path | Segment]) -> str:
    if len(query.terms) > 1:
        return repr(query).removeprefix("Query(").removesuffix(")")
    given = query.terms[0].item
    if isinstance(given, Embedded):
        return f"the {given.modality}"
    item = part(given)
    if isinstance(item, Path):
        return item.name
    return item.content if isinstance(item.content, str) else f"the {item.modality}"
