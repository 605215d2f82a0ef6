"""The text student in torch: BERT (Devlin et al. 2018) under the names that `multimodal.towers.minilm`
reads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from multimodal.towers.minilm import BertWeights

EPSILON = 1e-12


class Bert(nn.Module):
    """Token ids (n, t) and their mask to rows (n, dim): the mean over tokens through a head."""

    def __init__(self, words: int, positions: int, width: int, layers: int, heads: int, dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": nn.Embedding(words, width),
                "position_embeddings": nn.Embedding(positions, width),
                "token_type_embeddings": nn.Embedding(1, width),
                "LayerNorm": nn.LayerNorm(width, EPSILON),
            }
        )
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(_layer(width) for _ in range(layers))})
        self.head: nn.Module = nn.Linear(width, dim)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        words, positions, kinds, norm = self.embeddings.values()
        x = norm(words(ids) + positions.weight[: ids.shape[1]] + kinds.weight[0])
        for layer in self.encoder["layer"]:
            x = _through(layer, x, mask, self.heads)
        real = mask[:, :, None].float()
        mean = (x.float() * real).sum(dim=1) / real.sum(dim=1)
        return self.head(mean)


def _layer(width: int) -> nn.ModuleDict:
    def dense(inputs: int, outputs: int) -> nn.ModuleDict:
        return nn.ModuleDict({"dense": nn.Linear(inputs, outputs)})

    def normed(inputs: int) -> nn.ModuleDict:
        return nn.ModuleDict({"dense": nn.Linear(inputs, width), "LayerNorm": nn.LayerNorm(width, EPSILON)})

    looks = nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")})
    return nn.ModuleDict(
        {
            "attention": nn.ModuleDict({"self": looks, "output": normed(width)}),
            "intermediate": dense(width, 4 * width),
            "output": normed(4 * width),
        }
    )


def _through(layer: nn.Module, x: Tensor, mask: Tensor, heads: int) -> Tensor:
    n, t, width = x.shape
    parts = dict(layer.named_children())
    looks, after = parts["attention"]["self"], parts["attention"]["output"]
    query, key, value = (
        looks[name](x).view(n, t, heads, -1).transpose(1, 2) for name in ("query", "key", "value")
    )
    seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
    x = after["LayerNorm"](x + after["dense"](seen.transpose(1, 2).reshape(n, t, width)))
    inner = F.gelu(parts["intermediate"]["dense"](x))
    out = parts["output"]
    return out["LayerNorm"](x + out["dense"](inner))


def begin(model: Bert, weights: BertWeights, ids: NDArray[np.int64]) -> None:
    """Give a student the sub-words `ids` (v,) of a teacher, and its first layers where they are as wide.

    Narrower, it has the main directions of the word vectors, at the length that they had; wider, nothing.
    """
    own = model.state_dict()
    width = own["embeddings.LayerNorm.weight"].shape[0]
    words = weights.rows("embeddings.word_embeddings.weight", ids.astype(np.int32))
    if words.shape[1] == width:
        taken = {name: weights[name] for name in own if name in weights.tensors and ".word_" not in name}
        taken["embeddings.word_embeddings.weight"] = words
    elif words.shape[1] > width:
        centred = words - words.mean(axis=0)
        directions = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :width]
        taken = {"embeddings.word_embeddings.weight": centred @ directions}
    else:
        taken = {}
    for name, values in taken.items():
        rows = own[name].shape[0]  # fewer positions and kinds of token than the teacher has
        own[name].copy_(torch.from_numpy(np.ascontiguousarray(values[:rows], np.float32)))


def packed(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[np.generic]]:
    """Tensors as they are stored: a matrix as int8 rows with a float16 scale (rows, 1) each, vectors float32.

    As `recipes.text` stores the starter's, which moves its vectors by 1 - cosine < 0.001.
    """
    stored: dict[str, NDArray[np.generic]] = {}
    for name, tensor in tensors.items():
        values = tensor.detach().float().cpu().numpy()
        if values.ndim < 2:
            stored[name] = values
            continue
        scale = (np.abs(values).max(axis=1, keepdims=True) / 127).astype(np.float16)
        scale = np.maximum(scale, np.float16(1e-6))
        stored[name] = np.clip(np.rint(values / scale.astype(np.float32)), -127, 127).astype(np.int8)
        stored[f"{name}.scale"] = scale
    return stored
