"""Word vectors in their usual file formats."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import SpaceError
from multimodal.ladder.extras import needed
from multimodal.ladder.grams import Grams

Floats = NDArray[np.float32]


def read_vectors(path: str | Path, limit: int | None = None) -> tuple[list[str], Floats, Grams | None]:
    """Words, their vectors (V, dim) and, of FastText's own .bin, its n-grams.

    Text files of GloVe, word2vec and FastText (a word and its numbers a line, with or without a first line
    of two counts), as they are, .gz or .zip (the first file inside); word2vec's and FastText's .bin. The
    first `limit` words, which are the most frequent ones. Raises SpaceError.
    """
    source = Path(path)
    if not source.is_file():
        raise SpaceError(f"{source} does not exist or is not a file.")
    try:
        if ".bin" in source.suffixes[-2:]:
            return _binary(source, limit)
        with _opened(source) as file:
            return (*_text(source, file, limit), None)
    except (OSError, EOFError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise SpaceError(f"{source} cannot be read as word vectors: {error}.") from error


def _text(source: Path, file: BinaryIO, limit: int | None) -> tuple[list[str], Floats]:
    first = file.readline()
    parts = first.split()
    if not parts:
        raise SpaceError(f"{source} holds no word vectors.")
    counts = len(parts) == 2 and all(part.isdigit() for part in parts)
    dim = int(parts[1]) if counts else _numbers(first)
    if dim < 1:
        raise SpaceError(f"{source} cannot be read as word vectors: its first line has no numbers.")
    places: dict[str, int] = {}
    rows: list[Floats] = []
    for number, line in enumerate(file if counts else _chained(first, file), 2 if counts else 1):
        if limit is not None and len(rows) >= limit:
            break
        if not line.strip():
            continue
        # a few of the published words hold blanks: what is not among the last `dim` cells is the word
        word, *cells = line.rstrip().rsplit(b" ", dim) if b"\t" not in line else line.split()
        if len(cells) != dim:
            raise SpaceError(f"{source}, line {number}: a word and {dim} numbers are expected.")
        row = np.array(cells, dtype=np.float32)
        shown = word.decode("utf-8", "replace")
        if shown not in places:
            places[shown] = len(rows)
            rows.append(row)
    if not rows:
        raise SpaceError(f"{source} holds no word vectors.")
    return list(places), np.stack(rows)


def _numbers(line: bytes) -> int:
    """How many numbers a line ends with, its first cell not counted."""
    count = 0
    for cell in reversed(line.split()[1:]):
        try:
            float(cell)
        except ValueError:
            break
        count += 1
    return count


def _chained(first: bytes, file: BinaryIO) -> Iterator[bytes]:
    yield first
    yield from file


@contextmanager
def _opened(source: Path) -> Iterator[BinaryIO]:
    if source.suffix.lower() == ".gz":
        with gzip.open(source) as file:
            yield cast(BinaryIO, file)
    elif source.suffix.lower() == ".zip":
        with zipfile.ZipFile(source) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            if not names:
                raise SpaceError(f"{source} holds no file.")
            with archive.open(names[0]) as inside:
                yield cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, inside)))
    else:
        with source.open("rb") as plain:
            yield plain


def _binary(source: Path, limit: int | None) -> tuple[list[str], Floats, Grams | None]:
    """A .bin: FastText's begins with a magic number, word2vec's with a line of two counts."""
    with needed():
        from gensim.models import KeyedVectors
        from gensim.models.fasttext import load_facebook_vectors

    with source.open("rb") as file:
        magic = int.from_bytes(file.read(4), "little")
    if magic != 793712314:
        vectors = KeyedVectors.load_word2vec_format(str(source), binary=True, limit=limit)
        return list(vectors.index_to_key), np.asarray(vectors.vectors, np.float32), None
    known = load_facebook_vectors(str(source))
    grams = Grams(
        np.arange(len(known.vectors_ngrams)),
        np.asarray(known.vectors_ngrams, np.float32),
        known.min_n,
        known.max_n,
        known.bucket,
    )
    words = list(known.index_to_key)[:limit]
    return words, np.asarray(known.vectors[: len(words)], np.float32), grams
