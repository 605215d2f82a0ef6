"""Labels written into XMP sidecars, beside what photo managers keep there.

`dc:subject` takes the labels, `lr:hierarchicalSubject` the paths of those that lie below others
("animal|dog", as Lightroom, digiKam and darktable write them). All else in a sidecar stays as it is.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from multimodal.errors import QueryError

X, RDF = "adobe:ns:meta/", "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DC, LR = "http://purl.org/dc/elements/1.1/", "http://ns.adobe.com/lightroom/1.0/"
MAX_BYTES = 16 * 2**20
"""A sidecar above this is something else."""


def sidecar_of(media: Path) -> Path:
    """Where the sidecar of a file lies: the one that is there, else NAME.EXT.xmp."""
    whole = media.with_name(media.name + ".xmp")
    short = media.with_suffix(".xmp")
    return short if short.is_file() and not whole.is_file() else whole


def write_labels(media: Path, paths: Sequence[tuple[str, ...]]) -> Path:
    """Add labels, each the way to it from the top of its tree, to the sidecar of a file; gives the sidecar.

    Those that are there stay, none is written twice, and the sidecar is replaced as a whole. Raises
    QueryError where it cannot be read as XMP or written; then nothing has changed.
    """
    from lxml import etree

    target = sidecar_of(media)
    root = _parsed(target) if target.exists() else None
    if root is None:
        root = etree.Element(f"{{{X}}}xmpmeta", nsmap={"x": X})
    rdf = _child(root, RDF, "RDF", {"rdf": RDF})
    description = _child(rdf, RDF, "Description", {"dc": DC, "lr": LR})
    if f"{{{RDF}}}about" not in description.attrib:
        description.set(f"{{{RDF}}}about", "")
    _add(rdf, description, DC, "subject", [path[-1] for path in paths])
    _add(rdf, description, LR, "hierarchicalSubject", ["|".join(path) for path in paths if len(path) > 1])
    etree.indent(root)
    body = etree.tostring(root, encoding="unicode")
    packet = f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n{body}\n<?xpacket end="w"?>\n'
    _replace(target, packet)
    return target


def _parsed(target: Path) -> Any:
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_blank_text=True, huge_tree=False)
    try:
        data = target.read_bytes() if target.stat().st_size <= MAX_BYTES else b""
        tree = etree.fromstring(data.strip(b"\0 \t\r\n"), parser)
    except (OSError, etree.XMLSyntaxError) as error:
        raise QueryError(f"{target} is no XMP sidecar and was left alone: {error}.") from error
    if tree.getroottree().docinfo.doctype or tree.tag not in (f"{{{X}}}xmpmeta", f"{{{RDF}}}RDF"):
        raise QueryError(f"{target} is no XMP sidecar and was left alone.")
    return tree


def _child(parent: Any, namespace: str, name: str, names: dict[str, str]) -> Any:
    from lxml import etree

    tag = f"{{{namespace}}}{name}"
    if parent.tag == tag:  # a packet without its envelope
        return parent
    found = parent.find(tag)
    return etree.SubElement(parent, tag, nsmap=names) if found is None else found


def _add(rdf: Any, description: Any, namespace: str, name: str, words: Sequence[str]) -> None:
    """Add words to a bag of the first description that has it, or to a new one."""
    from lxml import etree

    found = next(iter(rdf.iter(f"{{{namespace}}}{name}")), None)
    if found is None and not words:
        return
    if found is None:
        found = etree.SubElement(description, f"{{{namespace}}}{name}")
    bag = next(
        (
            found.find(f"{{{RDF}}}{kind}")
            for kind in ("Bag", "Seq")
            if found.find(f"{{{RDF}}}{kind}") is not None
        ),
        None,
    )
    if bag is None:
        bag = etree.SubElement(found, f"{{{RDF}}}Bag")
    known = {" ".join((item.text or "").split()) for item in bag}
    for word in dict.fromkeys(words):
        if word not in known:
            etree.SubElement(bag, f"{{{RDF}}}li").text = word


def _replace(target: Path, text: str) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        reason = (error.strerror or str(error)).lower()
        raise QueryError(f"{target} cannot be written: {reason}.") from error
