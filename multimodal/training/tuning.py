"""From pairs to a space whose towers themselves have learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from multimodal.errors import QueryError
from multimodal.phrases import everyday
from multimodal.sources import Source
from multimodal.towers.base import identity, unit
from multimodal.training.data import Data
from multimodal.training.fitting import VERSION, Learned, _counts
from multimodal.training.loop import rows_of, train
from multimodal.training.prepared import Inputs, Split, prepared
from multimodal.training.scores import REHEARSED, Rows, Score, kept, of_first, recall, reciprocal, scored
from multimodal.training.settings import LORA, Settings
from multimodal.training.towers import Towers, Trunk
from multimodal.training.tradeoff import Point, chosen
from multimodal.training.watching import listeners
from multimodal.types import MODALITIES, FileRecord, Item, Modality, Vectors

if TYPE_CHECKING:
    from multimodal.space import Space

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Each costs a pass of all items through the towers."""


@dataclass(frozen=True)
class Tunable:
    """The towers of a space that can learn: of which modalities, the network that learns, how prepared
    contents become its inputs, the space's source with what was learned, given all rows as they are now, and
    what else there is to say, by them, how much is kept."""

    modalities: tuple[Modality, ...]
    trunk: Callable[[], Trunk]
    split: Mapping[Modality, Split]
    source: Callable[[Trunk, Rows], Source]
    keeps: Callable[[Rows], float] | None = None


