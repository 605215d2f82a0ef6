"""A space as a model of the Massive Text Embedding Benchmark (mteb 2), for its text, image and audio tasks.

>>> import mteb
>>> from multimodal.integrations.mteb import MtebModel
>>> mteb.evaluate(MtebModel("starter"), mteb.get_tasks(tasks=["STSBenchmark"]))
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mteb.models import ModelMeta
from mteb.models.model_meta import ScoringFunction
from numpy.typing import NDArray

from multimodal.errors import QueryError
from multimodal.integrations.common import as_space
from multimodal.space import Space
from multimodal.towers.base import unit
from multimodal.types import Audio, Item, Vectors

KINDS = ("text", "image", "audio")
"""What a batch may hold and is embedded; the frames of mteb's videos are not asked for."""
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
EMPTY = "."
"""Stands for a text without words, which a space refuses and a benchmark may hold."""


class MtebModel:
    """What mteb calls an encoder. Entries of several kinds (a picture with its words) are the unit mean of
    their parts' rows."""

    def __init__(self, space: Space | str | Path, revision: str | None = None, **_: Any) -> None:
        """`space` or its name, as `load_space` takes it. `revision` is the space's id where none is given;
        what else mteb passes (a device) is the space's own to decide. Raises SpaceError, UnknownSpace."""
        self.space = as_space(space)
        self.revision = revision or self.space.space_id

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """What mteb writes above its results: name, revision, dimensions and modalities."""
        name = self.space.name if _HUB_NAME.fullmatch(self.space.name) else Path(self.space.name).name
        return ModelMeta(
            loader=None,
            name=name if "/" in name else f"multimodal/{name}",
            revision=self.revision,
            release_date=None,
            languages=None,
            n_parameters=None,
            memory_usage_mb=None,
            max_tokens=None,
            embed_dim=self.space.dim,
            license=None,
            open_weights=True,
            public_training_code=None,
            public_training_data=None,
            framework=["safetensors"],
            similarity_fn_name=ScoringFunction.COSINE,
            use_instructions=False,
            training_datasets=None,
            modalities=[kind for kind in KINDS if kind in self.space],
        )

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any = None,
        hf_split: str = "",
        hf_subset: str = "",
        prompt_type: Any = None,
        **_: Any,
    ) -> Vectors:
        """Unit rows (n, dim) float32 of all entries of all batches; prompts are not used: CLIP has none.

        Raises QueryError for a batch that holds no kind the space has.
        """
        rows = [self._batch(batch) for batch in inputs]
        return np.concatenate(rows) if rows else np.zeros((0, self.space.dim), np.float32)

    def _batch(self, batch: Mapping[str, Any]) -> Vectors:
        parts = []
        for kind in KINDS:
            if kind in batch and kind in self.space:
                items: list[Item] = [self._item(kind, value) for value in batch[kind]]
                parts.append(self.space.embed(items))
        if not parts:
            raise QueryError(f"The space {self.space.name!r} embeds none of {', '.join(sorted(batch))}.")
        return parts[0] if len(parts) == 1 else unit(np.mean(parts, axis=0))

    def _item(self, kind: str, value: Any) -> Item:
        if kind == "text":
            return value if value.strip() else EMPTY
        return value.convert("RGB") if kind == "image" else self._sound(value)

    def _sound(self, value: Any) -> Audio:
        """A sound as datasets gives it (array and rate, or a decoder), mono, at the space's rate."""
        if hasattr(value, "get_all_samples"):
            found = value.get_all_samples()
            samples, rate = np.asarray(found.data, np.float32), int(found.sample_rate)
        else:
            samples, rate = np.asarray(value["array"], np.float32), int(value["sampling_rate"])
        mono = samples.mean(axis=0) if samples.ndim == 2 else samples
        wanted = self.space.read_options.audio_rate
        if rate != wanted:
            import soxr

            mono = soxr.resample(mono, rate, wanted)
        return Audio(np.ascontiguousarray(mono, np.float32), wanted)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines (n, m), a torch tensor: what mteb's tasks reckon with."""
        return _tensor(_rows(embeddings1) @ _rows(embeddings2).T)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines (n,) of row with row, a torch tensor."""
        return _tensor(np.einsum("nd,nd->n", _rows(embeddings1), _rows(embeddings2)))


def _rows(vectors: Any) -> Vectors:
    return unit(np.atleast_2d(np.asarray(vectors, np.float32)))


def _tensor(values: NDArray[np.floating]) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(values))
