"""Web pages: what a person sees of them, in the encoding they state, whatever is broken in them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal.errors import ReadError
from multimodal.readers import read, reader_for
from multimodal.readers.html import decode_html, visible_text
from multimodal.types import ReadOptions
from tests import media_texts
from tests.pace import within

PAGE = """<!DOCTYPE html><html lang=en><head><meta charset=utf-8><title>On
 foxes</title><style>p {color: red}</style><script>if (a<b) document.write("<p>no</p>")</script></head>
<body><!-- comment --><nav><ul><li>Home<li>About <b>us</b></ul></nav>
<h1>The <em>red</em>  fox</h1><p>It cro&shy;ssed the <a href=x>frozen lake</a>.<br>Nobody heard it.
<p hidden>secret</p><p>After<img src=x alt="a fox on ice"> the rain</p>
<div style="color: red; display: none"><p>never</p><img alt="never"></div>
<template><p>template</p></template><noscript>Enable JS</noscript>
<table><tr><th>name<th>size<tr><td>hen<td>3 kg</table>
<pre>a = 1
b = 2</pre><svg><title>icon</title><text>x</text></svg><select><option>one<option>two</select>
<input type=hidden value=no><input type=image alt=button><textarea>typed</textarea>
<details><summary>More</summary>inside</details><dialog>closed</dialog><video controls>fallback</video>
<map><area alt="the lake"></map> tail &lt;b&gt; &amp; <b><p>mis</b>nested</p> end
"""


def test_a_page_is_reduced_to_what_is_seen() -> None:
    assert visible_text(PAGE).split("\n\n") == [
        "On foxes",
        "Home\nAbout us",
        "The red fox",
        "It crossed the frozen lake.\nNobody heard it.",
        "After a fox on ice the rain",
        "name\tsize\nhen\t3 kg",
        "a = 1\nb = 2",
        "one\ntwo",
        "button",
        "typed",
        "More",
        "inside",
        "the lake tail <b> &",
        "misnested",
        "end",
    ]


def test_passages_of_a_page_know_their_place(tmp_path: Path) -> None:
    path = media_texts.write_html(
        tmp_path / "x.html", [f"A sentence, number {n}. " * 9 for n in range(5)], "Title"
    )
    text = visible_text(path.read_text(encoding="utf-8"))
    segments = list(read(path, ReadOptions(passage_chars=120)))
    assert len(segments) > 5 and str(segments[0].content).startswith("Title")
    for segment in segments:
        assert segment.chars is not None
        assert text[segment.chars[0] : segment.chars[1]] == segment.content


def test_content_tells_a_page(tmp_path: Path) -> None:
    for name, head in (
        ("x.html", "no mark at all, only <b>bold</b>"),
        ("x.htm", "<p>A part of a page"),
        ("x", "<!-- saved -->\n<!-- twice -->\n<!DOCTYPE HTML><p>Hi"),
        ("x.txt", "<html><p>Hi"),
        (
            "x.xhtml",
            '<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0"><html><p>Hi</p></html>',
        ),
        ("x.php", "\ufeff  <!doctype html><p>Hi"),
    ):
        (tmp_path / name).write_text(head, encoding="utf-8")
        assert reader_for(tmp_path / name).noun == "a web page", name
        assert list(read(tmp_path / name))


def test_elements_of_xhtml_may_end_where_they_begin() -> None:
    page = '<?xml version="1.0"?><html><head><title/><script src="x"/></head><body><div/>Seen</body></html>'
    assert visible_text(page) == "Seen"


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        ('<meta charset="shift_jis">', "shift_jis"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=x-sjis">', "shift_jis"),
        ("<meta charset='EUC-JP'>", "euc_jp"),
        ("<?xml version='1.0' encoding='gb2312'?>", "gb18030"),
        ('<meta charset="utf-8">', "utf-8"),
        ('<meta charset="utf-8">', "shift_jis"),  # it states what it is not
        ('<meta charset="utf-16">', "utf-8"),
        ('<meta charset="iso-8859-1">', "utf-16"),  # the mark goes before
        ('<meta charset="nonsense">', "shift_jis"),
        ('<meta charset="hex">', "utf-8"),
        ('<meta charset="utf-7">', "utf-8"),
        ("", "euc_jp"),
    ],
)
def test_the_encoding_is_the_stated_one_if_it_fits(head: str, encoding: str) -> None:
    text = f"{head}<p>吾輩は猫である。名前はまだ無い。" + "どこで生れたかとんと見当がつかぬ。" * 5
    assert decode_html(text.encode(encoding)) == text
    assert visible_text(decode_html(text.encode(encoding))).startswith("吾輩は猫である。")


def test_latin_1_means_windows_1252_and_what_the_page_states_never_harms_its_text() -> None:
    assert decode_html('<meta charset="iso-8859-1"><p>“café”'.encode("cp1252")).endswith("“café”")
    assert visible_text('<meta charset="shift_jis"><p>é猫') == "é猫"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("<html><script>x</script><p hidden>y</p></html>", "the file holds no text"),
        ("<html>", "the file holds no text"),
        ("<!--" * 100, "the file holds no text"),
        ("<html>a\0b", "binary"),
    ],
)
def test_a_page_without_words_has_a_reason(content: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "x.html").write_text(content, encoding="utf-8")
    with pytest.raises(ReadError, match=reason):
        list(read(tmp_path / "x.html"))


N = 1_000_000
HOSTILE = {
    "nested": "<div>" * (N // 5) + "deep",
    "misnested": "<b><p>" * (N // 6) + "deep",
    "hidden": "<div hidden>" * (N // 12) + "deep",
    "less": "<" * N,
    "open tags": "<a" * (N // 2),
    "comments": "<!--" * (N // 4),
    "declarations": "<!" * (N // 2),
    "ends": "</" * (N // 2),
    "instructions": "<?" * (N // 2),
    "attributes": "<a " + "".join(f"x{n}=1 " for n in range(N // 9)) + ">hi",
    "quotes": "<a x='" * (N // 6),
    "entities": "&" * N,
    "numbers": "&#x110000;" * (N // 10),
    "scripts": "<script>" * (N // 8),
    "cdata": "<![CDATA[" * (N // 9),
    "tables": "<table><td>" * (N // 11),
    "style": "<p style='" + ";" * N + "'>x",
    "meta": "<meta " * (N // 6),
    "lines": "<pre>" + "\n " * (N // 2),
    "breaks": "<br>" * (N // 4),
    "self-closed": "<?xml?>" + "<div " * (N // 5),
    "spaces": "<p>" + " " * N + "x",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_megabyte_is_read_in_two_seconds(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.html").write_text(HOSTILE[name], encoding="utf-8")
    with within(2), contextlib.suppress(ReadError):
        assert sum(len(str(segment.content)) for segment in read(tmp_path / "x.html")) <= N


def test_a_million_levels_do_not_hide_the_words() -> None:
    assert visible_text("<div>" * 1_000_000 + "deep words") == "deep words"


@given(st.text(st.sampled_from("<>/!-ab \n\"'=&;#x?[]") | st.characters(codec="utf-8"), max_size=200))
def test_any_text_gives_a_text(source: str) -> None:
    with contextlib.suppress(ReadError):
        assert isinstance(visible_text(source), str)


@given(st.lists(st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1), min_size=1))
def test_words_in_paragraphs_come_out_as_they_went_in(paragraphs: list[str]) -> None:
    import html

    page = "".join(f"<p>{html.escape(paragraph)}" for paragraph in paragraphs)
    assert visible_text(page).split("\n\n") == paragraphs
