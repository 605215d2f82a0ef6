"""A pool of decode workers: paths in, prepared segments out, whatever becomes of a worker."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from multimodal.errors import MultimodalError
from multimodal.pipeline.process import Tail, launch, obituary
from multimodal.pipeline.wire import (
    Alive,
    Begun,
    Ended,
    Limits,
    Piece,
    Ready,
    Setup,
    Task,
    pack,
    receive,
    send,
)

BUFFER_BYTES = 32 << 20
"""Prepared segments that wait for the consumer, of all workers together: 200 pictures of 224 pixels."""
FILES_PER_WORKER = 8
"""Another worker starts when this many files wait for each one there is: one costs half a second."""
LONG_WAIT = 1.0
"""Seconds. Another one starts as well when a file has waited this long."""
CHECK_SECONDS = 0.25
"""How often the workers are looked after while events come without a pause."""
START_SECONDS = 120.0
"""A worker that is not ready by then never will be."""
START_ATTEMPTS = 3


class Event(NamedTuple):
    """What a worker says about a task."""

    task: int
    message: Piece | Ended


class DecodePool:
    """Runs `Setup.read` and `Setup.preprocess` on files in up to `workers` processes.

    Used from one thread: `submit` paths while `wants_more`, take events with `get`, `close` at the end.
    Each task gives any number of Pieces, then one Ended. Events of different tasks come mixed.
    """

    def __init__(self, setup: Callable[[], Setup], workers: int, limits: Limits) -> None:
        """The first worker starts while `setup` runs. Raises what `setup` raises, MultimodalError."""
        self.limits = limits
        self._most = workers
        self._lock = threading.Condition()
        self._tasks: deque[tuple[int, Task, float]] = deque()
        self._events = _Buffer(BUFFER_BYTES)
        self._workers: list[_Worker] = []
        self._idle = 0
        self._closed = False
        self._failure: BaseException | None = None
        self._next_check = 0.0
        self._setup = b""
        first = _Worker(self)
        self._workers.append(first)
        try:
            first.launch()
            self._setup = _packed(setup())
            first.start()
        except BaseException:
            self.close()
            raise

    @property
    def workers(self) -> int:
        """Worker processes started so far."""
        return len(self._workers)

    @property
    def wants_more(self) -> bool:
        """Whether more paths should be submitted to keep every worker fed."""
        with self._lock:
            return len(self._tasks) < 2 * FILES_PER_WORKER * self._most

    def submit(self, number: int, task: Task) -> None:
        with self._lock:
            self._tasks.append((number, task, time.monotonic()))
            crowded = len(self._tasks) > FILES_PER_WORKER * len(self._workers)
            self._lock.notify()
        if crowded:
            self._grow()

    def get(self, timeout: float) -> Event | None:
        """The next event, or None after `timeout` seconds. Raises MultimodalError when no worker starts."""
        event: Event | None = self._events.get(timeout)
        now = time.monotonic()
        if event is None or now >= self._next_check:
            self._next_check = now + CHECK_SECONDS
            self._check(now)
        return event

    def close(self) -> None:
        """Ends every worker at once, whatever it is doing, and waits until they are gone."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        self._events.close()
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.finish()

    def _check(self, now: float) -> None:
        if self._failure is not None:
            raise self._failure
        for worker in self._workers:
            worker.end_if_hung(now)
        with self._lock:
            waiting = self._tasks[0][2] if self._tasks and not self._idle else now
        # While one is still starting, another would only slow it down.
        since = max(waiting, *(worker.ready_since or now for worker in self._workers))
        if now - since > LONG_WAIT:
            self._grow()

    def _grow(self) -> None:
        if len(self._workers) < self._most and not self._closed:
            worker = _Worker(self)
            self._workers.append(worker)
            worker.start()

    # Called by the workers' threads.

    def _next_task(self) -> tuple[int, Task] | None:
        with self._lock:
            self._idle += 1
            while not self._tasks and not self._closed:
                self._lock.wait()
            self._idle -= 1
            if self._closed:
                return None
            number, task, _ = self._tasks.popleft()
            return number, task

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._events.wake()


def _packed(setup: Setup) -> bytes:
    try:
        return pack(setup)
    except Exception as error:  # whatever pickling another's classes may raise
        raise MultimodalError(
            f"What prepares the files cannot be sent to decode workers: {type(error).__name__}: {error}."
        ) from error


