"""Which encoding a text is in: marks and UTF-8 first, then the alphabet that fits, then a guess.

Without a mark, only what the characters look like tells legacy encodings apart. charset-normalizer tells
scripts apart in paragraphs, but not the Latin alphabets, and in a line it is as often wrong as right (the
tests count both). An alphabet has few letters, and East Asian standards keep common characters in rows of
their own, so a wrong encoding shows at once: "ł" is no letter where it reads "³". That is tried first.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from multimodal.errors import ReadError

SAMPLE = 4096
"""Bytes that are looked at, from the lines that hold something other than ASCII."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16: its mark begins with that one's
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_HIGH_BYTE = re.compile(rb"[\x80-\xff]")
_JIS = re.compile(rb"\x1b\$[@B]|\x1b\([JI]")

_LATIN: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (
        ("cp1252", "cp850", "mac_roman"),
        (
            "äöüß",  # German
            "àâæçèéêëîïôœùûüÿ",  # French
            "áéíñóúü",  # Spanish
            "àáâãçéêíòóôõúü",  # Portuguese
            "àèéìíîòóùú",  # Italian
            "áèéêëïóöü",  # Dutch
            "åäöæøéàü",  # Danish, Finnish, Norwegian, Swedish
            "áæðéíóöúýþ",  # Icelandic
            "àçèéíïòóúü",  # Catalan
        ),
    ),
    (
        ("cp1250", "iso8859_2", "cp852"),
        (
            "ąćęłńóśźż",  # Polish
            "áčďéěíňóřšťúůýž",  # Czech
            "áäčďéíĺľňóôŕšťúýž",  # Slovak
            "áéíóöőúüű",  # Hungarian
            "ăâîşţ",  # Romanian
            "ćčđšž",  # Croatian, Slovenian
        ),
    ),
    (("cp1254", "cp857"), ("çğıi̇öşüâîû",)),  # Turkish
    (("cp1257",), ("āčēģīķļņšūž", "ąčęėįšųūž", "äõöüšž")),  # Latvian, Lithuanian, Estonian
)
"""Encodings, the commonest first, and the letters beside a-z of languages written in them."""

_OTHER_SCRIPTS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (
        ("cp1251", "koi8_r", "koi8_u", "iso8859_5", "cp866", "mac_cyrillic"),
        (
            "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё",  # Russian, Bulgarian
            "оаиінтвресклдупямзьбгйчюхцжїєшфщґ",  # Ukrainian
            "анеоікртсвлдмуяпыьзгйбчхцшжюўэфёщ",  # Belarusian
            "аоиентрсвдјукмлпзбгчшжхћњцљђфџ",  # Serbian
        ),
    ),
    (("cp1253", "iso8859_7"), ("αοιετσνηυρπκμλςωάίγδήέόύχθφώβξζψϊϋΐΰ",)),
    (("cp1255", "iso8859_8"), ("יוהלאתמרבשנכעםדפחקגצטןזסךףץ",)),
    (("cp1256", "iso8859_6"), ("اليمونرتبةعدسفهكقحجأشصطخذىضثإءآئغزظؤپچژگک",)),
    (("cp874",), ("านรอกเงมยลวดทสตะปบคหแจพชขใไโซถผธภศณญษ" + "่้ัิีุูึ์ืำ็๊๋ฯๆฐฟฉฎฏฌฬฮฑฒฆฝฤ๎",)),
)
"""The same for scripts of their own; the ten commonest letters of a language stand first."""

_EAST_ASIAN: tuple[tuple[str, tuple[tuple[int, int], ...]], ...] = (
    ("cp949", ((0xA1, 0xA3), (0xB0, 0xC8))),  # before those whose rows of ideographs begin at B0 too
    ("euc_jp", ((0xA1, 0xA5), (0xB0, 0xCF))),
    ("gb18030", ((0xA1, 0xA3), (0xB0, 0xD7))),
    ("big5", ((0xA1, 0xC6),)),
    ("cp932", ((0x81, 0x83), (0x88, 0x98))),
)
"""The first bytes of signs, kana, and of the syllables or ideographs of everyday use (KS X 1001 hangul, JIS
X 0208 level 1, GB 2312 level 1, Big5 frequently used)."""

_SIGNS = frozenset("“”‘’‚„‹›«»–—…·•°€£¥§©®™´¨½¼¾¿¡×÷ªº\u00a0\u00ad،؛؟฿")
_WESTERN = frozenset("".join(_LATIN[0][1]))
_FITS = 0.9
"""The least share of the characters beyond ASCII that must belong to one alphabet."""
_ENOUGH = 32
"""Bytes beyond ASCII from which charset-normalizer is right more often than wrong."""


def decode(data: bytes) -> str:
    """Bytes of a text in an encoding nobody stated; the same bytes always give the same text.

    In this order: a byte order mark, UTF-8, UTF-16 by its zeros, ISO-2022-JP by its escapes, UTF-8 with
    few damaged bytes, the encoding whose characters fit one language's alphabet, charset-normalizer's
    guess among East Asian and all these encodings, Windows-1252. Raises ReadError when it is no text.
    """
    encoding, skip = encoding_of(data)
    return checked(_decoded(data[skip:] if skip else data, encoding))


def encoding_of(data: bytes) -> tuple[str, int]:
    """The name of the encoding, and how many bytes of byte order mark stand before the text."""
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return encoding, len(mark)
    if _JIS.search(data) and _valid(data, "iso2022_jp"):
        return "iso2022_jp", 0
    if data.isascii() or _valid(data, "utf-8"):
        return "utf-8", 0
    if wide := _without_mark(data):
        return wide, 0
    loose = data.decode("utf-8", "replace")
    lost = loose.count("\ufffd")
    if len(loose) - len(loose.encode("ascii", "ignore")) > 5 * lost:
        return "utf-8", 0
    return legacy_encoding(_sample(data)), 0


