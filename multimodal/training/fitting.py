"""From pairs to a trained space: features, the loop, how far to go, what is written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from multimodal.adapted import Adapted, Adapter
from multimodal.errors import SpaceError
from multimodal.evaluation.items import item_key
from multimodal.pairs import Pairs, read_pairs
from multimodal.phrases import everyday
from multimodal.towers.base import identity, unit
from multimodal.training.data import Data, assemble
from multimodal.training.features import features
from multimodal.training.scores import REHEARSED, Score, scored
from multimodal.training.settings import Settings, is_open_clip, tunes
from multimodal.training.tradeoff import Point, chosen, rows_through, trade_off
from multimodal.types import MODALITIES, FileRecord, Item, Modality, Vectors

if TYPE_CHECKING:
    from multimodal.space import Space

Given: TypeAlias = "str | Path | Pairs | Sequence[tuple[Item, Item]]"
Generic: TypeAlias = "Mapping[Modality, NDArray[np.float32]]"

KEPT_APART = 0.5
"""Share of the generic pairs that is not rehearsed: by the others nothing can be judged."""
VERSION = 2
"""Raise when the same pairs and settings would give other weights."""


@dataclass(frozen=True, eq=False)
class Learned:
    """A trained space, and how it came to be.

    `before` and `after` are the directions of the pairs of the `split` they were measured on: the test
    pairs where there are some, else those of validation, which settings were chosen on. `history` has a line
    an epoch (`multimodal.training.loop.Trained`), `points` the trade-off, of which `point` was taken.
    """

    space: Space
    adapters: Mapping[str, Adapter]
    settings: Settings
    counts: Mapping[str, Mapping[str, int]]
    split: str
    before: Sequence[Score]
    after: Sequence[Score]
    history: Sequence[Mapping[str, float]]
    best_epoch: int
    points: Sequence[Point]
    point: Point
    left_out: Sequence[FileRecord]
    resumed: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: what was asked for, what was learned from, how it went."""
        return {
            "settings": self.settings.as_dict(),
            "counts": {kind: dict(counts) for kind, counts in self.counts.items()},
            "measured_on": self.split,
            "history": [dict(line) for line in self.history],
            "best_epoch": self.best_epoch + 1,
            "alpha": self.point.alpha,
            "trade_off": [asdict(point) for point in self.points],
        }


def fit(
    space: Space,
    pairs: Given,
    parts: str | Sequence[str] = ("head",),
    *,
    output: str | Path | None = None,
    keep: Given | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
    listener: Callable[[dict[str, float]], object] | None = None,
    **options: Any,
) -> Space:
    """A space that has learned from pairs of things that belong together.

    `pairs` are a file of them (`multimodal.pairs`; columns weight and split may say how much each counts and
    what it is for) or items as `Space.embed` takes; any modalities may meet. What learns is named by
    `parts` (`multimodal.training.settings.PARTS`); `options` are the fields of
    `multimodal.training.Settings`: epochs=30, loss="siglip" ... What is not named stays as it is, and so do
    the ids, and the rows in libraries, of modalities that nothing was learned for.

    The phrases, pictures and sounds that ship with a space stand for what it knows: half are rehearsed, and
    of the others no more than a share of `lose` may find something else. `keep` are generic pairs for which
    the same is asked beside that, of R@10 (their own columns weight and split are heeded, where there are
    some). With `output`, a new folder, the space is written there with a card (README.md), curves and
    numbers; features and the checkpoint lie in OUTPUT.run beside it, so that a training that was killed goes
    on with the same numbers when it is asked for again.
    `progress` is told of how many, of how many, items are embedded, `listener` of each epoch.

    Raises NoMediaFile, QueryError, NoEncoder, SpaceError.
    """
    return learn(
        space,
        pairs,
        parts,
        output=output,
        keep=keep,
        workers=workers,
        progress=progress,
        listener=listener,
        **options,
    ).space


def learn(
    space: Space,
    pairs: Given,
    parts: str | Sequence[str] = ("head",),
    *,
    output: str | Path | None = None,
    keep: Given | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
    listener: Callable[[dict[str, float]], object] | None = None,
    **options: Any,
) -> Learned:
    """As `fit`, with all that is known of how it went."""
    settings = Settings.of(parts, towers=is_open_clip(space), **options)
    tuning = tunes(space, settings)
    target = None if output is None else _new_folder(Path(output))
    run = None if target is None else target.with_name(f"{target.name}.run")
    given, kept_pairs = _pairs(pairs), None if keep is None else _pairs(keep)
    items = [item for some in (given, kept_pairs) if some is not None for pair in some.pairs for item in pair]
    known, left_out = features(space, items, run, workers, progress)
    data = assemble(given, known, settings.validation, settings.seed)
    kept_data = None if kept_pairs is None else assemble(kept_pairs, known, KEPT_APART, settings.seed)
    by_key = {known[item_key(item)].key: item for item in items if item_key(item) in known}
    if tuning:
        from multimodal.training.tuning import tuned

        learned = tuned(space, settings, data, by_key, kept_data, left_out, run, listener)
    elif settings.parts == ("pooler",):
        from multimodal.training.watched import pooled

        learned = pooled(space, settings, data, by_key, left_out, run, workers, listener)
    else:
        learned = trained(space, settings, data, kept_data, left_out, run, listener)
    return learned if target is None or run is None else _written(learned, space.name, target, run)


