"""Makes real picture files of the formats that Pillow alone does not write, with the real encoders.

HEIC, AVIF, JPEG XL and JPEG 2000 come from the codecs' own libraries. No library writes Photoshop, DNG,
cursor and odd TIFF files: those are put together here by their specifications, byte by byte. What only a
camera writes (`UNMADE_EXTENSIONS`) is not made.

`write_image(path, image)` picks the encoder by the extension, `write(path, seed)` writes the picture of a
seed; `xmp`, `iptc`, `exif` and `svg` make what stands inside pictures.
"""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

EXTENSIONS = (
    ".mpo", ".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".j2k", ".psd", ".svg", ".ico", ".cur", ".dng",
)  # fmt: skip
UNMADE_EXTENSIONS = (".arw", ".cr2", ".cr3", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw")
LOSSLESS = (".jp2", ".j2k", ".psd", ".ico", ".cur")

Tags = Mapping[int, tuple[int, Sequence[int] | bytes]]
"""TIFF tag -> its type and its values; rationals as numerators and denominators in turn."""

_STRUCT = {1: "B", 3: "H", 4: "I", 5: "I", 10: "i"}
XYZ_TO_SRGB = (3.2405, -1.5371, -0.4985, -0.9693, 1.8760, 0.0416, 0.0556, -0.2040, 1.0572)


def write(path: Path, seed: int = 0) -> Path:
    """A small valid file of the kind the extension names; another seed gives another picture."""
    from tests.media import picture

    # The views of an MPO are JPEGs in a row: the first is most of the file.
    return write_image(path, picture(seed, 1280, 960) if path.suffix.lower() == ".mpo" else picture(seed))


def write_image(path: Path, image: Image.Image, **save: Any) -> Path:
    """Saves `image` in the format of the extension; `save` goes to its encoder or writer.

    An icon or a cursor holds it at 256 pixels at most.
    """
    suffix = path.suffix.lower()
    if suffix in (".heic", ".heif", ".hif"):
        import pillow_heif

        pillow_heif.register_heif_opener()
        image.save(path, format="HEIF", **{"quality": 90, **save})
    elif suffix == ".jxl":
        import pillow_jxl  # noqa: F401 - registers its encoder

        image.save(path, format="JXL", **save)
    elif suffix == ".mpo":
        view = save.pop("view", Image.new("RGB", (8, 8)))
        image.save(path, format="MPO", save_all=True, append_images=[view], **save)
    elif suffix in (".ico", ".cur"):
        path.write_bytes(icon(image, cursor=suffix == ".cur", **save))
    elif suffix == ".psd":
        path.write_bytes(psd(image, **save))
    elif suffix == ".svg":
        path.write_bytes(svg(image, **save))
    elif suffix == ".dng":
        path.write_bytes(dng(image, **save))
    else:
        image.save(path, **({"quality": 90, **save} if suffix == ".avif" else save))
    return path


def icon(image: Image.Image, cursor: bool = False, **save: Any) -> bytes:
    """An icon with the picture at 16 and at 256 pixels at most; a cursor holds one, which is a bitmap."""
    image = image.copy()
    image.thumbnail((256, 256))
    sizes = [image.size] if cursor else [(16, 16), image.size]
    out = io.BytesIO()
    if cursor:
        save.setdefault("bitmap_format", "bmp")
    image.save(out, format="ICO", sizes=sizes, **save)
    data = bytearray(out.getvalue())
    if cursor:
        data[2] = 2
        data[10:14] = bytes(4)  # where an icon has planes and depth a cursor has its hot spot
    return bytes(data)


def svg(image: Image.Image, title: str = "") -> bytes:
    """A drawing of the size of the picture that holds it as an embedded PNG."""
    out = io.BytesIO()
    image.save(out, format="PNG")
    size = f'width="{image.width}" height="{image.height}"'
    href = "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
    head = f"<title>{title}</title>" if title else ""
    return drawing(f'{head}<image {size} xlink:href="{href}"/>', size)


def drawing(inner: str, size: str = 'width="200" height="100"') -> bytes:
    """An SVG document around `inner`."""
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<svg {names} {size}>{inner}</svg>'.encode()


def psd(
    image: Image.Image,
    bits: int = 8,
    packed: bool = True,
    resources: Mapping[int, bytes] | None = None,
    layers: int = 0,
) -> bytes:
    """A Photoshop file of version 1 with the flattened picture, 8 or 16 bits a channel, in PackBits or raw.

    Mode L, RGB, RGBA, CMYK or LAB. `layers` is the number it states, negative where the fourth channel is
    transparency; no layer follows.
    """
    mode = {"L": 1, "RGB": 3, "RGBA": 3, "CMYK": 4, "LAB": 9}[image.mode]
    values = np.asarray(image).reshape(image.height, image.width, -1)
    if image.mode == "CMYK":
        values = 255 - values
    elif image.mode == "LAB":
        values = values ^ np.array((0, 128, 128), np.uint8)  # signed in a TIFF, from 0 to 255 here
    planes = values.transpose(2, 0, 1)  # (channels, height, width)
    deep = (planes.astype(np.uint16) * 257).astype(">u2") if bits == 16 else planes
    rows = [np.ascontiguousarray(row).tobytes() for plane in deep for row in plane]
    if packed:
        rows = [_packbits(row) for row in rows]
        body = b"\0\1" + struct.pack(f">{len(rows)}H", *map(len, rows)) + b"".join(rows)
    else:
        body = b"\0\0" + b"".join(rows)
    held = b"".join(
        struct.pack(">4sHHI", b"8BIM", number, 0, len(data)) + data + bytes(len(data) % 2)
        for number, data in (resources or {}).items()
    )
    section = struct.pack(">IIh", 6, 2, layers) if layers else struct.pack(">I", 0)
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, len(planes), image.height, image.width, bits, mode)
    return head + struct.pack(">I", 0) + struct.pack(">I", len(held)) + held + section + body


