"""The starter's config.json: each recipe writes its own section and leaves the others."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

STARTER = Path(__file__).resolve().parent.parent / "multimodal" / "starter"


def write_section(name: str, values: Any) -> None:
    """Replace one top-level entry of config.json; a section that names weight files gets their hash."""
    path = STARTER / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if isinstance(values, dict) and "weights" in values:
        files = [values[key] for key in ("graph", "weights", "tokenizer") if key in values]
        values = {**values, "weights_hash": weights_hash([STARTER / file for file in files])}
    config = {"name": "starter", "version": 2, "dim": 384, **config, name: values}
    path.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def weights_hash(files: list[Path]) -> str:
    """16 hex digits over the bytes of the files, in order: what decides an encoder's output."""
    digest = hashlib.blake2b(digest_size=8)
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
