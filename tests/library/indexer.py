"""Indexes a folder slowly, telling what is safe: `python -m tests.library.indexer LIBRARY FOLDER [SECONDS]`.

Run by tests that kill it or want a writer at work.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from multimodal.library import Library, Progress, indexing
from tests.fakes import fake_space
from tests.library.serial import Serial


def main(library: str, folder: str, seconds: str = "0.005") -> None:
    indexing.BATCH_FILES = 4
    Serial(before=lambda _: time.sleep(float(seconds))).install()

    def tell(progress: Progress) -> None:
        print(progress.record.path.name if progress.record else "-", flush=True)

    with Library(library, fake_space()) as found:
        found.add(Path(folder), progress=tell)
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
