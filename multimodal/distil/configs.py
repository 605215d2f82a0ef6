"""What a student is: its kind and sizes, by name or from a JSON file.

    {"kind": "transformer", "layers": 1, "vocabulary": 6000}

Fields that are left out have the values below.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from multimodal.errors import NoMediaFile, QueryError


@dataclass(frozen=True)
class Words:
    """A table of words: no network at all."""

    kind: ClassVar[str] = "words"
    words: int = 20_000
    """At most, the most frequent ones of the texts."""

    def __post_init__(self) -> None:
        _between(self, words=(10, 1_000_000))


@dataclass(frozen=True)
class Transformer:
    """A small WordPiece transformer. It starts as the first layers of its teacher's where that is a BERT of
    the same width, elsewhere as those of the starter's; with another width it starts from the main directions
    of their word vectors and random layers, and needs many more texts."""

    kind: ClassVar[str] = "transformer"
    layers: int = 1
    width: int = 384
    heads: int = 12
    vocabulary: int = 9000
    """Sub-words: the most frequent ones of the texts; other words are spelled with these."""
    epochs: int = 8
    """Times that each text is seen."""
    batch: int = 64
    """Texts of a step."""
    rate: float = 1e-3
    """Peak learning rate of AdamW; a cosine takes it to zero."""

    def __post_init__(self) -> None:
        _between(
            self,
            layers=(1, 24),
            width=(16, 4096),
            heads=(1, 64),
            vocabulary=(300, 1_000_000),
            epochs=(1, 10_000),
            batch=(2, 8192),
            rate=(1e-7, 1.0),
        )
        _divides(self, "heads", "width")


@dataclass(frozen=True)
class Vit:
    """A small vision transformer on pictures of `size` x `size` pixels; it starts at random."""

    kind: ClassVar[str] = "vit"
    layers: int = 4
    width: int = 192
    heads: int = 3
    size: int = 112
    """Pixels of a side."""
    patch: int = 14
    """Pixels of a patch's side."""
    epochs: int = 30
    """Times that each picture is seen, each time another crop of it."""
    batch: int = 32
    """Pictures of a step."""
    rate: float = 1e-3
    """Peak learning rate of AdamW; a cosine takes it to zero."""

    def __post_init__(self) -> None:
        _between(
            self,
            layers=(1, 48),
            width=(16, 4096),
            heads=(1, 64),
            size=(16, 1024),
            patch=(2, 128),
            epochs=(1, 10_000),
            batch=(2, 8192),
            rate=(1e-7, 1.0),
        )
        _divides(self, "heads", "width")
        _divides(self, "patch", "size")


Config: TypeAlias = Words | Transformer | Vit
KINDS: dict[str, type[Words] | type[Transformer] | type[Vit]] = {
    one.kind: one for one in (Words, Transformer, Vit)
}


def student(given: str | Path | Config) -> Config:
    """A student by its name, from a JSON file, or as it is. Raises QueryError, NoMediaFile."""
    if isinstance(given, (Words, Transformer, Vit)):
        return given
    if str(given) in KINDS:
        return KINDS[str(given)]()
    path = Path(given)
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        if not path.is_file():
            raise NoMediaFile(
                f"A student is {_listed(KINDS)}, or a JSON file, and {path} is neither."
            ) from None
        raise QueryError(f"{path} cannot be read as a student: {error}.") from error
    if not isinstance(values, dict) or values.get("kind") not in KINDS:
        raise QueryError(f"{path} needs a field kind: {_listed(KINDS)}.")
    return _made(KINDS[values.pop("kind")], values, path)


def _made(kind: type[Words] | type[Transformer] | type[Vit], values: dict[str, Any], path: Path) -> Config:
    known = {field.name: field.default for field in fields(kind)}
    for name, value in values.items():
        if name not in known:
            raise QueryError(f"{path}: {kind.kind} has no field {name!r}, only {', '.join(known)}.")
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole and not (isinstance(known[name], float) and isinstance(value, float)):
            wanted = "a number" if isinstance(known[name], float) else "a whole number"
            raise QueryError(f"{path}: {name} is {wanted}, not {json.dumps(value)}.")
    return kind(**values)


def _between(config: Config, **bounds: tuple[float, float]) -> None:
    values = asdict(config)
    for name, (least, most) in bounds.items():
        if not least <= values[name] <= most:
            raise QueryError(f"{name} of a student is from {least:g} to {most:g}, not {values[name]}.")


def _divides(config: Config, part: str, whole: str) -> None:
    values = asdict(config)
    if values[whole] % values[part]:
        raise QueryError(
            f"{whole} of a student is a multiple of its {part}: {values[whole]} is none of {values[part]}."
        )


def _listed(names: Any) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"
