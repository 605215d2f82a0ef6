"""Pictures a second through one ViT with random weights: this package, its peers, the machine.

    python -m benchmarks.encode [--model ViT-B-32] [--batch 16] [--rounds 7]

Everything runs on the same weights and the same prepared pixels of samples/pictures, in turns, so that a
drifting machine touches all alike; the best and the median round are printed. The *roofline* is what the
machine's matrix product alone would allow: the products of all blocks at their own shapes, in oneDNN through
torch with weights laid out once and in OpenVINO; the better of the two in bf16 is the measure of the rest.
"cosine" is the least of a row with plain open_clip's in float32.

Peers: open_clip as its README uses it; sentence-transformers' way (transformers' CLIP, the same weights);
onnxruntime as rclip uses it (an exported graph, float32, default session).
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine
from multimodal.precision import agreement, cpu_has_bf16
from multimodal.towers import networks
from multimodal.towers.pixels import ResizeCrop

PICTURES = Path(__file__).parent.parent / "samples" / "pictures"
CALIBRATION = 24
Once = Callable[[], Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    import open_clip
    import torch

    torch.manual_seed(0)
    model = open_clip.create_model(options.model, pretrained=None).eval()
    pixels = ResizeCrop.from_config(model.visual.preprocess_cfg)
    batch = prepared(pixels, options.batch)
    with tempfile.TemporaryDirectory() as folder:
        contenders = {**roofline(model.visual, options.batch), **ours(model, pixels, batch)}
        contenders |= peers(model, pixels, batch, Path(folder))
        seconds = measure(contenders, options.rounds)
    print(
        f"{machine()}; {options.model}, {options.batch} pictures at once, {options.rounds} rounds in turn\n"
    )
    report({name: once() for name, once in contenders.items()}, seconds, options.batch)


def prepared(pixels: ResizeCrop, count: int) -> NDArray[np.uint8]:
    """Pixels (count, h, w, 3) of the sample pictures, over again where they are fewer."""
    from PIL import Image

    found = []
    for path in sorted(PICTURES.iterdir()):
        try:
            with Image.open(path) as picture:
                found.append(pixels(picture.convert("RGB")))
        except OSError:  # raw and vector pictures
            continue
    return np.stack([found[number % len(found)] for number in range(count)])


def shapes(visual: Any) -> tuple[int, list[tuple[int, int]]]:
    """Tokens of a picture, and inputs and outputs of the products of all blocks of open_clip's own ViT."""
    width, layers = visual.transformer.width, visual.transformer.layers
    hidden = visual.transformer.resblocks[0].mlp.c_fc.out_features
    tokens = visual.positional_embedding.shape[0]
    once = [(width, 3 * width), (width, width), (width, hidden), (hidden, width)]
    return tokens, once * layers


def roofline(visual: Any, count: int) -> dict[str, Once]:
    """The products of a network by themselves, one after the other."""
    import torch

    tokens, each = shapes(visual)
    kinds = [torch.float32, torch.bfloat16] if cpu_has_bf16() else [torch.float32]
    found: dict[str, Once] = {}
    for dtype in kinds:
        given = {inputs: torch.randn(count * tokens, inputs).to(dtype) for inputs, _ in each}
        laid = [packed(torch.randn(outputs, inputs).to(dtype), count * tokens) for inputs, outputs in each]

        def once(given: Any = given, laid: Any = laid) -> None:
            with torch.inference_mode():
                for (inputs, _), product in zip(each, laid, strict=True):
                    product(given[inputs])

        found[f"roofline {'fp32' if dtype == torch.float32 else 'bf16'}, torch"] = once
    if find_spec("openvino") is not None:
        found |= openvino_products(each, count * tokens)
    return found


def packed(weight: Any, rows: int) -> Callable[[Any], Any]:
    """A product with its weights laid out once for oneDNN, where torch can; else a plain one."""
    import torch

    try:
        laid = torch.ops.mkldnn._reorder_linear_weight(weight.to_mkldnn(), rows)
        run = torch.ops.mkldnn._linear_pointwise
        run(torch.zeros(rows, weight.shape[1], dtype=weight.dtype), laid, None, "none", [], "")
    except (AttributeError, RuntimeError, NotImplementedError):
        return lambda x: torch.nn.functional.linear(x, weight)
    return lambda x: run(x, laid, None, "none", [], "")


