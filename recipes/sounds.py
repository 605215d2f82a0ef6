"""Sounds to learn from: files in Debian packages, with captions made of their names where those say much.

`gather()` decodes everything once into `build/audio/`: `samples.i16` (one after another, mono, 16 kHz)
and `clips.json`. Captions come from file names by `caption_of`, from the text beside a Tux Paint stamp
and from the preset names of a General MIDI sound font.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.containers import members
from recipes.fetch import BUILD, apt
from recipes.instruments import played_instruments
from recipes.sound_sources import SOURCES, SUFFIXES, Source
from recipes.split import held_out

RATE = 16_000
AUDIO = BUILD / "audio"
PIECE_SECONDS = 10
PIECES = 3
"""A sound longer than 30 s gives three pieces of 10 s, at 5, 50 and 90 % of the room there is."""
TEST_CLIPS = 200
TEST_UNSEEN = 120
"""So many of the test's captions never occur in training; the other 80 do, as other takes of the sound."""

EXCLUDED = Path(__file__).with_name("samples_exclude.txt")
"""Files that samples/ is made of: package, path, SHA-256 a line."""
STAMPS = "tuxpaint-stamps-default"
WORDS = {
    "bd": "bass drum", "sd": "snare drum", "sn": "snare drum", "hh": "hi-hat", "hihat": "hi-hat",
    "bassdrum": "bass drum", "hhclosed": "closed hi-hat", "hhopen": "open hi-hat", "hhpedal": "hi-hat pedal",
    "rsnare": "snare rimshot", "rimshot": "rim shot", "tomtom": "tom drum", "tom": "tom drum",
    "perc": "percussion",
    "elec": "electronic", "guit": "guitar", "ambi": "ambient", "amb": "ambience", "fs": "footsteps on",
    "footstep": "footsteps", "foorstep": "footsteps", "sidestick": "drum side stick",
    "lacut": "", "ride": "ride cymbal", "trafic": "traffic", "croud": "crowd", "ele": "elephant",
    "clave": "claves", "xylofon": "xylophone", "eleattack": "elephant attack", "elewalk": "elephant walk",
    "floortom": "floor tom drum", "dijjeridoo": "didgeridoo", "bassslap": "slap bass", "moo": "cow moo",
    "e": "electric", "cattle": "cow", "jav": "javelin", "synth": "synthesizer", "gather": "gathering",
    "treeexpire": "tree", "lumber": "chopping", "fieldexpire": "field", "swordhit": "sword hit",
    "con": "construction", "mstep": "horse steps", "xing": "crossing",
}  # fmt: skip
UNSAID = re.compile(
    r"undefined|default|message|attention|lobby|chat|occupied|under attack|race|lap |swap|portal|locked"
    r"|appear|goal|gravity|suicide|riot|^win$|^lose$|^era|invalid|refresh|year|upgrade|lifeup|invincible"
    r"|totem|tada|excellent|well ?done|cleared|create|^place|^dug|energy|no mana|level up|loot|phys$|ment$"
    r"|^dark$|^goo$|^wee$|^green$|residential|commune|health|substation|power (solar|coal|line)|monument$"
    r"|industry|^tip$|misc |object|^spiral$|completetask|darken|smudge|^apert|weird|^item|sam song"
    r"|not lost|supreme|counterpoint|entropy|ubports|console|^start$|^stop$|^build$|^construct$"
    r"|^settlement$|warehouse|main square|matrix|^afro|peculiar"
)
"""Names that tell what happens in a game or on a desktop, not what is heard."""
MOST_WORDS = 6
NOISE = re.compile(
    r"^(\d+\w{0,2}|[a-df-z]|sounds?|sfx|snd|loop|sel|select|order|trained|long|new|old|default|la|lr|cut|gen|med"
    r"|ee|vp|mic|soft|softest|hard|hardest|medium|normal|ogg|wav|freesound|stereo|mono|expire|cvs|hse|kit)$"
)


@dataclass(frozen=True)
class Clip:
    """One decoded sound: where it came from, its caption or None, its place in `samples.i16`.

    `part` is "train", "test" or "seen-test" (in the test, its caption is in training as well). Clips
    with one `group` (source and caption) are takes of the same sound.
    """

    key: str
    package: str
    caption: str | None
    group: str
    part: str
    permissive: bool
    start: int
    length: int


