"""Texts of a small world: colours and pitches that the fake space knows, said in other words."""

from __future__ import annotations

COLOURS = {
    "red": ("tomato", "cherry", "ruby"),
    "green": ("grass", "leaf", "emerald"),
    "blue": ("sea", "sky", "cobalt"),
}
FRAMES = ("a {} on the table", "the {} of my aunt", "i saw one {} today", "is that a {} over there")

PAIRS = [
    (frame.format(word), colour) for colour, words in COLOURS.items() for word in words for frame in FRAMES
]
TEXTS = [text for text, _ in PAIRS]
