"""The split that every recipe and every test of the starter space shares."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

HELD_OUT_TENTHS = 3
VALIDATION_FIFTHS = 2


def held_out(key: str) -> bool:
    """Whether a Tux Paint stamp is kept out of all training, with its sounds.

    `key` is the path of the stamp relative to `stamps/`, without extension, with forward slashes
    (`animals/birds/owl`). The draw is a hash, so that it never moves when stamps come or go.
    """
    return _hash(key) % 10 < HELD_OUT_TENTHS


def validation(key: str) -> bool:
    """Whether a stamp that is *not* held out serves to choose settings (two fifths of them).

    The final training runs use these stamps too; only choices are made on them.
    """
    return not held_out(key) and _hash("validation " + key) % 5 < VALIDATION_FIFTHS


def _hash(key: str) -> int:
    return int(blake2b(key.encode(), digest_size=8).hexdigest(), 16)


def sampled() -> frozenset[str]:
    """Keys of the stamps that samples/ is made of: shown as new to the model, so never trained on."""
    paths = _excluded("tuxpaint-stamps-default")
    return frozenset(path.partition("/stamps/")[2].rpartition(".")[0] for path in paths)


def sampled_photos() -> frozenset[str]:
    """Names of the photos of scikit-image and scikit-learn that samples/ shows: no anchors either."""
    paths = _excluded("scikit-image") + _excluded("scikit-learn")
    return frozenset(path.rpartition("/")[2] for path in paths)


def _excluded(package: str) -> list[str]:
    listed = Path(__file__).with_name("samples_exclude.txt").read_text(encoding="utf-8").splitlines()
    return [line.split()[1] for line in listed if line.startswith(f"{package} ")]
