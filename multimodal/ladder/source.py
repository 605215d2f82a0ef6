"""A space whose text tower is a rung with its head."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multimodal.encoder import Encoder
from multimodal.errors import QueryError, SpaceError
from multimodal.ladder.head import Head, fit_head
from multimodal.ladder.models import Sentences, WordSum
from multimodal.ladder.rung import Rung, load
from multimodal.pairs import Pairs
from multimodal.phrases import retold
from multimodal.towers.base import identity, tensors_hash, unit
from multimodal.types import Content, Item, Modality, ReadOptions

if TYPE_CHECKING:
    from multimodal.sources import Source
    from multimodal.space import Space

Floats = NDArray[np.float32]

SECTION = "ladder"
"""Of config.json, and the folder beside it that holds the rung and its head."""
HEAD = "head.safetensors"


class Letters:
    """A text to its UTF-8 bytes (b,) uint8, so that workers need not know the words."""

    def __call__(self, content: Content) -> NDArray[np.uint8]:
        if not isinstance(content, str):
            raise TypeError(f"expected a text, got {type(content).__name__}")
        return np.frombuffer(content.encode("utf-8", "replace"), np.uint8)


class RungTower:
    """Texts through a rung and its head: rows (n, feature_dim). A text without a known word gives the mean
    of what the head was fitted to."""

    def __init__(self, rung: Rung, head: Head) -> None:
        self.rung, self.head = rung, head
        self.preprocess = Letters()
        self.feature_dim = int(head.matrix.shape[1])
        self.tower_id = "ladder-" + identity(rung.rung_id, tensors_hash(_tensors(head)))

    def forward(self, batch: Sequence[NDArray[np.uint8]]) -> Floats:
        return self.rows([data.tobytes().decode("utf-8") for data in batch])

    def rows(self, texts: Sequence[str]) -> Floats:
        """Rows (n, feature_dim) of texts."""
        model = self.rung.model
        if isinstance(model, WordSum):
            found, known = model.projected(texts, self.head.matrix)
        else:
            features = model.features(texts)
            found, known = features @ self.head.matrix, np.any(features != 0, axis=1)
        return np.where(known[:, None], found + self.head.bias, self.head.mean)


class WithRung:
    """Another space's source with the texts of a rung; its name loads it again once it was saved."""

    def __init__(self, base: Source, rung: Rung, head: Head, name: str | None = None) -> None:
        self._base = base
        self._encoder = Encoder("text", RungTower(rung, head))
        self.rung, self.head = rung, head
        self.name = name or f"{base.name}+{rung.name}"

    def __getattr__(self, name: str) -> Any:
        """What else the base has to say of itself: its logit bias, its licence ..."""
        if name.startswith("_"):  # also keeps unpickling, which asks before `_base` is there, from recursing
            raise AttributeError(name)
        return getattr(self._base, name)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        return self._base.modalities

    @property
    def logit_scale(self) -> float:
        return self._base.logit_scale

    @property
    def read_options(self) -> ReadOptions:
        return self._base.read_options

    @cached_property
    def bank(self) -> Mapping[str, NDArray[np.floating]] | None:
        """The base's, its phrases embedded by the rung: what another tower makes of them judges nothing."""
        bank = self._base.bank
        return None if bank is None else retold(bank, self._encoder)

    def build(self, modality: Modality) -> Encoder:
        return self._encoder if modality == "text" else self._base.build(modality)

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        self._base.save(folder)
        self.rung.save(folder / SECTION)
        save_file(_tensors(self.head), str(folder / SECTION / HEAD))
        (folder / SECTION / HEAD).chmod(0o644)  # safetensors writes files that only their owner reads
        path = folder / "config.json"
        config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        config[SECTION] = {"rung": self.rung.name, "penalty": self.head.penalty}
        path.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def into(rung: Rung, space: Space, pairs: Pairs | Sequence[str] | Sequence[tuple[Item, Item]]) -> Space:
    """As `Rung.into` explains."""
    base = space._source
    if isinstance(base, WithRung):
        raise QueryError(f"{space.name} has a rung already: give the space it was made from.")
    given = list(pairs.pairs if isinstance(pairs, Pairs) else pairs)
    if given and all(isinstance(one, str) for one in given):
        texts = list(dict.fromkeys(str(one) for one in given))
        return type(space)(WithRung(base, rung, headed(rung, space, texts, space.embed(texts))))
    chosen: list[tuple[str, Item]] = []
    for pair in given:
        left, right = pair
        if not isinstance(left, str):
            left, right = right, left
        if not isinstance(left, str):
            raise QueryError(
                "A pair without a text teaches a text tower nothing: give texts and what they tell of."
            )
        chosen.append((left, right))
    things = {(type(item), item if isinstance(item, (str, Path)) else id(item)): item for _, item in chosen}
    vectors = dict(zip(things, space.embed(list(things.values())), strict=True))
    rows = [vectors[type(item), item if isinstance(item, (str, Path)) else id(item)] for _, item in chosen]
    head = headed(
        rung, space, [text for text, _ in chosen], np.array(rows, np.float32).reshape(-1, space.dim)
    )
    return type(space)(WithRung(base, rung, head))


def headed(rung: Rung, space: Space, texts: Sequence[str], rows: Floats) -> Head:
    """The head that takes texts to unit rows (n, d); a text that comes several times goes to their mean.

    The head of the space's own text tower keeps what pairs do not change (`fit_head`)."""
    places: dict[str, int] = {}
    owner = np.array([places.setdefault(text, len(places)) for text in texts], np.int64)
    sums = np.zeros((len(places), rows.shape[1]), np.float64)
    np.add.at(sums, owner, rows)
    model = rung.model
    if isinstance(model, WordSum) and model.table is None:
        return fit_head(model.sparse(list(places)), unit(sums))
    own = isinstance(model, Sentences) and model.encoder.encoder_id == space.space_id
    return fit_head(model.features(list(places)), unit(sums), own)


def saved(folder: Path, base: Source, spaces: Callable[[str], Source]) -> WithRung:
    """The source that `WithRung.save` wrote; `base` is the folder's own, `spaces` loads other ones."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    rung = load(folder / SECTION, spaces)
    try:
        tensors = load_file(str(folder / SECTION / HEAD))
        penalty = json.loads((folder / "config.json").read_text(encoding="utf-8"))[SECTION]["penalty"]
        head = Head(tensors["matrix"], tensors["bias"], tensors["mean"], float(penalty))
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise SpaceError(f"{folder / SECTION / HEAD} cannot be read: {error!r}") from error
    return WithRung(base, rung, head, name=base.name)


def _tensors(head: Head) -> dict[str, Floats]:
    return {"matrix": head.matrix, "bias": head.bias, "mean": head.mean}
