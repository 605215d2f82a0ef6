"""Files that mean harm or have come to it: every format, written by its real encoder and then damaged.

mutated(folder, 0)      one file for each format and kind of damage, always the same for a seed
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from multimodal.readers import EXTENSIONS
from tests import media

NOT_WRITTEN = frozenset([".arw", ".cr2", ".cr3", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw"])
"""Raw files of camera brands, which only cameras write; .dng stands for them."""
FORMATS = tuple(sorted(EXTENSIONS.keys() - NOT_WRITTEN))

Mutator = Callable[[bytes, random.Random], bytes]


@lru_cache(maxsize=1)
def originals() -> Mapping[str, bytes]:
    """A small sound file of each format, by extension. Raises ValueError for one that has no encoder."""
    with TemporaryDirectory() as folder:
        return {name: media.write(Path(folder) / f"a{name}").read_bytes() for name in FORMATS}


def flip(data: bytes, rng: random.Random) -> bytes:
    """Single bits, one in 8,000 and at least four."""
    damaged = bytearray(data)
    for _ in range(max(4, len(data) // 1000)):
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def flip_head(data: bytes, rng: random.Random) -> bytes:
    """Bytes among the first 256 behind the signature, where sizes and counts stand."""
    damaged = bytearray(data)
    for _ in range(4):
        damaged[rng.randrange(min(8, len(data) - 1), min(256, len(data)))] = rng.randrange(256)
    return bytes(damaged)


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(1, len(data))]


def cut_end(data: bytes, rng: random.Random) -> bytes:
    return data[: -rng.randrange(1, max(2, len(data) // 10))]


def zeroed(data: bytes, rng: random.Random) -> bytes:
    begin = rng.randrange(len(data))
    length = min(len(data) - begin, rng.randrange(1, max(2, len(data) // 4)))
    return data[:begin] + bytes(length) + data[begin + length :]


def doubled(data: bytes, rng: random.Random) -> bytes:
    begin, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:end] + data[begin:]


def dropped(data: bytes, rng: random.Random) -> bytes:
    begin = rng.randrange(len(data))
    return data[:begin] + data[begin + rng.randrange(1, max(2, len(data) // 8)) :]


def huge(data: bytes, rng: random.Random) -> bytes:
    """A field of four bytes says as much as it can."""
    place = rng.randrange(0, max(1, min(len(data), 512) - 4), 2)
    value = rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80"])
    return data[:place] + value + data[place + 4 :]


def tailed(data: bytes, rng: random.Random) -> bytes:
    return data + rng.randbytes(4096)


def headed(data: bytes, rng: random.Random) -> bytes:
    """The beginning of another format before the rest of this one."""
    other = originals()[rng.choice(FORMATS)]
    length = rng.choice([4, 16, 64, 512])
    return other[:length] + data[length:]


MUTATORS: Mapping[str, Mutator] = {
    made.__name__: made
    for made in (flip, flip_head, cut, cut_end, zeroed, doubled, dropped, huge, tailed, headed)
}


def mutated(folder: Path, seed: int, kinds: tuple[str, ...] = tuple(MUTATORS)) -> Iterator[Path]:
    """Writes each format with each kind of damage, and once whole under the name of another."""
    for number, (suffix, data) in enumerate(originals().items()):
        for kind in kinds:
            rng = random.Random(f"{seed} {suffix} {kind}")
            path = folder / f"{suffix[1:]}-{kind}-{seed}{suffix}"
            path.write_bytes(MUTATORS[kind](data, rng))
            yield path
        other = FORMATS[(number + 7 + seed) % len(FORMATS)]
        path = folder / f"{suffix[1:]}-named-{seed}{other}"
        path.write_bytes(data)
        yield path
