"""Texts: words without their marks, passages that carry meaning and know their place."""

from __future__ import annotations

import contextlib
import re
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multimodal.errors import ReadError, UnsupportedFile, UnwantedModality
from multimodal.readers import read
from multimodal.readers.markdown import plain_markdown
from multimodal.readers.text import MAX_BYTES, passage_segments, passages
from multimodal.types import ReadOptions
from tests import media
from tests.pace import within


def texts(path: Path, **options: Any) -> list[str]:
    segments = list(read(path, ReadOptions(**options)))
    assert all(s.modality == "text" and isinstance(s.content, str) for s in segments)
    return [str(s.content) for s in segments]


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


def test_code_stays_as_it_is() -> None:
    source = (
        "Call `__init__(self)` and ``a ` b``.\n\n~~~\n# no heading\n> **x**\n```\n~~~\n\n&#xe000;0&#xe001;"
    )
    assert plain_markdown(source) == (
        "Call __init__(self) and a ` b.\n\n# no heading\n> **x**\n```\n\n\ue0000\ue001"
    )
    assert plain_markdown("```\nopen *to* the end") == "open *to* the end"


def test_markdown_marks_do_not_touch_a_txt(tmp_path: Path) -> None:
    assert texts(media.write_text(tmp_path / "x.txt", "**bold** stays")) == ["**bold** stays"]


WORDS = st.text(st.sampled_from("ab.é猫かا। \n\t,!?。」'\"-\u0301😀"), max_size=300)


@given(WORDS, st.integers(1, 80))
def test_every_word_lies_in_exactly_one_passage(text: str, most: int) -> None:
    spans = list(passages(text, most))
    assert all(0 < end - begin <= most for begin, end in spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    assert all(text[begin:end] == text[begin:end].strip() for begin, end in spans)
    for word in re.finditer(r"\w+", text):
        held = [begin <= word.start() and word.end() <= end for begin, end in spans]
        assert sum(held) == (len(word.group()) <= most) or len(word.group()) > most
    covered = "".join(text[begin:end] for begin, end in spans)
    assert "".join(covered.split()) == "".join(text.split())


@given(WORDS, st.integers(8, 80))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_chars_are_places_in_the_text(tmp_path: Path, text: str, most: int) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(text.encode())
    try:
        segments = list(read(path, ReadOptions(passage_chars=most)))
    except ReadError as error:
        assert not text.strip() or "binary" in str(error)
        return
    for segment in segments:
        assert segment.chars is not None and segment.role == "content"
        begin, end = segment.chars
        assert text[begin:end] == segment.content


def test_places_count_after_the_mark_and_with_single_line_ends(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes("\ufeffOne.\r\n\r\nTwo.\r\rThree.".encode("utf-16-le"))
    places = [(segment.content, segment.chars) for segment in read(tmp_path / "x.txt")]
    assert places == [("One.", (0, 4)), ("Two.", (6, 10)), ("Three.", (12, 18))]


def test_no_text_is_given_where_none_is_wanted(tmp_path: Path) -> None:
    path = media.write_text(tmp_path / "x.txt")
    assert not list(passage_segments("A text.", path, ReadOptions(modalities=("image",))))
    with pytest.raises(UnwantedModality):
        read(path, ReadOptions(modalities=("image",)))


N = 1_000_000
HOSTILE = {
    "dots": "." * N,
    "dots and quotes": '."' * (N // 2),
    "quotes": "." + '"' * N,
    "spaces": "a" + " " * N + "b",
    "tabs": "\n" + "\t" * N + "b",
    "line ends": "\n " * (N // 2),
    "signs": "-" * N,
    "backticks": "`" * N,
    "odd backticks": "".join("`" * (n % 50 + 1) + "a" for n in range(N // 26)),
    "stars": "*a " * (N // 3),
    "stars and lines": "x*y *z_w _q~~ " * (N // 14),
    "brackets": "[" * N,
    "brackets and words": "[a [b] " * (N // 7),
    "links": "[a](" * (N // 4),
    "pictures": "![[" * (N // 3),
    "link and brackets": "[a](" + "()" * (N // 2),
    "comments": "<!--" * (N // 4),
    "tags": "<a" * (N // 2),
    "addresses": "<http://a" * (N // 9),
    "entities": "&" * N,
    "a heading of spaces": "# a" + " " * N + "b",
    "a heading of marks": "# a" + " #" * (N // 2) + "b",
    "pipes": "|" * N,
    "a rule of spaces": " " * N + "|-",
    "rules": "- " * (N // 2) + "x",
    "front matter": "---\n" + "a\n" * (N // 2),
    "escapes": "\\*" * (N // 2),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_megabyte_is_read_in_two_seconds(name: str, tmp_path: Path) -> None:
    for extension in (".txt", ".md"):
        path = media.write_text(tmp_path / f"x{extension}", HOSTILE[name])
        with within(2), contextlib.suppress(ReadError):
            assert sum(len(str(segment.content)) for segment in read(path)) <= len(HOSTILE[name])


def test_markdown_parsers_find_the_same_words() -> None:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    folder = Path(__file__).parents[2]
    for source in (folder / "README.md", *sorted((folder / "samples" / "texts").glob("*.md"))):
        text = source.read_text(encoding="utf-8")
        theirs = [
            word
            for token in parser.parse(text)
            for word in (_words(token.children) if token.type == "inline" else token.content).split()
        ]
        assert plain_markdown(text).split() == theirs


def _words(tokens: Any) -> str:
    parts = []
    for token in tokens:
        if token.type == "image":
            parts.append(_words(token.children))
        elif token.type in ("softbreak", "hardbreak"):
            parts.append(" ")
        elif token.type != "html_inline":
            parts.append(token.content)
    return "".join(parts)


def test_too_long_a_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "x.txt").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
        file.seek(0)
        file.write(b"text" * 2000)
    with pytest.raises(ReadError, match="longer than 64 MB"):
        list(read(tmp_path / "x.txt"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.rtf", "no reader takes an RTF document"),
        ("a.epub", "no reader takes an EPUB book"),
        ("a.odt", "no reader takes an OpenDocument text"),
        ("a.pptx", "no reader takes a PowerPoint presentation"),
        ("a.xlsx", "no reader takes an Excel workbook"),
        ("a.zip", "no reader takes a zip archive"),
        ("a.doc", "no reader takes an Office document of before 2007"),
        ("a.ps", "no reader takes a PostScript document"),
    ],
)
def test_what_is_not_read_is_called_what_it_is(name: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / name
    contents = {
        "a.rtf": rb"{\rtf1\ansi Hello}",
        "a.ps": b"%!PS-Adobe-3.0",
        "a.doc": bytes.fromhex("d0cf11e0a1b11ae1"),
    }
    if name in contents:
        path.write_bytes(contents[name] + bytes(range(10, 200)))
    else:
        parts = {
            "a.epub": ("mimetype", "application/epub+zip"),
            "a.odt": ("mimetype", "application/vnd.oasis.opendocument.text"),
            "a.pptx": ("ppt/presentation.xml", ""),
            "a.xlsx": ("xl/workbook.xml", ""),
            "a.zip": ("notes.txt", "hello"),
        }
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(*parts[name])
            if name != "a.zip":
                archive.writestr("[Content_Types].xml", "")
    with pytest.raises(UnsupportedFile, match=reason):
        read(path)
