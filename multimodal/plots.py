"""Pictures of a space: a map with thumbnails, matrices of cosines, a video's timeline, the modality gap.

Each function returns a matplotlib figure of its own (`.savefig(...)`), made without pyplot: it needs no
display and shows itself in a notebook. An item is what `space.embed` takes. All raise QueryError without
matplotlib or items, and what `space.embed` raises.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import QueryError
from multimodal.explain.figures import drawing
from multimodal.space import Space, modality_of
from multimodal.types import MODALITIES, Clip, Content, Item, Modality, Vectors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

Method: TypeAlias = Literal["auto", "umap", "pca"]
COLOURS: dict[Modality, str] = {
    "text": "tab:blue",
    "image": "tab:orange",
    "video": "tab:red",
    "audio": "tab:green",
}
THUMB = 96
"""Pixels of a thumbnail's longer side."""
LABEL = 32
"""Characters of a label."""
FEWEST = 50
"""Rows from which "auto" takes UMAP: with fewer, neighbours among 15 are hardly any."""
NEIGHBOURS = 15
"""Of each point that UMAP keeps near, its own default."""


@dataclass(frozen=True, eq=False)
class Shown:
    """An item to be drawn: its modality, its unit row (dim,), its name, and a thumbnail if there is one."""

    modality: Modality
    row: NDArray[np.float32]
    label: str
    thumbnail: Image | None


def shared_space(
    space: Space,
    items: Sequence[Item],
    method: Method = "auto",
    centred: bool = True,
    labels: Sequence[str] | None = None,
) -> Figure:
    """Items of any modality as one map: pictures and videos as thumbnails, texts and sounds as words.

    `centred` takes each modality's mean away first; without, modalities lie in corners of their own (the
    modality gap). UMAP (McInnes et al. 2018) where `umap-learn` is installed, else principal components.
    """
    shown = prepared(space, items, labels)
    rows = np.stack([one.row for one in shown])
    kinds = [one.modality for one in shown]
    places = layout(moved(rows, kinds) if centred else rows, method)
    figure = drawing().new(10, 8)
    axes = figure.add_subplot()
    axes.set(xticks=[], yticks=[])
    axes.margins(0.1)
    _points(axes, places, kinds)
    for one, place in zip(shown, places, strict=True):
        if one.thumbnail is not None:
            _picture(axes, one.thumbnail, place, COLOURS[one.modality], 0.5)
        else:
            axes.annotate(one.label, place, (4, 3), textcoords="offset points", fontsize=8)
    axes.legend(loc="best", fontsize=8)
    return figure


def similarity_matrix(
    space: Space,
    rows: Sequence[Item],
    columns: Sequence[Item] | None = None,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
) -> Figure:
    """Cosines of every row with every column (by default the rows again), pictures on the axes."""
    beside = prepared(space, rows, row_labels)
    above = beside if columns is None else prepared(space, columns, column_labels)
    cosines = np.stack([one.row for one in beside]) @ np.stack([one.row for one in above]).T
    size = 0.72
    figure = drawing().new(3.5 + size * len(above), 2.6 + size * len(beside))
    axes = figure.add_subplot()
    image = axes.imshow(cosines, cmap="viridis", vmin=min(0.0, float(cosines.min())), vmax=1)
    figure.colorbar(image, ax=axes, label="cosine", shrink=0.7)
    axes.set_xticks(range(len(above)), [one.label for one in above], rotation=55, ha="right", fontsize=8)
    axes.set_yticks(range(len(beside)), [one.label for one in beside], fontsize=8)
    for row, column in np.ndindex(cosines.shape):
        value = float(cosines[row, column])
        colour = "black" if value > 0.6 else "white"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
    for n, one in enumerate(above):
        if one.thumbnail is not None:
            _picture(axes, one.thumbnail, (n, -0.55), COLOURS[one.modality], 0.45, (0.5, 0))
    for n, one in enumerate(beside):
        if one.thumbnail is not None:
            _picture(axes, one.thumbnail, (len(above) - 0.45, n), COLOURS[one.modality], 0.45, (0, 0.5))
    return figure


def timeline(
    space: Space,
    media: Item,
    queries: Sequence[Item],
    start: float | None = None,
    end: float | None = None,
    labels: Sequence[str] | None = None,
) -> Figure:
    """A video or a sound against queries: the cosine with each over its seconds, the best moments marked.

    `start` and `end` as for `space.tokens`.
    """
    asked = prepared(space, queries, labels)
    seen = space.tokens(media, start, end)
    if np.isnan(seen.times).any():
        raise QueryError("A timeline is of a video or a sound.")
    figure = drawing().new(10, 3.6)
    axes = figure.add_subplot()
    for one in asked:
        seconds, cosines = _over_time(seen.times, seen.embeddings @ one.row)
        [line] = axes.plot(seconds, cosines, ".-", lw=1.2, ms=4, label=one.label)
        best = int(cosines.argmax())
        axes.plot(seconds[best], cosines[best], "o", ms=9, mfc="none", color=line.get_color())
    axes.set(xlabel="seconds", ylabel="cosine", xlim=(seen.times.min(), seen.times.max()))
    axes.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False)
    return figure


def modality_gap(space: Space, items: Sequence[Item]) -> Figure:
    """Where modalities lie, by principal components: as they are, and after each one's mean is taken away.

    The titles tell the mean distance between the centres (Liang et al. 2022, Mind the gap) of modalities
    with two items or more.
    """
    shown = prepared(space, items)
    rows = np.stack([one.row for one in shown])
    kinds = [one.modality for one in shown]
    figure = drawing().new(10, 4.6)
    titles = ("as they are", "centred by modality")
    for axes, title, moved_rows in zip(
        figure.subplots(1, 2), titles, (rows, moved(rows, kinds)), strict=True
    ):
        _points(axes, layout(moved_rows, "pca"), kinds)
        axes.set(xticks=[], yticks=[], title=f"{title}: gap {gap(moved_rows, kinds):.2f}")
    figure.axes[0].legend(fontsize=8)
    return figure


