"""Sub-words and patches of open_clip's transformers: what the pooled token takes from each of them.

A vision transformer's patches, taken from its last layer as they are, show little of where things are: the
last attention moves what is seen everywhere (Li et al. 2023, CLIP Surgery). Their values in that attention,
through its output projection, stay in place (Zhou et al. 2022, Extract free dense labels from CLIP), so that
is what is projected into the shared space. Models that pool by an attention of its own (SigLIP) are asked
what that attention makes of each patch alone. Weights are the attention of the pooled token, the mean over
heads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from multimodal.towers.clip import ClipImageTower, ClipTextTower

Arrays = tuple[NDArray[np.float32], "NDArray[np.float32] | None"]


def image_tokens(tower: ClipImageTower, pixels: NDArray[np.uint8]) -> Arrays | None:
    """Features (t, dim) and attention (t,) of the patches of one picture, row after row.

    None where the vision tower is no transformer whose inside is known: a convolutional one, say.
    """
    visual = network(tower).visual
    mean = torch.tensor(tower.preprocess.mean).view(1, 3, 1, 1)
    std = torch.tensor(tower.preprocess.std).view(1, 3, 1, 1)
    inputs = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float().div_(255)
    with torch.inference_mode():
        inputs = (inputs - mean) / std
        if hasattr(visual, "trunk"):
            return _trunk(visual, inputs)
        if not hasattr(visual, "transformer") or getattr(visual, "attn_pool", None) is not None:
            return None
        if visual.pool_type == "avg":  # of a mean, each patch is a part as it is
            caught: list[Any] = []
            hook = visual.transformer.register_forward_hook(lambda _, __, out: caught.append(out))
            try:
                visual(inputs)
            finally:
                hook.remove()
            return _numpy(visual.ln_post(caught[0][0, 1:]) @ visual.proj), None
        if visual.pool_type != "tok" or not _plain(visual.transformer):
            return None
        values, attention = _last(visual.transformer, lambda: visual(inputs), pooled=0)
        features = visual.ln_post(values[1:]) @ visual.proj
        return _numpy(features), _numpy(attention[1:])


def text_tokens(tower: ClipTextTower, text: str) -> Any:
    """Strings, offsets, features (t, dim) and attention (t,) of a text's sub-words; None as above."""
    model = network(tower)
    part = model if hasattr(model, "token_embedding") else getattr(model, "text", None)
    if part is None or not hasattr(part, "transformer") or not hasattr(part, "token_embedding"):
        return None
    if not _plain(part.transformer) or getattr(part, "cls_emb", None) is not None:
        return None
    tokens = tower.preprocess
    length, (before, *_) = tokens.context_length, tokens._frame
    ids: list[int] = []
    features, weights = [], []
    with torch.inference_mode():
        for window in np.atleast_2d(tokens(text)):
            row = torch.from_numpy(window[None, :length].copy())
            count = int(window[length]) if len(window) > length else len(tokens._words(text, length))
            place = _pooled(part, row[0], getattr(model, "text_pool_type", None))
            if place is None:
                return None
            values, attention = _last(part.transformer, partial(model.encode_text, row), place)
            inside = slice(len(before), len(before) + count)
            features.append(_numpy(_projected(part, values[inside])))
            weights.append(_numpy(attention[inside]))
            ids += row[0, inside].tolist()
    strings = [_string(tokens._tokenizer, token) for token in ids]
    return strings, aligned(text, strings), np.concatenate(features), np.concatenate(weights)


def network(tower: Any) -> Any:
    """The float32 model that a tower runs."""
    return tower.model if hasattr(tower, "model") else tower._model


def aligned(text: str, strings: list[str]) -> list[tuple[int, int]]:
    """Where sub-words stand in a text, (begin, end) of each, found one after another without regard to case.

    A piece that is not in the text as it is (part of a character, a cleaned one) has no length.
    """
    folded = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    at, places = 0, []
    for string in strings:
        piece = string.lower()
        found = folded.find(piece, at, at + len(piece) + 32) if piece else -1
        if found < 0:
            places.append((at, at))
            continue
        at = found + len(piece)
        places.append((found, at))
    return places


