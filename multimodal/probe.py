"""A classifier from a few labelled examples, on the vectors of a space: a linear probe (Alain and Bengio
2017; as CLIP's authors used it, Radford et al. 2021).

>>> probe = train_probe(space, [Path("a.jpg"), Path("b.jpg"), ...], ["ripe", "unripe", ...])
>>> probe.of(space, Path("c.jpg"))
[('ripe', 0.93), ('unripe', 0.07)]

`Probe` itself is an estimator of scikit-learn on rows of numbers: it goes into pipelines, searches over
parameters and cross-validation as any other.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from multimodal.errors import NoMediaFile, QueryError, SpaceError
from multimodal.evaluation.items import embedded, item_key
from multimodal.evaluation.measure import Measure, measured
from multimodal.pairs import Pairs
from multimodal.towers.base import softmax
from multimodal.types import FileRecord, Item, Modality

if TYPE_CHECKING:
    from multimodal.space import Space

STRENGTHS = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""Inverse strengths of regularisation that are tried. From five examples a class of texts, pictures and
sounds accuracy is the same from 0.1 to 100, and probabilities are better the weaker it is."""
USUAL = 10.0
"""That of a training with a single example of some class, where nothing can be left out to choose by."""
FOLDS = 5
FILE, ABOUT = "probe.safetensors", "probe.json"
VERSION = 1


class Probe(ClassifierMixin, BaseEstimator):
    """Multinomial logistic regression on rows brought to unit length, as strongly regularised as
    cross-validation by log loss wants it.

    `strength` is the inverse strength, None to choose it of STRENGTHS; `seed` deals the folds. Fitted it has
    `classes_`, `coef_` (classes, features), `intercept_` (classes,), `strength_`, and `held_out_` (n,
    classes): the probability of each class for each example by the fold that did not see it, None where
    some class has a single example.
    """

    def __init__(self, strength: float | None = None, seed: int = 0) -> None:
        self.strength = strength
        self.seed = seed

    def fit(self, X: ArrayLike, y: ArrayLike) -> Probe:
        """Learn from rows (n, features) and labels (n,). Raises ValueError, as scikit-learn says."""
        rows, labels = validate_data(self, X, y)
        check_classification_targets(labels)
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"A probe cannot learn from one class alone: all examples are {self.classes_[0]}"
            )
        rows = _unit(rows)
        counts = np.bincount(numbers)
        folds = int(min(FOLDS, counts.min()))
        tried = STRENGTHS if self.strength is None else (self.strength,)
        self.held_out_ = None
        self.strength_ = USUAL if self.strength is None else self.strength
        if folds > 1:
            deal = StratifiedKFold(folds, shuffle=True, random_state=self.seed)
            least = np.inf
            for strength in tried:
                chances = _quietly(_held_out, strength, rows, numbers, deal)
                loss = -np.log(np.maximum(chances[np.arange(len(numbers)), numbers], 1e-12)).mean()
                if loss < least:
                    least, self.strength_, self.held_out_ = loss, strength, chances
        model = _quietly(_regression(self.strength_).fit, rows, numbers)
        self.coef_, self.intercept_ = model.coef_, model.intercept_
        if len(self.classes_) == 2:  # scikit-learn keeps one row for two classes
            self.coef_ = np.concatenate([-self.coef_, self.coef_]) / 2
            self.intercept_ = np.concatenate([-self.intercept_, self.intercept_]) / 2
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Logits (n, classes); of two classes (n,), that of the second above that of the first."""
        check_is_fitted(self)
        rows = _unit(validate_data(self, X, reset=False))
        logits = rows @ self.coef_.T + self.intercept_
        return np.asarray(logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits)

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Probabilities (n, classes), in the order of `classes_`."""
        logits = self.decision_function(X)
        if logits.ndim == 1:
            logits = np.stack([-logits / 2, logits / 2], axis=1)
        return softmax(logits)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The most probable class of each row (n,)."""
        chances = self.predict_proba(X)
        return np.asarray(self.classes_[chances.argmax(axis=1)])


@dataclass(frozen=True, eq=False)
class SpaceProbe:
    """A probe that knows what it was trained on: the space, and the encoders of its examples' modalities."""

    probe: Probe
    space_id: str
    encoders: dict[str, str]
    examples: dict[str, int]
    held_out: Measure | None
    left_out: Sequence[FileRecord] = ()

    def of(self, space: Space, items: Item | Sequence[Item]) -> Any:
        """The classes of an item, (name, probability), most probable first; of a list, a list of them.

        Raises WrongSpace where it was trained on vectors of another space, ReadError, QueryError, NoEncoder.
        """
        self.check(space)
        several = isinstance(items, (list, tuple))
        told = self.of_rows(space.embed(items))
        return told if several else told[0]

    def of_rows(self, rows: NDArray[np.floating]) -> list[list[tuple[str, float]]]:
        """The classes for unit rows (n, dim) of its space."""
        chances = self.probe.predict_proba(rows)
        names = [str(name) for name in self.probe.classes_]
        return [
            [(names[place], float(line[place])) for place in np.argsort(-line, kind="stable")]
            for line in chances
        ]

    def check(self, space: Space) -> None:
        """Raises WrongSpace unless the space is that of the training."""
        from multimodal.errors import WrongSpace

        others = [name for name, made in self.encoders.items() if name in space]
        changed = [name for name in others if space[name].encoder_id != self.encoders[name]]  # type: ignore[index]
        if space.space_id != self.space_id or changed:
            raise WrongSpace(f"The probe was trained on other vectors than those of {space.name!r}.")

    def save(self, folder: str | Path) -> Path:
        """Write a new folder: numbers as safetensors, the rest as json. Raises SpaceError."""
        from safetensors.numpy import save_file

        target = Path(folder)
        about = {
            "version": VERSION,
            "classes": [str(name) for name in self.probe.classes_],
            "strength": self.probe.strength_,
            "space_id": self.space_id,
            "encoders": self.encoders,
            "examples": self.examples,
            "held_out": None if self.held_out is None else vars(self.held_out),
        }
        tensors = {"coef": self.probe.coef_, "intercept": self.probe.intercept_}
        try:
            target.mkdir(parents=True, exist_ok=True)
            if (target / ABOUT).exists():
                raise SpaceError(f"{target} holds a probe already: name another folder.")
            save_file({name: np.ascontiguousarray(one) for name, one in tensors.items()}, target / FILE)
            unfinished = target / f".{ABOUT}.{os.getpid()}"
            unfinished.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            os.replace(unfinished, target / ABOUT)
        except OSError as error:
            raise SpaceError(
                f"The probe cannot be written to {target}: {error.strerror or error}."
            ) from error
        return target


