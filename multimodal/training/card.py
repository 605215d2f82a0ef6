"""The card of a trained space, and its curves as a picture."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multimodal.measures import interval

if TYPE_CHECKING:
    from multimodal.training.fitting import Learned

RANKS = (1, 5, 10)


def card(learned: Learned, base: str, name: str, drawn: bool) -> str:
    """Markdown: data, settings, before and after, what was kept."""
    return "\n".join(_lines(learned, base, name, drawn)) + "\n"


def _lines(learned: Learned, base: str, name: str, drawn: bool) -> Iterator[str]:
    settings, point = learned.settings, learned.point
    yield f"# {name}"
    yield f"\nThe space `{base}` after training on pairs. `load_space({name!r})` loads it from this folder's"
    yield f"parent, `multimodal index FOLDER --space {name}` indexes with it."
    adapters = [name for name, one in learned.adapters.items() if not one.is_identity]
    yield f"\nTrained: {', '.join(settings.parts)}. Adapters: {', '.join(adapters) or 'none'}."
    yield "\n## Data\n\n| pairs | train | validation | test |\n|---|---|---|---|"
    for kind, counts in learned.counts.items():
        yield f"| {kind} | {counts['train']} | {counts['validation']} | {counts['test']} |"
    if learned.left_out:
        yield f"\n{len(learned.left_out)} files gave nothing to learn from and were left out."
    yield "\n## Before and after\n"
    yield (
        "Among the test pairs, which nothing was chosen by."
        if learned.split == "test"
        else (
            "Validation queries among training and validation items. The epoch and alpha were chosen on them,"
            " so these numbers flatter: measure on pairs of your own with `multimodal evaluate`."
        )
    )
    yield "Brackets are 95 % bootstrap intervals.\n"
    yield "| direction | queries | candidates | | " + " | ".join(f"R@{k}" for k in RANKS) + " |"
    yield "|---|---|---|---|" + "---|" * len(RANKS)
    for before, after in zip(learned.before, learned.after, strict=True):
        for when, score in (("before", before), ("after", after)):
            cells = [_cell(score.rank <= k) for k in RANKS]
            way = f"{score.query} to {score.target}"
            yield f"| {way} | {len(score.rank)} | {score.candidates} | {when} | {' | '.join(cells)} |"
    yield "\n## What was kept\n"
    yield f"Weights interpolated between before (alpha 0) and after (1). Taken: {point.alpha:g}, the best on"
    yield f"validation among those that lose at most {settings.lose:g} of what is kept.\n"
    yield "| alpha | validation R@10 | mean reciprocal rank | kept |\n|---|---|---|---|"
    for one in learned.points:
        yield f"| {one.alpha:g} | {one.recall:.3f} | {one.mrr:.3f} | {one.kept:.3f} |"
    if drawn:
        yield "\n![Loss, R@10 on validation, trade-off](curves.png)"
    yield "\n## Settings\n\n| setting | value |\n|---|---|"
    for key, value in settings.as_dict().items():
        yield f"| {key} | {value} |"
    versions = [
        f"{module} {importlib.import_module(module).__version__}"
        for module in ("multimodal", "torch", "numpy")
    ]
    yield f"\nBest epoch {learned.best_epoch + 1} of {len(learned.history)}. {', '.join(versions)},"
    yield f"Python {platform.python_version()}."


def _cell(found: Any) -> str:
    low, high = interval(found)
    return f"{found.mean():.3f} [{low:.3f}, {high:.3f}]"


def curves(learned: Learned, path: Path) -> bool:
    """Draw loss, R@10 on validation and the trade-off as a PNG; False where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    epochs = [line["epoch"] for line in learned.history]
    left.plot(epochs, [line["loss"] for line in learned.history])
    left.set(xlabel="epoch", ylabel="loss")
    middle.plot(epochs, [line["recall@10"] for line in learned.history], label="R@10")
    middle.plot(epochs, [line["mrr"] for line in learned.history], label="mean reciprocal rank")
    middle.axvline(learned.best_epoch + 1, color="grey", linewidth=0.8)
    middle.set(xlabel="epoch", ylabel="validation")
    middle.legend()
    right.plot(
        [point.kept for point in learned.points], [point.recall for point in learned.points], marker="."
    )
    right.plot(learned.point.kept, learned.point.recall, "o", label=f"taken: alpha {learned.point.alpha:g}")
    right.set(xlabel="kept", ylabel="R@10 on validation")
    right.legend()
    figure.savefig(path, dpi=120)
    return True
