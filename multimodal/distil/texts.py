"""A small transformer that learns what a teacher makes of texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from multimodal.distil.configs import Transformer
from multimodal.distil.teaching import text_rows
from multimodal.distil.vocabulary import cut
from multimodal.ladder.words import Counts, words_of
from multimodal.sources import EMBEDDED, StarterSource
from multimodal.students import WithStudent, taught
from multimodal.towers.base import identity, tensors_hash
from multimodal.towers.minilm import BertWeights, MiniLMTower

if TYPE_CHECKING:
    from torch import Tensor

    from multimodal.distil.fitting import Progress
    from multimodal.space import Space

Floats = NDArray[np.float32]

VERSION = 1
"""Raise when the same texts and sizes would give other weights."""
ALONE = 20_000
"""Words of the texts, the most frequent ones, that are learned by themselves too."""
APART = 0.02
"""Share of the texts that is not learned from: what the student makes of new ones is told by these."""
MOST_APART = 500
LIKE = 32
"""Batches whose texts are sorted by length together: little to fill up, and still drawn at random."""
HEAD_FROM = 5000
"""Texts that the head is fitted on before training moves it. The first layer alone is no sentence encoder:
its means have a cosine of 0.2 to the teacher's."""
PULLS = (0.001, 0.01, 0.1, 1.0, 10.0)
"""Strengths of that ridge regression that are tried."""


def teach(
    space: Space,
    texts: Sequence[str],
    config: Transformer,
    seed: int = 0,
    run: Path | None = None,
    progress: Progress | None = None,
) -> tuple[WithStudent, float, bool]:
    """The space's source with a student for its texts, its mean cosine to the teacher on texts it did not
    learn from, and whether the training went on from an earlier one in `run`. Raises SpaceError."""
    import torch

    from multimodal.distil import fitting
    from multimodal.distil.bert import packed

    order, alone = sorted(texts), _alone(texts)
    wanted = np.concatenate([text_rows(space, some, run, progress) for some in (order, alone)])
    tower = _start(space)
    tokenizer, ids = cut(tower.preprocess.path, order, config.vocabulary)
    apart, learned = _split(len(order), len(alone), seed)
    order += alone
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, pieces = _model(config, tower, ids, tokenizer, order, space.dim)
        _fit_head(model, pieces, learned[:HEAD_FROM], wanted)

    def rows(places: NDArray[np.int64], _: int) -> tuple[Tensor, Tensor]:
        return model(*_batch(pieces, places)), torch.from_numpy(wanted[places])

    lengths = np.array([len(one) for one in pieces])
    asked = identity(
        {"version": VERSION, "seed": seed}, tensors_hash({"rows": wanted}), tokenizer, str(config)
    )
    resumed = fitting.fit(
        model,
        config,
        lambda epoch: _batches(learned, lengths, config.batch, [seed, epoch]),
        rows,
        seed,
        None if run is None else run / f"{asked}.safetensors",
        progress,
    )
    about = {"layers": config.layers, "heads": config.heads, "max_tokens": tower.preprocess.max_tokens}
    source = taught(
        space._source, lambda folder: _write(folder, packed(model.state_dict()), tokenizer, about)
    )
    made = source.build("text").encode([order[place] for place in apart])
    return source, fitting.cosine(made, wanted[apart]), resumed


def _start(space: Space) -> MiniLMTower:
    """The BERT that lends tokenizer and first layers: the teacher's own, else the starter's."""
    tower: Any = space["text"].tower
    while not isinstance(tower, MiniLMTower) and hasattr(tower, "inner"):
        tower = tower.inner
    if not isinstance(tower, MiniLMTower):
        tower = StarterSource(EMBEDDED, "starter").build("text").tower
    return cast(MiniLMTower, tower)


def _model(
    config: Transformer,
    tower: MiniLMTower,
    ids: NDArray[np.int64],
    tokenizer: str,
    texts: Sequence[str],
    dim: int,
) -> tuple[Any, list[NDArray[np.int64]]]:
    """The network as it begins, and the texts as its token ids."""
    from tokenizers import Tokenizer

    from multimodal.distil.bert import Bert, begin

    positions = tower.preprocess.max_tokens
    weights: BertWeights = tower._weights
    model = Bert(len(ids), positions, config.width, config.layers, config.heads, dim)
    begin(model, weights, ids)
    cutter = Tokenizer.from_str(tokenizer)
    cutter.enable_truncation(positions)
    return model, [np.array(found.ids, np.int64) for found in cutter.encode_batch(list(texts))]


