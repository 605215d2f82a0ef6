"""Drawings (SVG) through resvg, in a process of its own, with nothing of theirs that leads outside.

resvg is safe against memory errors, not against what a drawing may ask for: nested a thousand deep, a
pattern a million pixels wide or a filter of minutes take its process with them. So it runs in a small one
with limits, which also starts fresh in the face of anything that a drawing does to it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import lru_cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from multimodal.errors import ReadError
from multimodal.readers.colour import to_srgb
from multimodal.readers.openers import open_picture

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 1024
"""Pixels of the longer side of a drawing."""
MAX_BYTES = 16 * 2**20
"""Of the file, and of what its entities make of it four times that."""
SECONDS = 20.0
"""A drawing that takes longer is given up; half a second is much."""
MEMORY = 2**30
"""Bytes that the process may ask for (Linux)."""

# Arguments: where resvg_py lies, the longer side, the memory; the drawing comes in, a PNG goes out.
_RENDER = """
import sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
    if sys.platform == "linux":
        most = int(sys.argv[3])
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        if hard == resource.RLIM_INFINITY or most <= hard:
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
except (ImportError, OSError, ValueError):
    pass
sys.path.insert(0, sys.argv[1])
import resvg_py
side, family = int(sys.argv[2]), sys.argv[4] or None
drawing = sys.stdin.buffer.read().decode("utf-8")
try:
    picture = resvg_py.svg_to_bytes(
        svg_string=drawing, background="white", width=side, height=side, dpi=96, font_family=family,
        serif_family=family, sans_serif_family=family, monospace_family=family,
    )
except ValueError as error:
    sys.stdout.buffer.write(b"?" + str(error).encode("utf-8", "replace"))
else:
    sys.stdout.buffer.write(bytes(picture))
"""


_DATA = re.compile(r"\s*data:image/(?:png|jpe?g|gif|webp)[;,]")
_LEFT_OUT = ("script", "foreignObject")
_FAMILIES = {
    "Arial": "[Aa]rial.ttf",
    "Liberation Sans": "LiberationSans-Regular.*",
    "DejaVu Sans": "DejaVuSans.ttf",
    "Noto Sans": "NotoSans-Regular.*",
    "FreeSans": "FreeSans.*",
}
_LONGEST_ENTITY = 100
"""Characters; Illustrator declares entities for the names of its namespaces, all shorter."""


class Drawing(NamedTuple):
    """An SVG without what leads outside, and the title and description of the whole of it."""

    text: str
    captions: list[str]


class _Refused(Exception):
    """The reason why a drawing is not given to the renderer."""


def read_drawing(file: BinaryIO) -> Drawing:
    """The drawing in a file, its entities resolved; pictures are kept where they stand inside it.

    Raises ReadError for one that is damaged, above MAX_BYTES, or that declares more than plain entities.
    """
    if file.seek(0, 2) > MAX_BYTES:
        raise ReadError(f"the drawing is larger than {MAX_BYTES // 2**20} MB")
    file.seek(0)
    copy = _Copy()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.EntityDeclHandler = copy.entity
    parser.StartElementHandler = copy.start
    parser.EndElementHandler = copy.end
    parser.CharacterDataHandler = copy.characters
    try:
        parser.Parse(file.read(), True)  # at once: in pieces a long attribute is scanned again for each
    except _Refused as error:
        raise ReadError(str(error)) from None
    except (expat.ExpatError, LookupError, ValueError) as error:
        truncated = getattr(error, "code", None) in (3, 5)  # no element, unclosed token
        raise ReadError(f"the drawing is {'truncated' if truncated else 'damaged'}: {error}") from error
    return Drawing("".join(copy.parts), [text for text in copy.captions if text.strip()])


class _Copy:
    """Writes a drawing again while it is parsed, without what leads outside."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.captions: list[str] = []
        self._size = self._depth = 0
        self._skipped: int | None = None  # depth of the element that is left out
        self._caption = False

    def entity(self, _name: str, _parameter: bool, value: str | None, *_: object) -> None:
        if value is not None and ("&" in value or len(value) > _LONGEST_ENTITY):
            raise _Refused("the drawing is damaged: its entities could grow without bounds")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        local = name.rpartition(":")[2]
        if self._skipped is None and local in _LEFT_OUT:
            self._skipped = self._depth
        self._caption = self._depth == 2 and local in ("title", "desc")
        if self._caption:
            self.captions.append("")
        if self._skipped is None:
            kept = (f" {key}={quoteattr(value)}" for key, value in attributes.items() if _inside(key, value))
            self._write(f"<{name}{''.join(kept)}>")

    def end(self, name: str) -> None:
        if self._skipped is None:
            self._write(f"</{name}>")
        elif self._skipped == self._depth:
            self._skipped = None
        self._caption = False
        self._depth -= 1

    def characters(self, text: str) -> None:
        if self._caption:
            self.captions[-1] += text
        if self._skipped is None:
            self._write(escape(text))

    def _write(self, part: str) -> None:
        self._size += len(part)
        if self._size > 4 * MAX_BYTES:
            raise _Refused("the drawing is damaged: its entities grow without bounds")
        self.parts.append(part)


def _inside(key: str, value: str) -> bool:
    """Whether an attribute stays within the drawing: every reference but to a file or a page."""
    if key.rpartition(":")[2] != "href":
        return True
    return value.lstrip().startswith("#") or _DATA.match(value) is not None


def render(drawing: Drawing, min_side: int | None = None) -> Image:
    """The drawing on white, RGB, its longer side SIDE pixels, reduced where `min_side` allows.

    Raises ReadError for one that makes no sense, or takes too long or too much memory.
    """
    spec = find_spec("resvg_py")
    assert spec is not None and spec.origin is not None  # reader_for asked for it
    home = str(Path(spec.origin).parent.parent)
    command = [sys.executable, "-I", "-S", "-c", _RENDER, home, str(SIDE), str(MEMORY), _family()]
    try:
        done = subprocess.run(
            command, input=drawing.text.encode("utf-8"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            timeout=SECONDS, check=False, creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ReadError(f"the drawing takes longer than {SECONDS:.0f} s to render") from None
    except OSError as error:
        raise ReadError("the drawing cannot be rendered: no process can be started") from error
    if done.returncode or not done.stdout:
        raise ReadError("the drawing asks for more memory or depth than it may have")
    if done.stdout.startswith(b"?"):
        why = " ".join(done.stdout[1:].decode("utf-8", "replace").split())[:100]
        raise ReadError(f"the drawing is damaged: {why}")
    image = open_picture("png", BytesIO(done.stdout), None)
    image.load()
    return to_srgb(image, min_side)


@lru_cache(maxsize=1)
def _family() -> str:
    """A font that is there, for texts whose own is not; empty where resvg's own choice will be (Arial).

    Elsewhere than on Linux that is part of the system; here it depends on who set the machine up.
    """
    if sys.platform != "linux":
        return ""
    folders = [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".local/share/fonts"]
    for family, name in _FAMILIES.items():
        if any(next(folder.rglob(name), None) is not None for folder in folders if folder.is_dir()):
            return family
    return ""
