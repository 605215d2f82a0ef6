"""Who may write to a shared library: one process at a time, by a lease in the table's own configuration."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from multimodal.errors import LibraryBusy
from multimodal.library.lance_opening import bare, opened

SECONDS = 90.0
"""How long a writer that says nothing keeps the library from others; it says something three times as often.
One that died on the machine that asks keeps it no longer (not on Windows, where that cannot be told)."""


class Lease:
    """The right to write to the table `data` at an address, renewed by a thread until it is given back.

    Raises LibraryBusy where another process has it.
    """

    def __init__(self, uri: str, data: Any) -> None:
        self._uri, self._data = uri, data
        self._mine = f"{secrets.token_hex(8)}@{socket.gethostname()}:{os.getpid()}"
        self._over = threading.Event()
        holder, until = _kept(data)
        if holder and until > time.time() and not is_dead(holder):
            raise LibraryBusy(
                f"Another process is writing to the library at {bare(uri)}: try again when it is done, or"
                f" in {round(until - time.time())} s if it has died."
            )
        try:
            self._say(data)
        except OSError as error:  # two asked at once: the table takes one
            raise LibraryBusy(f"Another process is writing to the library at {bare(uri)}.") from error
        data.checkout_latest()
        if _kept(data)[0] != self._mine:
            raise LibraryBusy(f"Another process is writing to the library at {bare(uri)}.")
        threading.Thread(target=self._renew, name="lease", daemon=True).start()

    def check(self) -> None:
        """Raises LibraryBusy where another has taken the lease meanwhile."""
        self._data.checkout_latest()
        if _kept(self._data)[0] != self._mine:
            raise LibraryBusy("Another process has taken over the library: this one was silent for too long.")

    def stop(self) -> None:
        """Renew it no more."""
        self._over.set()

    def give_back(self) -> None:
        """After `stop`: let others have it at once. Else it runs out by itself."""
        self._data.checkout_latest()
        if _kept(self._data)[0] == self._mine:
            self._data.update_config({"lease": ""})

    def _say(self, data: Any) -> None:
        data.update_config({"lease": f"{self._mine} {time.time() + SECONDS}"})

    def _renew(self) -> None:
        while not self._over.wait(SECONDS / 3):
            with suppress(Exception):  # the next time may do, and a lost lease shows with the next write
                data = opened(self._uri)
                if _kept(data)[0] == self._mine:
                    self._say(data)


def _kept(data: Any) -> tuple[str, float]:
    """Who has the lease ("" for nobody), and until when (seconds since 1970)."""
    holder, _, until = data.config().get("lease", "").partition(" ")
    return holder, float(until or 0)


def is_dead(holder: str) -> bool:
    """Whether the holder of a lease, TOKEN@HOST:PID, was a process of this machine that is no more."""
    host, _, number = holder.partition("@")[2].rpartition(":")
    if os.name == "nt" or host != socket.gethostname() or not number.isdecimal():
        return False  # on Windows the question would end the process
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
