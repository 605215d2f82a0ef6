"""Distillation: a small tower taught by a large one, without labels.

>>> small = distil(load_space(), "texts.txt")
>>> small = distil(load_space(), "texts.txt", "transformer")
>>> small = distil(load_space(), "photos", "vit")
>>> small.save("small-space")

Students (`multimodal.distil.configs`): "words", a table of words; "transformer", a few layers over sub-words;
"vit", a small tower for pictures and, with them, videos. Each learns to give its teacher's vectors of texts,
or of the pictures of a folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from multimodal.distil.configs import Config, Transformer, Vit, Words, student
from multimodal.errors import NoEncoder, NoMediaFile, QueryError
from multimodal.students import WithStudent

if TYPE_CHECKING:
    from multimodal.space import Space

__all__ = ["Config", "Distilled", "Transformer", "Vit", "Words", "distil", "learn", "student"]

Given = str | Path | Sequence[str] | Sequence[Path] | None


@dataclass(frozen=True, eq=False)
class Distilled:
    """A space with a student. `bytes` are the student's tensors; `cosine` is its mean cosine to the teacher
    on what it did not learn from (None of a table of words); `resumed` says that an earlier run was gone on
    with."""

    space: Space
    config: Config
    bytes: int
    cosine: float | None = None
    resumed: bool = False
    left_out: int = 0
    """Files that could not be read."""


def distil(
    space: Space,
    given: Given = None,
    student: str | Path | Config | None = None,
    *,
    words: int | None = None,
    seed: int = 0,
    run: str | Path | None = None,
    progress: Callable[[str, int, int], object] | None = None,
) -> Space:
    """A space like `space` with a smaller tower that mimics its own.

    `given` are texts (a list, a file with one a line, or None for the phrases that ship) or pictures (a list
    of paths, or a folder): the more, and the more like what will be asked, the better: tens of thousands of
    texts. `student` is "words", "transformer", "vit", a JSON file with its fields, or a `Config`; by default
    words for texts and vit for pictures. `words` is how many a table has at most.

    With `run`, a folder, the teacher's vectors and the checkpoint are kept there, so that a run that was
    killed goes on with the same numbers. `progress` is told of the stage, of how many are done, of how many.
    Deterministic. Raises NoMediaFile, QueryError (too little to learn from, a space that has such a student
    already, an impossible student), SpaceError.
    """
    return learn(space, given, student, words=words, seed=seed, run=run, progress=progress).space


def learn(
    space: Space,
    given: Given = None,
    student: str | Path | Config | None = None,
    *,
    words: int | None = None,
    seed: int = 0,
    run: str | Path | None = None,
    progress: Callable[[str, int, int], object] | None = None,
) -> Distilled:
    """As `distil`, with what is known of the student."""
    config = _config(given, student, words)
    folder = None if run is None else Path(run)
    if isinstance(config, Vit):
        return _pictures(space, given, config, seed, folder, progress)
    from multimodal.distil.words import read, table
    from multimodal.ladder.source import WithRung

    if isinstance(space._source, WithRung) or "text" in _taught(space):
        raise QueryError(f"{space.name} has a distilled text tower already: give the space it was made from.")
    texts = read(given if given is None or isinstance(given, (str, Path)) else [str(one) for one in given])
    if isinstance(config, Words):
        source = table(space, texts, config.words, seed, folder, progress)
        return Distilled(type(space)(source), config, source.rung.size)
    from multimodal.distil.texts import teach

    made, cosine, resumed = teach(space, texts, config, seed, folder, progress)
    return Distilled(type(space)(made), config, made.size, cosine, resumed)


def _config(given: Given, name: str | Path | Config | None, words: int | None) -> Config:
    pictured = isinstance(given, (str, Path)) and Path(given).is_dir()
    pictured = pictured or (isinstance(given, Sequence) and bool(given) and isinstance(given[0], Path))
    config = student(name if name is not None else "vit" if pictured else "words")
    if words is not None and not isinstance(config, Words):
        raise QueryError(f"A {config.kind} has no number of words: a table of words has.")
    if pictured and not isinstance(config, Vit):
        raise QueryError(
            f"A {config.kind} learns from texts, not from pictures: give a file with one text a line."
        )
    if isinstance(config, Vit) and not pictured:
        if isinstance(given, (str, Path)) and not Path(given).exists():
            raise NoMediaFile(f"{given} does not exist: a vit learns from a folder of pictures.")
        raise QueryError("A vit learns from pictures: give a folder of them.")
    return replace(config, words=words) if words is not None and isinstance(config, Words) else config


def _taught(space: Space) -> set[str]:
    """Modalities that have a student already."""
    found: set[str] = set()
    source: object = space._source
    while isinstance(source, WithStudent):
        found |= set(source.about)
        source = source._teacher
    return found


def _pictures(
    space: Space,
    given: Given,
    config: Vit,
    seed: int,
    run: Path | None,
    progress: Callable[[str, int, int], object] | None,
) -> Distilled:
    from multimodal.distil.pictures import found, teach

    if "image" not in space:
        raise NoEncoder(f"The space {space.name!r} has no image encoder.")
    if "image" in _taught(space):
        raise QueryError(
            f"{space.name} has a distilled picture tower already: give the space it was made from."
        )
    made, cosine, resumed, left_out = teach(space, found(_paths(given)), config, seed, run, progress)
    return Distilled(type(space)(made), config, made.size, cosine, resumed, left_out)


def _paths(given: Given) -> str | Path | list[Path]:
    """Pictures as `found` takes them; `_config` has seen to it that they are."""
    return given if isinstance(given, (str, Path)) else [Path(one) for one in given or ()]
