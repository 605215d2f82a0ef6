"""The store of a library that several machines share: one Lance table, on a disk or in an object store.

Files, segments and roots are rows of one table, because a table is what Lance commits as a whole. One
process writes at a time, by a lease that it renews with what it writes. A batch of new files is appended,
which costs what the batch does; one that takes the place of others is merged by id, without any index on
`id` and with `id` declared the key, which is what keeps merges from making doubles.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from multimodal.errors import LibraryError, NoLibrary
from multimodal.library import lance_rows
from multimodal.library.lance_lease import Lease
from multimodal.library.lance_opening import bare, made_at, opened, speaking, sync
from multimodal.library.lance_rows import GROUP, among, place_id, quoted
from multimodal.library.sqlite import segment_id
from multimodal.library.store import (
    FileEntry,
    FileState,
    ImportedRow,
    KeptFrames,
    Record,
    Root,
    SegmentRow,
    StoredSegment,
    VectorRows,
)
from multimodal.types import Modality, Role

FRAGMENTS = 64
"""A writer that leaves more fragments than this behind puts them together."""
KEEP_VERSIONS_SECONDS = 24 * 3600
"""Readers may hold a version this long before it is cleaned up."""


class LanceStore:
    """`multimodal.library.store.Store` without words, SQL and imported rows (LibraryError): what writing a
    library from several machines, and reading it whole or in parts, need. Numbers of segments ascend with
    the order in which they were written, also over replaced files."""

    def __init__(self, data: Any, lease: Lease | None = None) -> None:
        self._data = data
        self._lease = lease
        self._pinned = 0
        self._known: dict[tuple[int, str], FileState] | None = None
        self._next = 0
        self._synced: set[str] = set()

    @classmethod
    def create(cls, uri: str, space: str, space_id: str, dim: int) -> LanceStore:
        """The library at a path, `file://` or `s3://` address for writing, made where there is none.

        Raises LibraryBusy where another process holds it, LibraryError.
        """
        with speaking(uri):
            data = opened(uri)
            if data is None:
                made = {"library": secrets.token_hex(8), "space": space, "space_id": space_id, "dim": dim}
                data = made_at(uri, made)
            store = cls(data, Lease(uri, data))
            store._next = store.last_number() + 1
        return store

    @classmethod
    def open(cls, uri: str) -> LanceStore:
        """The library at a path or address for reading. Raises NoLibrary, LibraryError."""
        with speaking(uri):
            data = opened(uri)
        if data is None:
            raise NoLibrary(f"There is no library at {bare(uri)}: index something into it first.")
        return cls(data)

    def close(self) -> None:
        """Let go of it; a writer puts small fragments together and gives the lease back."""
        lease, self._lease = self._lease, None
        if lease is None:
            return
        lease.stop()
        with suppress(Exception):  # what was acknowledged is in the table: this is housekeeping
            self._compact()
        with suppress(Exception):
            lease.give_back()

    def settings(self) -> Mapping[str, Any]:
        self._fresh()
        made = json.loads((self._data.schema.metadata or {})[b"multimodal"])
        config = self._data.config()
        more = {key[4:]: json.loads(value) for key, value in config.items() if key.startswith("set.")}
        deletions = int(config.get("deletions", "0"))
        return {**made, "generation": self._data.version, "deletions": deletions, **more}

    def put_setting(self, name: str, value: str | int) -> None:
        self._held()
        self._data.update_config({f"set.{name}": json.dumps(value)})

    @contextmanager
    def snapshot(self) -> Iterator[LanceStore]:
        self._fresh()
        self._pinned += 1
        try:
            yield self
        finally:
            self._pinned -= 1

    def roots(self) -> list[Root]:
        found = self._rows("kind = 'root'", ["number", "path", "device"])
        roots = [Root(row["number"], os.fsdecode(row["path"]), row["device"]) for row in found]
        return sorted(roots, key=lambda root: root.number)

    def put_root(self, path: str, device: int) -> Root:
        known = next((root for root in self.roots() if root.path == path), None)
        root = Root(known.number if known else self._numbered(), path, device)
        if root != known:
            self._put([lance_rows.of_root(root)], "" if known is None else "false")
        return root

    def move_files(self, source: Root, target: Root, prefix: str) -> None:
        states = self.files(source)
        rows: list[dict[str, Any]] = []
        by_number = {state.number: f"{prefix}/{path}" for path, state in states.items()}
        for group in _groups(sorted(by_number)):
            for row in self._rows(among("file", group), None):
                path = by_number[row["file"]]
                if row["kind"] == "file":
                    row.update(root=target.number, path=os.fsencode(path))
                    row["id"] = place_id(target.number, path)
                else:
                    parts = row["modality"], row["ordinal"], row["encoder"]
                    row["id"] = segment_id(target.path, path, *parts)
                rows.append(row)
        gone = f"kind = 'root' AND number = {source.number}"
        self._put(rows, f"({gone})" + (f" OR {among('file', sorted(by_number))}" if by_number else ""))
        self._known = None

    def files(self, root: Root) -> dict[str, FileState]:
        rows = self._rows(f"kind = 'file' AND root = {root.number}", lance_rows.STATE)
        return {os.fsdecode(row["path"]): lance_rows.state(row) for row in rows}

    def file(self, root: Root, path: str) -> FileState | None:
        if self._lease is not None:
            return self._all_known().get((root.number, path))
        rows = self._rows(f"id = {quoted(place_id(root.number, path))}", lance_rows.STATE)
        return lance_rows.state(rows[0]) if rows else None

    def rows(self, file: int) -> list[SegmentRow]:
        found = self._rows(f"kind = 'segment' AND file = {int(file)}", None)
        return [lance_rows.segment(row) for row in sorted(found, key=lambda row: row["ordinal"])]

    def write(self, entries: Sequence[FileEntry]) -> None:
        if not entries:
            return
        latest = {(entry.root.number, entry.path): entry for entry in entries}
        known = self._all_known()
        rows: list[dict[str, Any]] = []
        replaced: list[int] = []
        states: dict[tuple[int, str], FileState] = {}
        merged = False
        for place, entry in latest.items():
            before = known.get(place)
            merged |= before is not None
            if before is not None and entry.rows is not None:
                replaced.append(before.number)
            row = lance_rows.of_file(entry, before, before.number if before else self._numbered())
            states[place] = lance_rows.state(row)
            rows.append(row)
            for ordinal, segment in enumerate(entry.rows or ()):
                rows.append(lance_rows.of_segment(entry, row["number"], ordinal, segment, self._numbered()))
        if not merged:
            self._put(rows, "")
        else:
            self._put(rows, among("file", replaced) if replaced else "false", bool(replaced))
        known.update(states)

    def delete(self, files: Sequence[int]) -> None:
        for group in _groups(list(files)):
            self._held()
            self._deleting()
            self._data.delete(among("file", group))
            self._safe()
        if files:
            self._known = None

    def segments(self, numbers: Sequence[int]) -> dict[int, StoredSegment]:
        found: dict[int, StoredSegment] = {}
        roots = {root.number: root.path for root in self.roots()}
        for group in _groups(list(numbers)):
            rows = self._rows(f"kind = 'segment' AND {among('number', group)}", lance_rows.SHOWN)
            inside = among("file", sorted({row["file"] for row in rows}))
            files = {
                row["number"]: row for row in self._rows(f"kind = 'file' AND {inside}", lance_rows.STATE)
            }
            for row in rows:
                file = files[row["file"]]
                place = roots[file["root"]], os.fsdecode(file["path"]), row["modality"], row["ordinal"]
                times = row["start"], row["end"], row["text"], row["page"]
                more = lance_rows.chars(row), row["role"]
                found[row["number"]] = StoredSegment(*place, *times, *more)
        return found

    def last_number(self) -> int:
        """The highest number that was given, 0 for none: what is written later has a higher one."""
        self._fresh()
        numbers = self._data.to_table(columns=["number"])["number"].to_numpy()
        return max(int(numbers.max(initial=0)), int(self._data.config().get("given", "0")))

    def between(self, after: int, upto: int) -> list[tuple[int, SegmentRow]]:
        """Segments with numbers above `after`, up to and with `upto`, in their order, and their files."""
        where = f"kind = 'segment' AND number > {int(after)} AND number <= {int(upto)}"
        found = sorted(self._rows(where, None), key=lambda row: row["number"])
        return [(row["file"], lance_rows.segment(row)) for row in found]

    def frames(self, numbers: Sequence[int]) -> dict[int, KeptFrames]:
        found: dict[int, KeptFrames] = {}
        for group in _groups(list(numbers)):
            where = f"kind = 'segment' AND times IS NOT NULL AND {among('number', group)}"
            for row in self._rows(where, ["number", "times", "frames"]):
                times = np.frombuffer(row["times"], "<f4")
                vectors = np.frombuffer(row["frames"], "<f2").reshape(len(times), -1).astype(np.float32)
                found[row["number"]] = times, vectors
        return found

    def vectors(self, modality: Modality, after: int) -> Iterator[VectorRows]:
        where = f"kind = 'segment' AND modality = {quoted(modality)} AND number > {int(after)}"
        where += " AND vector IS NOT NULL"
        names = ["number", "file", "vector"]
        for batch in self._scan(where, names, order="number"):
            numbers, files = batch["number"].to_pylist(), batch["file"].to_pylist()
            kept = (vector or b"" for vector in lance_rows.vector_bytes(batch["vector"]))
            yield list(zip(numbers, files, kept, strict=True))

    def counts(self) -> tuple[int, dict[Modality, int]]:
        self._fresh()
        files = self._data.count_rows("kind = 'file' AND status = 'indexed'")
        found: dict[Modality, int] = {}
        for batch in self._scan("kind = 'segment' AND role != 'blank'", ["modality"]):
            for pair in batch["modality"].value_counts():
                name = pair["values"].as_py()
                found[name] = found.get(name, 0) + pair["counts"].as_py()
        return files, found

    def records(
        self, modalities: Sequence[Modality], roles: Sequence[Role], vectors: bool
    ) -> Iterator[list[Record]]:
        roots = {root.number: root.path for root in self.roots()}
        files = {row["number"]: row for row in self._rows("kind = 'file'", lance_rows.STATE)}
        where = f"kind = 'segment' AND {_one_of('modality', modalities)} AND {_one_of('role', roles)}"
        names = [*lance_rows.SHOWN, *(["vector"] if vectors else [])]
        for batch in self._scan(where, names, order="number"):
            kept = lance_rows.vector_bytes(batch["vector"]) if vectors else [None] * len(batch)
            rows = batch.drop_columns(["vector"] if vectors else []).to_pylist()
            yield [
                lance_rows.record(row, files[row["file"]], roots, vector)
                for row, vector in zip(rows, kept, strict=True)
            ]

    def put_imported(self, collection: str, batches: Iterable[Sequence[ImportedRow]]) -> tuple[int, int]:
        raise LibraryError("Vectors made elsewhere are imported into libraries on a local disk only.")

    def delete_imported(self, collection: str, ids: Sequence[str] | None) -> int:
        raise LibraryError("A shared library holds no imported vectors.")

    def imported(self, numbers: Sequence[int]) -> dict[int, tuple[str, str, str]]:
        return {}

    def find_imported(self, collection: str, ids: Sequence[str]) -> dict[str, int]:
        return {}

    def select(
        self, sql: str, values: Sequence[Any] = (), seconds: float | None = None
    ) -> list[tuple[Any, ...]]:
        raise LibraryError("A shared library is not asked in SQL: pull it to a local disk first.")

    def _fresh(self) -> None:
        if not self._pinned:
            self._data.checkout_latest()

    def _rows(self, where: str, columns: list[str] | None) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for batch in self._scan(where, columns):
            if "vector" in batch.schema.names:
                kept = lance_rows.vector_bytes(batch["vector"])
                some = batch.drop_columns(["vector"]).to_pylist()
                rows += [{**row, "vector": vector} for row, vector in zip(some, kept, strict=True)]
            else:
                rows += batch.to_pylist()
        return rows

    def _scan(self, where: str, columns: list[str] | None, order: str | None = None) -> Iterator[Any]:
        self._fresh()
        how: dict[str, Any] = {"order_by": [order]} if order else {}
        scanner = self._data.scanner(columns, filter=where, batch_size=GROUP, prefilter=True, **how)
        yield from scanner.to_batches()

    def _all_known(self) -> dict[tuple[int, str], FileState]:
        if self._known is None:
            rows = self._rows("kind = 'file'", lance_rows.STATE)
            self._known = {(row["root"], os.fsdecode(row["path"])): lance_rows.state(row) for row in rows}
        return self._known

    def _numbered(self) -> int:
        self._next += 1
        return self._next - 1

    def _put(self, rows: Sequence[dict[str, Any]], gone: str, deletes: bool = True) -> None:
        """Append rows (`gone` ""), or merge them by id and take away what is in `gone` and not among them."""
        self._held()
        table = lance_rows.table(rows, self._data.schema)
        if not gone:
            self._data.insert(table, mode="append")
        else:
            if deletes and gone != "false":
                self._deleting()
            merge = self._data.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            if gone != "false":
                merge = merge.when_not_matched_by_source_delete(gone)
            merge.use_index(False).execute(table)
        self._safe()

    def _compact(self) -> None:
        if len(self._data.get_fragments()) > FRAGMENTS:
            from datetime import timedelta

            self._data.optimize.compact_files()
            self._data.cleanup_old_versions(timedelta(seconds=KEEP_VERSIONS_SECONDS))

    def _deleting(self) -> None:
        """Counted before it is done: a reader that looks again for nothing loses nothing."""
        deletions = int(self._data.config().get("deletions", "0")) + 1
        self._data.update_config({"deletions": str(deletions), "given": str(self._next - 1)})

    def _safe(self) -> None:
        """On disk before it is acknowledged: Lance itself syncs nothing."""
        place = Path(str(self._data.uri))
        if place.is_dir():
            sync(place, self._synced)

    def _held(self) -> None:
        """Raises LibraryBusy where another has taken the lease, LibraryError where there is none."""
        if self._lease is None:
            raise LibraryError("The library was opened for reading.")
        self._lease.check()


def _groups(numbers: Sequence[int]) -> Iterator[list[int]]:
    for begin in range(0, len(numbers), GROUP):
        yield [int(number) for number in numbers[begin : begin + GROUP]]


def _one_of(column: str, values: Sequence[str]) -> str:
    return f"{column} IN ({', '.join(map(quoted, values))})" if values else "false"
