"""What a tower is, and the identity of one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from multimodal.types import Content

Prepared: TypeAlias = "NDArray[Any] | tuple[NDArray[Any], ...]"
"""One content ready for the forward pass: plain arrays, so that it crosses a process boundary cheaply."""


class Tower(Protocol):
    """Turns contents of one modality into features.

    `preprocess` is a picklable callable object without torch: decode workers run it in processes of
    their own. It is deterministic and takes no statistics over a batch.
    """

    @property
    def tower_id(self) -> str:
        """Changes whenever the same content could give another feature: weights, preprocessing, method."""

    @property
    def feature_dim(self) -> int:
        """Length of a feature."""

    @property
    def preprocess(self) -> Any:
        """Callable `(content) -> Prepared`."""

    def forward(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        """Features (n, feature_dim), float32, row by row independent of the rest of the batch."""


class Preprocess(Protocol):
    """Deterministic, torch-free, picklable: one content to arrays."""

    def __call__(self, content: Content) -> Prepared: ...


def identity(*parts: str | Mapping[str, Any]) -> str:
    """A short stable name (16 hex digits) of the parts that decide a tower's output."""
    text = json.dumps(parts, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def tensors_hash(tensors: Mapping[str, NDArray[Any]]) -> str:
    """A hash (16 hex digits) of named tensors: their names, types, shapes and values."""
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        digest.update(f"{name}|{tensor.dtype}|{tensor.shape}|".encode())
        digest.update(tensor.data.cast("B") if tensor.size else b"")
    return digest.hexdigest()


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Weights (..., n) that sum to 1 along the last axis, in the type of the logits."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def unit(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Rows (n, dim) scaled to length 1, float32; a zero row stays zero."""
    rows = np.asarray(rows, dtype=np.float32)
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.maximum(norms, np.float32(1e-12))
