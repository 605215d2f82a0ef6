"""Texts and subtitles: encodings, words without their marks, passages that carry meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from multimodal.errors import ReadError
from multimodal.readers import read
from multimodal.readers.subtitles import cues
from multimodal.readers.encodings import decode
from multimodal.readers.markdown import plain_markdown
from multimodal.readers.text import passages
from multimodal.types import ReadOptions, Segment
from tests import media

STORY = "Füchse gehen über das Eis. „Wer weiß?“ – niemand. Crème brûlée für 5 €."


def texts(path: Path, **options: Any) -> list[str]:
    segments = list(read(path, ReadOptions(**options)))
    assert all(s.modality == "text" and isinstance(s.content, str) for s in segments)
    return [str(s.content) for s in segments]


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"],
)
def test_encodings(encoding: str, tmp_path: Path) -> None:
    assert texts(media.write_text(tmp_path / "x.txt", STORY, encoding)) == [STORY]


def test_big_endian_with_a_mark_and_latin_1(tmp_path: Path) -> None:
    assert decode(b"\xfe\xff" + STORY.encode("utf-16-be")) == STORY
    assert decode("caf\u00e9 \u0081".encode("latin-1")) == "café \u0081"  # no such byte in cp1252


def test_utf_8_with_a_few_damaged_bytes_stays_utf_8() -> None:
    assert decode(STORY.encode()[:-1] + b"\xff") == STORY[:-1] + "\ufffd"


@pytest.mark.parametrize("content", [b"\x00\x01\x02" * 500, bytes(range(256)) * 20, b"\x89\x01\xfe" * 99])
def test_binary_is_no_text(content: bytes) -> None:
    with pytest.raises(ReadError, match="binary"):
        decode(content)


def test_paragraphs_are_passages_and_headings_go_with_what_follows(tmp_path: Path) -> None:
    path = media.write_text(tmp_path / "x.txt", "\r\n\r\n".join(["On foxes", *media.PASSAGES]))
    assert texts(path) == [f"On foxes\n\n{media.PASSAGES[0]}", *media.PASSAGES[1:]]


def test_long_paragraphs_are_cut_after_sentences(tmp_path: Path) -> None:
    sentences = [f"This is sentence number {i} of the story, and it goes on a bit." for i in range(40)]
    got = texts(media.write_text(tmp_path / "x.txt", " ".join(sentences)), passage_chars=200)
    assert all(len(t) <= 200 and t.endswith("bit.") for t in got)
    assert " ".join(got) == " ".join(sentences)
    assert len(got) == 14  # three of 62 to 63 characters fit


@pytest.mark.parametrize("most", [20, 50, 200, 600])
@pytest.mark.parametrize(
    "text",
    [
        "word " * 500,
        "x" * 3000,
        "这是一个句子。那是另一个句子！" * 60,
        "one line\n" * 300,
        "\n\n".join(media.PASSAGES * 20),
        "Short.\n\n" * 100,
    ],
)
def test_passages_hold_every_word_and_never_too_much(text: str, most: int) -> None:
    spans = list(passages(text, most))
    assert all(0 < end - begin <= most for begin, end in spans)
    assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:], strict=False))  # noqa: RUF007
    assert all(text[b:e] == text[b:e].strip() for b, e in spans)
    assert "".join("".join(text[b:e].split()) for b, e in spans) == "".join(text.split())


def test_cjk_is_cut_after_its_sentences() -> None:
    text = "这是一个句子。那是另一个句子！" * 60
    assert all(text[end - 1] in "。！" for _, end in passages(text, 50))


def test_markdown_is_reduced_to_its_words(tmp_path: Path) -> None:
    source = """---
title: hidden
---
# A *red* fox

Some **bold**, _slanted_, `code` and ~~gone~~ words with a [link](http://x.org/a_(b)) and ![a hen](hen.png).

Setext heading
==============

> quoted line
> and more

- first item
2. second item
- [x] done item

| name | size |
|------|-----:|
| hen  | 3 kg |

```python
snake_case = 2 * 3 * 4
```

<!-- a comment -->
<b>tag</b> &amp; \\*star\\* [ref][1] <https://example.org/>

[1]: http://example.org
***
"""
    text = " ".join(" ".join(texts(media.write_text(tmp_path / "x.md", source))).split())
    assert text == (
        "A red fox Some bold, slanted, code and gone words with a link and a hen. Setext heading quoted line"
        " and more first item second item done item name size hen 3 kg snake_case = 2 * 3 * 4"
        " tag & *star* ref https://example.org/"
    )


def test_text_that_only_looks_marked_stays() -> None:
    for plain in ("2 * 3 * 4 = 24", "snake_case_name and other_name", "a < b and c > d", "C# and F#"):
        assert plain_markdown(plain) == plain


def test_markdown_marks_do_not_touch_a_txt(tmp_path: Path) -> None:
    assert texts(media.write_text(tmp_path / "x.txt", "**bold** stays")) == ["**bold** stays"]


def spoken(path: Path, **options: Any) -> list[tuple[float | None, float | None, str]]:
    segments: list[Segment] = list(read(path, ReadOptions(**options)))
    assert all(s.modality == "text" for s in segments)
    return [(s.start, s.end, str(s.content)) for s in segments]


@pytest.mark.parametrize("extension", media.SUBTITLE_EXTENSIONS)
def test_cues_are_joined_up_to_ten_seconds(extension: str, tmp_path: Path) -> None:
    lines = [(2.5 * i, 2.5 * i + 2.0, f"Line {i}.") for i in range(6)]
    assert spoken(media.write_subtitles(tmp_path / f"x{extension}", lines)) == [
        (0.0, 9.5, "Line 0. Line 1. Line 2. Line 3."),
        (10.0, 14.5, "Line 4. Line 5."),
    ]


def test_a_pause_begins_a_new_passage(tmp_path: Path) -> None:
    lines = [(0.0, 1.0, "Before."), (3.5, 4.0, "After.")]
    assert spoken(media.write_subtitles(tmp_path / "x.srt", lines)) == lines


def test_passages_of_speech_keep_to_their_characters(tmp_path: Path) -> None:
    lines = [(0.0, 1.0, "a" * 30), (1.0, 2.0, "b" * 30), (2.0, 6.0, "Nothing here. " * 10)]
    got = spoken(media.write_subtitles(tmp_path / "x.srt", lines), passage_chars=70)
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
    assert spoken(path) == [(1.0, 2.5, "Hello there & you two lines"), (3602.0, 3603.0, "Bye")]


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
    assert spoken(media.write_subtitles(tmp_path / "x.vtt", lines)) == [
        (0.0, 6.0, "the fox crossed the lake before anyone woke up")
    ]
