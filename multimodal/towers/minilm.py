"""A BERT sentence encoder in numpy: WordPiece tokens in, mean of the last layer out.

A typed query runs through this, so it imports neither torch nor onnxruntime (3 s and 0.3 s) and
reads int8 weights in place. The network is the one of all-MiniLM-L6-v2 (sentence-transformers,
Apache-2.0): 6 layers, 12 heads, 384 dimensions, mean pooling over the tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import SpaceError
from multimodal.towers.base import identity
from multimodal.towers.blas import one_thread
from multimodal.towers.windows import pooled, spans
from multimodal.types import Content

Floats = NDArray[np.float32]

PIECE = 8
"""Windows that one thread takes at a time. 32 texts in pieces on two threads take 0.75 of the time that two
threads of BLAS take. Beside other work BLAS threads wait for each other: 64 short texts 9.8 s, not 0.4."""
MOST_THREADS = 8


@dataclass(frozen=True)
class WordPiece:
    """A text to its token ids, special tokens included: (t,) int32 where at most `max_tokens` are needed.

    A longer text gives windows (w, t) int32, each with special tokens of its own, as few and as even as
    can be; what is short of the longest is -1.
    """

    path: Path
    max_tokens: int

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.path))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    def __call__(self, content: Content) -> NDArray[np.int32]:
        if not isinstance(content, str):
            raise TypeError(f"expected a text, got {type(content).__name__}")
        ids = np.array(self._tokenizer.encode(content).ids, dtype=np.int32)
        if len(ids) <= self.max_tokens:
            return ids
        first, words, last = ids[:1], ids[1:-1], ids[-1:]  # [CLS] ... [SEP]
        windows = [
            np.concatenate([first, words[b:e], last]) for b, e in spans(len(words), self.max_tokens - 2)
        ]
        filled = np.full((len(windows), max(map(len, windows))), -1, dtype=np.int32)
        for row, window in enumerate(windows):
            filled[row, : len(window)] = window
        return filled

    def pieces(self, text: str) -> tuple[list[str], list[tuple[int, int]]]:
        """The sub-words of a text without special ones, and where each stands in it (begin, end)."""
        found = self._tokenizer.encode(text, add_special_tokens=False)
        return list(found.tokens), [tuple(offsets) for offsets in found.offsets]

    def tokens(self, text: str) -> list[str]:
        """The sub-words of a text, as the tokenizer names them."""
        return list(self._tokenizer.encode(text).tokens)


@dataclass(frozen=True)
class BertWeights:
    """Tensors by their BERT names; a matrix stored as int8 has `<name>.scale` (rows, 1) beside it."""

    tensors: Mapping[str, NDArray[Any]]
    _floats: dict[str, Floats] = field(default_factory=dict)

    def rows(self, name: str, ids: NDArray[np.int32]) -> Floats:
        """Rows of an embedding table as float32, without unpacking the rest of it."""
        rows = self.tensors[name][ids].astype(np.float32)
        scale = self.tensors.get(name + ".scale")
        return rows if scale is None else rows * scale[ids].astype(np.float32)

    def __getitem__(self, name: str) -> Floats:
        """A whole tensor as float32, unpacked once."""
        if name not in self._floats:
            values = self.tensors[name].astype(np.float32)
            scale = self.tensors.get(name + ".scale")
            self._floats[name] = values if scale is None else values * scale.astype(np.float32)
        return self._floats[name]


class MiniLMTower:
    """Sentence features (n, 384) from int8 safetensors weights, in numpy."""

    def __init__(self, weights: Path, tokenizer: Path, config: Mapping[str, Any]) -> None:
        """`config` holds `layers`, `heads`, `max_tokens` and `weights_hash`. Raises SpaceError."""
        from safetensors.numpy import load_file

        try:
            self._weights = BertWeights(load_file(str(weights)))
        except (OSError, ValueError) as error:
            raise SpaceError(f"{weights} cannot be read as text weights: {error}") from error
        self._layers, self._heads = int(config["layers"]), int(config["heads"])
        self.preprocess = WordPiece(tokenizer, int(config["max_tokens"]))
        self.feature_dim = int(self._weights["embeddings.LayerNorm.weight"].shape[0])
        self.tower_id = "minilm-" + identity(dict(config))

    def forward(self, batch: Sequence[NDArray[np.int32]]) -> Floats:
        """Token ids (t,), or windows of them (w, t), of n texts to the means of their last layer, (n, 384).

        A text of several windows gives the mean of their unit features (`multimodal.towers.windows`).
        """
        texts = [[window[window >= 0] for window in np.atleast_2d(ids)] for ids in batch]
        windows = [window for text in texts for window in text]
        order = sorted(range(len(windows)), key=lambda place: len(windows[place]))  # little to fill up
        pieces = [order[at : at + PIECE] for at in range(0, len(order), PIECE)]
        features = np.empty((len(windows), self.feature_dim), np.float32)
        for piece, found in zip(pieces, self._spread(pieces, windows), strict=True):
            features[piece] = found
        return pooled(features, [[len(window) - 2 for window in text] for text in texts])

    def _spread(
        self, pieces: Sequence[Sequence[int]], windows: Sequence[NDArray[np.int32]]
    ) -> Iterator[Floats]:
        """The means of pieces of windows, each on one thread of those that BLAS would use together."""
        with one_thread() as threads:
            if min(threads, len(pieces)) < 2:
                yield from (self._means([windows[place] for place in piece]) for piece in pieces)
                return
            with ThreadPoolExecutor(min(threads, len(pieces), MOST_THREADS)) as pool:
                yield from pool.map(lambda piece: self._means([windows[place] for place in piece]), pieces)

    def _means(self, windows: Sequence[NDArray[np.int32]]) -> Floats:
        longest = max(len(ids) for ids in windows)
        ids = np.zeros((len(windows), longest), dtype=np.int32)
        mask = np.zeros((len(windows), longest), dtype=np.float32)
        for row, tokens in enumerate(windows):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1.0
        hidden = self.last_hidden(ids, mask)  # (n, t, d)
        return (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)

    def last_hidden(self, ids: NDArray[np.int32], mask: Floats) -> Floats:
        """The last layer, (n, t, d), for ids (n, t) and mask (n, t) with 1 where a token is real."""
        return self.last_layer(ids, mask)[0]

    def last_layer(self, ids: NDArray[np.int32], mask: Floats) -> tuple[Floats, Floats]:
        """As `last_hidden`, and its attention (n, heads, t, t): how much each token (row) takes of each."""
        w = self._weights
        positions = np.arange(ids.shape[1], dtype=np.int32)
        hidden = (
            w.rows("embeddings.word_embeddings.weight", ids)
            + w.rows("embeddings.position_embeddings.weight", positions)
            + w.rows("embeddings.token_type_embeddings.weight", np.zeros(1, dtype=np.int32))
        )
        hidden = _layer_norm(hidden, w, "embeddings.LayerNorm")
        bias = ((1.0 - mask) * np.float32(-1e9))[:, None, None, :]  # (n, 1, 1, t)
        for layer in range(self._layers):
            name = f"encoder.layer.{layer}"
            attended, scores = self._attention(hidden, bias, f"{name}.attention.self")
            attended = _linear(attended, w, f"{name}.attention.output.dense")
            hidden = _layer_norm(hidden + attended, w, f"{name}.attention.output.LayerNorm")
            inner = _gelu(_linear(hidden, w, f"{name}.intermediate.dense"))
            outer = _linear(inner, w, f"{name}.output.dense")
            hidden = _layer_norm(hidden + outer, w, f"{name}.output.LayerNorm")
        return hidden, scores

    def _attention(self, hidden: Floats, bias: Floats, name: str) -> tuple[Floats, Floats]:
        n, t, d = hidden.shape

        def heads(part: str) -> Floats:  # (n, heads, t, d / heads)
            projected = _linear(hidden, self._weights, f"{name}.{part}")
            return projected.reshape(n, t, self._heads, -1).transpose(0, 2, 1, 3)

        query, key, value = heads("query"), heads("key"), heads("value")
        scores = query @ key.transpose(0, 1, 3, 2) / np.float32(np.sqrt(d // self._heads)) + bias
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        return (scores @ value).transpose(0, 2, 1, 3).reshape(n, t, d), scores


def _linear(x: Floats, weights: BertWeights, name: str) -> Floats:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _layer_norm(x: Floats, weights: BertWeights, name: str) -> Floats:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    centred /= np.sqrt(variance + np.float32(1e-12))
    return centred * weights[f"{name}.weight"] + weights[f"{name}.bias"]


_SERIES = tuple(
    np.float32(factor) for factor in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
)
_BLOCK = 32_768
"""Values the activation works on at once: temporaries stay in the cache (4 times as fast as one pass)."""


def _gelu(x: Floats) -> Floats:
    """x/2 (1 + erf(x/sqrt 2)), in place on the array `x` owns."""
    flat = x.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        block *= np.float32(0.5) + np.float32(0.5) * _erf(block * np.float32(0.7071067811865476))
    return x


def _erf(x: Floats) -> Floats:
    """The error function to 1.5e-7 (Abramowitz and Stegun, 7.1.26); scipy.special costs 0.2 s to import."""
    magnitude = np.abs(x)
    t = np.float32(1.0) / (np.float32(1.0) + np.float32(0.3275911) * magnitude)
    series = t * _SERIES[0]
    for factor in _SERIES[1:]:
        series += factor
        series *= t
    magnitude *= magnitude
    np.negative(magnitude, out=magnitude)
    series *= np.exp(magnitude, out=magnitude)
    return np.copysign(np.float32(1.0) - series, x)
