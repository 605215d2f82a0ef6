"""Where figures come from: matplotlib, if it is there."""

from __future__ import annotations

from types import ModuleType

from multimodal.errors import QueryError


def drawing() -> ModuleType:
    """The module that draws explanations. Raises QueryError without matplotlib."""
    need()
    from multimodal.explain import drawing as module

    return module


def need() -> None:
    """Raises QueryError where matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise QueryError("Figures need matplotlib: pip install 'multimodal[plots]'.") from error
