"""Subtitles: cues of every format, their words without marks, joined into passages with times."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal.errors import ReadError
from multimodal.readers import read
from multimodal.readers.subtitles import Cue, cues, joined, spoken, subtitle_segments
from multimodal.types import ReadOptions, Segment
from tests import media
from tests.pace import within


def heard(path: Path, **options: Any) -> list[tuple[float | None, float | None, str]]:
    segments: list[Segment] = list(read(path, ReadOptions(**options)))
    assert all(s.modality == "text" and s.role == "subtitles" and s.path == path for s in segments)
    return [(s.start, s.end, str(s.content)) for s in segments]


@pytest.mark.parametrize("extension", media.SUBTITLE_EXTENSIONS)
def test_cues_are_joined_up_to_ten_seconds(extension: str, tmp_path: Path) -> None:
    lines = [(2.5 * i, 2.5 * i + 2.0, f"Line {i}.") for i in range(6)]
    assert heard(media.write_subtitles(tmp_path / f"x{extension}", lines)) == [
        (0.0, 9.5, "Line 0. Line 1. Line 2. Line 3."),
        (10.0, 14.5, "Line 4. Line 5."),
    ]


def test_a_pause_begins_a_new_passage(tmp_path: Path) -> None:
    lines = [(0.0, 1.0, "Before."), (3.5, 4.0, "After.")]
    assert heard(media.write_subtitles(tmp_path / "x.srt", lines)) == lines


def test_passages_of_speech_keep_to_their_characters(tmp_path: Path) -> None:
    lines = [(0.0, 1.0, "a" * 30), (1.0, 2.0, "b" * 30), (2.0, 6.0, "Nothing here. " * 10)]
    got = heard(media.write_subtitles(tmp_path / "x.srt", lines), passage_chars=70)
    assert [text[0] for *_, text in got] == ["a", "N", "N"]
    assert all(len(text) <= 70 for *_, text in got)
    assert got[1][0] == 2.0 and got[-1][1] == 6.0 and 2.0 < got[1][1] <= got[2][0] < 6.0  # type: ignore[operator]


def test_tags_notes_and_settings_are_no_words(tmp_path: Path) -> None:
    path = media.write_text(
        tmp_path / "x.vtt",
        "WEBVTT - title\n\nSTYLE\n::cue { color: red }\n\nNOTE a remark\n\nintro\n"
        "00:01.000 --> 00:02.500 align:start position:0%\n<v Anna><i>Hello</i> <c.loud>there</c> &amp; you\n"
        "two <00:00:02.000>lines\n\nNOTE\nanother\n\n01:00:02.000 --> 01:00:03.000\n{\\an8}Bye\n",
    )
    assert heard(path) == [(1.0, 2.5, "Hello there & you two lines"), (3602.0, 3603.0, "Bye")]


def test_loose_subtitles_are_read() -> None:
    got = cues(
        "1\n0:0:1,5 --> 0:0:2\nHi\n\n\n2\n"
        "00:00:09,000 --> 00:00:04,000\nBackwards\n3\n00:00:03.000-->00:00:04.000\n\n"
    )
    assert [tuple(cue) for cue in got] == [(1.5, 2.0, "Hi"), (9.0, 9.0, "Backwards 3")]


def test_rolling_captions_say_things_once(tmp_path: Path) -> None:
    lines = [
        (0.0, 2.0, "the fox crossed the lake"),
        (2.0, 4.0, "crossed the lake before anyone"),
        (4.0, 6.0, "the lake before anyone woke up"),
    ]
    assert heard(media.write_subtitles(tmp_path / "x.vtt", lines)) == [
        (0.0, 6.0, "the fox crossed the lake before anyone woke up")
    ]


ASS = """[Script Info]
; a comment
Title: Films, and such
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname
Style: Default,Arial

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:00.00,0:00:01.00,Default,,0,0,0,,never shown
Dialogue: 0,0:01:03.50,0:01:05.00,Default,,0,0,0,,{\\i1}Hello{\\i0}, you,\\Nand you
Dialogue: 0,0:00:01.00,0:00:02.50,Default,Anna,0,0,0,,{\\an8\\pos(1,2)}Hi\\hthere
Dialogue: 0,0:00:03.00,0:00:04.00,Default,,0,0,0,,{\\p1}m 0 0 l 10 10{\\p0}
Dialogue: 0,99999999:99:99.00,0:00:04.00,Default,,0,0,0,,at no time
Dialogue: 0,nonsense,0:00:04.00,Default,,0,0,0,,at no time
Dialogue: broken

