"""Picture towers of open_clip models on OpenVINO, for CPUs: converted from torch when a tower is first used.

OpenVINO lays weights out once for the processor, which torch does anew for each product, and fuses what lies
between products. In bf16 it also rounds the residual stream (`multimodal.towers.networks` says what that
costs; OpenVINO has no switch for it), so its rows are less like float32's than torch's bf16: a model that
falls below the tolerance runs in fp32 unless bf16 is forced.

int8 comes from a graph that `quantised` made with real pictures and `save` kept; its rows are rows of their
own (`tower_id` says so). Needs `multimodal[openvino]`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import SpaceError
from multimodal.precision import (
    Chosen,
    Compute,
    Floats,
    Precision,
    Run,
    agreement,
    candidates,
    choose,
    probe_pictures,
)
from multimodal.towers.pixels import ResizeCrop

INT8 = "image.int8.xml"
"""The quantised graph in a space's folder; its weights lie beside it (`.bin`)."""


def chosen_image(model: Any, pixels: ResizeCrop, compute: Compute, folder: Path | None = None) -> Chosen:
    """A picture tower's forward pass, (n, h, w, 3) uint8 to (n, dim), checked against float32.

    `folder` is where a quantised graph would lie. Raises SpaceError without OpenVINO, for a model that it
    cannot convert, and for int8 where nothing was quantised.
    """
    probe = probe_pictures(pixels.size)
    if compute.precision == "int8":
        path = graph_path(folder)
        run = compiled(_core().read_model(str(path)), "fp32")
        return Chosen(run, "int8", agreement(run(probe), compiled(converted(model, pixels), "fp32")(probe)))
    if compute.precision == "fp16":
        raise SpaceError("OpenVINO on a CPU computes in fp32, bf16 or int8, not in fp16.")
    graph = converted(model, pixels)

    def build(precision: Precision) -> Run:
        return compiled(graph, precision)

    return choose(candidates(compute, "cpu"), compute.precision != "auto", build, probe)


def graph_path(folder: Path | None) -> Path:
    """The quantised graph of a space's folder. Raises SpaceError where there is none."""
    if folder is None or not (folder / INT8).is_file():
        raise SpaceError(
            "This space was not quantised: int8 needs a space saved by multimodal.quantise.quantise(...)."
        )
    return folder / INT8


def graph_id(path: Path) -> str:
    """16 hex digits that change with the quantised graph or its weights."""
    digest = hashlib.blake2b(digest_size=8)
    for part in (path, path.with_suffix(".bin")):
        digest.update(part.read_bytes())
    return digest.hexdigest()


def converted(model: Any, pixels: ResizeCrop) -> Any:
    """The picture tower as an `openvino.Model` of pixels (n, h, w, 3) uint8; the scaling is inside."""
    import torch
    from torch import nn

    ov = _openvino()

    class Tower(nn.Module):
        """From pixels to features; the constants are those of the model's own preprocessing."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model.visual
            self.register_buffer("scale", 1 / (255 * torch.tensor(pixels.std)).view(1, 3, 1, 1))
            self.register_buffer(
                "shift", -(torch.tensor(pixels.mean) / torch.tensor(pixels.std)).view(1, 3, 1, 1)
            )

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            found = self.model(batch.permute(0, 3, 1, 2).float() * self.scale + self.shift)
            return found[0] if isinstance(found, tuple) else found  # CoCa's tower gives its tokens too

    height, width = pixels.size
    example = torch.from_numpy(probe_pictures(pixels.size, 2))
    try:
        with _for_tracing(), torch.no_grad():
            graph = ov.convert_model(Tower().eval(), example_input=example)
        graph.reshape([-1, height, width, 3])
    except Exception as error:  # whatever the tracer or a frontend of OpenVINO raises
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SpaceError(f"OpenVINO cannot convert this picture tower: {reason}") from error
    return graph


def compiled(graph: Any, precision: Precision) -> Run:
    """A graph's forward pass. In "fp32" a quantised graph stays what it is."""
    hint = {"fp32": "f32", "bf16": "bf16"}[precision]
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        options["INFERENCE_NUM_THREADS"] = int(asked)
    ready = _core().compile_model(graph, "CPU", options)

    def run(batch: NDArray[Any]) -> Floats:
        return np.array(ready(np.ascontiguousarray(batch))[0], dtype=np.float32)  # it reuses its own memory

    return run


def quantised(graph: Any, batches: Sequence[NDArray[np.uint8]]) -> Any:
    """The graph with int8 products, its ranges taken from `batches` of real pixels (n, h, w, 3).

    Post-training quantisation of NNCF in its transformer mode: weights by channel, activations by tensor,
    SmoothQuant (Xiao et al. 2023) where channels differ. 128 to 300 pictures are enough.
    """
    try:
        nncf: Any = import_module("nncf")
    except ImportError as error:
        raise SpaceError("Quantising needs multimodal[openvino], with nncf.") from error
    logging.getLogger("nncf").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nncf.quantize(
            graph,
            nncf.Dataset(list(batches)),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(batches),
        )


def save(graph: Any, folder: Path) -> Path:
    """Write a quantised graph into a space's folder."""
    _openvino().save_model(graph, str(folder / INT8), compress_to_fp16=False)
    return folder / INT8


def _core() -> Any:
    return _openvino().Core()


def _openvino() -> Any:
    try:
        return import_module("openvino")
    except ImportError as error:
        raise SpaceError("The backend 'openvino' needs multimodal[openvino].") from error


@contextmanager
def _for_tracing() -> Iterator[None]:
    """torch's fused attention, which only runs without gradients, hides what it does from the tracer."""
    import torch

    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer is deprecated and warns of every shape it fixes
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
