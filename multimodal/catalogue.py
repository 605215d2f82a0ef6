"""What spaces there are: open_clip's published models with their size, licence and figures, and which of
them lie on this machine.

The table `catalogue.json` says where each number comes from. It ships with the package, so that looking
through it costs no import of a model library and no network.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from multimodal.errors import UnknownSpace
from multimodal.towers.parts import CONFIG, HUB, weights_at

TABLE = Path(__file__).parent / "catalogue.json"
BYTES = 4
"""Of a parameter: published weights are float32, but for a few that are smaller."""


@dataclass(frozen=True)
class SpaceInfo:
    """A space one can load. None stands for what is not published where the table looks.

    `parameters` and `download` (bytes, at four a parameter) are of all towers; `size` is the side of a
    picture in pixels; `imagenet` is zero-shot top-1 on ImageNet-1k, `coco_t2i` and `coco_i2t` recall at 1 on
    MSCOCO from text to image and back, all in percent. `audio` are audio models that fit, `here` says whether
    the weights are on this machine.
    """

    name: str
    dim: int | None
    parameters: int | None
    size: int | None
    licence: str | None
    imagenet: float | None
    coco_t2i: float | None
    coco_i2t: float | None
    audio: tuple[str, ...]
    here: bool

    @property
    def download(self) -> int | None:
        return None if self.parameters is None else BYTES * self.parameters

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "download": self.download}


def spaces(words: Sequence[str] = (), local: bool = False) -> list[SpaceInfo]:
    """The spaces whose name or licence contains all of `words`, best on ImageNet first within those that
    are on this machine and those that are not; `local` leaves only the former."""
    wanted = [word.lower() for word in words]
    found = [
        space
        for space in (_starter(), *_listed(), *_cached())
        if (space.here or not local)
        and all(word in f"{space.name} {space.licence or ''}".lower() for word in wanted)
    ]
    return sorted(found, key=lambda space: (not space.here, -(space.imagenet or 0), space.name))


def about(name: str) -> SpaceInfo:
    """What the table says of one space. Raises UnknownSpace."""
    for space in spaces():
        if space.name == name:
            return space
    raise UnknownSpace(f"There is nothing about {name!r} in the table.")


def _starter() -> SpaceInfo:
    config = json.loads((Path(__file__).parent / "starter" / "config.json").read_text(encoding="utf-8"))
    size = config["image"]["preprocess"]["size"]
    side = size if isinstance(size, int) else max(size)
    audio = ("its own",) if "audio" in config else ()
    return SpaceInfo("starter", 384, None, side, "cc-by-sa-4.0", None, None, None, audio, True)


def _listed() -> Iterator[SpaceInfo]:
    for row in _rows():
        yield SpaceInfo(
            name=row["name"],
            dim=row["dim"],
            parameters=round(row["params"] * 1e6),
            size=row["size"],
            licence=row["licence"],
            imagenet=row["imagenet"],
            coco_t2i=row["coco_t2i"],
            coco_i2t=row["coco_i2t"],
            audio=tuple(_fitting(row["name"])),
            here=weights_at(row["repo"]).here() is not None,
        )


@cache
def _rows() -> list[dict[str, Any]]:
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


def _cached() -> Iterator[SpaceInfo]:
    """Repositories in open_clip's format that lie in the hub's cache and are not in the table."""
    from huggingface_hub import constants

    listed = {"/".join(row["repo"].split("/")[:2]) for row in _rows()}
    for config in sorted(Path(constants.HF_HUB_CACHE).glob(f"models--*/snapshots/*/{CONFIG}")):
        repo = config.parts[-4].removeprefix("models--").replace("--", "/", 1)
        if repo in listed or weights_at(repo + "/").here() is None:
            continue
        listed.add(repo)
        model = json.loads(config.read_text(encoding="utf-8")).get("model_cfg", {})
        size = model.get("vision_cfg", {}).get("image_size")
        side = max(size) if isinstance(size, list) else size
        yield SpaceInfo(HUB + repo, model.get("embed_dim"), None, side, None, None, None, None, (), True)


def _fitting(name: str) -> list[str]:
    try:
        registry = import_module("multimodal.sound.registry")
    except ImportError:  # it needs what this installation lacks
        return []
    return list(registry.fitting(name))