[Fonts]
Dialogue: 0,0:00:05.00,0:00:06.00,Default,,0,0,0,,not an event
"""


def test_ass_gives_what_is_shown() -> None:
    expected = [Cue(1.0, 2.5, "Hi there"), Cue(63.5, 65.0, "Hello, you, and you")]
    assert cues(ASS) == cues(ASS, "ass") == expected
    assert cues("\ufeff" + ASS.replace("\n", "\r\n")) == expected


def test_the_format_line_names_the_fields_of_ass() -> None:
    text = "[Script Info]\n[Events]\nFormat: End, Start, Text\nDialogue: 0:00:02.00,0:00:01.00,x, y\n"
    assert cues(text) == [Cue(1.0, 2.0, "x, y")]


def test_content_tells_ass_from_other_text(tmp_path: Path) -> None:
    for name in ("x.ass", "x.ssa", "x.txt", "x.srt", "x"):
        assert heard(media.write_text(tmp_path / name, ASS))[0] == (1.0, 2.5, "Hi there")
    assert heard(media.write_text(tmp_path / "wide.ass", ASS, "utf-16"))[1][0] == 63.5


def test_the_words_of_a_line_of_ass() -> None:
    line = r"{\pos(1,2)}A{\p1}m 0 0{\p0} <i>b</i>\Nc {not closed"
    assert spoken(line) == "A b c {not closed"


@pytest.mark.parametrize("stamp", ["99999999:99:99,000", "9" * 5000 + ":00:00,000", "1001:00:00,000"])
def test_a_stamp_no_clock_shows_takes_its_cue_alone(stamp: str) -> None:
    text = f"1\n{stamp} --> {stamp}\nNever\n\n2\n00:00:01,000 --> {stamp}\nNow\n\n"
    text += "3\n00:00:02,5 --> 00:00:03\nThen\n"
    assert cues(text) == [Cue(1.0, 1.0, "Now"), Cue(2.5, 3.0, "Then")]


def test_nothing_is_given_where_no_text_is_wanted(tmp_path: Path) -> None:
    assert not list(subtitle_segments([Cue(0, 1, "x")], tmp_path, ReadOptions(modalities=("video",))))


N = 1_000_000
CUE = "1\n00:00:01,000 --> 00:00:02,000\n"
HOSTILE = {
    "digits": "0" * N,
    "stamps": "0:" * (N // 2),
    "arrows": "00:00:01,000 -->" * (N // 16),
    "tags": CUE + "<a" * (N // 2),
    "braces": CUE + "{\\" * (N // 2),
    "words": CUE + "word " * (N // 5),
    "two long cues": (CUE + "word " * (N // 10) + "\n\n") * 2,
    "many cues": (CUE + "x\n\n") * (N // 34),
    "rolling cues": "".join(f"{CUE}{'a ' * 280}{n}\n\n" for n in range(N // 600)),
    "empty lines": CUE + " \n" * (N // 2),
    "dialogues": "[Script Info]\n[Events]\n"
    + "Dialogue: 0,0:00:01.00,0:00:02.00,,,,,,,{\\\\x}a\n" * (N // 50),
    "overrides": "[Script Info]\n[Events]\nDialogue: 0,0:00:01.00,0:00:02.00,,,,,,," + "{}" * (N // 2),
    "fields": "[Script Info]\n[Events]\nFormat: " + "Start," * (N // 6) + "\nDialogue: " + "," * N,
    "sections": "[Script Info]\n" + "[Events]\n" * (N // 9),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_megabyte_is_read_in_two_seconds(name: str, tmp_path: Path) -> None:
    path = media.write_text(tmp_path / "x.srt", HOSTILE[name])
    with within(2), contextlib.suppress(ReadError):
        assert all(segment.start is not None for segment in read(path))


LINES = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 20), st.integers(1, 12)))


@given(LINES, st.integers(8, 80))
def test_joined_cues_keep_every_word_once_and_in_order(
    lines: list[tuple[float, float, int]], most: int
) -> None:
    number, found = 0, []
    for start, seconds, words in sorted(lines):
        found.append(Cue(start, start + seconds, " ".join(f"w{number + n}" for n in range(words))))
        number += words
    passages = list(joined(found, most))
    assert [word for passage in passages for word in passage.text.split()] == [f"w{n}" for n in range(number)]
    assert all(len(passage.text) <= most for passage in passages)
    for passage in passages:
        inside = [cue for cue in found if set(cue.text.split()) & set(passage.text.split())]
        assert min(cue.start for cue in inside) <= passage.start <= passage.end + 1e-9
        assert passage.end <= max(cue.end for cue in inside) + 1e-9
