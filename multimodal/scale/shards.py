"""WebDataset shards in, parquet out: vectors for those who want no library.

Each shard (.tar) becomes one parquet file of its name, written whole or not at all; a shard whose file is
there is passed over, so a job that was cut off goes on where it was. The columns:

    shard, key  string   the shard's name, and a sample's: the name up to its first dot
    name        string   of the file in the shard
    modality, role, page, start, end, text      as in `multimodal.library.tables`; null where the file failed
    error       string   why a file gave no vectors; null for the others
    vector      float16[dim], unit length; null for a blank segment and for a file that failed
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal import readers
from multimodal.errors import QueryError, ReadError, SpaceError
from multimodal.library.scan import said
from multimodal.pipeline.wire import Limits, Task
from multimodal.scale.indexing import ENGINES, Engine, packed
from multimodal.scale.sources import listed, opened
from multimodal.scale.worker import FileWorker, Order, Outcome, Setting, version
from multimodal.space import Space, load_space

if TYPE_CHECKING:
    import pyarrow as pa

UNREAD = (".json", ".cls", ".index", ".id")
"""Endings of a sample's files that say something of it and are not embedded."""


@dataclass(frozen=True)
class ShardReport:
    """What became of the shards of a job: their names, those that were passed over as done, and why those
    failed that did; `rows` written, `files` that gave vectors and that `failed`."""

    done: tuple[str, ...]
    passed: tuple[str, ...]
    problems: tuple[tuple[str, str], ...]
    rows: int
    files: int
    failed: int


def embed_shards(
    source: str | Path,
    output: str | Path,
    space: Space | None = None,
    *,
    engine: Engine = "local",
    address: str | None = None,
    workers: int | None = None,
    actors: int | None = None,
    limits: Limits | None = None,
    progress: Callable[[str], object] | None = None,
) -> ShardReport:
    """Embed the shards (.tar) of a source (`multimodal.scale.sources.listed`) into the folder or prefix
    `output`, one parquet file for each; `progress` is told each name as its file is there.

    Two shards of one name cannot go into one folder. Raises QueryError, NoMediaFile, SpaceError.
    """
    if engine not in ENGINES:
        raise QueryError(f"There is no engine {engine!r}: give one of {', '.join(ENGINES)}.")
    chosen = space or load_space("starter")
    shards, stores = _shards(source)
    out, folder = _output(output)
    there = {info.path.rpartition("/")[2] for info in _listing(out, folder)}
    names = [PurePosixPath(order.places[0]).stem for order in shards]
    if len(set(names)) < len(names):
        raise QueryError("Two shards have the same name: embed them into folders of their own.")
    todo = [order for order, name in zip(shards, names, strict=True) if f"{name}.parquet" not in there]
    encoders = frozenset(chosen[modality].encoder_id for modality in chosen)
    setting = Setting(
        packed(chosen), encoders, version(), (*stores, out), limits or Limits(), workers, folder
    )
    if engine == "ray":
        from multimodal.scale.cluster import working

        outcomes = working(address, workers, actors, ShardWorker)(todo, setting)
    else:
        outcomes = ShardWorker(setting).outcomes(todo)
    return _report(outcomes, todo, tuple(name for name in names if f"{name}.parquet" in there), progress)


def _report(
    outcomes: Iterator[Outcome],
    todo: Sequence[Order],
    passed: tuple[str, ...],
    progress: Callable[[str], object] | None,
) -> ShardReport:
    left = {order.number: PurePosixPath(order.places[0]).stem for order in todo}
    done: list[str] = []
    problems: list[tuple[str, str]] = []
    counts = np.zeros(3, np.int64)
    with closing(outcomes):  # type: ignore[type-var]
        for outcome in outcomes:
            name = left.pop(outcome.number, None)
            if outcome.status == "broken":
                raise SpaceError(f"A worker cannot work on any shard: {outcome.reason}.")
            if name is None:
                continue
            if outcome.status == "added":
                done.append(name)
                counts += outcome.counts
            else:
                problems.append((name, outcome.reason or "no reason given"))
            if progress is not None:
                progress(name)
    problems += [(name, "the process that worked on it died each time") for name in left.values()]
    return ShardReport(tuple(done), passed, tuple(problems), *counts.tolist())


def _shards(source: str | Path) -> tuple[list[Order], list[Any]]:
    orders: list[Order] = []
    stores: list[Any] = []
    for listing in listed(source):
        if listing.walk is not None:
            paths = [found.path for found in listing.walk.files]
        elif listing.start.is_file():
            paths = [listing.start.name]
        else:
            here = sorted(path for path in listing.folder.rglob("*.tar") if path.is_file())
            paths = [path.relative_to(listing.folder).as_posix() for path in here]
            paths = [path for path in paths if listing.wanted is None or listing.wanted(path)]
        store = None if listing.store is None else len(stores)
        stores += [listing.store] if listing.store is not None else []
        base = listing.key if listing.store is not None else listing.folder.as_posix()
        for path in paths:
            if path.lower().endswith(".tar"):
                orders.append(Order(len(orders), store, (f"{base}/{path}",), ()))
    return orders, stores