def _packbits(row: bytes) -> bytes:
    """PackBits with runs where three or more bytes are the same."""
    out, at = bytearray(), 0
    while at < len(row):
        run = 1
        while run < 128 and row[at : at + 1] == row[at + run : at + run + 1]:
            run += 1
        if run > 2:
            out += bytes((257 - run, row[at]))
        else:
            run = 1
            out += bytes((0, row[at]))
        at += run
    return bytes(out)


def tiff(pages: Sequence[tuple[Tags, bytes]], below: Sequence[tuple[Tags, bytes]] = ()) -> bytes:
    """A little-endian TIFF of directories with their data in one strip; `below` hang on the first page.

    Directories stand at the front and data at the end, as cameras write them. A page that states its own
    strip offsets (tag 273) keeps them.
    """
    directories = [*pages, *below]
    tags: list[dict[int, tuple[int, Sequence[int] | bytes]]] = [
        {273: (4, [0]), 279: (4, [len(data)]), **given} for given, data in directories
    ]
    if below:
        tags[0][330] = (4, [0] * len(below))
    starts = list(accumulate((len(_directory(one, 0, 0)) for one in tags), initial=8))
    strips = accumulate((len(data) for _, data in directories), initial=starts[-1])
    for (given, _), one, strip in zip(directories, tags, strips, strict=False):
        if 273 not in given:
            one[273] = (4, [strip])
    if below:
        tags[0][330] = (4, starts[len(pages) : -1])
    links = [*starts[1 : len(pages)], *[0] * (1 + len(below))]
    blocks = [_directory(one, start, link) for one, start, link in zip(tags, starts, links, strict=False)]
    return b"II*\0" + struct.pack("<I", 8) + b"".join(blocks) + b"".join(data for _, data in directories)


def _directory(tags: Tags, start: int, link: int) -> bytes:
    """A directory that stands at `start`, the next at `link`, its longer values behind it."""
    entries, values = b"", b""
    beyond = start + 2 + 12 * len(tags) + 4
    for tag, (kind, given) in sorted(tags.items()):
        raw = given if isinstance(given, bytes) else struct.pack(f"<{len(given)}{_STRUCT[kind]}", *given)
        count = len(given) // (2 if kind in (5, 10) else 1)
        if len(raw) > 4:
            place, values = beyond + len(values), values + raw + bytes(len(raw) % 2)
            raw = struct.pack("<I", place)
        entries += struct.pack("<HHI4s", tag, kind, count, raw)
    return struct.pack("<H", len(tags)) + entries + struct.pack("<I", link) + values


def page(image: Image.Image, **more: tuple[int, Sequence[int] | bytes]) -> tuple[Tags, bytes]:
    """The tags and the uncompressed data of a page of mode L or RGB; `more` as t254=(4, [1])."""
    bands = len(image.getbands())
    tags: Tags = {
        256: (4, [image.width]), 257: (4, [image.height]), 258: (3, [8] * bands), 259: (3, [1]),
        262: (3, [2 if bands == 3 else 1]), 277: (3, [bands]), 278: (4, [image.height]), 284: (3, [1]),
    }  # fmt: skip
    return {**tags, **{int(name[1:]): value for name, value in more.items()}}, image.tobytes()


