"""Sound files of every format the readers take, made with the real encoders, to be damaged by others."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from multimodal.readers import EXTENSIONS
from tests import media, media_images, media_texts, media_video

UNMADE = {
    extension: "only the cameras of one maker write it; a DNG under its name takes the same way"
    for extension in media_images.UNMADE_EXTENSIONS
}
"""Extensions that no encoder writes, and what stands in for them."""


def write_originals(folder: Path) -> dict[str, Path]:
    """One file of each extension, and one of each further kind of VARIANTS; the name of each is its key."""
    made: dict[str, Path] = {}
    for extension in sorted(EXTENSIONS):
        path = folder / f"plain{extension}"
        if extension in UNMADE:
            path.write_bytes(media_images.dng(media.picture(1)))
        else:
            media.write(path, 1)
        made[path.name] = path
    for name, write in VARIANTS.items():
        write(folder / name)
        made[name] = folder / name
    return made


def _animation(path: Path) -> None:
    media.write_animation(path, [media.picture(n, 160, 120) for n in range(4)], [0.5] * 4)


def _pages(path: Path) -> None:
    pages = [media.picture(n, 200, 150) for n in range(3)]
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_lzw")


def _deep(path: Path) -> None:
    values = np.arange(200 * 150, dtype=np.uint16).reshape(150, 200) * 2
    media.write_image(path, Image.fromarray(values))


def _tagged(path: Path) -> None:
    """A JPEG that says all it can of itself."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    out = io.BytesIO()
    exif = media_images.exif("a red house", "title of it", "house; red", 6)
    packet = media_images.xmp("A house", "a red house by the sea", ["house", "sea"], "Houses")
    media.picture(2).save(out, format="JPEG", exif=exif, icc_profile=profile, xmp=packet)
    path.write_bytes(
        media_images.with_iptc(out.getvalue(), media_images.iptc({120: [b"a house"], 5: [b"h"]}))
    )


def _film(path: Path, **how: object) -> None:
    media.write_video(path, [media.picture(n, 160, 120) for n in range(2)], 1.0, 10, **how)  # type: ignore[arg-type]


def _uneven(path: Path) -> None:
    """A variable frame rate."""
    times = [Fraction(n * n, 100) for n in range(15)]
    media.write_frames(path, [(time, media.picture(n // 5, 160, 120)) for n, time in enumerate(times)], 10)


def _subtitled(path: Path) -> None:
    """Pictures, two sound tracks and subtitles."""
    cues = [(0.2, 0.9, "mind the step"), (1.0, 1.8, "and the dog")]
    codec = "mov_text" if path.suffix == ".mp4" else "srt"
    source, second = path.with_name(f"{path.stem}-source.mp4"), path.with_name(f"{path.stem}-second.m4a")
    _film(source, sound=media.tone(2.0))
    media.write_sound(second, media.tone(2.0, hz=300))
    media_video.remux(source, path, sounds=[second], texts=[media_video.Texts(codec, cues)])
    source.unlink()
    second.unlink()


def _sound(path: Path, subtype: str, channels: int = 1, rate: int = 44_100) -> None:
    media.write_sound(path, media.tone(1.0, rate, channels=channels), rate, subtype)


def _text(path: Path, encoding: str, text: str = "Grüße aus Zürich, naïve façade. ") -> None:
    media.write_text(path, text * 30, encoding)


VARIANTS: dict[str, Callable[[Path], object]] = {
    "animated.gif": _animation,
    "animated.webp": _animation,
    "animated.png": _animation,
    "animated.avif": _animation,
    "pages.tiff": _pages,
    "deep.tiff": _deep,
    "deep.png": _deep,
    "palette.png": lambda path: media.picture(1).quantize(16).save(path),
    "clear.png": lambda path: media.picture(1).convert("RGBA").save(path),
    "inks.jpg": lambda path: media.picture(1).convert("CMYK").save(path),
    "stepwise.jpg": lambda path: media.picture(1).save(path, progressive=True),
    "tagged.jpg": _tagged,
    "preview.dng": lambda path: path.write_bytes(
        media_images.dng(media.picture(1), preview=media.picture(1, 1024, 768))
    ),
    "deep.psd": lambda path: path.write_bytes(media_images.psd(media.picture(1), bits=16, layers=-2)),
    "drawing.svg": lambda path: path.write_bytes(
        media_images.drawing(
            '<title>T</title><g id="a"><circle r="40" fill="#123"/></g><use xlink:href="#a"/>'
        )
    ),
    "silent.mp4": _film,
    "heard.m4a": lambda path: media.write_sound(path, media.tone(1.0)),
    "turned.mov": lambda path: _film(path, rotation=90),
    "fine.mkv": lambda path: _film(path, pixels="yuv420p10le"),
    "motion.avi": lambda path: _film(path, codec="mjpeg", pixels="yuvj420p"),
    "uneven.mp4": _uneven,
    "subtitled.mp4": _subtitled,
    "subtitled.mkv": _subtitled,
    "fine.wav": lambda path: _sound(path, "PCM_24", 6, 48_000),
    "real.wav": lambda path: _sound(path, "DOUBLE", 2, 96_000),
    "adpcm.wav": lambda path: _sound(path, "MS_ADPCM"),
    "fine.flac": lambda path: _sound(path, "PCM_24", 2, 48_000),
    "wide.txt": lambda path: _text(path, "utf-16"),
    "western.txt": lambda path: _text(path, "cp1252"),
    "eastern.txt": lambda path: _text(path, "shift_jis", "夜の列車で少女は口笛を教えた。 "),
    "marked.md": lambda path: media.write_text(
        path,
        "# A\n\n- *one* [two](x) `three`\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n> quote\n\n```\ncode\n```\n",
    ),
    "marked.html": lambda path: path.write_text(
        "<html><head><title>T</title><style>p{}</style></head><body><nav>n</nav><h1>A &amp; B</h1>"
        "<table><tr><td>1<td>2</table><img alt='a dog'><script>x()</script><p>one<br>two</body></html>"
    ),
    "pages.pdf": lambda path: media_texts.write_pages(path, [["one page"], [], ["another page"] * 20]),
    "locked.pdf": lambda path: media_texts.write_locked_pdf(path, "locked words", ""),
    "raw.pdf": lambda path: path.write_bytes(
        media_texts.raw_pdf(media_texts.one_page(b"BT /F 12 Tf 20 200 Td (plain words) Tj ET"))
    ),
}