def _output(output: str | Path) -> tuple[Any, str]:
    from pyarrow import fs

    if "://" in str(output):
        return opened(str(output))
    folder = Path(output).expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return fs.LocalFileSystem(), folder.as_posix()


def _listing(store: Any, folder: str) -> list[Any]:
    from pyarrow import fs

    found: list[Any] = store.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    return found


class ShardWorker(FileWorker):
    """Works on orders of shards: Setting.stores ends with where the parquet files go, Setting.output."""

    def _worked(self, orders: Sequence[Order], space: Space) -> Iterator[Outcome]:
        for order in orders:
            with tempfile.TemporaryDirectory(prefix="multimodal-", ignore_cleanup_errors=True) as scratch:
                try:
                    names = self._unpack(order, Path(scratch))
                except (OSError, tarfile.TarError, EOFError) as error:
                    why = said(error) if isinstance(error, OSError) else str(error)
                    yield Outcome(order.number, "failed", reason=f"the shard cannot be read: {why}")
                    continue
                table, counts = self._table(PurePosixPath(order.places[0]).stem, names, space)
                self._write(PurePosixPath(order.places[0]).stem, table)
            yield Outcome(order.number, "added", counts=counts)

    def _unpack(self, order: Order, scratch: Path) -> dict[Path, str]:
        """The files of a shard, under names of their own: those in it may be of any kind."""
        names: dict[Path, str] = {}
        store = None if order.store is None else self._setting.stores[order.store]
        place = order.places[0]
        with (
            open(place, "rb") if store is None else store.open_input_stream(place) as stream,
            tarfile.open(fileobj=stream, mode="r|*") as archive,
        ):
            for member in archive:
                suffix = PurePosixPath(member.name).suffix.lower()
                if not member.isfile() or suffix in UNREAD:
                    continue
                source = archive.extractfile(member)
                assert source is not None
                path = scratch / f"{len(names):08}{suffix[:16] if suffix[1:].isalnum() else ''}"
                with path.open("wb") as target:
                    shutil.copyfileobj(source, target)
                names[path] = member.name
        return names

    def _table(
        self, shard: str, names: dict[Path, str], space: Space
    ) -> tuple[pa.Table, tuple[int, int, int]]:
        from multimodal.pipeline import encode_files

        told: dict[Path, list[dict[str, Any]]] = {}
        setting = self._setting
        able: list[Task] = []
        for path in names:
            with suppress(ReadError):
                if path.suffix in readers.EXTENSIONS or readers.reader_for(path):
                    able.append(Task(path))
            told[path] = [{"error": "no reader takes this kind of file"}]
        good = 0
        for file in encode_files(able, space, workers=setting.processes, limits=setting.limits):
            good += file.status == "added"
            fields = "modality", "role", "page", "start", "end", "text", "vector"
            rows = [{name: getattr(row, name) for name in fields} for row in file.rows]
            told[file.path] = rows or [{"error": file.reason}]
        rows = [
            {"shard": shard, "key": _key(names[path]), "name": names[path], **row}
            for path in names
            for row in told[path]
        ]
        return _as_table(rows, space), (len(rows), good, len(names) - good)

    def _write(self, shard: str, table: pa.Table) -> None:
        from pyarrow import fs, parquet

        out = self._setting.stores[-1]
        place = f"{self._setting.output}/{shard}.parquet"
        local = isinstance(out, fs.LocalFileSystem)
        unfinished = f"{self._setting.output}/.{shard}.unfinished" if local else place
        with out.open_output_stream(unfinished) as stream:  # an object appears when it is closed
            parquet.write_table(table, stream)
        if local:
            out.move(unfinished, place)


def _key(name: str) -> str:
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{file.partition('.')[0]}"


def _as_table(rows: Sequence[dict[str, Any]], space: Space) -> pa.Table:
    import pyarrow as pa

    text = pa.string()
    kinds = {"shard": text, "key": text, "name": text, "modality": text, "role": text, "page": pa.int32()}
    kinds |= {"start": pa.float64(), "end": pa.float64(), "text": text, "error": text}
    columns = {name: pa.array([row.get(name) for row in rows], kind) for name, kind in kinds.items()}
    vectors = [row.get("vector") for row in rows]
    blank = pa.array([vector is None for vector in vectors], pa.bool_())
    zero = np.zeros(space.dim, np.float16)
    flat = [zero if vector is None else vector.astype(np.float16) for vector in vectors]
    values = pa.array(np.concatenate(flat) if flat else zero[:0], pa.float16())
    columns["vector"] = pa.FixedSizeListArray.from_arrays(values, space.dim, mask=blank)
    about = {"space": space.name, "space_id": space.space_id}
    return pa.table(columns).replace_schema_metadata(about)
