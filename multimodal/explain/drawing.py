"""Explanations as figures. Figures are made without pyplot: no global state, no window, no display."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib import figure as mpl_figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from multimodal.errors import plain

if TYPE_CHECKING:
    from multimodal.explain.explanation import Explanation

CHARS = 72
"""Characters on a line of a text."""
FONT = 14.35
"""Points at which the default monospaced font, 0.602 wide, has CHARS characters on 8.64 inches."""
LINES = 40
"""Lines of a text that are drawn."""
THUMBS = 9
"""Frames shown of a video."""
DPI = 100


class Figure(mpl_figure.Figure):
    """A figure that shows itself in a notebook without pyplot."""

    def write(self, target: Path | io.BytesIO, format: str | None = None) -> None:
        """Save to a file or a buffer. Characters that no font has are drawn as boxes, without warnings."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*Glyph.*missing.*")
            self.savefig(target, format=format, dpi=DPI, bbox_inches="tight", facecolor="white")

    def _repr_png_(self) -> bytes:
        """For notebooks, which keep it: in 256 colours, a third of the size."""
        from PIL import Image

        file, small = io.BytesIO(), io.BytesIO()
        self.write(file, format="png")
        drawn = Image.open(file).convert("RGB")
        drawn.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
            small, "PNG", optimize=True
        )
        return small.getvalue()


def new(width: float, height: float, layout: str | None = "constrained") -> Figure:
    """An empty figure of some inches."""
    return Figure(figsize=(width, height), layout=layout)  # type: ignore[arg-type]


def literal(text: str, most: int = 90) -> str:
    """A text as a label: on one line, not too long, its dollar signs not taken for formulas."""
    text = plain(" ".join(text.split()))
    return (text if len(text) <= most else text[: most - 3] + "...").replace("$", r"\$")


def explained(why: Explanation) -> Figure:
    """The figure of an explanation."""
    drawn = {"text": _text, "image": _image, "video": _video, "audio": _audio}[why.modality](why)
    wanted = "" if why.query is None else f"“{literal(why.query)}”, cosine {why.cosine:.2f}"
    named = "" if why.modality == "text" else literal(why.title, 60)
    drawn.suptitle("   ".join(part for part in (named, wanted) if part), fontsize=11)
    return drawn


