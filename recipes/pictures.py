"""Gather pictures with captions, and photos without, from packages: one table row a source.

A picture is described, not copied: `Picture.open()` renders it when its features are computed.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image

from recipes import glyphs, qt_resources
from recipes.fetch import apt, npm, wheel
from recipes.split import held_out

RENDER = 320
"""Pixels of the longer side of rendered drawings: above the 260 the tower looks at."""
MAX_PIXELS = 40_000_000
LARGEST_SVG = 4_000_000
STAMPS = "tuxpaint-stamps"


@dataclass(frozen=True)
class Picture:
    """One picture and what is said about it.

    `captions` come best first; empty for an unlabelled photo. `held_out` marks stamps that no training
    may see, `drawn` is False for those that exist as SVG alone, which the tests leave out.
    """

    source: str
    key: str
    captions: tuple[str, ...]
    read: Callable[[], bytes]
    held_out: bool = False
    drawn: bool = True

    def open(self) -> Image.Image:
        """The picture as RGBA, its longer side at most 640 pixels (RENDER for drawings)."""
        data = self.read()
        if data.lstrip()[:1] == b"<":
            data = _render(data)
        picture = Image.open(io.BytesIO(data))
        if picture.width * picture.height > MAX_PIXELS:
            picture.draft("RGB", (2000, 2000))
        picture = picture.convert("RGBA")
        picture.thumbnail((640, 640), Image.Resampling.BICUBIC)
        return picture


@dataclass(frozen=True)
class Source:
    """A row of the table: `package` as the registry names it, `permissive` = no copyleft terms."""

    name: str
    registry: str
    package: str
    licence: str
    permissive: bool
    pictures: Callable[[], Iterator[Picture]]


def _render(svg: bytes) -> bytes:
    import resvg_py

    if len(svg) > LARGEST_SVG:
        raise ValueError(f"a drawing of {len(svg)} bytes")
    text = svg.decode("utf-8", errors="replace")
    return bytes(resvg_py.svg_to_bytes(svg_string=text, width=RENDER, skip_system_fonts=True))


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


_FILE_WORDS = re.compile(r"\b(architetto|francesco|rollandin|archite|svg|clip ?art|icon|\d+)\b", re.I)


def tidy(text: str) -> str:
    """A file or metadata title as words: `Blue_truck-02` becomes `blue truck`."""
    text = re.sub(r"\([^)]*\)", " ", text)
    text = re.sub(r"[_/|\-]+", " ", text)
    text = _FILE_WORDS.sub(" ", text)
    text = re.sub(r"(?<=[a-z])\d+\b|[^\w\s',&]", " ", text)
    return " ".join(text.lower().split()).strip(" ,'")


@lru_cache(maxsize=1)
def _emoji_words() -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """CLDR names and keywords of every emoji, by code points (no selectors) and by joined letters."""
    by_code: dict[str, tuple[str, ...]] = {}
    by_letters: dict[str, tuple[str, ...]] = {}
    data = json.loads((npm("emojibase-data") / "package/en/data.json").read_text(encoding="utf-8"))
    for entry in data:
        captions = _emoji_captions(entry["label"], entry.get("tags", []))
        by_code[re.sub(r"-FE0F|-200D", "", entry["hexcode"]).lower()] = captions
        by_letters[_letters(entry["label"])] = captions
    return by_code, by_letters


def _letters(label: str) -> str:
    """`Man: bald` and `man-bald` and `manbald`, the sets' ways to write a name, as one."""
    return re.sub(r"[^a-z0-9]", "", label.lower().replace("flag-for", "flag"))


def _emoji_captions(label: str, tags: list[str]) -> tuple[str, ...]:
    words = [t for t in tags if t.lower() not in label.lower()]
    found = [label.replace(":", ",")]
    if words:
        found.append(f"{label}, {', '.join(words[:4])}")
        found.append(", ".join(tags[:5]))
    return tuple(found)


_SKIN = re.compile(r"skin-tone|-tone\d|-(light|medium|dark|medium-light|medium-dark)$")


def iconify(name: str, named_in_full: bool = True) -> Iterator[Picture]:
    """A set of drawings of the npm package `@iconify-json/<name>`, captioned by CLDR or its names.

    Sets of emoji are captioned by CLDR; a name that CLDR lacks is taken as it is, unless the set
    writes names as one word (`named_in_full` False).
    """
    folder = npm(f"@iconify-json/{name}") / "package"
    icons = json.loads((folder / "icons.json").read_text(encoding="utf-8"))
    words = _emoji_words()[1]
    for slug, icon in icons["icons"].items():
        captions = words.get(_letters(slug)) or ((tidy(slug),) if named_in_full else ())
        if not captions or len(captions[0]) < 3 or _SKIN.search(slug):
            continue
        size = [icon.get(side, icons.get(side, 16)) for side in ("width", "height")]
        box = f"{icon.get('left', 0)} {icon.get('top', 0)} {size[0]} {size[1]}"
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{box}" width="{size[0]}" height="{size[1]}">{icon["body"]}</svg>'
        ).encode()
        yield Picture(name, slug, captions, partial(_same, svg))


def _same(data: bytes) -> bytes:
    return data


def fluent_3d() -> Iterator[Picture]:
    """Microsoft's Fluent emoji in three dimensions, captioned by CLDR names."""
    by_code = _emoji_words()[0]
    for path in sorted((npm("@lobehub/fluent-emoji-3d") / "package/assets").glob("*.webp")):
        captions = by_code.get(re.sub(r"-fe0f|-200d", "", path.stem.lower()))
        if captions:
            yield Picture("fluent-emoji-3d", path.stem, captions, path.read_bytes)


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
                yield Picture("gcompris", f"{activity}/{name}", (caption,), partial(_same, data))


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
    _set("icon-park", "Apache-2.0", True),
    _set("game-icons", "CC-BY-3.0", True),
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