def checked(text: str) -> str:
    """The text itself. Raises ReadError when so many of its characters are none that it is binary."""
    damaged = text.count("\ufffd")
    if "\0" in text or damaged > len(text) // 20:
        raise ReadError("not a text: its content is binary")
    if sum(1 for _ in _CONTROLS.finditer(text)) > len(text) // 200:
        raise ReadError("not a text: its content is binary")
    return text


def _decoded(data: bytes, encoding: str) -> str:
    if encoding == "cp1252" and not _valid(data, encoding):
        encoding = "latin-1"  # five bytes are none of cp1252's
    return data.decode(encoding, "replace")


def _valid(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return False
    return True


def _without_mark(data: bytes) -> str | None:
    """UTF-16 without its mark: every other byte of a mostly Latin text is zero."""
    even, odd = data[0:2000:2], data[1:2000:2]
    for encoding, zeros, others in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if zeros.count(0) > 0.4 * len(zeros) and not others.count(0):
            return encoding
    return None


def _sample(data: bytes) -> bytes:
    """Up to SAMPLE bytes: from those beyond ASCII, and a little before them, to the ends of their lines."""
    found: list[bytes] = []
    size = end = 0
    while size < SAMPLE and (match := _HIGH_BYTE.search(data, end)):
        begin = max(end, match.start() - 64)
        line_end = data.find(b"\n", match.start())
        end = min(len(data) if line_end < 0 else line_end, begin + SAMPLE - size)
        found.append(data[begin:end])
        size += max(1, end - begin)
    return b"\n".join(found)


def legacy_encoding(sample: bytes) -> str:
    """The likeliest encoding, other than Unicode's, of a sample with bytes beyond ASCII.

    Where nothing is likely, as in a few bytes that fit no alphabet, it is cp1252.
    """
    best, fit = "cp1252", 0.0
    for encoding, score in _scores(sample):
        if score > fit + 1e-6:  # of equals the commoner encoding, which comes first
            best, fit = encoding, score
    if fit < _FITS:
        best = "cp1252"
        if len(_HIGH_BYTE.findall(sample)) >= _ENOUGH:
            best = _guess(sample) or best
    return best


def _scores(sample: bytes) -> Iterator[tuple[str, float]]:
    for latin, families in ((True, _LATIN), (False, _OTHER_SCRIPTS)):
        for encodings, alphabets in families:
            for encoding in encodings:
                text = _sampled(sample, encoding)
                yield encoding, _alphabet_fit(text, alphabets, latin, encoding == "cp1252")
    for encoding, rows in _EAST_ASIAN:
        yield encoding, _rows_fit(_sampled(sample, encoding), encoding, rows)


def _sampled(sample: bytes, encoding: str) -> str:
    """The sample decoded; nothing where it is of another encoding."""
    try:
        return sample.decode(encoding)
    except UnicodeDecodeError as error:
        cut = error.start >= len(sample) - 4 >= SAMPLE - 4  # the sample ends within a character
        return sample[: error.start].decode(encoding) if cut else ""


def _alphabet_fit(text: str, alphabets: tuple[str, ...], latin: bool, western: bool) -> float:
    """The share of characters beyond ASCII that are letters of one alphabet, or signs where signs stand.

    Scripts whose letters take all of the upper half differ in which are common: a tenth goes by that.
    """
    letters, signs, total = Counter[str](), 0, 0
    for before, char, after in _beyond_ascii(text):
        total += 1
        between = before.isalpha() and after.isalpha()
        if char in _SIGNS:
            signs += not between or char in "’·\u00ad"
        elif before.islower() and char.isupper():
            continue  # no language writes a capital after a small letter
        elif latin or not (_is_latin(before) or _is_latin(after)):
            letters[char.lower()] += 1
    if not total:
        return 0.0
    found = sum(letters.values())
    best = 0.0
    for alphabet in alphabets:
        share = sum(letters[letter] for letter in alphabet) / total
        if not latin:
            common = sum(letters[letter] for letter in alphabet[:10]) / max(1, found)
            share *= 0.9 + 0.1 * min(1.0, common / 0.55)
        best = max(best, share)
    if western and total * 6 < len(text):  # names and words of several languages in one text
        best = max(best, 0.97 * sum(letters[letter] for letter in _WESTERN) / total)
    return best + signs / total


def _is_latin(char: str) -> bool:
    return char.isascii() and char.isalpha()


def _rows_fit(text: str, encoding: str, rows: tuple[tuple[int, int], ...]) -> float:
    """The share of characters beyond ASCII that an East Asian standard has among its common ones."""
    total = common = 0
    for match in _BEYOND_ASCII.finditer(text):
        code = match.group().encode(encoding)
        total += 1
        common += len(code) == 2 and any(first <= code[0] <= last for first, last in rows)
    return common / total if total else 0.0


_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")


def _beyond_ascii(text: str) -> Iterator[tuple[str, str, str]]:
    """Each character beyond ASCII between its neighbours, the empty text at the ends."""
    for match in _BEYOND_ASCII.finditer(text):
        at = match.start()
        yield text[at - 1 : at] if at else "", match.group(), text[at + 1 : at + 2]


@lru_cache(maxsize=16)
def _guess(sample: bytes) -> str | None:
    from charset_normalizer import from_bytes

    names = [name for family in (_LATIN, _OTHER_SCRIPTS) for encodings, _ in family for name in encodings]
    names += [name for name, _ in _EAST_ASIAN]
    best = from_bytes(sample, cp_isolation=names, preemptive_behaviour=False, enable_fallback=False).best()
    return None if best is None else best.encoding
