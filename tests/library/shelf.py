"""Libraries whose files never were: rows put straight into a store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from multimodal.library.roots import Roots
from multimodal.library.sqlite import SqliteStore
from multimodal.library.store import FileEntry, Root, SegmentRow
from multimodal.library.vectors import Matrix, VectorFiles
from multimodal.types import Facts, Modality, Role

DIM = 8


def row(
    modality: Modality = "text",
    text: str | None = None,
    start: float | None = None,
    end: float | None = None,
    role: Role = "content",
    page: int | None = None,
    vector: Sequence[float] | None = None,
) -> SegmentRow:
    """A segment as it is stored; its vector is a fixed one unless given."""
    values = np.zeros(DIM) if vector is None else np.asarray(vector, float)
    if vector is None:
        values[0] = 1
    kept = None if role == "blank" else (values / np.linalg.norm(values)).astype("<f2").tobytes()
    return SegmentRow(modality, start, end, text, "encoder", kept, page, None, role)


@dataclass
class Shelf:
    """A store in a folder, open for writing."""

    folder: Path
    store: SqliteStore
    root: Root

    @classmethod
    def made(cls, folder: Path) -> Shelf:
        home = folder / ".multimodal"
        home.mkdir(parents=True)
        store = SqliteStore.create(home, "fake", "fake", DIM)
        return cls(home, store, store.put_root("..", 1))

    @property
    def roots(self) -> Roots:
        return Roots(self.folder)

    def put(
        self,
        path: str,
        *rows: SegmentRow,
        size: int = 1000,
        mtime: float = 1.7e9,
        root: Root | None = None,
        **facts: object,
    ) -> None:
        """Store a file in place of what was there; the default is one picture."""
        entry = self.entry(path, *rows, root=root, **facts)
        self.store.write([replace(entry, size=size, mtime_ns=int(mtime * 1e9))])

    def entry(self, path: str, *rows: SegmentRow, root: Root | None = None, **facts: object) -> FileEntry:
        kept = rows or (row("image"),)
        about = Facts(**facts)  # type: ignore[arg-type]
        return FileEntry(root or self.root, path, 1000, 0, None, "indexed", None, "r", 0.1, kept, "", about)

    def file(self, path: str) -> int:
        state = self.store.file(self.root, path)
        assert state is not None
        return state.number

    def paths(self, segments: Iterable[int]) -> list[str]:
        """The files of some segments, each once, sorted."""
        stored = self.store.segments([int(number) for number in segments])
        return sorted({found.path for found in stored.values()})

    def matrices(self) -> dict[Modality, Matrix]:
        return VectorFiles(self.folder / "vectors").load(self.store)