def _trunk(visual: Any, inputs: torch.Tensor) -> Arrays | None:
    """The same of a timm transformer behind open_clip: each token alone through its pooling and head."""
    trunk = visual.trunk
    pool = getattr(trunk, "attn_pool", None)
    if pool is None or not all(hasattr(trunk, name) for name in ("forward_features", "fc_norm", "head")):
        return None
    seen = trunk.forward_features(inputs)
    if seen.ndim != 3:
        return None
    patches = seen[0, trunk.num_prefix_tokens :]  # (t, width)
    if getattr(pool, "pos_embed", None) is not None:
        return None
    alone = trunk.head(trunk.fc_norm(pool(patches[:, None])))
    heads, width = pool.num_heads, pool.head_dim
    query = pool.q_norm(pool.q(pool.latent).reshape(-1, heads, width).transpose(0, 1))
    key = pool.k_norm(pool.kv(patches)[:, : heads * width].reshape(-1, heads, width).transpose(0, 1))
    attention = ((query * pool.scale) @ key.transpose(1, 2)).softmax(dim=-1)  # (heads, latents, t)
    return _numpy(visual.head(alone)), _numpy(attention.mean(dim=(0, 1)))


def _plain(transformer: Any) -> bool:
    """Whether the last block is open_clip's usual one: its attention can be asked for weights."""
    block = transformer.resblocks[-1]
    attention = getattr(block, "attn", None)
    return (
        isinstance(attention, torch.nn.MultiheadAttention)
        and attention.in_proj_weight is not None
        and not hasattr(block, "ln_1_kv")
    )


def _last(transformer: Any, run: Callable[[], Any], pooled: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the last block: the values of each token through its output projection (t, width), and the
    attention (t,) that the token in place `pooled` pays to each."""
    block, caught = transformer.resblocks[-1], {}

    def keep(_: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        caught["x"] = arguments[0] if arguments else named["q_x"]
        caught["mask"] = named.get("attn_mask")

    hook = block.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        run()
    finally:
        hook.remove()
    normed, mask, attend = block.ln_1(caught["x"]), caught["mask"], block.attn
    mask = None if mask is None else mask.to(normed.dtype)
    weights = attend(normed, normed, normed, need_weights=True, attn_mask=mask)[1][0, pooled]
    sequence = normed[0] if attend.batch_first else normed[:, 0]
    width = sequence.shape[-1]
    bias = None if attend.in_proj_bias is None else attend.in_proj_bias[2 * width :]
    values = torch.nn.functional.linear(sequence, attend.in_proj_weight[2 * width :], bias)
    return block.ls_1(attend.out_proj(values)), weights


def _pooled(part: Any, ids: torch.Tensor, pool_type: str | None) -> int | None:
    """The place of the token whose state is the text's feature; None where it is no single one."""
    kind = pool_type or getattr(part, "pool_type", "argmax")
    if kind == "first":
        return 0
    if kind == "last":
        return len(ids) - 1
    if kind == "argmax":
        return int(ids.argmax())
    if kind == "eos":
        end = getattr(part, "text_eos_id", None) or getattr(part, "eos_id", None)
        return int((ids == end).int().argmax())
    return None


def _projected(part: Any, values: torch.Tensor) -> torch.Tensor:
    normed, projection = part.ln_final(values), part.text_projection
    if projection is None:
        return normed
    return projection(normed) if isinstance(projection, torch.nn.Linear) else normed @ projection


def _string(tokenizer: Any, token: int) -> str:
    """The characters of a token, without the marks that tokenizers put at the ends of words."""
    inner = getattr(tokenizer, "tokenizer", None)  # one of transformers, behind open_clip's class
    text = (inner or tokenizer).decode([token])
    return str(text).strip().removeprefix("##")


def _numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    return np.asarray(tensor.float().numpy(), np.float32)