def prepared(space: Space, items: Sequence[Item], labels: Sequence[str] | None = None) -> list[Shown]:
    """Items with their rows, names and thumbnails. Raises QueryError for none, or too few labels."""
    if isinstance(items, (str, Path)) or not len(items):
        raise QueryError("Give a list of at least one item.")
    if labels is not None and len(labels) != len(items):
        raise QueryError(f"Give as many labels as items, {len(items)}, not {len(labels)}.")
    shown = []
    for n, item in enumerate(items):
        if isinstance(item, Path):
            modality, row = space.embed_file(item)
            content: Content | None = next((s.content for s in space.read(item) if s.role != "blank"), None)
            name = item.stem.replace("-", " ").replace("_", " ")
        else:
            modality, content = modality_of(item)
            row = space.embed(item)[0]
            name = content if isinstance(content, str) else f"{modality} {n + 1}"
        label = drawing().literal(labels[n] if labels is not None else name, LABEL)
        shown.append(Shown(modality, row, label, _thumbnail(content)))
    return shown


def layout(rows: NDArray[np.floating], method: Method = "auto") -> NDArray[np.float64]:
    """Rows (n, dim) on a plane, (n, 2); the same rows give the same plane.

    "auto" is UMAP where `umap-learn` is installed and there are at least FEWEST rows, else principal
    components. Raises QueryError for "umap" without it.
    """
    if method == "umap" or (method == "auto" and len(rows) >= FEWEST):
        made = _umap(rows)
        if made is not None:
            return made
        if method == "umap":
            raise QueryError("UMAP needs umap-learn: pip install 'multimodal[plots]'.")
    centred = np.asarray(rows, np.float64) - rows.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    directions = np.concatenate([directions, np.zeros((2, centred.shape[1]))])[:2]
    largest = np.abs(directions).argmax(axis=1)
    signs = np.where(directions[np.arange(2), largest] < 0, -1.0, 1.0)  # svd's sign varies by machine
    return centred @ (directions * signs[:, None]).T


def _umap(rows: NDArray[np.floating]) -> NDArray[np.float64] | None:
    """Places (n, 2); None where umap-learn is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells of the parts of it that need tensorflow
        try:
            umap: Any = import_module("umap")
        except ImportError:
            return None
        near = max(2, min(NEIGHBOURS, len(rows) - 1))
        model: Any = umap.UMAP(n_neighbors=near, metric="cosine", init="random", random_state=0, n_jobs=1)
        return np.asarray(model.fit_transform(rows), np.float64)


def moved(rows: Vectors, kinds: Sequence[Modality]) -> Vectors:
    """Unit rows (n, dim) after the mean of the rows of each one's modality is taken away.

    A modality with a single row stays: its mean is that row.
    """
    out = rows.copy()
    for modality in set(kinds):
        own = [n for n, kind in enumerate(kinds) if kind == modality]
        if len(own) > 1:
            out[own] -= rows[own].mean(axis=0)
    lengths = np.linalg.norm(out, axis=1, keepdims=True)
    return np.asarray(out / np.maximum(lengths, 1e-6), np.float32)


def gap(rows: NDArray[np.floating], kinds: Sequence[Modality]) -> float:
    """The mean distance between the centres of modalities with two rows or more; 0 of a single one."""
    found = [modality for modality in MODALITIES if list(kinds).count(modality) > 1]
    centres = [rows[[kind == modality for kind in kinds]].mean(axis=0) for modality in found]
    pairs = [np.linalg.norm(a - b) for n, a in enumerate(centres) for b in centres[:n]]
    return float(np.mean(pairs)) if pairs else 0.0


def _over_time(
    times: NDArray[np.float64], cosines: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.floating]]:
    """Middles (s,) of the moments and the best cosine at each: patches of a sound share moments."""
    moments, place = np.unique(times.round(3), axis=0, return_inverse=True)
    best = np.full(len(moments), -np.inf)
    np.maximum.at(best, place.reshape(-1), cosines)
    return moments.mean(axis=1), best


def _points(axes: Axes, places: NDArray[np.floating], kinds: Sequence[Modality]) -> None:
    for modality in (modality for modality in MODALITIES if modality in kinds):
        own = [kind == modality for kind in kinds]
        axes.scatter(places[own, 0], places[own, 1], s=22, color=COLOURS[modality], label=modality, alpha=0.8)


def _picture(
    axes: Axes,
    picture: Image,
    place: Any,
    colour: str,
    zoom: float,
    alignment: tuple[float, float] = (0.5, 0.5),
) -> None:
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    style = {"edgecolor": colour, "linewidth": 1.5}
    box = AnnotationBbox(
        OffsetImage(np.asarray(picture), zoom=zoom),
        (float(place[0]), float(place[1])),
        box_alignment=alignment,
        pad=0.08,
        bboxprops=style,
        annotation_clip=False,
    )
    axes.add_artist(box)


def _thumbnail(content: Content | None) -> Image | None:
    from PIL import Image as pil

    if isinstance(content, Clip):
        content = content.frames[len(content.frames) // 2]
    if not isinstance(content, pil.Image):
        return None
    small = content.convert("RGB")
    small.thumbnail((THUMB, THUMB))
    return small


__all__ = ["layout", "modality_gap", "shared_space", "similarity_matrix", "timeline"]
