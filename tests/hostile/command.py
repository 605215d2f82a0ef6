"""The command with the fake space and a reader that can be slowed: `python -m tests.hostile.command`.

Everything else is the real thing: the library, the pipeline and its worker processes, the readers. The
environment says what is different:

    HOSTILE_PACE=0.05      seconds that each file takes longer
    HOSTILE_GATE=FOLDER    a file whose name begins with "gate" writes FOLDER/NAME.begun after its first
                           segment and goes on when FOLDER/NAME.go is there
    HOSTILE_HANG=1         a file whose name begins with "hang" gives one segment and then nothing for ever
    HOSTILE_SLOW=3         seconds that a file whose name begins with "slow" takes before its first segment
    HOSTILE_BATCH=4        finished files are committed when they are this many
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from multimodal import cli, readers
from multimodal.library import indexing, library
from multimodal.space import Space
from multimodal.types import ReadOptions, Segment
from tests.fakes import fake_space

_read = readers.read


def read(path: Path, options: ReadOptions = ReadOptions()) -> Iterator[Segment]:  # noqa: B008 - frozen
    """What `multimodal.readers.read` gives, later."""
    time.sleep(float(os.environ.get("HOSTILE_PACE", "0")))
    if path.name.startswith("slow"):
        time.sleep(float(os.environ.get("HOSTILE_SLOW", "0")))
    for number, segment in enumerate(_read(path, options)):
        yield segment
        if number == 0 and path.name.startswith("gate") and "HOSTILE_GATE" in os.environ:
            _wait(Path(os.environ["HOSTILE_GATE"]), path.name)
        if number == 0 and path.name.startswith("hang") and "HOSTILE_HANG" in os.environ:
            while True:
                time.sleep(1)


def _wait(gate: Path, name: str) -> None:
    (gate / f"{name}.begun").touch()
    while not (gate / f"{name}.go").exists():
        time.sleep(0.01)


def _space(name: str) -> Space:
    return fake_space()


def main() -> None:
    readers.read = read
    library.load_space = _space
    indexing.BATCH_FILES = int(os.environ.get("HOSTILE_BATCH", indexing.BATCH_FILES))
    cli.main()


if __name__ == "__main__":
    from tests.hostile import command  # workers look the reader up by this name, not as __main__

    command.main()
