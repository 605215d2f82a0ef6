"""A reader of scripts that misbehave: each line of a text file is a segment to give or a thing to do.

red                a picture of that colour          say WORDS     a passage
tone HZ            a second of sound                 clip          a second of video
big N              N sounds of 4 MB                  print WORDS   to fd 1 and fd 2
signal N           kill this process                 exit N        os._exit
quit N             sys.exit                          hang          forever
nap SECONDS        sleep                             eat GIB       memory
pid PATH           append the process id to PATH     log PATH      append a line for each `big` to PATH
fail WORDS         ReadError                         unsupported   UnsupportedFile
oops WORDS         RuntimeError                      lose          FileNotFoundError
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from multimodal.errors import ReadError, UnsupportedFile
from multimodal.types import Audio, Clip, Content, ReadOptions, Segment
from tests.media import tone

COLOURS = ("red", "green", "blue", "black", "white")


def read(path: Path, options: ReadOptions = ReadOptions()) -> Iterator[Segment]:  # noqa: B008
    log: Path | None = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        word, _, rest = line.partition(" ")
        if word == "log":
            log = Path(rest)
        elif word == "big":
            for part in range(int(rest)):
                if log is not None:
                    note(log, str(part))
                yield Segment(
                    "audio", Audio(np.full(1_000_000, 0.5, np.float32), 16_000), path, part, part + 1
                )
        elif (segment := _segment(word, rest, number, path)) is not None:
            yield segment
        else:
            act(word, rest)


def _segment(word: str, rest: str, number: int, path: Path) -> Segment | None:
    if word in COLOURS:
        return Segment("image", Image.new("RGB", (64, 48), word), path)
    if word == "say":
        return Segment("text", rest, path)
    if word == "tone":
        return Segment("audio", Audio(tone(1, 16_000, float(rest))[:, 0], 16_000), path, number, number + 1.0)
    if word == "clip":
        frames = [Image.new("RGB", (64, 48), colour) for colour in COLOURS]
        return Segment("video", Clip(frames, np.linspace(0, 1, 5)), path, number, number + 1.0)
    return None


def act(word: str, rest: str) -> None:
    if word == "signal":
        os.kill(os.getpid(), int(rest))
    elif word == "exit":
        os._exit(int(rest))
    elif word == "quit":
        sys.exit(int(rest))
    elif word == "hang":
        while True:
            time.sleep(1)
    elif word == "nap":
        time.sleep(float(rest))
    elif word == "eat":
        np.ones(int(float(rest) * 2**27))
    elif word == "pid":
        note(Path(rest), str(os.getpid()))
    elif word == "print":
        for descriptor in (1, 2):
            os.write(descriptor, f"{rest}\n".encode())
        print(rest)
    elif word == "fail":
        raise ReadError(rest)
    elif word == "unsupported":
        raise UnsupportedFile("no reader takes it")
    elif word == "oops":
        raise RuntimeError(rest)
    elif word == "lose":
        Path("/nowhere/at/all").read_bytes()
    else:
        raise ValueError(word)


def note(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line + "\n")


@dataclass(frozen=True)
class Whole:
    """A sound goes to its tower as it is: 4 MB a million samples."""

    def __call__(self, content: Content) -> np.ndarray:
        assert isinstance(content, Audio)
        return content.samples


@dataclass(frozen=True)
class Fragile:
    """Cannot be loaded in another process."""

    def __call__(self, content: Content) -> np.ndarray:
        raise AssertionError("never called")

    def __reduce__(self) -> tuple:
        return _explode, (os.getpid(),)


def _explode(born: int) -> Fragile:
    if os.getpid() != born:
        raise ImportError("no such codec here")
    return Fragile()
