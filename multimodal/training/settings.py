"""What a training is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from multimodal.adapted import SHARED
from multimodal.errors import QueryError, SpaceError
from multimodal.sources import OpenClipSource, StarterSource

if TYPE_CHECKING:
    from multimodal.space import Space

ADAPTERS = ("head", *(f"head.{modality}" for modality in ("text", "image", "audio")), "audio")
LORA = ("lora", "lora.text", "lora.image")
ALONE = ("audio.tower", "pooler", "all")
PARTS = (*ADAPTERS, *LORA, *ALONE)
"""`head` is an adapter for each modality that the pairs have (`head.text` that of texts alone), `audio` that
of sounds alone. `lora` are low-rank updates inside an open_clip model's towers (`lora.image` inside that of
pictures alone), `audio.tower` the weights of the starter's sound tower, `pooler` the attention over frames of
videos, `all` every weight of an open_clip model's towers; of another space every adapter."""
TUNED: Mapping[str, Any] = {"batch": 64, "hard": 0, "hold": 10.0, "epochs": 20, "patience": 4}
"""Other defaults where towers learn, which costs a pass through them for each thing at each step."""
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    **{part: {**TUNED, "rate": 5e-4} for part in LORA},
    "all": {**TUNED, "rate": 1e-5},
    "audio.tower": {**TUNED, "rate": 1e-4},
    "pooler": {"epochs": 200, "rate": 3e-3},
}


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
    alike: float = 1.0
    """Texts whose rows before training have a cosine above this are no negatives of each other; at 1 only
    equal texts are not."""
    pull: float = 0.0
    """Weight of 1 - cosine between the two sides of a pair (the alignment of Wang and Isola 2020)."""
    drawn: int = 0
    """Pairs of an epoch, drawn by their weights with replacement; 0 shows each pair once and weights its
    loss instead."""
    average: float = 0.0
    """Share of itself that a running mean of the weights keeps at each step (0.995: of some 200 steps), which
    is then what validation judges and what is kept; 0 keeps the weights themselves."""
    hold: float = 100.0
    """Weight of 1 - cosine between what generic rows are and were."""
    lose: float = 0.0075
    """Share of generic queries that may lose their answer: the interpolation between the space before and
    after goes as far as validation wants and this allows. (Elsewhere R@10 fell by .003 and .009 with it on
    the two domains of recipes/ADAPT.md, by .003 and .011 with .01.)"""
    validation: float = 0.2
    """Share of the training pairs that is set aside, where the pairs have no validation split."""
    patience: int = 10
    """Epochs without a better R@10 on validation after which training ends."""
    rank: int = 8
    """Of the updates of `lora`."""
    lora_alpha: int = 16
    """Updates count this divided by `rank`."""
    checkpointing: bool = False
    """Compute what is inside a tower twice rather than keep it: less memory, a third more time."""
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

    @classmethod
    def of(cls, parts: str | Iterable[str], towers: bool = True, **options: Any) -> Settings:
        """Those asked for, for the rest the defaults of the first part; `towers` is whether `all` are those
        of an open_clip model. Raises QueryError."""
        named = (parts,) if isinstance(parts, str) else tuple(parts)
        usual = DEFAULTS.get(named[0], {}) if named and (towers or named[0] != "all") else {}
        return cls().with_(**{**usual, "parts": named, **options})

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


def is_open_clip(space: Space) -> bool:
    """Whether a space is an open_clip model and nothing around it."""
    return isinstance(space._source, OpenClipSource)


def tunes(space: Space, settings: Settings) -> bool:
    """Whether towers of a space learn. Raises QueryError where it has none that could,
    SpaceError for a pooler that is not its own."""
    part = settings.parts[0]
    if part == "pooler" and "_base" in vars(space._source):
        raise SpaceError(f"{space.name} is made from another space: give the pooler that one.")
    clip = is_open_clip(space)
    if part == "audio.tower":
        if isinstance(space._source, StarterSource) and "audio" in space:
            return True
        raise QueryError(f"--parts audio.tower needs the starter's sound tower, which {space.name} has not.")
    if part in LORA and not clip:
        raise QueryError(f"--parts {part} needs an open_clip space, which {space.name} is not.")
    if clip and part in (*LORA, "all"):
        compute = space._source._compute  # type: ignore[attr-defined]
        if compute.precision == "int8" or compute.backend == "openvino":
            raise QueryError(f"{part} learns in torch: load the space without int8 and other backends.")
        return True
    return False


def _check(settings: Settings) -> None:
    unknown = [part for part in settings.parts if part not in PARTS]
    if unknown or not settings.parts:
        raise QueryError(
            f"What learns is one or more of {', '.join(PARTS)}, not {', '.join(unknown) or 'none'}."
        )
    for group in (LORA, *((part,) for part in ALONE)):
        mine = [part for part in settings.parts if part in group]
        if mine and len(mine) < len(settings.parts):
            raise QueryError(f"{mine[0]} learns by itself: train again from the space that it gave.")
    if settings.loss not in ("clip", "siglip"):
        raise QueryError(f"The loss is clip or siglip, not {settings.loss!r}.")
    least = {
        "epochs": 1,
        "batch": 2,
        "accumulate": 1,
        "hidden": 1,
        "rank": 1,
        "patience": 1,
        "hard": 0,
        "hold": 0,
        "pull": 0,
        "drawn": 0,
        "decay": 0,
    }
    for name, bound in least.items():
        if getattr(settings, name) < bound:
            raise QueryError(f"{name} is at least {bound}, not {getattr(settings, name)}.")
    if settings.drawn == 1:
        raise QueryError("drawn is 0 or at least 2 pairs, not 1.")
    if not -1 <= settings.alike <= 1:
        raise QueryError(f"alike is a cosine from -1 to 1, not {settings.alike}.")
    for name in ("rate", "lora_alpha"):
        if not getattr(settings, name) > 0:
            raise QueryError(f"{name} is above 0, not {getattr(settings, name)}.")
    for name in ("warmup", "dropout", "lose", "validation", "average"):
        if not 0 <= getattr(settings, name) < 1:
            raise QueryError(f"{name} is a share from 0 to below 1, not {getattr(settings, name)}.")
