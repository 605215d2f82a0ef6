"""The operating system's side of a decode worker: how it is started, what it says, what it died of."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from typing import Any

# No import may run while the current folder, perhaps one with a file `json.py`, is still on the path.
_BOOT = "import sys; sys.path[:] = sys.argv[1:]; from multimodal.pipeline.worker import main; main()"


def launch() -> subprocess.Popen[bytes]:
    """A worker that waits for its Setup: it sees the modules that this process sees."""
    path = [os.path.abspath(entry) for entry in sys.path if isinstance(entry, str)]
    flags = ["-X", "utf8"] if sys.flags.utf8_mode else []
    # One thread each: the workers themselves are what runs side by side.
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return subprocess.Popen(
        [sys.executable, *flags, "-c", _BOOT, *path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **single},
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        # Ctrl-C in a terminal goes to the whole group: it is the parent's to handle.
        start_new_session=True,
    )


def obituary(code: int, said: str) -> str:
    """What a process died of, from its return code as `Popen` gives it and the last line it wrote."""
    detail = f": {said}" if said else ""
    if code == -getattr(signal, "SIGKILL", 9):
        return "the decoder was killed (signal 9), perhaps for want of memory"
    if code < 0:
        return f"the decoder crashed (signal {-code}){detail}"
    if code >= 0x80000000:  # how Windows reports an access violation and the like
        return f"the decoder crashed (0x{code:08X}){detail}"
    return f"the decoder quit (exit code {code}){detail}"


class Tail:
    """Reads a pipe to its end, so that nobody who writes to it waits, and keeps the last line."""

    def __init__(self, pipe: Any = None) -> None:
        self._bytes = b""
        self._pipe = pipe
        self._thread = threading.Thread(target=self._drain, daemon=True)
        if pipe is not None:
            self._thread.start()

    def _drain(self) -> None:
        with contextlib.suppress(OSError, ValueError), self._pipe:
            while block := self._pipe.read1(65536):
                self._bytes = (self._bytes + block)[-2000:]

    def forget(self) -> None:
        self._bytes = b""

    def last(self) -> str:
        """The last line said, for a process that has ended."""
        if self._pipe is not None:
            self._thread.join(timeout=2.0)
        lines = self._bytes.decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip()[:200] if lines else ""
