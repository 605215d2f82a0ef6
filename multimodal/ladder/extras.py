"""What fitting needs beside the package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from multimodal.errors import SpaceError


@contextmanager
def needed() -> Iterator[None]:
    """Imports of scikit-learn and gensim; where one is missing, SpaceError says which extra brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("sklearn", "gensim", "scipy"):
            raise
        raise SpaceError("Fitting rungs needs an extra: pip install 'multimodal[ladder]'.") from error
