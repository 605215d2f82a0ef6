"""A decode worker: a process of its own that reads files and prepares their segments.

Started by `multimodal.pipeline.pool` as a plain child (no fork, and no `__main__` to import again, so
scripts need no guard and notebooks work). Everything it needs arrives through its standard input. Whatever
a decoder does to the process, it does it here and not to the run.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, TypeAlias

from multimodal import readers
from multimodal.errors import ReadError, UnsupportedFile, UnwantedModality
from multimodal.pipeline.wire import Alive, Begun, Ended, Outcome, Piece, Ready, Setup, Task, receive, send
from multimodal.readers import base
from multimodal.types import Modality, Segment


def main() -> None:
    """Serve tasks until the parent closes the pipe; a parent that is gone ends the worker at once."""
    inbox, out = _take_pipes()
    warnings.simplefilter("ignore")
    tasks: SimpleQueue[Task] = SimpleQueue()
    try:
        setup, _ = receive(inbox)
    except EOFError:
        return
    except Exception as error:  # whatever unpickling another's classes may raise
        send(out, Ready(f"{type(error).__name__}: {error}"))
        return
    _limit(setup)
    base.listen(_Heart(out))
    threading.Thread(target=_listen, args=(inbox, tasks), daemon=True).start()
    send(out, Ready())
    while True:
        task = tasks.get()
        send(out, Begun())
        ended, healthy = _work(task, setup, out)
        send(out, ended)
        if not healthy:
            os._exit(0)  # past the thread that waits for the parent


def _take_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """The pipes to the parent, moved away from fd 0 and 1: what a decoder prints goes to stderr."""
    inbox, out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return inbox, out


def _listen(inbox: IO[bytes], tasks: SimpleQueue[Task]) -> None:
    """Runs beside the work, so that a worker in the middle of a long file notices a dead parent."""
    try:
        while True:
            tasks.put(receive(inbox)[0])
    except (EOFError, OSError):
        os._exit(0)


def _limit(setup: Setup) -> None:
    """Memory and core dumps, where the system can limit them; under pressure the worker dies first."""
    if sys.platform != "linux":
        return
    import resource

    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    memory, (_, most) = setup.limits.worker_memory, resource.getrlimit(resource.RLIMIT_DATA)
    if memory is not None and (most == resource.RLIM_INFINITY or memory <= most):
        # RLIMIT_DATA counts private writable memory since Linux 4.7; RLIMIT_AS would also count every
        # library's code and the arenas malloc only reserves.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_DATA, (memory, most))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def _work(task: Task, setup: Setup, out: IO[bytes]) -> tuple[Ended, bool]:
    """Read one file and send its pieces: how it ended, and whether the process is fit for another."""
    clock = _Clock()
    try:
        lacking = _send_all(setup.read, (task.path, setup.options), setup, out, clock)
        problems = _send_companions(task, setup, out, clock)
        with clock:
            facts = readers.facts(task.path)
    except UnwantedModality as error:
        return Ended("skipped", str(error), clock.seconds, error.modality), True
    except MemoryError:
        memory = setup.limits.worker_memory
        needs = f"more than {memory / 2**30:.3g} GiB of" if memory else "more"
        return Ended("failed", f"decoding needs {needs} memory", clock.seconds), False
    except BrokenPipeError:
        os._exit(0)
    except Exception as error:
        return Ended(*_reason(error), clock.seconds), True
    return Ended("read", None, clock.seconds, lacking, tuple(problems), facts), True


def _send_companions(task: Task, setup: Setup, out: IO[bytes], clock: _Clock) -> list[tuple[Path, str]]:
    """Those that cannot be read, with the reason: a damaged caption takes nothing from its picture."""
    problems = []
    for companion in task.companions:
        try:
            _send_all(setup.read_companion, (companion, task.path, setup.options), setup, out, clock)
        except (BrokenPipeError, MemoryError):
            raise
        except Exception as error:
            problems.append((companion, _reason(error)[1]))
    return problems


_Reading: TypeAlias = "Callable[..., Iterator[Segment]]"


def _send_all(
    read: _Reading,
    given: tuple[Any, ...],
    setup: Setup,
    out: IO[bytes],
    clock: _Clock,
) -> Modality | None:
    """Send every segment that `read(*given)` yields as soon as it is there, but for those the space has no
    encoder for: the modality of the last such one is returned."""
    lacking = None
    segments = _started(read, given)
    try:
        while True:
            with clock:
                segment = next(segments, None)
                if segment is None:
                    return lacking
                if segment.modality not in setup.preprocess:
                    lacking = segment.modality
                    continue
                piece = _prepare(segment, setup)
            del segment  # its picture or frames need not wait in memory for the parent
            send(out, piece)
            del piece
    finally:
        with contextlib.suppress(Exception):
            segments.close()


def _started(read: _Reading, given: tuple[Any, ...]) -> Generator[Segment, None, None]:
    yield from read(*given)  # so that what it raises at once comes out of `next` too


def _prepare(segment: Segment, setup: Setup) -> Piece:
    preprocess = setup.preprocess[segment.modality]
    blank = segment.role == "blank"
    prepared = segment.content if preprocess is None or blank else preprocess(segment.content)
    return Piece(
        segment.modality,
        segment.start,
        segment.end,
        prepared,  # type: ignore[arg-type]
        segment.page,
        segment.chars,
        segment.role,
    )


def _reason(error: Exception) -> tuple[Outcome, str]:
    if isinstance(error, ReadError):
        kind: Outcome = "skipped" if isinstance(error, UnsupportedFile) else "failed"
        return kind, str(error)
    if isinstance(error, OSError) and error.strerror:
        return "failed", f"the file cannot be read: {error.strerror.lower()}"
    return "failed", f"the file cannot be decoded: {type(error).__name__}: {error}".rstrip(": ")


class _Heart:
    """Tells the parent that a reader is alive, four times a second at most."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._told = time.monotonic()

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._told >= 0.25:
            self._told = now
            send(self._out, Alive())


class _Clock:
    """Seconds spent inside its with blocks, so that waiting for the parent does not count."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = 0.0

    def __enter__(self) -> None:
        self._since = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._since
