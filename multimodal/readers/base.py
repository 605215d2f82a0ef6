"""What a reader is, and the reasons readers give when a file cannot be read."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from multimodal.errors import ReadError
from multimodal.types import Modality, ReadOptions, Segment


class Reader(Protocol):
    """Turns the files of one kind into segments. One row of `multimodal.readers.READERS`."""

    @property
    def modality(self) -> Modality:
        """What the files of this kind mostly hold; `read` may yield others too (the sound of a video)."""

    @property
    def yields(self) -> tuple[Modality, ...]:
        """Everything that `read` may give: a video gives its sound and its subtitles too."""

    @property
    def noun(self) -> str:
        """What a person calls such a file, with its article: "a picture"."""

    @property
    def extensions(self) -> tuple[str, ...]:
        """Lower case, with the dot."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The contents it takes, named as `multimodal.readers.sniff.content_kind` names them."""

    def read(self, path: Path, options: ReadOptions = ...) -> Iterator[Segment]:
        """Yields the segments of `path`, those of one modality in the order of their time, always the same
        for the same file, and none that is not in `options.modalities`.

        Raises ReadError with one short reason, without the path, when nothing can be read from it.
        """
        ...


_listeners: list[Callable[[], object]] = []


def alive() -> None:
    """Called by a reader as it gets on with a file of which nothing comes for long, such as hours of black.

    A reader that is led in circles must not call it for ever.
    """
    for listener in _listeners:
        listener()


def listen(listener: Callable[[], object]) -> None:
    """Have `listener` called, in the thread that reads, whenever a reader says that it is `alive`."""
    _listeners.append(listener)


@contextmanager
def readable() -> Iterator[None]:
    """Turns what the operating system says about a file into a ReadError."""
    try:
        yield
    except FileNotFoundError:
        raise ReadError("the file is gone") from None
    except PermissionError:
        raise ReadError("the file may not be read: permission denied") from None
    except MemoryError:
        raise ReadError("the file needs more memory than there is") from None
    except OSError as error:
        raise ReadError(f"the file cannot be read: {(error.strerror or str(error)).lower()}") from error


def open_file(path: Path) -> BinaryIO:
    """A file opened for reading bytes, at once: a pipe that has taken its place is not waited for.

    Raises OSError, also for what is no regular file.
    """
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file")
    return file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
