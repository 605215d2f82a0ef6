"""What the page and its tools ask of a library, without a word of HTML."""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal.errors import MultimodalError, QueryError
from multimodal.library import Filter, Library
from multimodal.pipeline import Limits, encode_files
from multimodal.query import Embedded, Query
from multimodal.towers.base import unit
from multimodal.types import Hit, Hits, Modality, Segment

if TYPE_CHECKING:
    from PIL.Image import Image

LIMITS = Limits(seconds_without_progress=20.0, worker_memory=1 << 30)
"""For what a visitor uploads: less than for files of one's own."""
MAP = 400
"""Rows on the map, evenly taken: more are a cloud."""


class Service:
    """One library for many visitors at once."""

    def __init__(self, library: Library, folder: Path) -> None:
        self.library, self.folder = library, folder
        self._indexing = threading.Lock()

    def search(
        self,
        words: str,
        upload: str | None = None,
        kinds: Sequence[Modality] = (),
        path: str = "",
        mode: str = "hybrid",
        k: int = 12,
        anything: bool = False,
    ) -> tuple[Hits, Query]:
        """Hits for words, an uploaded file, or both together, and the query. Raises MultimodalError."""
        query: Query | None = None
        if upload is not None:
            query = Query.of(self.embedded(Path(upload)))
        if words.strip():
            query = Query.of(words.strip()) if query is None else query + words.strip()
        if query is None:
            raise QueryError("There is nothing to look for: give words, or a picture, sound or video.")
        return self._found(query, kinds, path, mode, k, 0.0 if anything else None), query

    def similar(
        self, number: int, kinds: Sequence[Modality] = (), path: str = "", k: int = 12
    ) -> tuple[Hits, Query]:
        """What is like a segment of the library, and the query. Raises QueryError where it is gone."""
        query = Query.of(self._row(number))
        return self._found(query, kinds, path, "meaning", k, None), query

    def _found(
        self,
        query: Query,
        kinds: Sequence[Modality],
        path: str,
        mode: str,
        k: int,
        least: float | None,
    ) -> Hits:
        globs = tuple(part.strip() for part in path.split(",") if part.strip())
        how: dict[str, Any] = {"mode": mode, "min_confidence": least, "filter": Filter(globs=globs)}
        return self.library.search(query, k, list(kinds) or None, **how)

    def embedded(self, upload: Path) -> Embedded:
        """An uploaded file as a vector, decoded by a process of its own with limits. Raises QueryError."""
        space = self.library.space
        with closing(encode_files([upload], space, workers=1, limits=LIMITS)) as done:  # type: ignore[type-var]
            file = next(iter(done))
        rows = [row for row in file.rows if row.role == "content" and row.vector is not None]
        if not rows:
            raise QueryError(
                f"The upload cannot be read: {file.reason or 'it holds nothing to search with'}."
            )
        first = rows[0].modality
        vectors = [row.vector for row in rows if row.modality == first and row.vector is not None]
        return Embedded(first, unit(np.mean(vectors, axis=0)))

    def _row(self, number: int) -> Embedded:
        table = self.library.to_arrow(where=f"number = {int(number)}")
        if not table.num_rows:
            raise QueryError("That is not in the library any more.")
        vector = np.asarray(table.column("vector")[0].as_py(), np.float32)
        return Embedded(table.column("modality")[0].as_py(), vector)

    def file(self, number: int) -> Path | None:
        """The file that a segment of the library is of, as it is there now; None for any other number."""
        store = self.library._reading()
        found = store.segments([number]).get(number)
        if found is None or found.id is not None:
            return None
        path = self.library._roots.folder(found.root) / found.path
        return path if path.is_file() else None

    def why(self, hit: Hit, query: Query) -> bytes:
        """A picture (PNG) of what in a hit speaks for a query. Raises MultimodalError."""
        space = self.library.space
        if hit.modality == "text":
            return _png(space.explain(Segment("text", hit.text or hit.path.name), query).plot())
        return _png(space.explain(hit.path, query, hit.start, hit.end).plot())

    def map(self) -> bytes:
        """A picture (PNG) of the library's rows on a plane, each modality taken from its centre."""
        from multimodal.explain.figures import drawing
        from multimodal.plots import COLOURS, layout, moved

        rows, table = self.library.embeddings()
        if not len(rows):
            raise QueryError("The library is empty: index a folder first.")
        places = np.unique(np.linspace(0, len(rows) - 1, MAP).astype(int))
        kinds = [table.column("modality")[int(place)].as_py() for place in places]
        names = [Path(table.column("path")[int(place)].as_py()).stem for place in places]
        spots = layout(moved(unit(np.asarray(rows)[places]), kinds))
        figure = drawing().new(9, 7)
        axes = figure.add_subplot()
        axes.set(xticks=[], yticks=[])
        for kind in dict.fromkeys(kinds):
            mine = np.array([one == kind for one in kinds])
            axes.scatter(*spots[mine].T, s=14, label=kind, color=COLOURS[kind])
        for spot, name in list(zip(spots, names, strict=True))[:: max(1, len(names) // 60)]:
            axes.annotate(name[:24], spot, (3, 3), textcoords="offset points", fontsize=7)
        axes.legend(loc="best", fontsize=8)
        return _png(figure)

    def index(self) -> Iterator[str]:
        """Bring the library up to date with its folder; sentences of how far it is. One run at a time."""
        if not self._indexing.acquire(blocking=False):
            yield "The folder is being indexed already."
            return
        told: queue.Queue[str | None] = queue.Queue()
        try:
            worker = threading.Thread(target=self._run, args=(told,), daemon=True)
            worker.start()
            while (sentence := told.get()) is not None:
                yield sentence
            worker.join()
        finally:
            self._indexing.release()

    def _run(self, told: queue.Queue[str | None]) -> None:
        try:
            report = self.library.add(
                self.folder, progress=lambda p: told.put(f"{p.done} of {p.total or '?'} files")
            )
            counts = ", ".join(
                f"{report.count(status)} {status}"
                for status in ("added", "reused", "unchanged", "removed", "skipped", "failed")
            )
            told.put(f"Done in {report.seconds:.0f} s: {counts}.")
        except MultimodalError as error:
            told.put(str(error))
        finally:
            told.put(None)


def picture(png: bytes) -> Image:
    """A PNG as a PIL picture."""
    from PIL import Image as pillow

    return pillow.open(io.BytesIO(png))


def _png(figure: Any) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, bbox_inches="tight")
    return out.getvalue()