def tuned(
    space: Space,
    settings: Settings,
    data: Data,
    items: Mapping[str, Item],
    keep: Data | None = None,
    left_out: Sequence[FileRecord] = (),
    run: Path | None = None,
    listener: Callable[[dict[str, float]], object] | None = None,
) -> Learned:
    """Train the towers that `settings.parts` name; `items` are those of the pairs by their content.

    Without generic pairs (`keep`) phrases hold the text tower; of what else a space forgets nothing is known
    then. Raises QueryError, ReadError, SpaceError.
    """
    tunable = _sound_tower if settings.parts == ("audio.tower",) else _clip_towers
    towers = tunable(space, settings, data, keep)
    inputs = _all_inputs(space, towers, data, items, run)
    keep_inputs = {} if keep is None else _all_inputs(space, towers, keep, items, run)
    asked = settings.as_dict() | {"data": data.id, "keep": keep.id if keep else ""}
    encoders = {modality: space[modality].encoder_id for modality in data.rows}
    name = identity({"version": VERSION}, asked | {"encoders": encoders})
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        trunk = towers.trunk()
    held = _held(space, towers, keep, keep_inputs) if settings.hold else {}
    model = Towers(trunk, inputs, data.rows, held, settings.loss)
    device = torch.device(settings.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model.stand(device)
    begun = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with listeners(run, name, listener) as told:
        found = train(model, data, settings, None if run is None else run / f"{name}.safetensors", told)
    learned = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    splits = ("test",) if data.count("test") else ("train", "validation")
    measured: dict[float, list[Score]] = {}
    points: list[Point] = []
    holds = _holds(space, towers, model, keep, keep_inputs)
    for alpha in ALPHAS:
        model.go(begun, learned, alpha)
        rows = rows_of(model)
        scores = scored(data, rows, "train", "validation")
        measured[alpha] = scored(data, rows, *splits)
        points.append(Point(alpha, recall(scores), reciprocal(scores), holds(rows)))
    point = chosen(points, settings.lose, data.count("validation") > 0)
    model.go(begun, learned, point.alpha)
    return Learned(
        space=type(space)(towers.source(trunk, rows_of(model)) if point.alpha else space._source),
        adapters={},
        settings=settings,
        counts=_counts(data),
        split=splits[-1],
        before=measured[0.0],
        after=measured[point.alpha],
        history=found.history,
        best_epoch=found.best_epoch,
        points=points,
        point=point,
        left_out=left_out,
        resumed=found.resumed,
    )


def _clip_towers(space: Space, settings: Settings, data: Data, keep: Data | None) -> Tunable:
    from multimodal.training import lora

    source: Any = space._source
    present = {modality for some in (data, keep) if some is not None for modality in some.rows}
    foreign = sorted(present - {"text", "image"})
    if foreign:
        raise QueryError(
            f"{settings.parts[0]} learns from texts and pictures, not from {' and '.join(foreign)}: leave"
            " such pairs out."
        )
    wanted = {one for part in settings.parts for one in ([part[5:]] if "." in part else ["text", "image"])}
    modalities: tuple[Modality, ...] = tuple(one for one in data.rows if one in wanted)
    if not modalities:
        raise QueryError(f"{settings.parts[0]} cannot learn from pairs of {' and '.join(data.rows)} only.")
    loaded, low_rank = source.loaded, settings.parts[0] in LORA
    length = int(loaded.tokenizer.context_length)

    def texts(ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        windows = np.atleast_2d(ids)
        counts = np.ones(1) if ids.ndim == 1 else windows[:, length]
        return windows[:, :length], (counts / counts.sum()).astype(np.float32)

    return Tunable(
        modalities,
        lambda: lora.trunk(
            loaded, modalities, low_rank, settings.rank, settings.lora_alpha, settings.checkpointing
        ),
        {"text": texts, "image": lambda pixels: (pixels[None], np.ones(1, np.float32))},
        lambda trunk, _: source.with_model(lora.merged(loaded, trunk.module)),
    )


def _sound_tower(space: Space, settings: Settings, data: Data, keep: Data | None) -> Tunable:
    from multimodal.training import sounds

    if "audio" not in data.rows:
        raise QueryError(f"audio.tower cannot learn from pairs of {' and '.join(data.rows)} only.")
    tower: Any = space["audio"].tower
    before, bank = data.rows["audio"], space.bank or {}
    generic = {one: unit(bank[one]) for one in MODALITIES if one in bank}

    def keeps(rows: Rows) -> float:
        moved = dict(generic)
        if "audio" in moved:
            moved["audio"] = unit(moved["audio"] + moved["audio"] @ sounds.moves(before, rows("audio")))
        return kept(generic, moved)

    return Tunable(
        ("audio",),
        lambda: sounds.trunk(tower.windows.weights),
        {"audio": sounds.windows},
        lambda trunk, rows: sounds.WithSounds(space._source, trunk.module, before, rows("audio")),
        keeps,
    )


def _all_inputs(
    space: Space, towers: Tunable, data: Data, items: Mapping[str, Item], run: Path | None
) -> dict[Modality, Inputs]:
    """Of the modalities that learn."""
    found: dict[Modality, Inputs] = {}
    for modality, keys in data.keys.items():
        if modality in towers.modalities:
            some = [items[key] for key in keys]
            found[modality] = prepared(space, modality, some, keys, towers.split[modality], run)
    return found


def _phrases(space: Space, towers: Tunable) -> Inputs:
    phrases = everyday()
    return prepared(space, "text", phrases, phrases, towers.split["text"])


def _held(
    space: Space, towers: Tunable, keep: Data | None, inputs: Mapping[Modality, Inputs]
) -> dict[Modality, Inputs]:
    """What must not move: the training part of generic pairs; where they have no texts half of
    the phrases."""
    held: dict[Modality, Inputs] = {}
    if "text" in towers.modalities:
        phrases = _phrases(space, towers)
        held["text"] = phrases.part(np.arange(len(phrases))[REHEARSED])
    for kind in keep.kinds if keep is not None else ():
        pairs = kind.places("train")
        for modality, places in zip(kind.modalities, (kind.left[pairs], kind.right[pairs]), strict=True):
            if modality in inputs:
                held[modality] = inputs[modality].part(np.unique(places))
    return held


def _holds(
    space: Space, towers: Tunable, model: Towers, keep: Data | None, inputs: Mapping[Modality, Inputs]
) -> Callable[[Rows], float]:
    """What measures how much of what it knew a model keeps as it is: the share of R@10 of generic pairs, or
    of phrases that still find the phrase next to them, whichever is less; 1 where pictures learn alone and
    without such pairs. First asked at alpha 0."""
    measures: list[Callable[[Rows], float]] = [towers.keeps] if towers.keeps is not None else []
    if keep is not None:
        found: list[float] = []

        def pairs(_: Rows) -> float:
            found.append(recall(scored(keep, _rows(model, keep, inputs), "train", "validation")))
            return of_first(found)

        measures.append(pairs)
    if "text" in towers.modalities:
        phrases, stood = _phrases(space, towers), list[Vectors]()

        def neighbours(_: Rows) -> float:
            now = _embedded(model, "text", phrases)
            if not stood:
                stood.append(now)
            return kept({"text": stood[0]}, {"text": now})

        measures.append(neighbours)
    return lambda rows: min((measure(rows) for measure in measures), default=1.0)


def _embedded(model: Towers, modality: Modality, inputs: Inputs) -> Vectors:
    with torch.inference_mode():
        parts = [
            model.through(modality, inputs, np.arange(begin, min(begin + model.block, len(inputs))))
            .cpu()
            .numpy()
            for begin in range(0, len(inputs), model.block)
        ]
    return np.concatenate(parts)


def _rows(model: Towers, data: Data, inputs: Mapping[Modality, Inputs]) -> Rows:
    known: dict[Modality, Vectors] = {}

    def rows(modality: Modality) -> Vectors:
        if modality not in known:
            found = inputs.get(modality)
            known[modality] = data.rows[modality] if found is None else _embedded(model, modality, found)
        return known[modality]

    return rows
