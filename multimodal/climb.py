"""Climb the ladder: all rungs of text embeddings measured on the same pairs.

>>> for step in climb(load_space(), "pairs.csv").steps:
...     print(step.name, step.recall.value, step.size)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multimodal import ladder
from multimodal.errors import QueryError
from multimodal.evaluation import Measure
from multimodal.evaluation.items import embedded, item_key
from multimodal.ladder.source import RungTower, headed
from multimodal.measures import interval, judge
from multimodal.pairs import Pairs, read_pairs
from multimodal.towers.base import unit
from multimodal.types import FileRecord, Item

if TYPE_CHECKING:
    from multimodal.ladder import Rung
    from multimodal.space import Space

STEPS = (
    "onehot",
    "tfidf",
    *(f"{name}{weights}" for name in ("word2vec-cbow", "word2vec-skipgram") for weights in ("", "+sif")),
    *("fasttext", "fasttext+sif", "glove", "glove+idf", "glove+sif"),
    "transformer",
)
"""What is measured by default, the space itself after them."""
ITSELF = "the space itself"
FOLDS = 5


@dataclass(frozen=True)
class Step:
    """What a rung does on held-out pairs.

    `recall` is R@10: the share of texts that find what they belong to among the first 10 of all candidates.
    `unseen` is R@10 of the texts with a word that the training texts never had (the same texts for every
    rung; None where there is none), `misspelt` that of all texts with two letters of their longest word
    exchanged. `unknown` is the share of words that the rung has no entry for. `size` are bytes of the
    rung and its head, `speed` texts a second, one at a time in batches of 32, `seconds` those of fitting
    rung and head on the pairs of a fold, on average.
    """

    name: str
    recall: Measure
    unseen: Measure | None
    misspelt: Measure
    unknown: float
    size: int
    speed: float
    seconds: float


@dataclass(frozen=True)
class Climb:
    """All rungs on the same pairs: `texts` looked for what they belong to among `candidates`."""

    space: str
    texts: int
    candidates: int
    unseen: int
    folds: int
    steps: Sequence[Step]
    left_out: Sequence[FileRecord] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        found = asdict(self)
        found["left_out"] = [{"path": str(one.path), "reason": one.reason} for one in self.left_out]
        return found

    def table(self) -> list[list[str]]:
        """Rows of words for a table, the first its heading."""
        rows = [["rung", "R@10", "unseen words", "misspelt", "unknown", "size", "texts/s", "fit"]]
        for one in self.steps:
            unseen = "-" if one.unseen is None else _told(one.unseen)
            megabytes = f"{one.size / 1e6:.1f} MB"
            cells = [
                one.name,
                _told(one.recall),
                unseen,
                _told(one.misspelt),
                f"{one.unknown:.1%}",
                megabytes,
            ]
            rows.append([*cells, f"{one.speed:,.0f}", f"{one.seconds:.1f} s"])
        return rows

    def markdown(self) -> str:
        """The table in Markdown."""
        head, *rows = self.table()
        lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)


@dataclass
class _Task:
    """Texts (n), their right answers among candidates (c, dim), and the fold of each text (n,)."""

    texts: list[str]
    right: NDArray[np.bool_]
    candidates: NDArray[np.float32]
    folds: NDArray[np.int64]
    corpus: list[str] = field(default_factory=list)

    def training(self, fold: int) -> tuple[list[str], NDArray[np.float32]]:
        """The pairs outside a fold: texts, and the rows they belong to."""
        texts, rows = np.nonzero(self.right & (self.folds != fold)[:, None])
        return [self.texts[number] for number in texts], self.candidates[rows]

    def known(self, fold: int) -> list[str]:
        """Texts that words may be learned from."""
        seen = [text for text, own in zip(self.texts, self.folds, strict=True) if own != fold]
        return [*seen, *self.corpus]


def climb(
    space: Space,
    pairs: str | Path | Pairs | Sequence[tuple[Item, Item]],
    rungs: Sequence[str] = STEPS,
    *,
    corpus: Sequence[str] = (),
    folds: int = FOLDS,
    seed: int = 0,
    spaces: Callable[[str], Space] | None = None,
    workers: int | None = None,
    progress: Callable[[str], object] | None = None,
) -> Climb:
    """Measure rungs by cross-validation on pairs of a text and what it belongs to (text or file).

    What texts look for is split in `folds` parts; each part is looked for, among all candidates, by rungs
    and heads fitted on the pairs of the others. Where both sides are texts, the first looks for the
    second. `corpus` are further texts to learn words from. `rungs` are names that `ladder.fit` takes; with
    `spaces` (`load_space`) those of other spaces too, whose text towers are taken. `progress` is told each
    rung's name. The last step is the space's own text encoder, which learns nothing. Raises QueryError.
    """
    if isinstance(pairs, (str, Path)):
        pairs = read_pairs(pairs)
    elif not isinstance(pairs, Pairs):
        pairs = Pairs(("left", "right"), list(pairs))
    if folds < 2:
        raise QueryError("Pairs are split in at least 2 folds.")
    task, left_out = _task(space, pairs, list(corpus), folds, seed, workers)
    unseen = _unseen(task)
    steps = []
    for name in rungs:
        if progress is not None:
            progress(name)
        steps.append(_step(name, space, task, unseen, seed, spaces))
    if progress is not None:
        progress(ITSELF)
    steps.append(_itself(space, task, unseen, seed))
    sizes = len(task.texts), len(task.candidates), int(unseen.sum())
    return Climb(space.name, *sizes, folds, steps, left_out)


def _task(
    space: Space, pairs: Pairs, corpus: list[str], folds: int, seed: int, workers: int | None
) -> tuple[_Task, list[FileRecord]]:
    told: list[tuple[str, Item]] = []
    for left, right in pairs.pairs:
        text, item = (left, right) if isinstance(left, str) else (right, left)
        if isinstance(text, str):
            told.append((text.strip(), item))
    if not told:
        raise QueryError("None of the pairs has a text.")
    items = Pairs(("item", "item"), [(item, item) for _, item in told])
    known, left_out = embedded(space, items, workers, None)
    told = [(text, item) for text, item in told if item_key(item) in known]
    texts = {text: number for number, text in enumerate(dict.fromkeys(text for text, _ in told))}
    things = {key: number for number, key in enumerate(dict.fromkeys(item_key(item) for _, item in told))}
    if len(things) < max(folds, 3):
        raise QueryError(f"{len(things)} things to look for are too few for {folds} folds.")
    marks = np.zeros((len(texts), len(things)), bool)
    for text, item in told:
        marks[texts[text], things[item_key(item)]] = True
    drawn = np.random.default_rng(seed).permutation(len(things)) % folds
    own = drawn[marks.argmax(axis=1)]
    candidates = np.stack([known[key][1] for key in things])
    return _Task(list(texts), marks, candidates, own, corpus), left_out


def _unseen(task: _Task) -> NDArray[np.bool_]:
    """Which texts (n,) have a word that what their fold learns from never had."""
    found = np.zeros(len(task.texts), bool)
    for fold in np.unique(task.folds):
        seen = {word for text in task.known(fold) for word in ladder.words_of(text)}
        for number in np.flatnonzero(task.folds == fold):
            found[number] = not seen.issuperset(ladder.words_of(task.texts[number]))
    return found


def _step(
    name: str,
    space: Space,
    task: _Task,
    unseen: NDArray[np.bool_],
    seed: int,
    spaces: Callable[[str], Space] | None,
) -> Step:
    hits, wrong = np.zeros(len(task.texts), bool), np.zeros(len(task.texts), bool)
    strangers, words, sizes, taken, encoding = 0, 0, [], [], 0.0
    for fold in np.unique(task.folds):
        begun = time.perf_counter()
        rung = _fitted(name, space, task.known(fold), spaces)
        tower = RungTower(rung, headed(rung, space, *task.training(fold)))
        taken.append(time.perf_counter() - begun)
        sizes.append(rung.size + tower.head.matrix.nbytes)
        asked = np.flatnonzero(task.folds == fold)
        texts = [task.texts[number] for number in asked]
        begun = time.perf_counter()
        rows = _batched(tower.rows, texts)
        encoding += time.perf_counter() - begun
        hits[asked] = _found(rows, task, asked)
        wrong[asked] = _found(_batched(tower.rows, [misspelt(text) for text in texts]), task, asked)
        strangers += sum(map(len, rung.out_of_vocabulary(texts)))
        words += sum(len(ladder.words_of(text)) for text in texts)
    shown = space.name + " + head" if name == "transformer" else name
    share, size = strangers / max(words, 1), int(np.mean(sizes))
    speed, seconds = len(task.texts) / encoding, float(np.mean(taken))
    recall, new, wrongly = _measures(hits, wrong, unseen, seed)
    return Step(shown, recall, new, wrongly, share, size, speed, seconds)


def _fitted(name: str, space: Space, texts: list[str], spaces: Callable[[str], Space] | None) -> Rung:
    if name == "transformer":
        return ladder.fit(name, texts, space=space)
    if spaces is not None and name.partition("+")[0] not in ladder.RUNGS:
        return ladder.fit("transformer", texts, space=spaces(name))
    return ladder.fit(name, texts)


def _itself(space: Space, task: _Task, unseen: NDArray[np.bool_], seed: int) -> Step:
    rung = ladder.fit("transformer", task.texts, space=space)
    everyone = np.arange(len(task.texts))
    begun = time.perf_counter()
    rows = rung.embed(task.texts)
    speed = len(task.texts) / (time.perf_counter() - begun)
    hits = _found(rows, task, everyone)
    wrong = _found(rung.embed([misspelt(text) for text in task.texts]), task, everyone)
    counted = sum(len(ladder.words_of(text)) for text in task.texts)
    strangers = sum(map(len, rung.out_of_vocabulary(task.texts))) / max(counted, 1)
    return Step(ITSELF, *_measures(hits, wrong, unseen, seed), strangers, rung.size, speed, 0.0)


def _found(rows: NDArray[np.float32], task: _Task, asked: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which texts have a right answer among their first 10."""
    return judge(unit(rows) @ task.candidates.T, task.right[asked]).rank <= 10


