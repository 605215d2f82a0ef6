"""Sets of emoji and icons from npm packages, captioned by the names and keywords of CLDR."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache, partial

from recipes.fetch import npm
from recipes.picture import Picture, as_it_is, tidy


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
        yield Picture(name, slug, captions, partial(as_it_is, svg))


def fluent_3d() -> Iterator[Picture]:
    """Microsoft's Fluent emoji in three dimensions, captioned by CLDR names."""
    by_code = _emoji_words()[0]
    for path in sorted((npm("@lobehub/fluent-emoji-3d") / "package/assets").glob("*.webp")):
        captions = by_code.get(re.sub(r"-fe0f|-200d", "", path.stem.lower()))
        if captions:
            yield Picture("fluent-emoji-3d", path.stem, captions, path.read_bytes)
