"""Models as folders that need no hub: open_clip's local format, with the tokenizer and the configuration of a
text model beside the weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from multimodal import hub
from multimodal.errors import SpaceError
from multimodal.towers.parts import (
    CONFIG,
    TEXT_MODEL,
    Parts,
    beside,
    described,
    reaching,
    text_needs,
    tokenizer,
    weights_needed,
)


def write_config(folder: Path, config: dict[str, Any], preprocess: dict[str, Any]) -> None:
    """Describe a model in `folder` the way open_clip reads it."""
    document = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / CONFIG).write_text(json.dumps(document, indent=2), encoding="utf-8")


def write_texts(parts: Parts, folder: Path) -> None:
    """Write the tokenizer and the text model's configuration, where they come from transformers: with them
    the folder needs no hub."""
    if parts.tokenizer is not None:
        with hub.offline():
            tokenizer(parts).save_pretrained(folder)
    if parts.text_model is not None:
        from transformers import AutoConfig

        with hub.offline():
            AutoConfig.from_pretrained(parts.text_model).save_pretrained(folder / TEXT_MODEL)


def fetch_to(name: str, folder: Path, show: bool = False) -> Path:
    """Download a listed model to a folder that `load_space` and open_clip read without any network.

    Raises UnknownSpace, SpaceError.
    """
    need = weights_needed(name)
    if need is None:
        raise SpaceError(f"{name} is on this machine already: there is nothing to fetch.")
    with reaching(name), filling(folder):
        weights = hub.fetch(need, folder, show)
        config, preprocess, model = described(name, lambda wanted: hub.fetch(wanted, show=show))
        needs = text_needs(config).items()
        texts = {key: (beside(folder, key) or hub.fetch(want, show=show)).parent for key, want in needs}
        parts = Parts(
            name, model, config, preprocess, weights, texts.get("tokenizer"), texts.get("text_model")
        )
        write_texts(parts, folder)
        write_config(folder, config, preprocess)
    return folder


@contextmanager
def filling(folder: Path) -> Iterator[None]:
    """Make a folder to download to; one that an earlier download did not finish is gone on with.

    Raises SpaceError where something else lies in it.
    """
    begun = folder / ".cache" / "huggingface"
    if folder.exists() and not (begun.is_dir() or (folder / CONFIG).is_file()) and any(folder.iterdir()):
        raise SpaceError(f"{folder} is not empty: name a new folder for the space.")
    folder.mkdir(parents=True, exist_ok=True)
    yield
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # notes for going on after an interruption
