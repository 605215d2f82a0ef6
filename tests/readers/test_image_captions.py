"""Words inside pictures: found in every place photo managers write them, each once, boilerplate left out."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL.PngImagePlugin import PngInfo

from multimodal.readers import metadata, read
from multimodal.readers.xmp import MAX_BYTES, captions_of_xmp
from multimodal.types import ReadOptions, Segment
from tests import media, media_images
from tests.media_images import exif, iptc, tiff, with_iptc, xmp
from tests.pace import within

SHORE = "A heron stands in the shallows"


def words(path: Path) -> str | None:
    """The caption of a picture, which comes after it and is all that comes."""
    image, *rest = read(path)
    assert image.modality == "image" and image.role == "content"
    assert len(rest) < 2
    for caption in rest:
        assert caption.modality == "text" and caption.role == "caption" and caption.path == path
        assert isinstance(caption.content, str) and caption.chars == (0, len(caption.content))
        assert caption.start is None and caption.end is None and caption.page is None
        alone: list[Segment] = list(read(path, ReadOptions(modalities=("text",))))
        assert [segment.content for segment in alone] == [caption.content]
        return caption.content
    return None


def jpeg(**save: object) -> bytes:
    out = io.BytesIO()
    media.picture(1, 64, 48).save(out, "JPEG", **save)  # type: ignore[arg-type]
    return out.getvalue()


MAKERS: dict[str, Callable[[], bytes]] = {
    "xmp.jpg": lambda: jpeg(xmp=xmp(description=SHORE)),
    "exif.jpg": lambda: jpeg(exif=exif(SHORE)),
    "title.jpg": lambda: jpeg(exif=exif(title=SHORE)),
    "iptc.jpg": lambda: with_iptc(jpeg(), iptc({120: [SHORE.encode()]})),
    "xmp.tif": lambda: tiff([media_images.page(media.picture(1, 64, 48), t700=(1, xmp(description=SHORE)))]),
    "iptc.tif": lambda: tiff(
        [media_images.page(media.picture(1, 64, 48), t33723=(7, iptc({120: [SHORE.encode()]})))]
    ),
    "described.tif": lambda: tiff(
        [media_images.page(media.picture(1, 64, 48), t270=(2, SHORE.encode() + b"\0"))]
    ),
    "xmp.psd": lambda: media_images.psd(media.picture(1, 64, 48), resources={1060: xmp(description=SHORE)}),
    "iptc.psd": lambda: media_images.psd(
        media.picture(1, 64, 48), resources={1028: iptc({120: [SHORE.encode()]})}
    ),
    "described.dng": lambda: media_images.dng(
        media.picture(1, 64, 48), tags={270: (2, SHORE.encode() + b"\0")}
    ),
    "xmp.dng": lambda: media_images.dng(media.picture(1, 64, 48), tags={700: (1, xmp(description=SHORE))}),
    "titled.svg": lambda: media_images.svg(media.picture(1, 64, 48), title=SHORE),
    "described.svg": lambda: media_images.drawing(f"<desc>{SHORE}</desc><g><title>no</title></g>"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_words_are_found_where_they_stand(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(MAKERS[name]())
    assert words(path) == SHORE


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".tif", ".heic", ".avif", ".jxl"])
@pytest.mark.parametrize("block", ["exif", "xmp"])
def test_words_in_every_format(extension: str, block: str, tmp_path: Path) -> None:
    data = exif(SHORE) if block == "exif" else xmp(description=SHORE)
    path = tmp_path / f"x{extension}"
    if extension == ".png" and block == "xmp":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", data.decode())
        media.write_image(path, pnginfo=info)
    elif extension == ".tif":
        tags = {270: (2, SHORE.encode() + b"\0")} if block == "exif" else {700: (1, data)}
        page, pixels = media_images.page(media.picture(1, 64, 48))
        path.write_bytes(tiff([({**page, **tags}, pixels)]))
    else:
        media.write_image(path, **{block: data})
    assert words(path) == SHORE


def test_jpeg_2000_keeps_xmp_in_a_box_of_its_own(tmp_path: Path) -> None:
    path = media.write_image(tmp_path / "x.jp2")
    held = bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + xmp(description=SHORE)
    box = (len(held) + 8).to_bytes(4, "big") + b"uuid" + held
    data = path.read_bytes()
    at = data.index(b"jp2c") - 4
    path.write_bytes(data[:at] + box + data[at:])
    assert words(path) == SHORE


def test_the_chunks_of_a_png(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("Title", "Low tide")
    info.add_itxt("Description", SHORE)
    info.add_text("Comment", "Created with GIMP")
    info.add_text("Software", "A drawing program of note")
    info.add_text("Author", "Somebody Known")
    assert words(media.write_image(tmp_path / "x.png", pnginfo=info)) == f"Low tide\n{SHORE}"


def test_all_of_it_is_one_segment_and_nothing_is_said_twice(tmp_path: Path) -> None:
    packet = xmp("Low tide", SHORE + ".", ["heron", "sea", "evening light"], "The patient fisher")
    record = iptc(
        {
            105: [b"The patient fisher"],
            120: [SHORE.encode()],
            5: [b"low  tide"],
            25: [b"sea", b"evening light", b"heron"],
        }
    )
    path = tmp_path / "x.jpg"
    path.write_bytes(
        with_iptc(jpeg(xmp=packet, exif=exif(SHORE, "Low Tide", "heron;sea;evening light")), record)
    )
    said = words(path)
    assert said is not None
    assert said.split("\n") == ["The patient fisher", SHORE, "low tide", "sea, evening light, heron"]


def test_words_of_other_alphabets(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    for text in ("Ein Reiher fängt Fische", "浅瀬に立つ鷺", "Цапля у берега"):
        path.write_bytes(jpeg(exif=exif(text.encode(), title=text)))
        assert words(path) == text
        path.write_bytes(with_iptc(jpeg(), iptc({120: [text.encode()]})))
        assert words(path) == text
        path.write_bytes(jpeg(xmp=xmp(text)))
        assert words(path) == text
    path.write_bytes(with_iptc(jpeg(), iptc({120: ["Ein Reiher fängt Fische".encode("cp1252")]})))
    assert words(path) == "Ein Reiher fängt Fische"


BOILERPLATE = r"""
OLYMPUS DIGITAL CAMERA | SONY DSC | Konica Minolta Digital Camera | SAMSUNG DIGITAL CAMERA | Created with GIMP
Created with The GIMP | Edited with Snapseed | Processed with VSCO with a6 preset | DCIM\100GOPRO\GOPR0012.JPG
default | Untitled | Untitled-1 | DSC_0123 | IMG_20240105_120000.jpg | IMG_0042 | DSC01234.ARW
P1010001 | _MG_4455 | 20240105_120000 | scan0001 | Screenshot | 2024:01:05 12:00:00 | 12 | ImageJ=1.53t
{"shape": [3, 4]} | Exif_JPEG_PICTURE
<?xml version="1.0"?><OME/> | CREATOR: gd-jpeg v1.0 (using IJG JPEG v62), quality = 90 | https://example.org/1234
"""
SAID = """
A digital camera on a table | Made in Paris | Created by the river | Default judgement | Boeing 747
R2D2 | castle
Apollo 11 | Photo of my cat | Image of a dog | 2024, a year in pictures | Screenshot of the game
Taken in Rome 2019
Untitled, oil on canvas | 鷺が
"""


def listed(text: str) -> list[str]:
    return [part.strip() for line in text.strip().splitlines() for part in line.split(" | ")]


@pytest.mark.parametrize(
    "text", [*listed(BOILERPLATE), " " * 20, "\ufffd\ufffd\ufffdx", "ImageJ=1.53t\nimages=3", "P"]
)
def test_boilerplate_says_nothing(text: str) -> None:
    assert metadata.joined([text]) is None
    assert metadata.joined([text, SHORE]) == SHORE


@pytest.mark.parametrize("text", listed(SAID))
def test_what_a_person_says_is_kept(text: str) -> None:
    assert metadata.joined([text]) == text


def test_a_novel_is_cut_between_words() -> None:
    said = metadata.joined([SHORE, "word " * 5000])
    assert said is not None and len(said) <= metadata.MAX_CHARS and said.endswith(" word")


@pytest.mark.parametrize("block", ["exif", "xmp", "iptc", "resources", "tags"])
def test_damaged_metadata_never_fail_the_picture(block: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    packet = xmp("Low tide", SHORE, ["a", "b"])
    record = iptc({120: [SHORE.encode()], 25: [b"a", b"b"]})
    picture = media.picture(1, 64, 48)
    for turn in range(40):
        source = {"exif": exif(SHORE, "Low tide"), "iptc": record}.get(block, packet)
        damaged = bytearray(source)
        for place in rng.integers(0 if turn % 2 else 2, len(damaged), 6):
            damaged[place] = rng.integers(256)
        data = bytes(damaged[: len(damaged) - turn])
        path = tmp_path / "x"
        if block == "iptc":
            path.write_bytes(with_iptc(jpeg(), data))
        elif block == "resources":
            path.write_bytes(media_images.psd(picture, resources={1060: data, 1028: data}))
        elif block == "tags":
            path.write_bytes(
                tiff([media_images.page(picture, t700=(1, data), t33723=(7, data), t270=(2, data))])
            )
        else:
            path.write_bytes(jpeg(**{block: data}))
        segments = list(read(path))
        assert segments[0].content.size == (64, 48)  # type: ignore[union-attr]
        assert len(segments) < 3


def test_xmp_bombs_give_nothing_and_take_no_time() -> None:
    laughs = b'<!DOCTYPE x [<!ENTITY a "lol">'
    for i in range(9):
        laughs += b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10)
    bomb = laughs + b"]>" + xmp("&j;").partition(b"?>")[2]
    deep = xmp("<b>" * 200_000 + "Low tide" + "</b>" * 200_000)
    many = xmp(keywords=["heron"] * 150_000)
    with within(5):
        assert captions_of_xmp(bomb) == []
        assert captions_of_xmp(deep)[:1] in ([], ["Low tide"])
        assert captions_of_xmp(many)[0].startswith("heron, heron")
        assert captions_of_xmp(xmp("Low tide") + b" " * MAX_BYTES) == []


def test_the_words_of_xmp_by_property_and_language() -> None:
    assert captions_of_xmp(xmp("Low tide", SHORE, ["heron", "sea"], "The patient fisher")) == [
        "Low tide", "The patient fisher", SHORE, "heron, sea",
    ]  # fmt: skip
    several = xmp("Ebbe").replace(
        b'<rdf:li xml:lang="x-default">Ebbe</rdf:li>',
        b'<rdf:li xml:lang="de-DE">Ebbe</rdf:li><rdf:li xml:lang="en-GB">Low tide</rdf:li>',
    )
    assert captions_of_xmp(several) == ["Low tide"]
    assert captions_of_xmp(xmp("Low &amp; high tide").decode().encode("utf-16")) == ["Low & high tide"]
    packet = xmp("Low tide", SHORE)
    assert captions_of_xmp(packet[: packet.index(b"</rdf:Description>")]) == ["Low tide", SHORE]
    for nothing in (b"", b"\0\0", b"no xml", b"<a/>", xmp()):
        assert captions_of_xmp(nothing) == []


def test_a_picture_of_text_modality_off_has_no_caption(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(jpeg(exif=exif(SHORE)))
    assert [segment.modality for segment in read(path, ReadOptions(modalities=("image",)))] == ["image"]


def test_an_animation_may_have_a_caption(tmp_path: Path) -> None:
    scenes = [media.picture(seed, 64, 48) for seed in (0, 1)]
    path = media.write_animation(tmp_path / "x.webp", scenes, [1.0, 1.0], xmp=xmp(SHORE))
    *clips, caption = read(path)
    assert [clip.modality for clip in clips] == ["video", "video"]
    assert caption.role == "caption" and caption.content == SHORE