def _alone(texts: Sequence[str]) -> list[str]:
    """The most frequent words of the texts, those left out that are texts themselves."""
    given = {text.lower() for text in texts}
    counts = Counts.of((words_of(text) for text in texts), most=ALONE)
    return sorted(word for word in counts.words if word not in given)


def _split(count: int, more: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places that are kept apart, of the first `count`, and the others, at random."""
    order = np.random.default_rng([seed, 1]).permutation(count)
    few = max(1, min(int(APART * count), MOST_APART))
    return order[:few], np.concatenate([order[few:], np.arange(count, count + more)])


def _batches(
    learned: NDArray[np.int64], lengths: NDArray[np.int64], size: int, seeds: list[int]
) -> list[NDArray[np.int64]]:
    """All places once, in batches of like length, as many each time."""
    rng = np.random.default_rng([2, *seeds])
    order = rng.permutation(learned)
    batches = []
    for at in range(0, len(order), size * LIKE):
        group = order[at : at + size * LIKE]
        group = group[np.argsort(lengths[group], kind="stable")]
        batches += [group[begin : begin + size] for begin in range(0, len(group), size)]
    return [batches[place] for place in rng.permutation(len(batches))]


def _batch(pieces: Sequence[NDArray[np.int64]], places: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Token ids (n, t) and where they are real (n, t)."""
    import torch

    longest = max(len(pieces[place]) for place in places)
    ids = np.zeros((len(places), longest), np.int64)
    mask = np.zeros((len(places), longest), bool)
    for row, place in enumerate(places):
        ids[row, : len(pieces[place])] = pieces[place]
        mask[row, : len(pieces[place])] = True
    return torch.from_numpy(ids), torch.from_numpy(mask)


def _fit_head(
    model: Any, pieces: Sequence[NDArray[np.int64]], places: NDArray[np.int64], wanted: Floats
) -> None:
    """Begin the head as the ridge regression of the teacher's rows on the means it will see, pulled to zero
    as a fifth of the texts, left out for it, want."""
    import torch

    head, seen = model.head, []
    model.head = torch.nn.Identity()
    with torch.no_grad():
        for at in range(0, len(places), 64):
            seen.append(model(*_batch(pieces, places[at : at + 64])).numpy())
        model.head = head
        x, y = np.concatenate(seen).astype(np.float64), wanted[places].astype(np.float64)
        few = max(1, len(x) // 5)
        errors = [np.square(_ridge(x[few:], y[few:], pull)(x[:few]) - y[:few]).mean() for pull in PULLS]
        whole = _ridge(x, y, PULLS[int(np.argmin(errors))])
        bias = whole(np.zeros((1, x.shape[1])))
        head.weight.copy_(torch.from_numpy((whole(np.eye(x.shape[1])) - bias).T))
        head.bias.copy_(torch.from_numpy(bias[0]))


def _ridge(x: NDArray[Any], y: NDArray[Any], pull: float) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """The prediction of rows (n, d) from features (n, f); `pull` is a share of the features' variance."""
    centre, mean = x.mean(axis=0), y.mean(axis=0)
    x = x - centre
    penalty = pull * len(x) * float(np.square(x).mean()) + 1e-9
    matrix = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ (y - mean))
    return lambda features: (features - centre) @ matrix + mean


def _write(folder: Path, tensors: dict[str, Any], tokenizer: str, about: dict[str, Any]) -> dict[str, Any]:
    """Write a student's files; gives what `WithStudent` is told of it."""
    from safetensors.numpy import save_file

    save_file(tensors, str(folder / "text.safetensors"))
    (folder / "text.safetensors").chmod(0o644)  # safetensors writes files that only their owner reads
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    named = {"weights": "text.safetensors", "tokenizer": "tokenizer.json"}
    return {"text": {**about, **named, "weights_hash": identity(tensors_hash(tensors), tokenizer)}}
