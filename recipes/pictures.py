"""Gather pictures with captions, and photos without, from packages: one table row a source.

A picture is described, not copied: `Picture.open()` renders it when its features are computed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from recipes import glyphs, qt_resources
from recipes.emoji import fluent_3d, iconify
from recipes.fetch import apt, wheel
from recipes.picture import Picture, as_it_is, tidy
from recipes.split import held_out

STAMPS = "tuxpaint-stamps"


@dataclass(frozen=True)
class Source:
    """A row of the table: `package` as the registry names it, `permissive` = no copyleft terms."""

    name: str
    registry: str
    package: str
    licence: str
    permissive: bool
    pictures: Callable[[], Iterator[Picture]]


def stamp_root() -> Path:
    """Folder that the stamps' keys are relative to."""
    return apt("tuxpaint-stamps-default") / "usr/share/tuxpaint/stamps"


def stamps() -> Iterator[Picture]:
    """Tux Paint's rubber stamps: each has a whole English sentence in the first line of its .txt."""
    root = stamp_root()
    for note in sorted(root.rglob("*.txt")):
        key = note.relative_to(root).with_suffix("").as_posix()
        lines = note.read_text(encoding="utf-8", errors="replace").splitlines()
        caption = lines[0].strip() if lines else ""
        drawing = next((p for s in (".png", ".svg") if (p := note.with_suffix(s)).is_file()), None)
        if drawing is None or not caption:
            continue
        yield Picture(STAMPS, key, (caption,), drawing.read_bytes, held_out(key), drawing.suffix == ".png")


_DC = "{http://purl.org/dc/elements/1.1/}"
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"


def openclipart() -> Iterator[Picture]:
    """The Open Clip Art Library: titles, descriptions and keywords stand in the drawings' metadata."""
    drawings = apt("openclipart-svg") / "usr/share/openclipart/svg"
    for path in sorted((apt("openclipart-png") / "usr/share/openclipart/png").rglob("*.png")):
        key = path.as_posix().split("/openclipart/png/", 1)[1].removesuffix(".png")
        if path.is_symlink():  # the same drawing under a second subject
            continue
        drawing = drawings / f"{key}.svg"
        captions = _clipart_captions(drawing) if drawing.is_file() else ()
        if captions:
            yield Picture("openclipart", key, captions, path.read_bytes)


def _clipart_captions(drawing: Path) -> tuple[str, ...]:
    """Title, description and keyword phrases, cleaned of author names, numbers and file junk."""
    try:
        tree = ElementTree.parse(drawing)
    except ElementTree.ParseError:
        return ()
    work = next((e for e in tree.iter() if e.tag.endswith("}Work")), None)
    if work is None:
        return ()
    title = tidy(work.findtext(f"{_DC}title") or "")
    words = [tidy(li.text or "") for li in work.iter(f"{_RDF}li")]
    words = [w for w in dict.fromkeys(words) if len(w) > 2 and w not in _EMPTY_WORDS]
    about = (work.findtext(f"{_DC}description") or "").strip()
    found = [title] if len(title) > 2 and title not in _EMPTY_WORDS else []
    if words:
        found.append(", ".join(words[:4]))
        if title:
            found.append(f"{title}, {', '.join(words[:3])}")
        else:
            found.extend(words[:2])
    if 10 < len(about) < 160 and "http" not in about:
        found.append(" ".join(about.split()))
    return tuple(dict.fromkeys(found))


_EMPTY_WORDS = {
    "clip art", "clipart", "unsorted", "misc", "image", "svg", "media", "public domain", "externalsource",
    "open clip art", "hash(0x)", "unknown", "architetto", "none", "drawing", "png", "inkscape", "lineart",
    "line art", "black and white", "color", "cartoon", "contour", "outline", "coloring book", "icon", "remix",
}  # fmt: skip


_TEACHING = (
    "categorization", "lang", "erase", "explore_monuments", "explore_world_animals", "explore_farm_animals",
    "memory", "babymatch", "babyshapes", "instruments", "algorithm", "enumerate", "solar_system",
)  # fmt: skip
_NO_SUBJECT = re.compile(
    r"background|error|success|question|backcard|emptycard|postpoint|shapeBackground|imageid|alphabets"
    r"|numbers/|monument\d|^(usa|egypt|india|france|germany|wonders)$|/T_|_\d+$|dog\d/|_bg|frame|button",
    re.I,
)


