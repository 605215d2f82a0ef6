"""Markdown reduced to its words, in time proportional to its length whatever is in it.

A full parser (markdown-it-py) takes 10 s for a megabyte of brackets and 0.5 GB for one of stars. What is
wanted here is the words without their marks, so each mark is taken off by itself.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable

_Change = tuple[re.Pattern[str], "str | Callable[[re.Match[str]], str]"]


def plain_markdown(text: str) -> str:
    """Markdown without its marks: the words of headings, lists, links, alternative texts, tables and code.

    Front matter, comments, HTML tags and link definitions are left out; code stays as it is.
    """
    code: list[str] = []
    text = _without_front_matter(_KEPT_MARKS.sub("", text))
    text = _keep_spans(_without_comments(_keep_blocks(text, code)), code)
    for pattern, new in _BLOCKS:
        text = pattern.sub(new, text)
    text = _without_delimiters(text)
    for pattern, new in _LAST:
        text = pattern.sub(new, text)
    parts = _KEPT.split(text)  # words and numbers of code in turn; entities may not name what stands for code
    return "".join(code[int(part)] if at % 2 else html.unescape(part) for at, part in enumerate(parts))


# Code is kept aside, its number standing for it between two characters of private use.
_KEPT = re.compile("\ue000(\\d+)\ue001")
_KEPT_MARKS = re.compile("[\ue000\ue001]")


def _kept(code: list[str], piece: str) -> str:
    code.append(piece)
    return f"\ue000{len(code) - 1}\ue001"


def _changes(*rows: tuple[str, str | Callable[[re.Match[str]], str]]) -> tuple[_Change, ...]:
    return tuple((re.compile(pattern, re.MULTILINE), new) for pattern, new in rows)


def _heading(match: re.Match[str]) -> str:
    words = match[1].rstrip(" \t")
    closed = words.rstrip("#")
    return (closed.rstrip(" \t") if closed != words and closed[-1:] in ("", " ", "\t") else words) + "\n"


# No two parts of a pattern that stand side by side may match the same characters: each match then fails
# or succeeds in one pass.
_BLOCKS = _changes(
    (r"^[ \t]{0,3}\[[^\]\n]+\]:[ \t]*\S.*$", ""),  # link definitions
    (r"^[ \t]*(?:(?:[-*_][ \t]*){3,}|=+[ \t]*|-+[ \t]*)$", ""),  # rules, underlines
    (
        r"^(?=[^|\n]*\|)[ \t]*(?:\|[ \t]*)?:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*(?:\|[ \t]*)?$",
        "",
    ),  # of tables
    (r"^(?:[ \t]*>)+[ \t]?", ""),
    (r"^[ \t]{0,3}#{1,6}[ \t]+(.*)$", _heading),  # ends its paragraph
    (r"^[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+(?:\[[ xX]\][ \t]+)?", ""),
    (r"!?\[((?:[^\[\]]|\[[^\[\]]*\])*)\](?:\([^()\n]*(?:\([^()\n]*\)[^()\n]*)*\)|\[[^\]\n]*\])", r"\1"),
    (r"!?\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\([^()\n]*\)", r"\1"),  # a link around what was a picture
    (r"<((?:https?|mailto):[^<>\s]+)>", r"\1"),
    (r"</?[A-Za-z][^<>]*>", ""),
)
_LAST = _changes(
    (r"^[ \t]*\|(.*)\|[ \t]*$", r"\1"),  # the ends of a table's row
    (r"(?<![\\ \t])[ \t]+\|[ \t]+", "  "),
    (r"\\([!-/:-@\[-`{-~])", r"\1"),
)


def _without_front_matter(text: str) -> str:
    if not re.match(r"---[ \t]*\n", text):
        return text
    end = re.compile(r"^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.MULTILINE).search(text, text.index("\n") + 1)
    return text if end is None else text[end.end() :]


def _without_comments(text: str) -> str:
    last = text.rfind("-->") + 3  # what begins after the last end is no comment
    return re.sub(r"<!--.*?-->", "", text[:last], flags=re.DOTALL) + text[last:] if last > 2 else text


_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})([^\n]*)(?:\n|\Z)", re.MULTILINE)


def _keep_blocks(text: str, code: list[str]) -> str:
    """Blocks of code, which end at a fence of no fewer marks or with the text, kept aside without fences."""
    parts, at = [], 0
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opened is None:
            if "`" not in fence[2]:  # else it is code in a line
                opened = fence
                parts.append(text[at : fence.start()])
        elif fence[1].startswith(opened[1]) and not fence[2].strip():
            parts.append(_kept(code, text[opened.end() : fence.start()].rstrip("\n")) + "\n")
            opened, at = None, fence.end()
    if opened is not None:
        return "".join([*parts, _kept(code, text[opened.end() :])])
    return "".join([*parts, text[at:]])


_TICKS = re.compile(r"(?<!\\)`+|\n[ \t]*(?=\n)")


def _keep_spans(text: str, code: list[str]) -> str:
    """Code within a paragraph, between runs of as many ticks, kept aside without them."""
    runs = list(_TICKS.finditer(text))
    ends: dict[int, int] = {}  # length of a run -> number of the next of that length in the paragraph
    partner: dict[int, int] = {}
    for number in range(len(runs) - 1, -1, -1):
        if not runs[number].group().startswith("`"):
            ends.clear()
            continue
        length = len(runs[number].group())
        if length in ends:
            partner[number] = ends[length]
        ends[length] = number
    parts, at, number = [], 0, 0
    while number < len(runs):
        if number in partner:
            begin, end = runs[number], runs[partner[number]]
            parts += [
                text[at : begin.start()],
                _kept(code, " ".join(text[begin.end() : end.start()].split())),
            ]
            at, number = end.end(), partner[number]
        number += 1
    return "".join([*parts, text[at:]])


_DELIMITERS = re.compile(r"(?<!\\)(?:(\*{1,3})(?!\*)|(_{1,3})(?!_)|(~~)(?!~))|\n[ \t]*(?=\n)")


def _without_delimiters(text: str) -> str:
    """Without the stars, low lines and tildes around words: an opening run and the next that may close it."""
    dropped: list[tuple[int, int]] = []
    opened: list[re.Match[str]] = []
    for run in _DELIMITERS.finditer(text):
        if not run.lastindex:
            opened.clear()  # emphasis ends with its paragraph
            continue
        before, after = text[run.start() - 1 : run.start()], text[run.end() : run.end() + 1]
        tilde = run.group() == "~~"
        closes = before and not before.isspace() and (tilde or not _is_word(after))
        if closes and (partner := _partner(opened, run.group())) is not None:
            dropped += [(partner.start(), partner.end()), (run.start(), run.end())]
        elif after and not after.isspace() and (tilde or not _is_word(before)):
            opened.append(run)
    return _cut(text, sorted(dropped))


def _partner(opened: list[re.Match[str]], delimiter: str) -> re.Match[str] | None:
    """The last run that this one closes, those opened after it given up; of the last 16, so that a text of
    stars takes no longer than another."""
    for back in range(1, min(16, len(opened)) + 1):
        if opened[-back].group() == delimiter:
            partner = opened[-back]
            del opened[-back:]
            return partner
    return None


def _is_word(char: str) -> bool:
    return char == "_" or char.isalnum()


def _cut(text: str, spans: list[tuple[int, int]]) -> str:
    kept, at = [], 0
    for begin, end in spans:
        kept.append(text[at:begin])
        at = end
    return "".join([*kept, text[at:]])
