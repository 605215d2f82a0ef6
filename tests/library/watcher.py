"""Watches a folder and prints what each run did: `python -m tests.library.watcher LIBRARY FOLDER`.

Run by tests that interrupt it.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from multimodal.library import Library
from multimodal.library.watching import watch
from tests.fakes import fake_space


def main(library: str, folder: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    with Library(library, fake_space()) as found:
        for report in watch(found, Path(folder), debounce=0.3, workers=1):
            counts = [report.count(what) for what in ("added", "reused", "removed", "unchanged")]  # type: ignore[arg-type]
            print(*counts, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
