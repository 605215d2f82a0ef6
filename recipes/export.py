"""Write a torch module as a safetensors file and an ONNX graph that reads its weights from that file.

The weights exist once, in float16. The graph names each as ONNX *external data*: file, offset and length
of the tensor inside the safetensors file, followed by a Cast to float32, so that all arithmetic is
float32 and torch and onnxruntime work on the same numbers.
"""

from __future__ import annotations

import io
import json
import struct
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import Tensor, nn

OPSET = 17
LARGEST_CONSTANT = 4096
"""Bytes a tensor may have that the exporter made itself; weights must keep their names."""


def export(module: nn.Module, example_input: Tensor, folder: Path, stem: str, input_name: str) -> None:
    """Write `folder/stem.safetensors` (float16) and `folder/stem.onnx` (graph only).

    `module` maps `example_input` (n, ...) to (n, dim) rows; the graph's input is `input_name`, its
    output `embedding`, n free. Floating tensors of the state dict become float16; the module's own
    weights are rounded likewise, so that what it computes afterwards is what the files compute.
    Batch norms must have been folded into their convolutions: the exporter would fold them and lose
    their names. Raises ValueError for a weight that the graph does not find in the state dict.
    """
    module = module.eval()
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half().float())
    stored = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in module.state_dict().items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / f"{stem}.safetensors"
    save_file(stored, str(weights))
    weights.chmod(0o644)  # safetensors writes files that only their owner reads
    model = onnx.load_from_string(_traced(module, example_input, input_name))
    _point_at(model, weights, set(stored))
    onnx.save(model, str(folder / f"{stem}.onnx"))
    onnx.checker.check_model(str(folder / f"{stem}.onnx"))


def _traced(module: nn.Module, example: Tensor, input_name: str) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (example,),
            out,
            dynamo=False,
            opset_version=OPSET,
            do_constant_folding=False,
            input_names=[input_name],
            output_names=["embedding"],
            dynamic_axes={input_name: {0: "n"}, "embedding": {0: "n"}},
        )
    return out.getvalue()


def _point_at(model: onnx.ModelProto, weights: Path, names: set[str]) -> None:
    """Replace every stored initialiser by a reference into the safetensors file and a Cast."""
    places = tensor_places(weights)
    graph = model.graph
    kept, casts = [], []
    for tensor in graph.initializer:
        if tensor.name not in names:
            if numpy_helper.to_array(tensor).nbytes > LARGEST_CONSTANT:
                raise ValueError(f"{tensor.name} is in the graph but not in the module's state dict")
            kept.append(tensor)
            continue
        dtype, shape, offset, length = places[tensor.name]
        reference = TensorProto(name=tensor.name, data_type=dtype, dims=shape)
        reference.data_location = TensorProto.EXTERNAL
        for key, value in {"location": weights.name, "offset": offset, "length": length}.items():
            reference.external_data.add(key=key, value=str(value))
        if dtype == TensorProto.FLOAT16:
            reference.name = f"{tensor.name}.half"
            cast = helper.make_node("Cast", [reference.name], [tensor.name], to=TensorProto.FLOAT)
            casts.append(cast)
        kept.append(reference)
    nodes = [*casts, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)


def tensor_places(weights: Path) -> dict[str, tuple[int, list[int], int, int]]:
    """ONNX data type, shape, offset in the file and length in bytes of each tensor of a safetensors file."""
    types = {"F16": TensorProto.FLOAT16, "F32": TensorProto.FLOAT, "I64": TensorProto.INT64}
    with weights.open("rb") as file:
        (header_length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(header_length))
    header.pop("__metadata__", None)
    start = 8 + header_length
    return {
        name: (types[entry["dtype"]], entry["shape"], start + begin, end - begin)
        for name, entry in header.items()
        for begin, end in [entry["data_offsets"]]
    }


def difference(module: nn.Module, example_input: Tensor, graph: Path) -> float:
    """Largest absolute difference of what torch and onnxruntime give for one input."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    (given,) = session.run(None, {session.get_inputs()[0].name: example_input.numpy()})
    with torch.inference_mode():
        return float(np.abs(module.eval()(example_input).numpy() - given).max())
