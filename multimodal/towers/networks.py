"""open_clip's networks as forward passes over plain arrays, on a device and in a precision.

    image   pixels (n, h, w, 3) uint8 -> features (n, dim) float32
    text    token ids (n, t) int64    -> features (n, dim) float32

A reduced precision is that of one tower's copy; the model itself stays as it was loaded. Only the inside of a
transformer's blocks is reduced: patches, positions, the residual stream with the norms that read it, and the
projection stay float32. Rounding the stream alone makes two thirds of the error of a whole bfloat16 ViT-B/32,
and nine tenths where a few of its channels are large, as training makes them (1 - cosine 3.7e-4 of 4.3e-4).

Texts go through in groups of like length, and where a text tower looks only backwards the padding behind the
longest of a group is left away: the features are the same to 1e-6.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.precision import (
    Chosen,
    Compute,
    Floats,
    Precision,
    Run,
    candidates,
    choose,
    device,
    probe_pictures,
)
from multimodal.towers import faster
from multimodal.towers.pixels import ResizeCrop

STEP = 8
"""Texts are grouped by length in steps of so many tokens: finer groups are too small to fill a product."""
IMAGE_ONLY = ("visual",)
NOT_TEXT = ("visual", "text_decoder")


def image_run(model: Any, pixels: ResizeCrop, precision: Precision, device: Any, compiled: bool) -> Run:
    """The forward pass of a model's picture tower."""
    import torch

    kept = [name for name in model._modules if name in IMAGE_ONLY]
    tower = _part(model, kept, _dtype(precision), device)
    encode = torch.compile(tower.encode_image) if compiled else tower.encode_image
    mean = torch.tensor(pixels.mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(pixels.std, device=device).view(1, 3, 1, 1)

    first = next(tower.visual.parameters()).dtype  # float32 where only the blocks are reduced

    def once(batch: Any) -> Any:
        scaled = batch.permute(0, 3, 1, 2).float().div_(255)
        return encode(((scaled - mean) / std).to(first))

    return _on(device, once)


def text_run(model: Any, precision: Precision, device: Any, compiled: bool) -> Run:
    """The forward pass of a model's text tower."""
    import torch

    kept = [name for name in model._modules if name not in NOT_TEXT]
    tower = _part(model, kept, _dtype(precision), device)
    ours = TextPass(tower)
    forward: Callable[[Any], Any] = ours if ours.fits else tower.encode_text
    run = _on(device, torch.compile(forward, dynamic=True) if compiled else forward)

    def grouped(ids: NDArray[np.int64]) -> Floats:
        if not ours.fits:
            return run(ids)
        rows: Floats | None = None
        for places, length in groups(ours.lengths(ids), ids.shape[1]):
            features = run(np.ascontiguousarray(ids[places, :length]))
            rows = np.empty((len(ids), features.shape[1]), np.float32) if rows is None else rows
            rows[places] = features
        assert rows is not None
        return rows

    return grouped


def chosen_image(model: Any, pixels: ResizeCrop, compute: Compute, folder: Path | None = None) -> Chosen:
    """A picture tower's forward pass as `compute` wants it, checked with float32; `folder` is the model's."""
    if compute.backend == "openvino":
        from multimodal.towers import openvino

        return openvino.chosen_image(model, pixels, compute, folder)
    where = device(compute)

    def build(precision: Precision) -> Run:
        return image_run(model, pixels, precision, where, compute.compiled)

    chosen = choose(*_tries(compute, where), build, probe_pictures(pixels.size))
    if not faster.can_go_over(compute, where.type):
        return chosen
    there = replace(compute, backend="openvino")
    run = faster.Faster(chosen.run, lambda: chosen_image(model, pixels, there, folder))
    return replace(chosen, run=run)


def chosen_text(model: Any, compute: Compute, probe: NDArray[np.int64]) -> Chosen:
    """A text tower's, with `probe` (n, t) token ids; always torch's, which queries wait least for."""
    where = device(compute)

    def build(precision: Precision) -> Run:
        return text_run(model, precision, where, compute.compiled)

    if compute.precision == "int8" or (compute.precision == "auto" and where.type == "cpu"):
        # without padding, bf16 gains a tenth on a ViT-B/32's texts, less than its copy of the weights costs
        return choose(["fp32"], False, build, probe)
    return choose(*_tries(compute, where), build, probe)


def _tries(compute: Compute, where: Any) -> tuple[list[Precision], bool]:
    return candidates(compute, where.type, half(where)), compute.precision != "auto"


def groups(lengths: NDArray[np.int64], most: int) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Places of texts of like length, and the length (at most `most` tokens) that holds them all."""
    rounded = np.minimum(-(-lengths // STEP) * STEP, most)
    for length in np.unique(rounded).tolist():
        yield np.flatnonzero(rounded == length), length


class TextPass:
    """The forward pass of open_clip's own text towers, at any length and with a float32 residual stream."""

    def __init__(self, model: Any) -> None:
        tower = getattr(model, "text", model)
        self._tower = tower
        self._pool = getattr(tower, "text_pool_type", getattr(tower, "pool_type", None))
        self._eos = getattr(tower, "text_eos_id", getattr(tower, "eos_id", None))
        self._mask = getattr(tower, "attn_mask", None)

    @property
    def fits(self) -> bool:
        """Whether the tower is one of these; CoCa's, with a token of its own, and foreign ones are not."""
        tower = self._tower
        parts = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection")
        plain = getattr(tower, "cls_emb", None) is None and not getattr(tower, "use_pad_mask", False)
        return plain and self._pool is not None and all(hasattr(tower, part) for part in parts)

    @property
    def cuts(self) -> bool:
        """Whether what stands behind the token that is read does not matter: attention looks backwards."""
        return self._mask is not None and self._pool in ("argmax", "eos")

    def lengths(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens (n,) of ids (n, t) that matter."""
        if not self.cuts:
            return np.full(len(ids), ids.shape[1])
        end = ids if self._pool == "argmax" else ids == self._eos
        return end.argmax(axis=1) + 1

    def __call__(self, ids: Any) -> Any:
        from open_clip.transformer import text_global_pool
        from torch import nn

        tower, length = self._tower, ids.shape[1]
        x = tower.token_embedding(ids) + tower.positional_embedding[:length]
        mask = None if self._mask is None else self._mask[:length, :length]
        x = tower.ln_final(tower.transformer(x, attn_mask=mask))
        x = text_global_pool(x, ids, self._pool, eos_token_id=self._eos)
        projection = tower.text_projection
        if projection is None:
            return x
        return projection(x) if isinstance(projection, nn.Module) else x @ projection


def half(device: Any) -> Precision:
    """What a GPU prefers to float32: bfloat16 where it has it, else float16."""
    import torch

    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported(False) else "fp16"


def _dtype(precision: Precision) -> Any:
    import torch

    types: Mapping[str, Any] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    return types[precision]


def _part(model: Any, names: list[str], dtype: Any, device: Any) -> Any:
    """A model with some of its modules only, in `dtype` on `device`; itself where nothing changes."""
    import torch

    if dtype == torch.float32 and device.type == "cpu":
        return model
    shell = copy.copy(model)  # shares everything with the model but the table of its modules
    shell._modules = {name: model._modules[name] for name in names}
    part = copy.deepcopy(shell).to(device=device).eval()
    if dtype == torch.float32:
        return part
    tower = getattr(part, "visual", None)
    if tower is None and not TextPass(part).fits:  # its own forward pass may not take a float32 stream
        return part.to(dtype=dtype)
    return part if _reduced(tower or getattr(part, "text", part), dtype) else part.to(dtype=dtype)


def _reduced(tower: Any, dtype: Any) -> bool:
    """Reduce the inside of a transformer's blocks; False, with nothing done, for towers without such.

    open_clip's and timm's pre-norm blocks are `x = x + attention(norm(x)); x = x + mlp(norm(x))`: what a norm
    gives is rounded, and a float32 `x` stays float32.
    """
    trunk = getattr(tower, "trunk", tower)
    transformer = getattr(trunk, "transformer", None)
    blocks: list[Any] = list(getattr(transformer, "resblocks", None) or getattr(trunk, "blocks", None) or ())
    named = [_norms(block) for block in blocks]
    if not named or not all(named):
        return False
    for block, norms in zip(blocks, named, strict=True):
        block.to(dtype=dtype)
        for norm in norms:
            norm.float()
            norm.register_forward_hook(lambda _, __, rows: rows.to(dtype))
    return True


def _norms(block: Any) -> list[Any]:
    """The two norms in front of a block's attention and perceptron; none for a block of another kind."""
    kinds = {"ResidualAttentionBlock": ("ln_1", "ln_2"), "Block": ("norm1", "norm2")}
    return [getattr(block, name) for name in kinds.get(type(block).__name__, ())]


def _on(device: Any, once: Callable[[Any], Any]) -> Run:
    """`once` over arrays: there and back. On a GPU from pinned memory, in a stream of its own."""
    import torch

    if device.type != "cuda":

        def run(batch: NDArray[Any]) -> Floats:
            with torch.inference_mode():
                return np.asarray(once(torch.from_numpy(batch).to(device)).float().cpu().numpy(), np.float32)

        return run
    stream = torch.cuda.Stream(device)

    def run_on_gpu(batch: NDArray[Any]) -> Floats:
        with torch.inference_mode(), torch.cuda.device(device), torch.cuda.stream(stream):
            there = torch.from_numpy(batch).pin_memory().to(device, non_blocking=True)
            features = once(there).float().cpu()  # waits for the stream
        return np.asarray(features.numpy(), np.float32)

    return run_on_gpu
