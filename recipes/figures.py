"""The pictures of the README: why a film answers a query, and a film's timeline.

python -m recipes.figures
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from multimodal import load_space, plots

HERE = Path(__file__).parent.parent
FILM = HERE / "samples" / "videos" / "day-out.mp4"
QUERIES = ["bales of hay in a field", "a castle", "yellow flowers", "the sea at night"]


def main() -> None:
    space = load_space()
    docs = HERE / "docs"
    space.explain(FILM, "bales of hay").save(docs / "why.png")
    figure: Figure = plots.timeline(space, FILM, QUERIES)
    figure.savefig(docs / "timeline.png", dpi=100, bbox_inches="tight")


if __name__ == "__main__":
    main()