def openvino_products(each: list[tuple[int, int]], rows: int) -> dict[str, Once]:
    """The same products in OpenVINO, as a chain of those that fit each other: fp32, bf16 and int8."""
    import torch
    from torch import nn

    from multimodal.towers import openvino

    class Products(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList(nn.Linear(inputs, outputs, bias=False) for inputs, outputs in each)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for begin in range(0, len(self.parts), 4):
                qkv, out, up, down = self.parts[begin : begin + 4]
                x = down(up(out(qkv(x)[:, : out.in_features])))
            return x

    example = torch.randn(rows, each[0][0])
    graph = openvino._openvino().convert_model(Products().eval(), example_input=example)
    kinds = ["fp32", "bf16"] if cpu_has_bf16() else ["fp32"]
    ready = {kind: openvino.compiled(graph, kind) for kind in kinds}  # type: ignore[arg-type]
    if find_spec("nncf") is not None:
        ready["int8"] = openvino.compiled(openvino.quantised(graph, [example.numpy()]), "fp32")

    def once(run: Any) -> None:
        run(example.numpy())

    return {f"roofline {kind}, OpenVINO": partial(once, run) for kind, run in ready.items()}


def ours(model: Any, pixels: ResizeCrop, batch: NDArray[np.uint8]) -> dict[str, Once]:
    """This package's ways: torch and, where it is installed, OpenVINO."""
    import torch

    cpu = torch.device("cpu")
    kinds = ["fp32", "bf16"] if cpu_has_bf16() else ["fp32"]
    runs = {f"multimodal torch {kind}": networks.image_run(model, pixels, kind, cpu, False) for kind in kinds}  # type: ignore[arg-type]
    if find_spec("openvino") is not None:
        from multimodal.towers import openvino

        graph = openvino.converted(model, pixels)
        runs |= {f"multimodal openvino {kind}": openvino.compiled(graph, kind) for kind in kinds}  # type: ignore[arg-type]
        if find_spec("nncf") is not None:
            seen = [one[None] for one in prepared(pixels, CALIBRATION)]
            small = openvino.quantised(openvino.converted(model, pixels), seen)
            runs["multimodal openvino int8"] = openvino.compiled(small, "fp32")
    return {name: lambda run=run: run(batch) for name, run in runs.items()}  # type: ignore[misc]


def peers(model: Any, pixels: ResizeCrop, batch: NDArray[np.uint8], folder: Path) -> dict[str, Once]:
    """The same network as others run it; scaled pixels are ready, as in their own loops."""
    import torch

    mean, std = np.float32(pixels.mean), np.float32(pixels.std)
    scaled = ((batch / np.float32(255) - mean) / std).transpose(0, 3, 1, 2).astype(np.float32).copy()
    tensor = torch.from_numpy(scaled)

    def plain() -> Any:
        with torch.no_grad():
            return model.encode_image(tensor).numpy()

    def autocast() -> Any:
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            return model.encode_image(tensor).float().numpy()

    found: dict[str, Once] = {"open_clip": plain}
    if cpu_has_bf16():
        found["open_clip, autocast bf16"] = autocast
    found |= onnx_peer(model, scaled, folder)
    found |= sentence_transformers_peer(model, tensor)
    return found


def onnx_peer(model: Any, scaled: NDArray[np.float32], folder: Path) -> dict[str, Once]:
    """onnxruntime's default session on an exported graph."""
    if find_spec("onnx") is None:
        return {}
    import onnxruntime
    import torch

    path = folder / "image.onnx"
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        names = {"input_names": ["image"], "output_names": ["rows"], "opset_version": 17, "dynamo": False}
        torch.onnx.export(model.visual, (torch.from_numpy(scaled),), str(path), **names)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return {"onnxruntime, as rclip": lambda: session.run(None, {"image": scaled})[0]}


def sentence_transformers_peer(model: Any, tensor: Any) -> dict[str, Once]:
    """transformers' CLIP picture tower, which sentence-transformers runs, of the same size; its own random
    weights, because the two name and lay out theirs differently: no cosine."""
    visual = model.visual
    if find_spec("transformers") is None or not hasattr(visual, "transformer"):
        return {}
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    width = visual.transformer.width
    config = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=visual.transformer.resblocks[0].mlp.c_fc.out_features,
        num_hidden_layers=visual.transformer.layers,
        num_attention_heads=visual.transformer.resblocks[0].attn.num_heads,
        image_size=tensor.shape[-1],
        patch_size=visual.conv1.kernel_size[0],
        projection_dim=visual.output_dim,
        hidden_act="gelu",
    )
    theirs = CLIPVisionModelWithProjection(config).eval()

    def once() -> None:
        with torch.no_grad():
            theirs(pixel_values=tensor)

    return {"sentence-transformers' CLIP": once}


def measure(contenders: dict[str, Once], rounds: int) -> dict[str, list[float]]:
    """Seconds of each, run in turn after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, once in contenders.items():
            began = time.perf_counter()
            once()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def report(rows: dict[str, Any], seconds: dict[str, list[float]], count: int) -> None:
    """The table, as Markdown. Shares of the roofline are of the best rounds."""
    best = {name: count / min(times) for name, times in seconds.items()}
    kind = "bf16" if cpu_has_bf16() else "fp32"
    top = max(rate for name, rate in best.items() if name.startswith(f"roofline {kind}"))
    print("| | pictures/s, best | median | of the bf16 roofline | cosine |\n|---|---|---|---|---|")
    for name, times in seconds.items():
        cosine = (
            f"{agreement(rows[name], rows['open_clip']):.5f}" if isinstance(rows[name], np.ndarray) else ""
        )
        middle = count / statistics.median(times)
        print(f"| {name} | {best[name]:.1f} | {middle:.1f} | {best[name] / top:.2f} | {cosine} |")


if __name__ == "__main__":
    main()
