"""Results as tables: one shape for the terminal and for markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from multimodal.evaluation.compare import Comparison
from multimodal.evaluation.measure import Measure
from multimodal.evaluation.moments import MomentReport
from multimodal.evaluation.retrieval import Evaluation
from multimodal.evaluation.robustness import Robustness
from multimodal.evaluation.zero_shot import ZeroShot

Row: TypeAlias = Sequence["str | int | Measure"]


@dataclass(frozen=True)
class Table:
    """A title, the heads of the columns, and rows of cells; a `Measure` is shown with its interval."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Row]

    def markdown(self) -> str:
        """As GitHub draws it, the title above."""
        lines = [" | ".join(self.heads), " | ".join(["---"] + ["---:"] * (len(self.heads) - 1))]
        lines += [" | ".join(cell(value, " ") for value in row) for row in self.rows]
        return "\n".join([f"**{self.title}**", "", *(f"| {line} |" for line in lines), ""])


def cell(value: str | int | Measure, between: str = "\n") -> str:
    """A value as text, its interval after `between`; a median rank has one digit."""
    if not isinstance(value, Measure):
        return str(value).replace("\n", between)
    digits = 1 if value.high > 1 else 3
    return f"{value.value:.{digits}f}{between}{value.low:.{digits}f}–{value.high:.{digits}f}"


def retrieval_table(found: Evaluation) -> Table:
    """One row for each direction."""
    heads = ["query → answer", "n", "of", "R@1", "R@5", "R@10", "median rank", "nDCG@10", "mAP", "ECE"]
    names = ["recall@1", "recall@5", "recall@10", "median rank", "ndcg@10", "map", "ece"]
    rows: list[Row] = []
    for one in found.directions:
        plain = one.columns == (one.query, one.target)
        named = f"{one.query} → {one.target}" + ("" if plain else f"\n{' → '.join(one.columns)}")
        rows.append([named, one.queries, one.candidates, *(one.measures[name] for name in names)])
    return Table(f"Retrieval: {found.pairs} pairs, space {found.space}", heads, rows)


def zero_shot_table(found: Iterable[ZeroShot]) -> Table:
    """One row for each modality."""
    names = ["top-1", "top-5", "balanced", "ece", "top-1 bare"]
    rows: list[Row] = [
        [one.modality, one.items, one.labels, *(one.measures[name] for name in names), one.gain]
        for one in found
    ]
    return Table("Zero-shot labels", ["items", "n", "labels", *names, "templates add"], rows)


def robustness_table(found: Iterable[Robustness]) -> Table:
    """One row for each damage."""
    rows: list[Row] = [
        [f"{one.modality}, {one.damage}", one.items, one.cosine, one.recall, one.loss] for one in found
    ]
    return Table("Worn media as queries", ["damage", "n", "cosine to unharmed", "R@10", "lost"], rows)


def moments_table(found: MomentReport) -> Table:
    """One row."""
    rows: list[Row] = [[f"{found.segments:.1f}", found.queries, *found.measures.values()]]
    return Table("Moments within their files", ["segments a file", "n", *found.measures], rows)


def comparison_table(found: Iterable[Comparison], before: str, after: str) -> Table:
    """One row for each direction and measure."""
    rows: list[Row] = []
    for one in found:
        way = f"{one.query} → {one.target}, {one.measure}"
        numbers = f"{one.before:.3f}", f"{one.after:.3f}"
        rows.append([way, one.queries, *numbers, one.difference, f"{one.p:.4f}"])
    heads = ["query → answer, measure", "n", before, after, "difference", "p"]
    return Table(f"{after} beside {before}", heads, rows)
