"""Work shared out by Ray Data: stateful actors take blocks of files and give back what became of each.

Ray tries again what a dead worker had, so its work is done at least once; the driver takes the outcome of
each file once. A block whose worker died each time is given up, and its files are tried one by one, so that
the file that did it is alone in its failure.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from multimodal.errors import QueryError
from multimodal.library.scan import said
from multimodal.scale.worker import FileWorker, Order, Outcome, Setting

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 64
"""Most files in a block, which is what is tried again. Few enough that every actor gets BLOCKS of them."""
BLOCKS = 4
CPUS = 8
"""Most cores for one actor: the decode processes that keep one model busy."""
ATTEMPTS = 3
"""How often a block is begun: Ray itself would try one that kills its actor for ever."""
CONNECT_SECONDS = 5.0


class Ledger:
    """An actor of one per job that counts how often each block was begun."""

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()

    def begin(self, block: str) -> int:
        self._begun[block] += 1
        return self._begun[block]


class RayWorker:
    """A FileWorker that gives a block back empty when it was begun ATTEMPTS times before."""

    def __init__(self, kind: type[FileWorker], setting: Setting, ledger: Any, name: str) -> None:
        self._worker = kind(setting)
        self._ledger, self._name = ledger, name

    def __call__(self, batch: pa.Table) -> pa.Table:
        import ray
        from ray.exceptions import RayError

        digest = hashlib.blake2b(batch["order"][0].as_py(), digest_size=16).hexdigest()
        with suppress(RayError):  # without the ledger no more than the count of attempts is lost
            if ray.get(self._ledger.begin.remote(f"{self._name} {digest}")) > ATTEMPTS:
                batch = batch.slice(0, 0)
        return self._worker(batch)


def working(
    address: str | None,
    processes: int | None,
    actors: int | None,
    kind: type[FileWorker] = FileWorker,
) -> Callable[[Sequence[Order], Setting], Iterator[Outcome]]:
    """Work for `multimodal.scale.index` on the cluster at `address`; None: the one this process is connected
    to, or one started here for as long as it takes. Raises QueryError without Ray, or for an address where
    there is none."""
    try:
        import ray
        import ray.data
    except ImportError:
        raise QueryError("The engine ray needs multimodal[ray].") from None

    def work(orders: Sequence[Order], setting: Setting) -> Iterator[Outcome]:
        with _connected(ray, address), _quiet(ray):
            left = {order.number: order for order in orders}
            ledger = ray.remote(num_cpus=0)(Ledger).remote()
            for alone in (False, True):
                waiting = list(left.values())
                for outcome in _through(ray, waiting, setting, kind, ledger, processes, actors, alone):
                    if left.pop(outcome.number, None) is not None:
                        yield outcome
                if not left:
                    return

    return work


@contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    if ray.is_initialized():
        yield
        return
    place = (
        address or os.environ.get("RAY_ADDRESS") or "local"
    )  # else Ray looks for one that may be long gone
    _reached(place)
    how: dict[str, Any] = {"include_dashboard": False} if place == "local" else {}
    level = os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it warns of actors that are restarted
    try:
        ray.init(address=place, logging_level="error", log_to_driver=False, **how)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise QueryError(f"There is no Ray cluster at {place}: {' '.join(str(error).split())}") from error
    finally:
        if level == "fatal":
            del os.environ["RAY_BACKEND_LOG_LEVEL"]
    try:
        yield
    finally:
        ray.shutdown()


def _reached(address: str) -> None:
    """Raises QueryError where nobody listens at HOST:PORT: Ray tries that for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not (host and port.isdecimal()):
        return
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise QueryError(f"There is no Ray cluster at {address}: {said(error)}.") from None


@contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """Ray Data without its bars, and going on where a block is lost."""
    context = ray.data.DataContext.get_current()
    names = {
        "enable_progress_bars": False,
        "print_on_execution_start": False,
        "max_errored_blocks": -1,
    }
    before = {name: getattr(context, name) for name in names if hasattr(context, name)}
    log = logging.getLogger("ray.data")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        for name in before:
            setattr(context, name, names[name])
        yield
    finally:
        for name, value in before.items():
            setattr(context, name, value)
        log.setLevel(level)


def _through(
    ray: Any,
    orders: Sequence[Order],
    setting: Setting,
    kind: type[FileWorker],
    ledger: Any,
    processes: int | None,
    actors: int | None,
    alone: bool,
) -> Iterator[Outcome]:
    """The outcomes of those orders whose blocks were not lost."""
    import pyarrow as pa

    cpus, gpus, most = _shape(ray, processes, actors)
    size = 1 if alone else max(1, min(BLOCK, -(-len(orders) // (BLOCKS * most))))
    blocks = [
        pa.table({"order": pa.array([pickle.dumps(one) for one in orders[at : at + size]], pa.binary())})
        for at in range(0, len(orders), size)
    ]
    given = replace(setting, processes=processes or max(1, int(cpus)))
    done = ray.data.from_arrow(blocks).map_batches(
        RayWorker,
        fn_constructor_args=(kind, given, ledger, "alone" if alone else "together"),
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(most, len(blocks))),
        num_cpus=cpus,
        num_gpus=gpus,
        udf_modifying_row_count=True,
    )
    for table in done.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
        for value in table["outcome"]:
            yield pickle.loads(value.as_py())


def _shape(ray: Any, processes: int | None, actors: int | None) -> tuple[float, float, int]:
    """Cores and GPUs of one actor, and how many of them the cluster takes."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    if not nodes:
        return 1, 0, actors or 1  # a cluster that grows with what is asked of it
    gpus = 1.0 if any(node.get("GPU", 0) >= 1 for node in nodes) else 0.0
    able = [node for node in nodes if node.get("GPU", 0) >= 1] if gpus else nodes
    share = min(node["CPU"] / (node["GPU"] if gpus else 1) for node in able)
    cpus = float(max(1, min(processes or CPUS, int(share))))
    room = sum(int(min(node["CPU"] // cpus, node["GPU"] if gpus else node["CPU"])) for node in able)
    return cpus, gpus, actors or max(1, room)
