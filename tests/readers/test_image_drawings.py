"""Drawings: rendered on white, with nothing of theirs that leads outside, whatever they ask for."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multimodal.errors import ReadError
from multimodal.readers import read, svg
from tests import media, media_images
from tests.pace import within
from tests.readers.test_image import one


def draw(path: Path, inner: str, size: str = 'width="200" height="100"') -> Path:
    path.write_bytes(media_images.drawing(inner, size))
    return path


@pytest.mark.parametrize(
    ("size", "pixels"),
    [
        ('width="200" height="100"', (1024, 512)),
        ('width="20mm" height="10mm"', (1024, 512)),
        ('viewBox="0 0 10 20"', (512, 1024)),
        ('viewBox="0 0 1 1000000"', (1, 1024)),
        ('width="1000000" height="1000000"', (1024, 1024)),
    ],
)
def test_a_drawing_has_1024_pixels_on_its_longer_side(
    size: str, pixels: tuple[int, int], tmp_path: Path
) -> None:
    path = draw(tmp_path / "x.svg", '<rect width="100%" height="100%" fill="#0a0"/>', size)
    got = one(path)
    assert got.size == pixels
    assert got.getpixel((got.width // 2, got.height // 2)) == (0, 170, 0)


def test_a_drawing_stands_on_white_with_its_styles(tmp_path: Path) -> None:
    inner = (
        '<style>.a { fill: blue }</style><rect class="a" width="100" height="100"/><script>fill()</script>'
    )
    got = one(draw(tmp_path / "x.svg", inner))
    assert got.getpixel((100, 100)) == (0, 0, 255) and got.getpixel((900, 100)) == (255, 255, 255)


def test_text_is_drawn_where_there_is_any_font(tmp_path: Path) -> None:
    if not svg._family():
        pytest.skip("needs a font")
    got = one(draw(tmp_path / "x.svg", '<text x="5" y="80" font-size="90" font-family="Nowhere">Hm</text>'))
    assert 0.02 < np.mean(np.asarray(got.convert("L")) < 128) < 0.5


def test_a_drawing_reaches_no_file_and_no_page(tmp_path: Path) -> None:
    secret = media.write_image(tmp_path / "secret.png", Image.new("RGB", (50, 50), (0, 255, 0)))
    out = io.BytesIO()
    Image.new("RGB", (50, 50), (255, 0, 0)).save(out, "PNG")
    nested = media_images.drawing(f'<image width="200" height="100" href="{secret}"/>')
    for href in (
        str(secret), secret.name, secret.as_uri(), f" {secret}", "http://127.0.0.1:9/x.png",
        f"data:image/svg+xml;base64,{base64.b64encode(nested).decode()}", f"data:text/plain,{secret}",
    ):  # fmt: skip
        for name in ("href", "xlink:href"):
            got = one(draw(tmp_path / "x.svg", f'<image width="200" height="100" {name}="{href}"/>'))
            assert got.getpixel((500, 250)) == (255, 255, 255), href
    inside = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
    got = one(draw(tmp_path / "x.svg", f'<image width="200" height="100" xlink:href="{inside}"/>'))
    assert got.getpixel((500, 250)) == (255, 0, 0)


def test_entities_of_a_drawing_are_names_not_bombs(tmp_path: Path) -> None:
    path = tmp_path / "x.svg"
    names = '<!DOCTYPE svg [<!ENTITY ns "http://www.w3.org/2000/svg"><!ENTITY c "#f00">]>'
    path.write_text(
        names + '<svg xmlns="&ns;" viewBox="0 0 1 1"><rect width="1" height="1" fill="&c;"/></svg>'
    )
    assert one(path).getpixel((500, 500)) == (255, 0, 0)
    laughs = '<!ENTITY a "lol">'
    for i in range(9):
        ten = f"&{chr(97 + i)};" * 10
        laughs += f'<!ENTITY {chr(98 + i)} "{ten}">'
    outside = '<!ENTITY j SYSTEM "file:///etc/passwd">'
    long = '<!ENTITY j "' + 100_000 * "x" + '">'
    for bomb in (laughs, long):
        path.write_text(
            f'<!DOCTYPE svg [{bomb}]><svg xmlns="http://www.w3.org/2000/svg"><text>&j;</text></svg>'
        )
        with pytest.raises(ReadError, match="entities could grow"):
            one(path)
    path.write_text(
        f'<!DOCTYPE svg [{outside}]><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">'
        "<desc>&j;</desc></svg>"
    )
    assert [segment.modality for segment in read(path)] == ["image"]


def test_a_long_attribute_takes_no_longer_than_its_length(tmp_path: Path) -> None:
    path = draw(tmp_path / "x.svg", '<path d="M0 0' + " L1 1" * 1_600_000 + '"/>')
    with within(5), path.open("rb") as file:
        drawing = svg.read_drawing(file)
    assert len(drawing.text) > 8_000_000


def nested(depth: int) -> str:
    return "<g>" * depth + '<rect width="9" height="9"/>' + "</g>" * depth


def copied(times: int) -> str:
    """Ten copies of ten copies of ..."""
    inner = '<g id="g0"><rect width="9" height="9"/></g>'
    for i in range(times):
        copies = f'<use href="#g{i}"/>' * 10
        inner += f'<g id="g{i + 1}">{copies}</g>'
    return inner


WIDE = (
    '<pattern id="p" width="1000000" height="1000000" patternUnits="userSpaceOnUse"><rect width="9"'
    ' height="9"/></pattern><rect width="90" height="90" fill="url(#p)"/>'
)


@pytest.mark.parametrize(
    "inner", [nested(20_000), nested(500), copied(9), WIDE], ids=["deep", "nested", "copied", "wide"]
)
def test_a_drawing_that_asks_for_too_much_is_refused(inner: str, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"asks for more|is damaged"):
        one(draw(tmp_path / "x.svg", inner))


def test_a_drawing_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svg, "SECONDS", 0.5)
    slow = '<filter id="f"><feTurbulence baseFrequency="0.1" numOctaves="1000"/></filter>'
    with pytest.raises(ReadError, match="takes longer than"):
        one(draw(tmp_path / "x.svg", slow + '<rect width="200" height="100" filter="url(#f)"/>'))


def test_a_drawing_reduces_as_pictures_do(tmp_path: Path) -> None:
    path = draw(tmp_path / "x.svg", '<rect width="200" height="100" fill="red"/>')
    assert one(path, min_side=100).size == (512, 256)
