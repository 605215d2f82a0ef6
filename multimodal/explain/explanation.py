"""Why an item answers a query: which parts of it, how much, and a picture of that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import QueryError
from multimodal.explain.figures import need
from multimodal.explain.tokens import Place
from multimodal.types import Modality

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".jpg", ".jpeg", ".svg", ".pdf", ".webp")


@dataclass(frozen=True, eq=False)
class Explanation:
    """The parts of one item and how much each speaks for a query.

    `relevance` (p,) float32 is in cosines. Of a word: how much the cosine falls when it is left out (without
    a query: the share of attention it gets). Of a place in a picture: its cosine above that of generic
    queries. Of a frame or a patch of a spectrogram: its cosine. `weights` (p,) say how much each part counts
    for the item's own vector; None where places are no parts of it. `cosine` is that of the whole item.
    """

    modality: Modality
    query: str | None
    cosine: float
    places: tuple[Place, ...]
    relevance: NDArray[np.float32]
    weights: NDArray[np.float32] | None
    title: str
    shown: Any
    """What the picture is drawn on: the text, the picture, small frames, spectrograms."""

    def __len__(self) -> int:
        return len(self.places)

    def __repr__(self) -> str:
        wanted = "" if self.query is None else f" for {self.query!r}"
        return f"Explanation({self.modality!r}, {self.title!r}{wanted}, cosine={self.cosine:.2f})"

    def top(self, k: int = 3) -> list[tuple[Place, float]]:
        """The `k` parts that speak most for the query, best first, and their relevance."""
        order = np.argsort(-self.relevance, kind="stable")[:k]
        return [(self.places[n], float(self.relevance[n])) for n in order]

    def plot(self) -> Figure:
        """A matplotlib figure: coloured words, a heat map over the picture, a strip of frames over time, or
        areas over the spectrogram. Raises QueryError where matplotlib is not installed."""
        from multimodal.explain.figures import drawing

        return drawing().explained(self)

    def save(self, path: str | Path) -> Path:
        """Write `plot()` to a .png, .jpg, .svg, .pdf or .webp file. Raises QueryError for other names."""
        target = Path(path)
        check_figure(target)
        figure: Any = self.plot()
        figure.write(target)
        return target

    def _repr_png_(self) -> bytes:
        figure: Any = self.plot()
        return bytes(figure._repr_png_())


def check_figure(path: Path) -> None:
    """Raises QueryError where a figure cannot be written: of no known format, in no folder, no matplotlib."""
    if path.suffix.lower() not in FORMATS:
        raise QueryError(f"A figure is saved as {', '.join(FORMATS)}, not as {path.name!r}.")
    if not path.absolute().parent.is_dir():
        raise QueryError(f"There is no folder {path.parent} to save the figure in.")
    need()