def trained(
    space: Space,
    settings: Settings,
    data: Data,
    keep: Data | None = None,
    left_out: Sequence[FileRecord] = (),
    run: Path | None = None,
    listener: Callable[[dict[str, float]], object] | None = None,
) -> Learned:
    """`learn` from features that are there already (`data.assemble`). Raises QueryError, SpaceError."""
    import torch

    from multimodal.training.heads import Heads
    from multimodal.training.loop import train
    from multimodal.training.watching import listeners

    adapted = settings.adapted(data.rows)
    held = generic(space)
    encoders = {modality: space[modality].encoder_id for modality in data.rows}
    asked = settings.as_dict() | {"data": data.id, "keep": keep.id if keep else "", "encoders": encoders}
    name = identity({"version": VERSION}, asked)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        still = _rehearsed(held, keep)
        model = Heads(data.rows, still, adapted, settings.hidden, settings.dropout, settings.loss)
    checkpoint = None if run is None else run / f"{name}.safetensors"
    with listeners(run, name, listener) as told:
        found = train(model, data, settings, checkpoint, told)
    adapters = model.adapters()
    points = trade_off(data, held, adapters, keep)
    point = chosen(points, settings.lose, data.count("validation") > 0)
    scaled = {modality: adapter.scaled(point.alpha) for modality, adapter in adapters.items()}
    splits = ("test",) if data.count("test") else ("train", "validation")
    return Learned(
        space=type(space)(Adapted(space._source, scaled)),
        adapters=scaled,
        settings=settings,
        counts=_counts(data),
        split=splits[-1],
        before=scored(data, rows_through(data.rows, {}), *splits),
        after=scored(data, rows_through(data.rows, scaled), *splits),
        history=found.history,
        best_epoch=found.best_epoch,
        points=points,
        point=point,
        left_out=left_out,
        resumed=found.resumed,
    )


def generic(space: Space) -> dict[Modality, NDArray[np.float32]]:
    """Unit rows (n, dim) by modality that stand for what a space knows: those it ships to judge searches by.
    A space that ships none has phrases."""
    bank = space.bank
    if bank is None:
        return {"text": space["text"].encode(everyday())}
    return {modality: unit(bank[modality]) for modality in MODALITIES if modality in bank}


def _rehearsed(held: Mapping[Modality, Vectors], keep: Data | None) -> dict[Modality, Vectors]:
    """What must not move: half of the generic rows, and the training part of generic pairs."""
    still = {modality: [rows[REHEARSED]] for modality, rows in held.items()}
    for kind in keep.kinds if keep is not None else ():
        pairs = kind.places("train")
        for modality, places in zip(kind.modalities, (kind.left[pairs], kind.right[pairs]), strict=True):
            still.setdefault(modality, []).append(keep.rows[modality][np.unique(places)])  # type: ignore[union-attr]
    return {modality: np.concatenate(rows) for modality, rows in still.items()}


def _written(learned: Learned, base: str, target: Path, run: Path) -> Learned:
    """Save a trained space with its card, whole or not at all; the checkpoint has served."""
    from dataclasses import replace

    from multimodal.space import load_space
    from multimodal.training.card import card, curves

    part = target.with_name(f"{target.name}.part")
    try:
        if part.exists():
            shutil.rmtree(part)
        learned.space.save(part)
        drawn = curves(learned, part / "curves.png")
        (part / "README.md").write_text(card(learned, base, target.name, drawn), encoding="utf-8")
        text = json.dumps(learned.as_dict(), indent=1, ensure_ascii=False)
        (part / "training.json").write_text(text + "\n", encoding="utf-8")
        if target.exists():
            target.rmdir()  # empty: `_new_folder` has seen to it
        part.replace(target)
        for checkpoint in run.glob("*.safetensors"):
            checkpoint.unlink()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpaceError(f"{target} cannot be written: {reason}.") from error
    return replace(learned, space=load_space(target))


def _new_folder(target: Path) -> Path:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise SpaceError(f"{target} already exists and is not an empty folder.")
    return target.absolute()


def _pairs(given: Given) -> Pairs:
    if isinstance(given, (str, Path)):
        return read_pairs(given)
    return given if isinstance(given, Pairs) else Pairs(("left", "right"), list(given))


def _counts(data: Data) -> dict[str, dict[str, int]]:
    return {
        " and ".join(kind.modalities): {
            split: len(kind.places(split)) for split in ("train", "validation", "test")
        }
        for kind in data.kinds
    }
