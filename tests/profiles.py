"""ICC profiles put together from numbers (ICC.1:2010), so that a test knows what they do."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

D50 = (0.9642, 1.0, 0.8249)
SRGB_TO_XYZ = np.array(
    [[0.4360, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]]
)  # adapted to D50, as profiles are
P3_TO_XYZ = np.array([[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0010, 0.0419, 0.7841]])


def rgb_profile(to_xyz: NDArray[np.float64] = P3_TO_XYZ, gamma: float = 1.8) -> bytes:
    """A display profile: linear light by `gamma`, then XYZ (D50) by the matrix."""
    curve = _curve(gamma)
    tags = {b"wtpt": _xyz(D50), b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), to_xyz.T, strict=True):
        tags[name] = _xyz(column)
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def grey_profile(gamma: float) -> bytes:
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": _xyz(D50), b"kTRC": _curve(gamma)})


def cmyk_profile(corners: dict[tuple[int, int, int, int], tuple[float, float, float]]) -> bytes:
    """A press: the Lab colour of each of the 16 ways of printing four inks in full, between them by lines."""
    grid = b"".join(
        bytes((round(lab[0] * 2.55), round(lab[1]) + 128, round(lab[2]) + 128))
        for lab in (corners[inks] for inks in product((0, 1), repeat=4))  # type: ignore[index]
    )
    straight = bytes(range(256))
    identity = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + identity + straight * 4 + grid + straight * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"wtpt": _xyz(D50), b"A2B0": table})


def seen_in_srgb(rgb: Sequence[int], to_xyz: NDArray[np.float64], gamma: float) -> NDArray[np.float64]:
    """What sRGB shows of 8-bit values under `rgb_profile(to_xyz, gamma)`, 0 to 255, clipped."""
    return _coded(to_xyz @ (np.array(rgb) / 255) ** gamma)


def lab_in_srgb(lab: Sequence[float]) -> NDArray[np.float64]:
    """What sRGB shows of a colour of CIE Lab under D50, 0 to 255, clipped."""
    middle = (lab[0] + 16) / 116
    steps = np.array((middle + lab[1] / 500, middle, middle - lab[2] / 200))
    return _coded(np.where(steps > 6 / 29, steps**3, 3 * (6 / 29) ** 2 * (steps - 4 / 29)) * D50)


def _coded(xyz: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = np.clip(np.linalg.inv(SRGB_TO_XYZ) @ xyz, 0, 1)
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return 255 * coded


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    named = {b"desc": _description("made for a test"), b"cprt": b"text" + bytes(4) + b"none\0", **tags}
    at = 128 + 4 + 12 * len(named)
    table, data = struct.pack(">I", len(named)), b""
    for name, value in named.items():
        table += struct.pack(">4sII", name, at + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    head = struct.pack(
        ">I4sI4s4s4s12s4s4sI4s4sQI12s",
        *(at + len(data), b"none", 0x02400000, kind, space, connection, bytes(12), b"acsp", b"none"),
        *(0, b"none", b"none", 0, 0, _xyz(D50)[8:]),
    )  # fmt: skip
    return head.ljust(128, b"\0") + table + data


def _xyz(values: Sequence[float] | NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def _description(text: str) -> bytes:
    ascii_text = text.encode() + b"\0"
    return b"desc" + bytes(4) + struct.pack(">I", len(ascii_text)) + ascii_text + bytes(78)
