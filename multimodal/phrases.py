"""Texts that ship: everyday phrases and common nouns, for where a method needs texts and none are given."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "starter"
EVERYDAY = FOLDER / "bank.txt"
"""Phrases written for this package, one a line."""
NOUNS = FOLDER / "nouns.txt"
"""Nouns for things, beings and events, the most frequent first: WordNet's (its licence is beside them)."""


def everyday() -> list[str]:
    return EVERYDAY.read_text(encoding="utf-8").splitlines()


def nouns() -> list[str]:
    return NOUNS.read_text(encoding="utf-8").splitlines()
