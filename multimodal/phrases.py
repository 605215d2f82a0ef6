"""Texts that ship: everyday phrases and common nouns, for where a method needs texts and none are given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from multimodal.encoder import Encoder

FOLDER = Path(__file__).parent / "starter"
EVERYDAY = FOLDER / "bank.txt"
"""Phrases written for this package, one a line."""
NOUNS = FOLDER / "nouns.txt"
"""Nouns for things, beings and events, the most frequent first: WordNet's (its licence is beside them)."""


def everyday() -> list[str]:
    return EVERYDAY.read_text(encoding="utf-8").splitlines()


def nouns() -> list[str]:
    return NOUNS.read_text(encoding="utf-8").splitlines()


def retold(bank: Mapping[str, NDArray[Any]], encoder: Encoder) -> dict[str, NDArray[Any]]:
    """What a space ships to judge searches by (`Space.bank`), with its phrases and the centre of texts as
    another text tower has them."""
    rows = encoder.encode(everyday())
    centre = {"centre.text": rows.mean(axis=0)} if "centre.text" in bank else {}
    return {**bank, "text": rows, **centre}