def gather() -> tuple[list[Clip], NDArray[np.int16]]:
    """The clips and their samples (n,) int16 at 16 kHz, decoded once; sources that fail are reported."""
    listing, store = AUDIO / "clips.json", AUDIO / "samples.i16"
    if not listing.is_file():
        AUDIO.mkdir(parents=True, exist_ok=True)
        rows = _split(_decode_all(store))
        listing.write_text(json.dumps([asdict(row) for row in rows], indent=0), encoding="utf-8")
    clips = [Clip(**row) for row in json.loads(listing.read_text(encoding="utf-8"))]
    return clips, np.memmap(store, np.int16, mode="r")


def caption_of(name: str) -> str:
    """Words of a file name: camel case and separators split, takes and numbers dropped, shorthand spelt out.

    >>> caption_of("Animals/bird_loop_02")
    'bird'
    """
    stem = name.rsplit("/", 1)[-1]
    quoted = re.match(r'\d+ "(?:[A-Z][a-z]+: )?([^"(]+)', stem)
    if quoted:
        stem = quoted[1]
    stem = re.sub(r"^LR(?=[A-Z])", "", stem)
    stem = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])", " ", stem)
    words = [word.lower() for word in re.split(r"[\W_]+", stem)]
    words = [WORDS.get(word, word) for word in words if word and not NOISE.match(word)]
    return " ".join(dict.fromkeys(filter(None, words)))


def plain_caption(caption: str) -> str:
    """A caption in lower case without an article in front: what two captions are compared by."""
    return re.sub(r"^(an?|the|some) ", "", caption.lower())


def _decode_all(store: Path) -> list[dict[str, Any]]:
    """Write every sound's samples to `store`, one after another; rows lack only their part."""
    rows: list[dict[str, Any]] = []
    at, known = 0, set()
    excluded = {
        line.split()[-1] for line in EXCLUDED.read_text(encoding="utf-8").splitlines() if line[:1] != "#"
    }
    with store.open("wb") as out, ThreadPoolExecutor(2) as pool:
        for source in SOURCES:
            try:
                found = list(_files(source))
            except SystemExit as error:
                print(f"left out {source.package}: {error}", flush=True)
                continue
            count = len(rows)
            decoded = pool.map(lambda item: _decode(item[2]), found)
            for (key, caption, content), pieces in zip(found, decoded, strict=True):
                for number, samples in enumerate(pieces):
                    digest = blake2b(samples.tobytes(), digest_size=8).digest()
                    if digest in known or not samples.any():
                        continue
                    known.add(digest)
                    out.write(samples.tobytes())
                    rows.append(
                        {
                            "key": f"{key}#{number}" if number else key,
                            "package": source.package,
                            "caption": caption,
                            "group": f"{source.package}|{caption}" if caption else f"{source.package}|{key}",
                            "permissive": source.permissive,
                            "excluded": sha256(content).hexdigest() in excluded,
                            "start": at,
                            "length": len(samples),
                        }
                    )
                    at += len(samples)
            seconds = sum(row["length"] for row in rows[count:]) / RATE
            labelled = sum(row["caption"] is not None for row in rows[count:])
            print(
                f"{source.package}: {len(rows) - count} clips, {labelled} with captions,"
                f" {seconds / 60:.1f} min",
                flush=True,
            )
    return rows


def _files(source: Source) -> Iterator[tuple[str, str | None, bytes]]:
    """(key, caption or None, encoded sound) of one source, in the order of their names."""
    if source.played:
        yield from played_instruments(apt(source.package))
        return
    folder = apt(source.package)
    names: list[tuple[str, bytes | Path]] = []
    for path in sorted(folder.glob("**/*")):
        if path.is_file() and path.name.lower().endswith(SUFFIXES):
            names.append((path.relative_to(folder).as_posix(), path))
        elif source.archives and path.is_file() and re.search(source.archives, path.name):
            names += [(f"{path.name}/{name}", data) for name, data in members(path, SUFFIXES)]
    for name, data in names:
        if source.skip and re.search(source.skip, name):
            continue
        content = data if isinstance(data, bytes) else data.read_bytes()
        yield f"{source.package}/{name}", _caption(source, name, folder), content