class _Closed(Exception):
    """The pool is closing."""


class _Worker:
    """One worker process and the thread that feeds it; a process that dies is replaced."""

    def __init__(self, pool: DecodePool) -> None:
        self._pool = pool
        self._thread = threading.Thread(target=self._run, name="decode", daemon=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._said = Tail()
        self.ready_since: float | None = None  # monotonic
        self._hung = False
        self._deadline: float | None = None  # monotonic; None while nothing is awaited from the process

    def start(self) -> None:
        self._thread.start()

    def launch(self) -> None:
        """Start the process alone: it imports while the parent prepares what to tell it."""
        with self._pool._lock:
            if self._pool._closed:
                raise _Closed
            self._process = launch()
        self.ready_since, self._hung = None, False
        self._said = Tail(self._process.stderr)

    def kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._process.kill()

    def finish(self) -> None:
        if self._thread.ident is not None:
            self._thread.join(timeout=10)  # its process is dead: it only has to notice
        else:
            self._bury()

    def end_if_hung(self, now: float) -> None:
        deadline = self._deadline
        if deadline is not None and now > deadline:
            self._hung = True
            self.kill()

    def _run(self) -> None:
        try:
            while (task := self._pool._next_task()) is not None:
                self._serve(*task)
        except _Closed:
            pass
        except BaseException as error:
            self._pool._fail(error)
        finally:
            self._bury()

    def _serve(self, number: int, task: Task) -> None:
        self._begin(task)
        while True:
            try:
                message, size = self._receive(self._pool.limits.seconds_without_progress)
            except Exception:  # an end of file, or a frame that a dying process left unfinished
                message, size = Ended("failed", self._bury()), 0
            if isinstance(message, Alive):
                continue
            self._pool._events.put(Event(number, message), size)
            if isinstance(message, Ended):
                return

    def _begin(self, task: Task) -> None:
        """Hand the file to a worker that lives. One that died between two files is nobody's fault."""
        reason = ""
        for _ in range(START_ATTEMPTS):
            try:
                if self.ready_since is None:
                    self._set_up()
                self._said.forget()  # before the task goes out: what comes later is this file's
                send(self._stdin, task)
                message, _ = self._receive(START_SECONDS)
                assert isinstance(message, Begun)
                return
            except (EOFError, OSError):
                if self._pool._closed:
                    raise _Closed from None
                reason = self._bury()
        raise MultimodalError(f"No decode worker can be started: {reason}.")

    def _set_up(self) -> None:
        if self._process is None:
            self.launch()
        self._stdin.write(self._pool._setup)
        self._stdin.flush()
        message, _ = self._receive(START_SECONDS)
        assert isinstance(message, Ready)
        if message.problem is not None:
            raise MultimodalError(f"A decode worker cannot load what prepares the files: {message.problem}.")
        self.ready_since = time.monotonic()

    @property
    def _stdin(self) -> Any:
        assert self._process is not None
        return self._process.stdin

    def _receive(self, seconds: float) -> tuple[Any, int]:
        assert self._process is not None and self._process.stdout is not None
        self._deadline = time.monotonic() + seconds
        try:
            return receive(self._process.stdout)
        finally:
            self._deadline = None

    def _bury(self) -> str:
        """End the process if it has not ended, and say what it died of."""
        process, self._process, self.ready_since = self._process, None, None
        if process is None:
            return ""
        try:
            process.wait(timeout=0 if self._hung or self._pool._closed else 2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        said = self._said.last()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if self._hung:
            return f"the decoder gave nothing for {self._pool.limits.seconds_without_progress:g} s"
        return obituary(process.returncode, said)


class _Buffer:
    """A queue of events bounded in bytes; one that is larger than the bound passes alone."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._queue: deque[tuple[Event, int]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._woken = False

    def put(self, event: Event, size: int) -> None:
        with self._changed:
            while self._queue and self._held + size > self._most and not self._closed:
                self._changed.wait()
            if self._closed:
                raise _Closed
            self._queue.append((event, size))
            self._held += size
            self._changed.notify_all()

    def get(self, timeout: float) -> Event | None:
        with self._changed:
            if not self._queue and not self._woken and timeout > 0:
                self._changed.wait(timeout)
            self._woken = False
            if not self._queue:
                return None
            event, size = self._queue.popleft()
            self._held -= size
            self._changed.notify_all()
            return event

    def wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._queue.clear()
            self._changed.notify_all()
