"""Encodings told from bytes: by marks, by alphabets, by a guess, and cp1252 where nothing tells."""
# ruff: noqa: E501 - texts of a line each

from __future__ import annotations

from pathlib import Path

import pytest

from multimodal.errors import ReadError
from multimodal.readers import read
from multimodal.readers.encodings import decode, encoding_of
from tests import media
from tests.pace import within

STORY = "Füchse gehen über das Eis. „Wer weiß?“ – niemand. Crème brûlée für 5 €."

TEXTS = {
    "shift_jis euc_jp iso2022_jp": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。何でも薄暗いじめじめした所で"
    "ニャーニャー泣いていた事だけは記憶している。",
    "gb18030": "这是一只红色的狐狸，它在日出之前穿过结冰的湖面。村子里没有人听见它经过。面包需要面粉、水、盐和耐心。",
    "big5": "這是一隻紅色的狐狸，牠在日出之前穿過結冰的湖面。村子裡沒有人聽見牠經過。麵包需要麵粉、水、鹽和耐心。",
    "euc-kr": "붉은 여우가 해가 뜨기 전에 얼어붙은 호수를 건넜다. 마을에서는 아무도 그 소리를 듣지 못했다.",
    "koi8-r cp1251 iso8859-5 cp866": "Рыжая лисица перешла замёрзшее озеро до восхода солнца. Никто в деревне не"
    " слышал, как она прошла.",
    "cp1251 koi8-u": "Руда лисиця перейшла замерзле озеро до сходу сонця. Ніхто в селі не чув, як вона пройшла.",
    "cp1250 iso8859-2 cp852": "Ruda lisica przeszła przez zamarznięte jezioro przed wschodem słońca. Źdźbło, żółć.",
    "iso8859-2 cp1250": "Rezavá liška přešla zamrzlé jezero před východem slunce. Nikdo ve vesnici ji neslyšel.",
    "cp1250": "A vörös róka napkelte előtt kelt át a befagyott tavon. Árvíztűrő tükörfúrógép.",
    "cp1253 iso8859-7": "Η κόκκινη αλεπού διέσχισε την παγωμένη λίμνη πριν από την ανατολή. Κανείς δεν την άκουσε.",
    "cp1254 iso8859-9": "Kızıl tilki güneş doğmadan önce donmuş gölü geçti. Köyde kimse onun geçtiğini duymadı.",
    "cp1255 iso8859-8": "השועל האדום חצה את האגם הקפוא לפני הזריחה. איש בכפר לא שמע אותו עובר.",
    "cp1256 iso8859-6": "عبر الثعلب الأحمر البحيرة المتجمدة قبل شروق الشمس. لم يسمعه أحد في القرية.",
    "cp1257": "Rudoji lapė perėjo užšalusį ežerą prieš saulėtekį. Niekas kaime jos negirdėjo. Ąžuolas, šūvis.",
    "cp874": "สุนัขจิ้งจอกแดงข้ามทะเลสาบที่เป็นน้ำแข็งก่อนพระอาทิตย์ขึ้น ไม่มีใครในหมู่บ้านได้ยินเสียงมัน",
    "cp1252 cp850 mac_roman": "Der rote Fuchs überquerte den gefrorenen See vor Sonnenaufgang. Süße Grüße, Öfen glühen.",
    "cp1252 iso8859-15": "Le renard roux a traversé le lac gelé avant l'aube. Où êtes-vous ? Là-bas, près de la forêt.",
    "cp1252 iso8859-1": "El zorro rojo cruzó el lago helado antes del amanecer. ¿Dónde está el niño? ¡Qué ilusión!",
    "cp1252": "Den röda räven gick över den frusna sjön före gryningen – ingen i byn hörde den. “Bröd behöver mjöl.”",
}
CASES = [(text, encoding) for encodings, text in TEXTS.items() for encoding in encodings.split()]


@pytest.mark.parametrize(("text", "encoding"), CASES, ids=[encoding for _, encoding in CASES])
def test_a_paragraph_is_read_in_its_encoding(text: str, encoding: str, tmp_path: Path) -> None:
    data = text.encode(encoding)
    assert decode(data) == text
    (tmp_path / "x.txt").write_bytes(data)
    assert "".join(str(segment.content) for segment in read(tmp_path / "x.txt")) == text


def test_most_lines_of_twenty_characters_are_too() -> None:
    """As charset-normalizer by itself is not: the reason for the alphabets."""
    from charset_normalizer import from_bytes

    ours = theirs = count = 0
    for text, encoding in CASES:
        data = text[:20].encode(encoding)
        if data.isascii():
            continue
        count += 1
        ours += decode(data) == text[:20]
        best = from_bytes(data).best()
        theirs += best is not None and str(best) == text[:20]
    assert count > 30 and ours >= 0.85 * count and theirs <= 0.7 * count


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"],
)
def test_unicode_in_every_form(encoding: str, tmp_path: Path) -> None:
    path = media.write_text(tmp_path / "x.txt", STORY, encoding)
    assert [segment.content for segment in read(path)] == [STORY]


def test_big_endian_with_a_mark_and_latin_1() -> None:
    assert decode(b"\xfe\xff" + STORY.encode("utf-16-be")) == STORY
    assert decode("caf\u00e9 \u0081".encode("latin-1")) == "café \u0081"  # no such byte in cp1252


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xe9t\xe9", "été"),
        (b"caf\xe9", "café"),
        (b"\xc4", "Ä"),
        (b"\x80 5", "€ 5"),
        (b"it\x92s \x93ok\x94", "it’s “ok”"),
        (b"\xa9 2020 M\xfcller", "© 2020 Müller"),
        (b"\xc5ngstr\xf6m met Se\xf1or N\xfa\xf1ez at the caf\xe9 in K\xf6ln", "Ångström met Señor Núñez at the café in Köln"),
    ],
)  # fmt: skip
def test_a_few_bytes_are_western(data: bytes, text: str) -> None:
    assert decode(data) == text


def test_utf_8_with_a_few_damaged_bytes_stays_utf_8() -> None:
    assert decode(STORY.encode()[:-1] + b"\xff") == STORY[:-1] + "\ufffd"


@pytest.mark.parametrize("content", [b"\x00\x01\x02" * 500, bytes(range(256)) * 20, b"\x89\x01\xfe" * 99])
def test_binary_is_no_text(content: bytes) -> None:
    with pytest.raises(ReadError, match="binary"):
        decode(content)


@pytest.mark.parametrize(
    "data",
    [b"a" * 2_000_000 + b"\xe9", b"\xe9" * 2_000_000, b"\xe9\n" * 1_000_000, b"\x82\xa0" * 1_000_000, b"\x1b$B" * 600_000],
    ids=["one late byte", "one line", "lines", "kana", "escapes"],
)  # fmt: skip
def test_a_bounded_part_is_looked_at(data: bytes) -> None:
    with within(2):
        assert encoding_of(data) == encoding_of(data)
