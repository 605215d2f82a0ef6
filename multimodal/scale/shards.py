"""WebDataset shards in, parquet or WebDataset out: vectors for those who want no library.

Each shard (.tar) becomes one file of its name, written whole or not at all; a shard whose file is there is
passed over, so a job that was cut off goes on where it was. The columns of a parquet file
(`multimodal.scale.shard_files` has those of a .tar):

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
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from multimodal import readers
from multimodal.errors import QueryError, ReadError, SpaceError
from multimodal.library.scan import said
from multimodal.pipeline.wire import Limits, Task
from multimodal.scale.indexing import ENGINES, Engine, packed
from multimodal.scale.shard_files import FORMS, Form, as_table, form_of, joined, write
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
    names: tuple[str, ...] = ()
    """All of them, in the order of the source."""


def embed_shards(
    source: str | Path | Sequence[str | Path],
    output: str | Path,
    space: Space | None = None,
    *,
    form: Form = "parquet",
    engine: Engine = "local",
    address: str | None = None,
    workers: int | None = None,
    actors: int | None = None,
    limits: Limits | None = None,
    progress: Callable[[str], object] | None = None,
) -> ShardReport:
    """Embed the shards (.tar) of a source (`multimodal.scale.sources.listed`), or of several, into the folder
    or prefix `output`, one file for each; `progress` is told each name as its file is there.

    Two shards of one name cannot go into one folder. Raises QueryError, NoMediaFile, SpaceError.
    """
    if engine not in ENGINES:
        raise QueryError(f"There is no engine {engine!r}: give one of {', '.join(ENGINES)}.")
    if form not in FORMS:
        raise QueryError(f"Vectors of shards are written as {' or '.join(FORMS)}, not as {form!r}.")
    kind = ShardWorker if form == "parquet" else TarWorker
    chosen = space or load_space("starter")
    shards, stores = _shards([source] if isinstance(source, (str, Path)) else source)
    out, folder = _output(output)
    there = {info.path.rpartition("/")[2] for info in _listing(out, folder)}
    names = [PurePosixPath(order.places[0]).stem for order in shards]
    if len(set(names)) < len(names):
        raise QueryError("Two shards have the same name: embed them into folders of their own.")
    todo = [order for order, name in zip(shards, names, strict=True) if f"{name}.{form}" not in there]
    encoders = frozenset(chosen[modality].encoder_id for modality in chosen)
    setting = Setting(
        packed(chosen), encoders, version(), (*stores, out), limits or Limits(), workers, folder
    )
    if engine == "ray":
        from multimodal.scale.cluster import working

        outcomes = working(address, workers, actors, kind)(todo, setting)
    else:
        outcomes = kind(setting).outcomes(todo)
    report = _report(outcomes, todo, tuple(name for name in names if f"{name}.{form}" in there), progress)
    return replace(report, names=tuple(names))


def embed_shards_to_file(
    source: str | Path | Sequence[str | Path], output: str | Path, space: Space | None = None, **how: Any
) -> ShardReport:
    """The same into one file on this machine, a .parquet or .tar, its rows in the order of the shards.

    What is done lies in a folder beside it meanwhile, so that a job that was cut off goes on; shards that
    fail are left out. `how` is that of `embed_shards`. Raises QueryError where no shard could be read too.
    """
    target = Path(output).expanduser().resolve()
    form = form_of(target.name)
    if form is None or target.is_dir():
        raise QueryError(f"One file of all shards is a .parquet or a .tar, not {target.name!r}.")
    chosen = space or load_space("starter")
    made = blake2b(" ".join(chosen[name].encoder_id for name in chosen).encode(), digest_size=6).hexdigest()
    parts = target.with_name(f".{target.name}.{made}.parts")  # another space's parts are not gone on with
    report = embed_shards(source, parts, chosen, form=form, **how)
    names = [name for name in report.names if name in {*report.done, *report.passed}]
    if not names:
        why = report.problems[0][1] if report.problems else "there is none"
        raise QueryError(f"No shard gave vectors: {why}.")
    joined([parts / f"{name}.{form}" for name in names], target, form)
    shutil.rmtree(parts, ignore_errors=True)
    return report


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


def _shards(sources: Sequence[str | Path]) -> tuple[list[Order], list[Any]]:
    orders: list[Order] = []
    stores: list[Any] = []
    for listing in (listing for source in sources for listing in listed(source)):
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
    """Works on orders of shards: Setting.stores ends with where the files go, Setting.output."""

    form: ClassVar[Form] = "parquet"

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
        about = {"space": space.name, "space_id": space.space_id}
        return as_table(rows, space.dim, about), (len(rows), good, len(names) - good)

    def _write(self, shard: str, table: pa.Table) -> None:
        from pyarrow import fs

        out = self._setting.stores[-1]
        place = f"{self._setting.output}/{shard}.{self.form}"
        local = isinstance(out, fs.LocalFileSystem)
        unfinished = f"{self._setting.output}/.{shard}.unfinished" if local else place
        with out.open_output_stream(unfinished) as stream:  # an object appears when it is closed
            write(table, stream, self.form)
        if local:
            out.move(unfinished, place)


class TarWorker(ShardWorker):
    """The same, which writes WebDataset."""

    form = "tar"


def _key(name: str) -> str:
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{file.partition('.')[0]}"
