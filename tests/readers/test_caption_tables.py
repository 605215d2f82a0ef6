"""Tables of captions: which columns hold them, where they stand, and tables made to harm."""
# ruff: noqa: E501 - a table to a line

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multimodal.errors import ReadError, UnsupportedFile
from multimodal.readers import read
from multimodal.readers.captions import captions_in, is_caption_name, is_prose
from multimodal.readers.table import NO_CAPTIONS
from multimodal.types import ReadOptions
from tests import media_texts
from tests.pace import within


def captions(path: Path, content: str, encoding: str = "utf-8") -> list[tuple[str, bool]]:
    """What a table with this content gives, and whether it has its place; every place is checked."""
    path.write_bytes(content.encode(encoding))
    text = content.replace("\r\n", "\n")
    found = []
    for segment in read(path):
        if segment.chars is not None:
            assert text[segment.chars[0] : segment.chars[1]] == segment.content
        found.append((str(segment.content), segment.chars is not None))
    return found


def texts(path: Path, content: str, encoding: str = "utf-8") -> list[str]:
    return [text for text, _ in captions(path, content, encoding)]


def test_csv_as_rfc_4180_has_it(tmp_path: Path) -> None:
    content = (
        'image,caption\r\na.jpg,A red fox\r\nb.jpg,"A dog, running"\r\nc.jpg,"says ""hi"" now"\r\nd.jpg,\r\n'
    )
    assert captions(tmp_path / "x.csv", content) == [
        ("A red fox", True),
        ("A dog, running", True),
        ('says "hi" now', False),
    ]
    assert texts(tmp_path / "y.csv", 'id,caption\n1,"two\nlines"\n2,fine\n') == ["two\nlines", "fine"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("semicolons.csv", "id;Title;url\n1;Der Fuchs;http://x.org\n2;Ein Hund, müde;\n", ["Der Fuchs", "Ein Hund, müde"]),
        ("pipes.csv", "id| description\n1| a fox\n", ["a fox"]),
        ("tabs.tsv", 'a\tthe red fox crossed the lake, "twice\nb\ta dog runs in snow\n',
         ['the red fox crossed the lake, "twice', "a dog runs in snow"]),
        ("one.csv", "caption\nA dog, a cat, and more\nplain one\n", ["A dog, a cat, and more", "plain one"]),
        ("commas.csv", "image,caption\na.jpg,unquoted, commas, here\n", ["unquoted, commas, here"]),
        ("two.csv", "caption_1,caption_2,size\na fox,a dog,7\n", ["a fox", "a dog"]),
        ("headless.csv", "a.jpg,the red fox crossed the lake\nb.jpg,a small dog runs in snow\n",
         ["the red fox crossed the lake", "a small dog runs in snow"]),
        ("unnamed.csv", "file,words\na.jpg,the red fox crossed the lake\nb.jpg,a small dog runs in snow\n",
         ["the red fox crossed the lake", "a small dog runs in snow"]),
        ("japanese.csv", "画像,文\na.jpg,赤い狐が凍った湖を渡った\n", ["赤い狐が凍った湖を渡った"]),
        ("lists.csv", "f,captions\na,\"['a dog', 'a big cat']\"\nb,\"[\"\"one bird\"\"]\"\n", ["a dog", "a big cat", "one bird"]),
        ("urls.csv", "text\nhttp://x.org/a\nwords\n12\n", ["words"]),
        ("strings.jsonl", '"a red fox"\n"a dog"\n', ["a red fox", "a dog"]),
        ("keys.jsonl", '{"image":"a","caption":"A fox"}\n\nbroken\n{"captions":["one","two \\u00e9"]}\n', ["A fox", "one", "two é"]),
        ("coco.ndjson", '{"sentences":[{"raw":"a fox","tokens":["a","fox"]}]}\n', ["a fox"]),
        ("prose.jsonl", '{"k":1,"msg":"the red fox crossed"}\n{"k":2,"msg":"a small dog runs"}\n',
         ["the red fox crossed", "a small dog runs"]),
        ("lists.jsonl", '["a.jpg","the red fox crossed the lake"]\n', ["the red fox crossed the lake"]),
    ],
)  # fmt: skip
def test_captions_are_found_by_name_else_by_their_look(
    name: str, content: str, expected: list[str], tmp_path: Path
) -> None:
    assert texts(tmp_path / name, content) == expected


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "x,y\n1,2\n3,4\n"),
        ("a.tsv", "name\tcity\nJohn Smith\tYork\n"),
        ("a.jsonl", '{"k":1}\n{"k":[1,2]}\n'),
        ("b.csv", "caption\n\n12\n"),
    ],
)
def test_data_is_no_text_to_search(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(UnsupportedFile, match=NO_CAPTIONS):
        list(read(tmp_path / name))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1251", "shift_jis"])
def test_encodings(encoding: str, tmp_path: Path) -> None:
    text = "Рыжая лисица перешла озеро" if encoding == "cp1251" else "The fox crossed it"
    text = "狐が湖を渡っていった、夜明け前に。" if encoding == "shift_jis" else text
    assert captions(tmp_path / "x.csv", f"id,caption\n1,{text}\n", encoding) == [(text, True)]


def test_a_quote_never_closed_takes_its_line_alone(tmp_path: Path) -> None:
    assert texts(tmp_path / "x.csv", 'id,caption\n1,"never closed\n2,fine one\n3,fine two\n') == [
        "never closed",
        "fine one",
        "fine two",
    ]


def test_long_captions_are_cut_as_texts_are(tmp_path: Path) -> None:
    caption = "A sentence of some words. " * 20
    (tmp_path / "x.csv").write_text(f"caption,n\n{caption},1\n", encoding="utf-8")
    segments = list(read(tmp_path / "x.csv", ReadOptions(passage_chars=100)))
    assert len(segments) == 7 and segments[1].chars == (10 + 78, 10 + 78 + 77)


@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0\r\x1f"), min_size=1, max_size=40),
        min_size=1,
    ),
    st.sampled_from([".csv", ".tsv", ".jsonl"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_is_written_is_read(tmp_path: Path, drawn: list[str], extension: str) -> None:
    drawn = [f"x{text}y" for text in drawn]
    path = media_texts.write_table(tmp_path / f"x{extension}", drawn)
    text = path.read_text(encoding="utf-8")
    expected = [" ".join(caption.split()) for caption in drawn]
    segments = list(read(path, ReadOptions(passage_chars=10_000)))
    for segment in segments:
        if segment.chars is not None:
            assert text[segment.chars[0] : segment.chars[1]] == segment.content
    joined = " ".join(" ".join(str(segment.content).split()) for segment in segments)
    assert joined == " ".join(expected)


N = 1_000_000
HOSTILE = {
    "pairs.csv": "caption\n" + 'x","\n' * (N // 5),
    "escapes.csv": "caption\n" + '"""x\n' * (N // 5),
    "open.csv": 'a,caption\n"' + "b\n" * (N // 2),
    "quotes.csv": "a,caption\n" + '"' * N,
    "columns.csv": "a," * (N // 2),
    "line.csv": "a,b\n" + "the red fox crossed " * (N // 20),
    "lists.csv": "caption,b\n" + 'a,"[[[[[["\n' * (N // 12),
    "deep.csv": 'caption\n"[' + "[" * 90_000 + ']"\nx\n',
    "deep.jsonl": "[" * 500_000 + "\n" + '{"caption":' * 50_000 + "\n",
    "line.jsonl": '{"caption":"' + "a " * (5 * N) + '"}',
    "empty.jsonl": "\n" * N,
    "nul.csv": "caption\na\0b\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_megabyte_is_read_in_seconds(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(HOSTILE[name], encoding="utf-8")
    with within(4):  # most of it for the segments of 200,000 rows
        try:
            assert sum(1 for _ in read(tmp_path / name)) <= N // 4
        except ReadError as error:
            assert len(str(error)) < 100


def test_a_long_table_is_streamed(tmp_path: Path) -> None:
    with (tmp_path / "x.csv").open("w", encoding="utf-8") as file:
        file.write("id,caption\n")
        for n in range(300_000):
            file.write(f"{n},a photo of a fox in the snow - number {n} of them\n")
    process, count, sizes = psutil.Process(), 0, []
    for segment in read(tmp_path / "x.csv"):
        if count % 10_000 == 0:
            assert str(segment.content).endswith(f"number {count} of them")
            sizes.append(process.memory_info().rss)
        count += 1
    assert count == 300_000 and max(sizes[3:]) - sizes[3] < 5e6


def test_names_and_looks_of_captions() -> None:
    assert all(map(is_caption_name, ("caption", "Alt text", "image_caption", "Text_2", "DESCRIPTION", "raw")))
    assert not any(map(is_caption_name, ("id", "url", "subtitles", "context", "title_id", "")))
    assert all(map(is_prose, ("The red fox crossed", "赤い狐が凍った湖を渡った", "สุนัขจิ้งจอกแดงข้าม")))
    assert not any(
        map(is_prose, ("John Smith", "2024-01-01 12:00:00 UTC +1 x y", "http://a.org/b c d e", 7, None, ""))
    )


def test_captions_of_json_as_sites_and_downloaders_write_it() -> None:
    flickr = {
        "photo": {
            "title": {"_content": "A fox"},
            "description": {"_content": "On ice"},
            "owner": {"title": "no"},
        }
    }
    instagram = {
        "node": {"edge_media_to_caption": {"edges": [{"node": {"text": "A fox"}}]}, "user": {"text": "no"}}
    }
    yt = {
        "title": "A film",
        "description": "About",
        "comments": [{"text": "no"}],
        "chapters": [{"title": "no"}],
        "tags": ["x", "y"],
    }
    assert list(captions_in(flickr)) == ["A fox", "On ice"]
    assert list(captions_in(instagram)) == ["A fox"]
    assert list(captions_in(yt)) == ["A film", "About"]
    assert list(captions_in(yt, keywords=True)) == ["A film", "About", "x, y"]
    assert list(captions_in([{"caption": {"en": "fox", "de": "Fuchs"}}, {"title": ["a", {"raw": "b"}]}])) == [
        "fox",
        "Fuchs",
        "a",
        "b",
    ]
    assert list(captions_in({"caption": "half \ud83d pair\0"})) == ["half ? pair"]
    deep: object = "a fox"
    for _ in range(50_000):
        deep = {"data": deep}
    assert list(captions_in(deep)) == []