def _caption(source: Source, name: str, folder: Path) -> str | None:
    if source.package == STAMPS:
        beside = (folder / name).with_suffix(".txt")
        lines = beside.read_text(encoding="utf-8", errors="replace").splitlines() if beside.is_file() else []
        text = lines[0].strip().rstrip(".!") if lines else ""
        return text if 0 < len(text.split()) <= MOST_WORDS and "/symbols/" not in name else None
    if not source.labelled or not re.search(source.labelled, name):
        return None
    stem = name.rsplit(".", 1)[0]
    if source.folder:
        parent, _, last = stem.rpartition("/")
        stem = f"{parent.rpartition('/')[2].removesuffix('.ocg')} {last}"
    caption = caption_of(re.sub(source.strip, "", stem) if source.strip else stem)
    if len(caption) < 3 or len(caption.split()) > MOST_WORDS or UNSAID.search(caption):
        return None
    return caption


def _decode(content: bytes) -> list[NDArray[np.int16]]:
    """Mono pieces at 16 kHz; none when the sound cannot be read or is shorter than 50 ms."""
    import soundfile
    import soxr

    try:
        samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    except soundfile.SoundFileError:
        return []
    mono = samples.mean(axis=1)
    cuts = [(0, len(mono))]
    if len(mono) > PIECES * PIECE_SECONDS * rate:
        room = len(mono) - PIECE_SECONDS * rate
        cuts = [(int(room * at), int(room * at) + PIECE_SECONDS * rate) for at in (0.05, 0.5, 0.9)]
    pieces = [soxr.resample(mono[a:b], rate, RATE, quality="HQ") for a, b in cuts]
    return [_int16(piece) for piece in pieces if len(piece) > RATE // 20]


def _int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    peak = max(float(np.abs(samples).max()), 1e-5)
    return np.round(samples * (0.9 * 32767 / max(peak, 0.01))).astype(np.int16)


def _hash(text: str) -> int:
    return int(blake2b(text.encode(), digest_size=8).hexdigest(), 16)


def _stamp_key(key: str) -> str:
    inner = key.split("/stamps/", 1)[-1].rsplit(".", 1)[0]
    return re.sub(r"_desc.*$|_[a-z]{2}(_[A-Za-z]{2})?$", "", inner)


def _split(rows: list[dict[str, Any]]) -> list[Clip]:
    """Choose the 200 test clips by hash, at most one clip of a group, and leave their groups' fate clear.

    First, what samples/ holds and every held-out Tux Paint sound leave training; those with a caption
    enter the test. Then
    whole groups are drawn by the hash of their name until 120 test captions occur nowhere in training,
    then single clips of groups with at least three takes until there are 200.
    """
    part = {row["key"]: "train" for row in rows}
    groups: dict[str, list[str]] = {}
    captions: dict[str, set[str]] = {}
    for row in rows:
        if row["package"] == STAMPS and held_out(_stamp_key(row["key"])):
            part[row["key"]] = "held-out"
            if (
                not row["excluded"]
                and row["caption"]
                and "_desc" not in row["key"]
                and "/symbols/" not in row["key"]
            ):
                part[row["key"]] = "test"
        elif row["excluded"]:
            part[row["key"]] = "held-out"
        elif row["caption"]:
            groups.setdefault(row["group"], []).append(row["key"])
            captions.setdefault(row["caption"].lower(), set()).add(row["group"])
    caption = {row["group"]: row["caption"].lower() for row in rows if row["caption"]}
    chosen = sum(value == "test" for value in part.values())
    unseen = chosen
    order = sorted(groups, key=_hash)
    for group in order:
        if unseen >= TEST_UNSEEN:
            break
        if len(captions[caption[group]]) == 1:
            first, *others = sorted(groups.pop(group), key=_hash)
            part[first] = "test"
            part.update(dict.fromkeys(others, "held-out"))
            unseen, chosen = unseen + 1, chosen + 1
    for group in order:
        if chosen < TEST_CLIPS and len(groups.get(group, [])) >= 3:
            part[min(groups[group], key=_hash)] = "seen-test"
            chosen += 1
    return [
        Clip(part=part[row["key"]], **{name: value for name, value in row.items() if name != "excluded"})
        for row in rows
    ]