def _shades(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Values scaled to [-1, 1] by the largest magnitude."""
    most = float(np.abs(values).max()) if len(values) else 0.0
    return values / most if most > 0 else values


def _text(why: Explanation) -> Figure:
    text = why.shown
    rows = _lines(text)[:LINES]
    figure = new(9.0, 0.7 + 0.42 * len(rows), layout=None)
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.8 if why.query else 0.96))
    axes.set(xlim=(0, CHARS), ylim=(len(rows) - 0.5, -0.6))
    axes.axis("off")
    shades = _shades(why.relevance)
    colours = mpl.colormaps["RdBu_r"]
    for row, (begin, end) in enumerate(rows):
        for word in re.finditer(r"\S+", text[begin:end]):
            letters = word[0].replace("$", r"\$")
            axes.text(word.start(), row, letters, family="monospace", fontsize=FONT, va="center")
        for place, shade in zip(why.places, shades, strict=True):
            left, right = place.chars or (0, 0)
            left, right = max(left, begin) - begin, min(right, end) - begin
            if left < right and abs(shade) > 0.05:
                box = Rectangle((left, row - 0.4), right - left, 0.8)
                box.set(color=colours(0.5 + 0.33 * float(shade)), lw=0, zorder=0)
                axes.add_patch(box)
    return figure


def _lines(text: str) -> list[tuple[int, int]]:
    """Offsets of lines of at most CHARS characters, broken at spaces where there are some."""
    found, at = [], 0
    while at < len(text):
        end = min(len(text), at + CHARS)
        if end < len(text):
            space = text.rfind(" ", at + 1, end + 1)
            end = space if space > at else end
        found.append((at, end))
        at = end
        while at < len(text) and text[at] == " ":
            at += 1
    return found or [(0, 0)]


def _image(why: Explanation) -> Figure:
    picture = why.shown
    width, height = picture.size
    small = picture.convert("RGB")
    small.thumbnail((720, 720))
    aspect = min(2.5, max(0.4, height / width))
    figure = new(9.0, 4.4 * aspect + 0.5)
    left, right = figure.subplots(1, 2)
    boxes = np.array([place.box for place in why.places])
    heat = _raster(boxes, why.relevance, width, height)
    for axes in (left, right):
        axes.imshow(small, extent=(0, width, height, 0))
        axes.set_axis_off()
    low = float(np.median(why.relevance))
    high = max(float(why.relevance.max()), low + 1e-6)
    strength = np.clip((heat - low) / (high - low), 0, 1)
    colours = mpl.colormaps["inferno"](strength)
    colours[..., 3] = 0.25 + 0.5 * strength
    right.imshow(colours, extent=(0, width, height, 0), interpolation="bilinear")
    box = boxes[int(why.relevance.argmax())]
    right.plot((box[0] + box[2]) / 2, (box[1] + box[3]) / 2, "+", color="white", ms=14, mew=2)
    return figure


def _raster(
    boxes: NDArray[np.floating], values: NDArray[np.floating], width: int, height: int
) -> NDArray[np.floating]:
    """Values of boxes as a map over a picture, (rows, columns) of 108 at the longer side; gaps are low."""
    scale = 108 / max(width, height)
    shape = max(1, round(height * scale)), max(1, round(width * scale))
    total, count = np.zeros(shape), np.zeros(shape)
    for (left, top, right, bottom), value in zip(boxes * scale, values, strict=True):
        rows = slice(int(top), max(int(top) + 1, round(bottom)))
        columns = slice(int(left), max(int(left) + 1, round(right)))
        total[rows, columns] += value
        count[rows, columns] += 1
    return np.where(count > 0, total / np.maximum(count, 1), float(values.min()))


def _video(why: Explanation) -> Figure:
    strip, times = why.shown, np.array([place.seconds for place in why.places])
    best = int(why.relevance.argmax())
    count = min(THUMBS, len(why))
    chosen = sorted({best, *np.linspace(0, len(why) - 1, count).astype(int).tolist()})
    if len(chosen) > count:  # the best one takes the place of its neighbour
        others = [n for n in chosen if n != best]
        chosen = sorted({best, *(n for n in others if n != min(others, key=lambda n: abs(n - best)))})
    figure = new(11.0, 4.0)
    grid = figure.add_gridspec(2, len(chosen), height_ratios=(1, 1.6))
    for column, n in enumerate(chosen):
        axes = figure.add_subplot(grid[0, column])
        axes.imshow(strip.frames[n])
        axes.set(xticks=[], yticks=[])
        colour = "tab:red" if n == best else "0.7"
        for spine in axes.spines.values():
            spine.set(color=colour, linewidth=2.5 if n == best else 0.8)
        axes.set_title(f"{times[n, 0]:.1f} s  {why.relevance[n]:.2f}", fontsize=8, color=colour)
    axes = figure.add_subplot(grid[1, :])
    axes.plot(times.mean(axis=1), why.relevance, ".-", color="tab:red", lw=1.2)
    axes.axvline(times[best].mean(), color="tab:red", alpha=0.3)
    for start, _ in strip.cuts[1:]:
        axes.axvline(start, color="0.8", lw=0.8, zorder=0)
    axes.set(xlabel="seconds", ylabel="cosine", xlim=(times[0, 0], times[-1, 1]))
    if why.weights is not None:
        beside = axes.twinx()
        beside.bar(times[:, 0], why.weights, np.diff(times)[:, 0], align="edge", color="tab:blue", alpha=0.2)
        beside.set(ylabel="weight in the vector", ylim=(0, max(1e-6, 3 * float(why.weights.max()))))
    return figure


def _audio(why: Explanation) -> Figure:
    figure = new(10.0, 4.6)
    upper, lower = figure.subplots(2, 1, sharex=True, sharey=True)
    for part in why.shown:
        steps = np.linspace(part.start, part.end, part.values.shape[1] + 1)
        upper.pcolormesh(steps, part.edges, part.values, cmap="magma", rasterized=True, vmin=-2, vmax=2)
    times, bands, heat = heard(why)
    low = float(np.nanmedian(heat))
    shown: Any = lower.pcolormesh(times, bands, heat, cmap="viridis", vmin=low, rasterized=True)
    figure.colorbar(shown, ax=(upper, lower), label="cosine", shrink=0.6)
    best = why.top(1)[0][0]
    (start, end), (bottom, top) = best.seconds or (0, 0), best.hertz or (0, 0)
    for axes in (upper, lower):
        box = Rectangle((start, bottom), end - start, top - bottom)
        box.set(fill=False, edgecolor="white", linewidth=1.5)
        axes.add_patch(box)
        axes.set_yscale("symlog", linthresh=1000)
        axes.set(ylabel="Hz", ylim=(part.edges[0], part.edges[-1]))
    lower.set(xlabel="seconds", xlim=(why.shown[0].start, why.shown[-1].end))
    return figure


def heard(why: Explanation) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]:
    """Edges in seconds and in Hz, and the mean relevance of the patches between them; NaN where none is."""
    seconds = np.array([place.seconds for place in why.places])
    hertz = np.array([place.hertz for place in why.places])
    times, bands = np.unique(seconds.round(4)), np.unique(hertz.round(1))
    total, count = np.zeros((len(bands) - 1, len(times) - 1)), np.zeros((len(bands) - 1, len(times) - 1))
    at = np.searchsorted(times, seconds.round(4)), np.searchsorted(bands, hertz.round(1))
    for (first, last), (low, high), value in zip(*at, why.relevance, strict=True):
        total[low:high, first:last] += value
        count[low:high, first:last] += 1
    return times, bands, np.where(count > 0, total / np.maximum(count, 1), np.nan)