def dng(
    image: Image.Image,
    orientation: int = 1,
    preview: Image.Image | None = None,
    tags: Tags | None = None,
) -> bytes:
    """A DNG 1.4 whose sensor saw `image` through red, green and blue filters, 14 bits, uncompressed.

    With `preview` that JPEG stands in front, as it is stored; the sensor's data are then below it.
    """
    named: Tags = {
        50706: (1, [1, 4, 0, 0]), 50707: (1, [1, 1, 0, 0]), 50708: (2, b"Test Camera\0"), 271: (2, b"Test\0"),
        272: (2, b"Camera\0"), 274: (3, [orientation]), 50721: (10, _rationals(XYZ_TO_SRGB)),
        50728: (5, _rationals((1, 1, 1))), 50778: (3, [21]), **(tags or {}),
    }  # fmt: skip
    sensor: Tags = {
        254: (4, [0]), 256: (4, [image.width]), 257: (4, [image.height]), 258: (3, [16]), 259: (3, [1]),
        262: (3, [32803]), 277: (3, [1]), 278: (4, [image.height]), 284: (3, [1]), 33421: (3, [2, 2]),
        33422: (1, [0, 1, 1, 2]), 50714: (3, [0]), 50717: (3, [16_383]),
    }  # fmt: skip
    seen = _bayer(image).tobytes()
    if preview is None:
        return tiff([({**sensor, **named}, seen)])
    out = io.BytesIO()
    preview.save(out, format="JPEG", quality=92)
    front: Tags = {
        254: (4, [1]), 256: (4, [preview.width]), 257: (4, [preview.height]), 258: (3, [8, 8, 8]),
        259: (3, [7]), 262: (3, [6]), 277: (3, [3]), 278: (4, [preview.height]), 284: (3, [1]),
    }  # fmt: skip
    return tiff([({**front, **named}, out.getvalue())], [(sensor, seen)])


def _bayer(image: Image.Image) -> NDArray[np.uint16]:
    """(height, width) of linear light behind a mosaic of filters RG/GB, white at 16,383."""
    rgb = np.asarray(image.convert("RGB"), np.float64) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = linear[:, :, 1].copy()
    seen[0::2, 0::2] = linear[0::2, 0::2, 0]
    seen[1::2, 1::2] = linear[1::2, 1::2, 2]
    return np.rint(seen * 16_383).astype("<u2")


def _rationals(values: Sequence[float]) -> list[int]:
    return [part for value in values for part in (round(value * 10_000), 10_000)]


def exif(description: str | bytes = b"", title: str = "", keywords: str = "", orientation: int = 0) -> bytes:
    """An Exif block: ImageDescription, XPTitle, XPKeywords and Orientation, those given."""
    text = description if isinstance(description, bytes) else description.encode()
    tags: dict[int, tuple[int, Sequence[int] | bytes]] = {}
    if text:
        tags[270] = (2, text + b"\0")
    if orientation:
        tags[274] = (3, [orientation])
    for tag, words in ((40091, title), (40094, keywords)):
        if words:
            tags[tag] = (1, words.encode("utf-16-le") + b"\0\0")
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + _directory(tags, 8, 0)


def iptc(texts: Mapping[int, Sequence[bytes]]) -> bytes:
    """An IPTC-NAA record of datasets of record 2: 105 headline, 120 caption, 5 object name, 25 keywords."""
    return b"".join(
        struct.pack(">BBBH", 0x1C, 2, number, len(text)) + text
        for number, given in texts.items()
        for text in given
    )


def with_iptc(jpeg: bytes, record: bytes) -> bytes:
    """A JPEG with an IPTC record in the Photoshop segment, before its other segments."""
    held = struct.pack(">4sHHI", b"8BIM", 0x0404, 0, len(record)) + record + bytes(len(record) % 2)
    segment = b"Photoshop 3.0\0" + held
    return jpeg[:2] + struct.pack(">BBH", 0xFF, 0xED, len(segment) + 2) + segment + jpeg[2:]


def xmp(title: str = "", description: str = "", keywords: Sequence[str] = (), headline: str = "") -> bytes:
    """An XMP packet as Adobe's programs write it."""
    parts = ""
    for name, text in (("title", title), ("description", description)):
        if text:
            parts += f'<dc:{name}><rdf:Alt><rdf:li xml:lang="x-default">{text}</rdf:li></rdf:Alt></dc:{name}>'
    if keywords:
        items = "".join(f"<rdf:li>{word}</rdf:li>" for word in keywords)
        parts += f"<dc:subject><rdf:Bag>{items}</rdf:Bag></dc:subject>"
    stated = f' photoshop:Headline="{headline}"' if headline else ""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
        f'{stated}>{parts}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()
