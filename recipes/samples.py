"""Assemble samples/ again from packages: `python -m recipes.samples [FOLDER]`.

Pictures, sounds and videos are made here; the passages in samples/texts/ were written for it and stay
as they are. Written as well: samples/LICENSES.md, and recipes/samples_exclude.txt, which names every
file used, so that no training sees one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from recipes.samples_list import BUNNY, FILMS, HEADS, PACKAGES, PAN, PICTURES, SOUNDS, Taken
from recipes.samples_make import (
    Scene,
    make_pan,
    make_picture,
    make_video,
    read_sound,
    shrink_video,
    write_sound,
)

EXCLUDE = Path(__file__).with_name("samples_exclude.txt")


def assemble(samples: Path) -> None:
    """Write pictures, videos and sounds below `samples`, then LICENSES.md."""
    for folder in ("pictures", "videos", "sounds"):
        (samples / folder).mkdir(parents=True, exist_ok=True)
    for name, (taken, _) in PICTURES.items():
        make_picture(taken.file, samples / "pictures" / name)
    for name, sound in SOUNDS.items():
        cut = read_sound(sound.taken.file, sound.start, sound.seconds, sound.times)
        write_sound(cut, samples / "sounds" / name)
    for name, film in FILMS.items():
        scenes = [
            Scene(picture.file, heard.file if heard else None, HEADS.get(picture.path, 0.5))
            for picture, heard in film.scenes
        ]
        make_video(scenes, samples / "videos" / name)
    shrink_video(BUNNY[1].file, samples / "videos" / BUNNY[0])
    make_pan(PAN[1].file, samples / "videos" / PAN[0])
    texts = sorted(path.name for path in (samples / "texts").iterdir())
    (samples / "LICENSES.md").write_text(licences(texts), encoding="utf-8")


def licences(texts: list[str]) -> str:
    """The table of every sample: file, what, source, author, licence, changes."""
    lines = [
        "# Where the samples come from",
        "",
        "Written by `python -m recipes.samples`. Licences of pictures, sounds and films are as the",
        "copyright file of the package states them, or its notes on the file (scikit-image, scikit-learn);",
        "Big Buck Bunny is (c) 2008 Blender Foundation, www.bigbuckbunny.org. The licences themselves:",
        "creativecommons.org, gnu.org.",
        "",
        "| file | what | source | author | licence | changes |",
        "|---|---|---|---|---|---|",
    ]
    for name, (taken, what) in PICTURES.items():
        change = (
            "saved as " + Path(name).suffix[1:] if taken.path.rsplit(".")[-1] != name.rsplit(".")[-1] else ""
        )
        lines.append(
            _row(f"pictures/{name}", what, [taken], change or "saved again, at most 1280 pixels a side")
        )
    for name, sound in SOUNDS.items():
        change = f"mono, peak set, saved as {Path(name).suffix[1:]}"
        if sound.seconds:
            change += f", {sound.seconds:.0f} s of it"
        if sound.times > 1:
            change += f", said {sound.times} times"
        lines.append(_row(f"sounds/{name}", sound.what, [sound.taken], change))
    for name, film in FILMS.items():
        used = [taken for scene in film.scenes for taken in scene if taken]
        row = _row(f"videos/{name}", film.what, used, "cut together, 4 s each, slowly zoomed", film.licence)
        lines.append(row)
    lines.append(_row(f"videos/{BUNNY[0]}", BUNNY[2], [BUNNY[1]], "made smaller, 640 x 360"))
    lines.append(_row(f"videos/{PAN[0]}", PAN[2], [PAN[1]], "an animated pan over the photo"))
    for name in texts:
        what = "subtitles of videos/day-out.mp4" if name.endswith(".srt") else "a passage"
        lines.append(
            f"| texts/{name} | {what} | written for this project | multimodal authors | CC0-1.0 | none |"
        )
    return "\n".join([*lines, ""])


def _row(name: str, what: str, taken: list[Taken], change: str, whole: str = "") -> str:
    used = dict.fromkeys(taken)
    source = "; ".join(f"{t.package} ({PACKAGES[t.package].registry}): {t.path}" for t in used)
    author = "; ".join(dict.fromkeys(t.author or PACKAGES[t.package].author for t in used))
    licence = "; ".join(dict.fromkeys(t.licence or PACKAGES[t.package].licence for t in used))
    if whole:
        licence = f"{whole} as a whole; parts: {licence}"
    return f"| {name} | {what} | {source} | {author} | {licence} | {change} |"


def used_files() -> Iterator[Taken]:
    """Every file of a package that samples/ is made of, each once."""
    films = [taken for film in FILMS.values() for scene in film.scenes for taken in scene if taken]
    pictures = [taken for taken, _ in PICTURES.values()]
    sounds = [sound.taken for sound in SOUNDS.values()]
    yield from dict.fromkeys([*pictures, *sounds, *films, BUNNY[1], PAN[1]])


def exclusions() -> str:
    """Lines `package path sha256` for the training recipes to keep out."""
    lines = [
        "# Kept out of all training, photos without captions included, because samples/ is made of them.",
        "# Package, path within it, SHA-256 of the file's bytes. Written by `python -m recipes.samples`.",
    ]
    lines += [f"{t.package} {t.inside} {sha256(t.file.read_bytes()).hexdigest()}" for t in used_files()]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    EXCLUDE.write_text(exclusions(), encoding="utf-8")
    assemble(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "samples")
