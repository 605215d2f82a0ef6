"""What a notebook shows of hits."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from multimodal import Hit, show


def embedded(markup: str, kind: str) -> io.BytesIO:
    found = re.search(rf"data:{kind};base64,([^\"]+)", markup)
    assert found is not None
    return io.BytesIO(base64.b64decode(found.group(1)))


def test_a_picture_is_a_thumbnail_with_its_name_escaped(tmp_path: Path) -> None:
    path = tmp_path / "a & <b>.png"
    Image.new("RGB", (640, 320), "red").save(path)
    markup = show([Hit(path, "image", 2.5, 0.3)])._repr_html_()
    picture = Image.open(embedded(markup, "image/jpeg"))
    assert picture.size == (180, 90)
    assert picture.getpixel((90, 45))[0] > 200  # type: ignore[index]
    assert "a &amp; &lt;b&gt;.png" in markup and "score 2.50" in markup


def test_a_moment_of_a_sound_plays_that_moment(tmp_path: Path) -> None:
    path = tmp_path / "tones.wav"
    time = np.arange(16_000 * 10) / 16_000
    soundfile.write(path, np.where(time < 5, 0, np.sin(2 * np.pi * 880 * time)).astype(np.float32), 16_000)
    markup = show(Hit(path, "audio", 2.0, 0.3, start=5.0, end=10.0))._repr_html_()
    samples, rate = soundfile.read(embedded(markup, "audio/ogg"))
    assert abs(len(samples) / rate - 5) < 0.1
    assert np.abs(samples).max() > 0.5
    assert "5.0-10.0 s" in markup


def test_texts_are_quoted_and_missing_files_say_so(tmp_path: Path) -> None:
    hits = [
        Hit(tmp_path / "note.txt", "text", 1.0, 0.2, text="Rain < wind & sun. " * 30),
        Hit(tmp_path / "gone.jpg", "image", 1.0, 0.2),
    ]
    markup = show(hits)._repr_html_()
    assert "Rain &lt; wind &amp; sun." in markup and "..." in markup
    assert "there is no such file" in markup
    assert repr(show(hits)) == "Gallery of 2"