def gcompris() -> Iterator[Picture]:
    """Teaching pictures of GCompris, many of them photos, captioned by their file names."""
    root = apt("gcompris-qt-data") / "usr/share/gcompris-qt/rcc"
    for activity in _TEACHING:
        for inside, data in qt_resources.files(root / f"{activity}.rcc"):
            stem, _, ending = inside.rpartition(".")
            name = stem.rsplit("/", 1)[-1]
            if ending not in {"webp", "svg", "png"} or _NO_SUBJECT.search(stem) or name == activity:
                continue
            caption = tidy(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", re.sub(r"\d+", " ", name)))
            if len(caption) > 2:
                yield Picture("gcompris", f"{activity}/{name}", (caption,), partial(as_it_is, data))


def art4apps() -> Iterator[Picture]:
    """Art4Apps' drawings of things, animals, food and doings, captioned by their file names."""
    root = apt("pysiogame") / "usr/share/games/pysiogame/res/images/art4apps"
    for path in sorted([*root.rglob("*.png"), *root.rglob("*.jpg")]):
        caption = tidy(re.sub(r"^\w\d+_", "", path.stem))
        if len(caption) > 2:
            yield Picture("art4apps", path.relative_to(root).as_posix(), (caption,), path.read_bytes)


def characters() -> Iterator[Picture]:
    """Letters, digits and signs in many fonts."""
    for key, captions, read in glyphs.drawings():
        yield Picture("glyphs", key, captions, read)


_WALLPAPERS = (
    "gnome-backgrounds", "mate-backgrounds", "ukui-wallpapers", "lomiri-wallpapers-20.04",
    "lomiri-wallpapers-16.04", "plasma-workspace-wallpapers",
)  # fmt: skip


def photos() -> Iterator[Picture]:
    """Photos without captions, of wallpaper packages: anchors that keep photos where they are."""
    for package in _WALLPAPERS:
        root = apt(package)
        found = [p for s in ("jpg", "jpeg", "png", "webp") for p in root.rglob(f"*.{s}")]
        largest: dict[str, Path] = {}
        for path in sorted(found, key=lambda p: p.stat().st_size):
            alike = re.sub(r"\d+x\d+", "", path.relative_to(root).as_posix())
            largest[alike] = path
        for alike, path in sorted(largest.items()):
            if "screenshot" not in alike and path.stat().st_size > 40_000:
                yield Picture("wallpapers", f"{package}/{alike}", (), path.read_bytes)


_SAMPLES = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "gravel.png",
    "grass.png", "hubble_deep_field.jpg", "motorcycle_left.png", "rocket.jpg", "china.jpg", "flower.jpg",
)  # fmt: skip


def samples() -> Iterator[Picture]:
    """Photos that scikit-image (CC0, public domain) and scikit-learn (CC-BY) carry in their wheels."""
    for package in ("scikit-image", "scikit-learn"):
        for path in sorted(wheel(package).rglob("*.*")):
            if path.name in _SAMPLES:
                yield Picture("samples", path.name, (), path.read_bytes)


def _set(name: str, licence: str, permissive: bool, named_in_full: bool = True) -> Source:
    made = partial(iconify, name, named_in_full)
    return Source(name, "npm", f"@iconify-json/{name}", licence, permissive, made)


SOURCES: tuple[Source, ...] = (
    Source(STAMPS, "Debian", "tuxpaint-stamps-default", "GPL-2+ and others", False, stamps),
    Source("openclipart", "Debian", "openclipart-svg, openclipart-png", "public domain", True, openclipart),
    Source("fluent-emoji-3d", "npm", "@lobehub/fluent-emoji-3d", "MIT", True, fluent_3d),
    _set("fluent-emoji-flat", "MIT", True),
    _set("noto", "Apache-2.0", True),
    _set("twemoji", "CC-BY-4.0", True),
    _set("emojione", "CC-BY-4.0", True),
    _set("fxemoji", "Apache-2.0", True, named_in_full=False),
    _set("streamline-emojis", "CC-BY-4.0", True),
    _set("openmoji", "CC-BY-SA-4.0", False),
    _set("streamline-ultimate-color", "CC-BY-4.0", True),
    _set("streamline-freehand-color", "CC-BY-4.0", True),
    Source("gcompris", "Debian", "gcompris-qt-data", "GPL-3+ and others", False, gcompris),
    Source("art4apps", "Debian", "pysiogame", "CC-BY-SA-3.0, GPL-3+", False, art4apps),
    Source("glyphs", "Debian", ", ".join(glyphs.FONTS), "our drawings", True, characters),
    Source("samples", "PyPI", "scikit-image, scikit-learn", "CC0 and CC-BY", True, samples),
    Source("wallpapers", "Debian", ", ".join(_WALLPAPERS), "CC-BY-SA and others", False, photos),
)
"""Names of emoji come from the npm package `emojibase-data` (MIT), which takes them from CLDR."""


def gather(permissive_only: bool = False) -> list[Picture]:
    """Every picture of every source, without those under copyleft terms if `permissive_only`.

    The held-out stamps are there too (marked), whichever sources are asked for: they are the test.
    """
    found: list[Picture] = []
    for source in SOURCES:
        if source.permissive or not permissive_only:
            found.extend(source.pictures())
        elif source.name == STAMPS:
            found.extend(p for p in source.pictures() if p.held_out)
    return found
