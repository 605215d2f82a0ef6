"""Low-rank updates of open_clip's towers (Hu et al. 2021, LoRA), by peft; or all of their weights.

A weight W of a linear layer becomes W + (alpha / rank) B A, of which only A (rank, in) and B (out, rank)
learn; B is zero at first. peft's own wrapper of torch's fused attention adds the update to the weight before
each pass and takes it away after, which rounds the weight a little further away each time; so the fused
attention of a block is taken apart into two linear layers, and put together again when the space is made.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from multimodal.errors import QueryError, SpaceError
from multimodal.towers.clip import Loaded
from multimodal.towers.networks import TextPass
from multimodal.training.towers import Encode, Trunk
from multimodal.types import Modality

NOT_THE_TEXT_TOWER = ("visual.", "text_decoder.", "logit_")
ADAPTER = "default"


class Attention(nn.Module):
    """torch's self-attention with its weights in layers of their own: (n, t, width) to (n, t, width)."""

    def __init__(self, fused: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads, self.batch_first = fused.num_heads, fused.batch_first
        self.in_proj, self.out_proj = (nn.Linear(1, 1, bias=False) for _ in range(2))
        self.in_proj.weight, self.out_proj.weight = fused.in_proj_weight, fused.out_proj.weight
        self.in_proj.bias, self.out_proj.bias = fused.in_proj_bias, fused.out_proj.bias
        for layer in (self.in_proj, self.out_proj):
            layer.out_features, layer.in_features = layer.weight.shape

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False, attn_mask: Any = None
    ) -> tuple[Tensor, None]:
        x = query if self.batch_first else query.transpose(0, 1)
        parts = (
            self.in_proj(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )  # (3, n, heads, t, d)
        mask = None if attn_mask is None else attn_mask.to(parts.dtype)
        if mask is not None and mask.ndim == 3:
            mask = mask.unflatten(0, (-1, self.heads))
        attended = F.scaled_dot_product_attention(*parts, attn_mask=mask)
        out = self.out_proj(attended.transpose(1, 2).flatten(2))
        return (out if self.batch_first else out.transpose(0, 1)), None


def trunk(
    loaded: Loaded, modalities: Collection[Modality], low_rank: bool, rank: int, alpha: int, spare: bool
) -> Trunk:
    """A copy of a model of which the towers of some modalities learn; `spare` computes what is inside its
    blocks twice rather than keep it. Raises SpaceError, QueryError."""
    module = copy.deepcopy(loaded.model).requires_grad_(False).float()
    if low_rank:
        _inject(module, modalities, rank, alpha, loaded.name)
    else:
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(_tower(name) in modalities)
    if spare:
        module.set_grad_checkpointing(True)
    encode: dict[Modality, Encode] = {}
    if "image" in modalities:
        encode["image"] = _images(module, loaded.pixels.mean, loaded.pixels.std)
    if "text" in modalities:
        encode["text"] = _texts(module)
    return Trunk(module, encode, loaded.logit_scale, loaded.logit_bias or -10.0)


def merged(loaded: Loaded, module: nn.Module) -> Any:
    """open_clip's model with what a trunk's module has learned."""
    state = {name: tensor for name, tensor in module.state_dict().items() if ".lora_" not in name}
    for name, layer in module.named_modules():
        if hasattr(layer, "get_delta_weight"):
            key = f"{name}.base_layer.weight"
            state[key] = state[key] + layer.get_delta_weight(ADAPTER).detach()
    plain = {
        name.replace(".base_layer.", ".").replace(".attn.in_proj.", ".attn.in_proj_"): tensor.cpu()
        for name, tensor in state.items()
    }
    model = copy.deepcopy(loaded.model)
    model.load_state_dict(plain)
    return model.eval()


def _inject(module: nn.Module, modalities: Collection[Modality], rank: int, alpha: int, name: str) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise SpaceError("lora needs peft: pip install 'multimodal[train]'.") from error
    for block in list(module.modules()):
        fused = getattr(block, "attn", None)
        plain = type(block).__name__ == "ResidualAttentionBlock" and not hasattr(block, "ln_1_kv")
        if plain and isinstance(fused, nn.MultiheadAttention):
            block.attn = Attention(fused)
    foreign = [path for path, one in module.named_modules() if _foreign(one)]
    layers = [
        path
        for path, layer in module.named_modules()
        if isinstance(layer, nn.Linear)
        and _tower(path) in modalities
        and not any(path.startswith(f"{parent}.") for parent in foreign)
    ]
    for modality in modalities:
        if not any(_tower(path) == modality for path in layers):
            raise QueryError(f"lora finds no layer to learn in in the {modality} tower of {name}.")
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules="|".join(map(re.escape, layers)))
    inject_adapter_in_model(config, module)


def _foreign(module: nn.Module) -> bool:
    """Whether a module reads the weights of its layers past their forward pass."""
    return isinstance(module, nn.MultiheadAttention) or type(module).__name__ == "AttentionPool2d"


def _tower(name: str) -> Modality | None:
    if name.startswith("visual."):
        return "image"
    return None if name.startswith(NOT_THE_TEXT_TOWER) else "text"


def _images(module: Any, mean: Any, std: Any) -> Encode:
    """Pixels (n, h, w, 3) uint8 to features."""

    def encode(pixels: NDArray[Any], device: torch.device) -> Tensor:
        scaled = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 255
        middle, width = (torch.tensor(one, device=device).view(1, 3, 1, 1) for one in (mean, std))
        return module.encode_image((scaled - middle) / width)

    return encode


def _texts(module: Any) -> Encode:
    """Token ids (n, t) int64 to features; without padding where that changes nothing."""
    ours = TextPass(module)

    def encode(ids: NDArray[np.int64], device: torch.device) -> Tensor:
        if not ours.fits:
            return module.encode_text(torch.from_numpy(ids).to(device))
        return ours(torch.from_numpy(ids[:, : int(ours.lengths(ids).max())]).to(device))

    return encode