def load_probe(folder: str | Path) -> SpaceProbe:
    """A probe from a folder that `SpaceProbe.save` wrote. Raises NoMediaFile, SpaceError."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    source = Path(folder)
    if not (source / ABOUT).is_file():
        raise NoMediaFile(f"{source} holds no probe ({ABOUT}).")
    try:
        about = json.loads((source / ABOUT).read_text(encoding="utf-8"))
        tensors = load_file(source / FILE)
        probe = Probe(about["strength"])
        probe.classes_ = np.array(about["classes"], dtype=object)
        probe.coef_, probe.intercept_ = tensors["coef"], tensors["intercept"]
        if probe.coef_.shape[0] != len(probe.classes_) or probe.intercept_.shape != (len(probe.classes_),):
            raise ValueError("its parts do not belong together")
        probe.strength_, probe.held_out_, probe.n_features_in_ = about["strength"], None, probe.coef_.shape[1]
        held_out = None if about["held_out"] is None else Measure(**about["held_out"])
        return SpaceProbe(probe, about["space_id"], about["encoders"], about["examples"], held_out)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise SpaceError(f"{source} holds no probe that can be read: {error}.") from error


def train_probe(
    space: Space,
    items: Sequence[Item],
    labels: Sequence[str],
    *,
    strength: float | None = None,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> SpaceProbe:
    """A probe for `items`, as `Space.embed` takes them, and their labels; five of a class are a beginning.

    A file counts as the mean of its segments. Files that cannot be read are left out and named in
    `left_out`. `held_out` of the result is the accuracy on examples that their fold had not seen, None where
    some class has a single example. Raises QueryError, NoEncoder, SpaceError.
    """
    if len(items) != len(labels):
        raise QueryError(f"There are {len(items)} items and {len(labels)} labels: each item needs one.")
    known, left_out = embedded(
        space, Pairs(("item", "item"), [(item, item) for item in items]), workers, progress
    )
    kept = [
        (known[item_key(item)], label)
        for item, label in zip(items, labels, strict=True)
        if item_key(item) in known
    ]
    names = [str(label).strip() for _, label in kept]
    examples = {name: names.count(name) for name in sorted(set(names))}
    if len(examples) < 2:
        raise QueryError("A probe needs examples of at least two classes.")
    modalities: set[Modality] = {modality for (modality, _), _ in kept}
    probe = Probe(strength, seed).fit(np.stack([row for (_, row), _ in kept]), np.array(names, dtype=object))
    held_out = None
    if probe.held_out_ is not None:
        right = probe.classes_[probe.held_out_.argmax(axis=1)] == np.array(names, dtype=object)
        held_out = measured(right)
    encoders: dict[str, str] = {modality: space[modality].encoder_id for modality in sorted(modalities)}
    return SpaceProbe(probe, space.space_id, encoders, examples, held_out, left_out)


def _regression(strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=500)


def _held_out(
    strength: float, rows: NDArray[np.float64], numbers: NDArray[np.int64], deal: StratifiedKFold
) -> NDArray[np.float64]:
    """The probability of each class for each example (n, classes), by the fold that did not see it."""
    model = _regression(strength)
    return np.asarray(cross_val_predict(model, rows, numbers, cv=deal, method="predict_proba"))


def _quietly(work: Callable[..., Any], *arguments: Any) -> Any:
    """Without a word about a weak regularisation that 500 steps do not carry to its end: it is not chosen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return work(*arguments)


def _unit(rows: NDArray[Any]) -> NDArray[np.float64]:
    values = np.asarray(rows, np.float64)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12))
