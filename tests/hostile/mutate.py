"""Damage to files, the same for the same seed: each mutator takes bytes and gives other bytes.

    mutate("truncate", data, random.Random(7), donor)

`donor` are the bytes of a file of another format.
"""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable

Mutator = Callable[[bytes, random.Random, bytes], bytes]

LARGE = (2**15 - 1, 2**16 - 1, 2**24 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1, 0, 1)
"""What a field of a size, a count or an offset may claim."""
_NUMBER = re.compile(rb"\d+(?:\.\d+)?")
_NUMBERS = (b"0", b"-1", b"4294967296", b"99999999999999999999", b"1e308", b"NaN", b"0.0000001", b"1" * 400)


def flip(data: bytes, chance: random.Random, donor: bytes) -> bytes:
    """One to eight bits, anywhere."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(changed))
        changed[at] ^= 1 << chance.randrange(8)
    return bytes(changed)


def flip_head(data: bytes, chance: random.Random, donor: bytes) -> bytes:
    """A few bits of the first half kilobyte, where most formats keep what they state."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 12)):
        at = chance.randrange(min(512, len(changed)))
        changed[at] ^= 1 << chance.randrange(8)
    return bytes(changed)


def noise(data: bytes, chance: random.Random, donor: bytes) -> bytes:
    """One byte in a hundred, behind the first sixty-four."""
    changed = bytearray(data)
    for _ in range(max(1, len(changed) // 100)):
        at = chance.randrange(min(64, len(changed) - 1), len(changed))
        changed[at] = chance.randrange(256)
    return bytes(changed)


def truncate(data: bytes, chance: random.Random, donor: bytes) -> bytes:
    """From one byte that is left to one that is missing."""
    share = chance.choice((0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0))
    return data[: max(1, min(len(data) - 1, int(len(data) * share)))]


def swap_head(data: bytes, chance: random.Random, donor: bytes) -> bytes:
    """The beginning of another format."""
    length = chance.choice((4, 12, 32, 128, 1024))
    return donor[:length] + data[length:]


def zeros(data: bytes, chance: random.Random, donor: bytes) -> bytes:
    """A stretch of zeros, or of ones."""
    begin, end = _stretch(len(data), chance, 4)
    return data[:begin] + chance.choice((b"\0", b"\xff")) * (end - begin) + data[end:]


def repeat(data: bytes, chance: random.Random, donor: bytes) -> bytes:
    """A piece twice, or a short one very often."""
    begin, end = _stretch(len(data), chance, 2)
    if chance.random() < 0.5:
        return data[:end] + data[begin:end] + data[end:]
    end = min(end, begin + chance.choice((1, 2, 8, 60)))
    return data[:end] + data[begin:end] * chance.choice((100, 5000)) + data[end:]


def remove(data: bytes, chance: random.Random, donor: bytes) -> bytes:
    """A piece that is missing in the middle."""
    begin, end = _stretch(len(data), chance, 4)
    return data[:begin] + data[end:]


def shuffle(data: bytes, chance: random.Random, donor: bytes) -> bytes:
    """Two pieces in each other's place."""
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(4))
    first, second, third, fourth = cuts
    return data[:first] + data[third:fourth] + data[second:third] + data[first:second] + data[fourth:]


def claim(data: bytes, chance: random.Random, donor: bytes) -> bytes:
    """A field that states something large, in the first four kilobytes mostly."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        value = chance.choice(LARGE)
        width = chance.choice((2, 4, 4, 4, 8))
        order = chance.choice("<>")
        field = struct.pack(f"{order}Q", value)
        field = field[:width] if order == "<" else field[-width:]
        reach = len(changed) if chance.random() < 0.25 else min(4096, len(changed))
        at = chance.randrange(reach) & ~(width - 1) if chance.random() < 0.7 else chance.randrange(reach)
        changed[at : at + width] = field
    return bytes(changed)


def numbers(data: bytes, chance: random.Random, donor: bytes) -> bytes:
    """Numbers written in digits become others; where there are none, as `claim`."""
    found = list(_NUMBER.finditer(data[:200_000]))
    if not found:
        return claim(data, chance, donor)
    for match in sorted(
        chance.sample(found, min(len(found), chance.randint(1, 5))), key=lambda m: -m.start()
    ):
        data = data[: match.start()] + chance.choice(_NUMBERS) + data[match.end() :]
    return data


def append(data: bytes, chance: random.Random, donor: bytes) -> bytes:
    """Something behind the end: noise, another file, or the same once more."""
    return data + chance.choice((chance.randbytes(chance.choice((1, 100, 40_000))), donor, data))


def insert(data: bytes, chance: random.Random, donor: bytes) -> bytes:
    """A piece of another file, or noise, in the middle."""
    at = chance.randrange(len(data) + 1)
    begin, end = _stretch(len(donor), chance, 2)
    piece = chance.choice((donor[begin:end], chance.randbytes(chance.choice((1, 4, 300)))))
    return data[:at] + piece + data[at:]


def _stretch(length: int, chance: random.Random, share: int) -> tuple[int, int]:
    """A part of at most one in `share`, at least one byte."""
    size = max(1, int(length / share * chance.random() ** 2))
    begin = chance.randrange(max(1, length - size))
    return begin, begin + size


MUTATORS: dict[str, Mutator] = {
    mutator.__name__: mutator
    for mutator in (
        flip, flip_head, noise, truncate, swap_head, zeros, repeat, remove, shuffle, claim, numbers, append,
        insert,
    )
}  # fmt: skip


def mutate(name: str, data: bytes, chance: random.Random, donor: bytes) -> bytes:
    """Damaged data, never the data themselves, at most 8 MB more than they were."""
    for _ in range(10):
        changed = MUTATORS[name](data, chance, donor)
        if changed != data:
            return changed[: len(data) + (8 << 20)]
    return data + b"\0"
