"""What a training is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from multimodal.adapted import SHARED
from multimodal.errors import QueryError

PARTS = ("head", *(f"head.{modality}" for modality in ("text", "image", "audio")), "audio", "all")
"""`head` is an adapter for each modality that the pairs have (`head.text` that of texts alone), `audio` that
of sounds alone, `all` everything there is."""


@dataclass(frozen=True)
class Settings:
    """How to learn; the defaults are for a few hundred pairs, as `recipes.adapt` measures them."""

    parts: tuple[str, ...] = ("head",)
    """Of PARTS."""
    loss: Literal["clip", "siglip"] = "clip"
    """InfoNCE with a learned scale (Radford et al. 2021), or pairwise sigmoids (Zhai et al. 2023)."""
    epochs: int = 60
    """At most: times that every pair is seen."""
    batch: int = 128
    """Pairs that are each other's negatives."""
    accumulate: int = 1
    """Batches whose gradients make one step."""
    rate: float = 1e-3
    """Peak learning rate of AdamW; a cosine takes it to zero."""
    warmup: float = 0.1
    """Share of all steps in which the rate rises."""
    decay: float = 0.1
    """Weight decay: towards the space as it is."""
    hidden: int = 256
    """Width of an adapter."""
    dropout: float = 0.1
    hard: int = 1
    """Negatives found for each pair and direction: things that the space takes for the right answer."""
    hold: float = 100.0
    """Weight of 1 - cosine between what generic rows are and were."""
    lose: float = 0.005
    """Share of generic queries that may lose their answer: the interpolation between the space before and
    after goes as far as validation wants and this allows."""
    validation: float = 0.2
    """Share of the training pairs that is set aside, where the pairs have no validation split."""
    patience: int = 10
    """Epochs without a better R@10 on validation after which training ends."""
    bf16: bool = False
    """Compute in bfloat16, keep weights in float32."""
    device: str | None = None
    """As torch names it; by default the first GPU, else the CPU."""
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self)

    def with_(self, **options: Any) -> Settings:
        """The same with other values. Raises QueryError for unknown names and impossible values."""
        names = [field.name for field in fields(self)]
        unknown = sorted(set(options) - set(names))
        if unknown:
            raise QueryError(f"There is no setting {unknown[0]!r}: {', '.join(names)}.")
        return replace(self, **options)

    def adapted(self, present: Iterable[str]) -> tuple[str, ...]:
        """The modalities whose adapter is trained, of those that pairs have. Raises QueryError for none."""
        shared = {SHARED[modality] for modality in present}  # type: ignore[index]
        wanted: set[str] = set()
        for part in self.parts:
            wanted |= shared if part in ("head", "all") else {part.removeprefix("head.")}
        if not wanted & shared:
            raise QueryError(
                f"{', '.join(self.parts)} cannot learn from pairs of {' and '.join(sorted(shared))} only."
            )
        return tuple(modality for modality in ("text", "image", "audio") if modality in wanted & shared)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def _check(settings: Settings) -> None:
    unknown = [part for part in settings.parts if part not in PARTS]
    if unknown or not settings.parts:
        raise QueryError(
            f"What learns is one or more of {', '.join(PARTS)}, not {', '.join(unknown) or 'none'}."
        )
    if settings.loss not in ("clip", "siglip"):
        raise QueryError(f"The loss is clip or siglip, not {settings.loss!r}.")
    least = {
        "epochs": 1,
        "batch": 2,
        "accumulate": 1,
        "hidden": 1,
        "patience": 1,
        "hard": 0,
        "hold": 0,
        "decay": 0,
    }
    for name, bound in least.items():
        if getattr(settings, name) < bound:
            raise QueryError(f"{name} is at least {bound}, not {getattr(settings, name)}.")
    if not settings.rate > 0:
        raise QueryError(f"rate is above 0, not {settings.rate}.")
    for name in ("warmup", "dropout", "lose", "validation"):
        if not 0 <= getattr(settings, name) < 1:
            raise QueryError(f"{name} is a share from 0 to below 1, not {getattr(settings, name)}.")