def _batched(encode: Callable[[Sequence[str]], NDArray[np.float32]], texts: list[str]) -> NDArray[np.float32]:
    return np.concatenate([encode(texts[begin : begin + 32]) for begin in range(0, len(texts), 32)])


def _measures(
    hits: NDArray[np.bool_], wrong: NDArray[np.bool_], unseen: NDArray[np.bool_], seed: int
) -> tuple[Measure, Measure | None, Measure]:
    return _share(hits, seed), _share(hits[unseen], seed) if unseen.any() else None, _share(wrong, seed)


def _share(hits: NDArray[np.bool_], seed: int) -> Measure:
    return Measure(float(hits.mean()), *interval(hits.astype(np.float64), seed))


def misspelt(text: str) -> str:
    """A text with two neighbouring letters in the middle of its longest word exchanged.

    >>> misspelt("a small horse")
    'a samll horse'
    """
    words = ladder.words_of(text)
    for word in sorted(dict.fromkeys(words), key=len, reverse=True):
        for place in sorted(range(len(word) - 1), key=lambda at: abs(at + 1 - len(word) // 2)):
            if word[place] != word[place + 1]:
                other = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
                return " ".join(other if one == word else one for one in words)
    return text


def _told(measure: Measure) -> str:
    return f"{measure.value:.3f} [{measure.low:.2f}, {measure.high:.2f}]"
