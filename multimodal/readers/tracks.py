"""Subtitles inside a video: the cues of its text tracks through PyAV, joined into passages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from multimodal.readers.container import LONGEST, LONGEST_GAP, open_media, packets, read_only, zero
from multimodal.readers.subtitles import Cue, joined
from multimodal.types import ReadOptions, Segment

MOST_CUES = 200_000
"""Cues that are taken from one file: a film has 2,000 in each of 30 languages. A live stream's, or a damaged
file's, further ones are left out, so that memory stays bounded."""
MOST_CHARS = 20_000_000
"""Characters of all cues together, 100 a cue."""
MOST_CUE_BYTES = 10_000
"""Bytes of one cue; it is broken off there."""
SAME = 0.9
"""A track of which this share of the cues has the words of a track before it says nothing new."""
SHOWN = 4.0
"""Seconds that a cue is shown for where the file does not say."""


def text_streams(container: Any) -> list[Any]:
    """The subtitle streams that hold text (mov_text, subrip, ass, webvtt ...): pictures of text are none."""
    return [s for s in container.streams.subtitles if s.codec_context and s.codec_context.codec.text_sub]


def subtitle_segments(path: Path, options: ReadOptions) -> Iterator[Segment]:
    """What the text tracks of a file say, as text segments with the role "subtitles", by their start.

    Every language is given, each joined for itself as `multimodal.readers.subtitles` joins cues. A track
    that repeats one before it (nine in ten of its cues in the same words: the same language once more
    for the hard of hearing, or only what is said in a foreign one) is left out. The file is gone through
    once; damaged cues are left out. Raises ReadError when it cannot be opened.
    """
    with open_media(path) as container:
        streams = text_streams(container)
        tracks = _tracks(container, streams) if streams else []
    said: set[str] = set()
    passages: list[Cue] = []
    for cues in tracks:
        words = {cue.text for cue in cues}
        if len(words & said) < SAME * len(words):
            passages += joined(sorted(cues), options.passage_chars)
        said |= words
    for cue in sorted(passages, key=lambda cue: cue.start):
        yield Segment("text", cue.text, path, cue.start, cue.end, role="subtitles")


def _tracks(container: Any, streams: Sequence[Any]) -> list[list[Cue]]:
    """The cues of each stream, in the order of the file."""
    tracks: dict[int, list[Cue]] = {stream.index: [] for stream in streams}
    read_only(container, streams)
    origin, count, size = zero(container), 0, 0
    for packet in packets(container, streams):
        cue = _cue(packet, origin)
        if cue is not None:
            tracks[packet.stream_index].append(cue)
            count, size = count + 1, size + len(cue.text)
        if count >= MOST_CUES or size >= MOST_CHARS:
            break
    return list(tracks.values())


def _cue(packet: Any, origin: float) -> Cue | None:
    """What a packet says and when; None where it says nothing or at no possible time."""
    import av

    if not packet.size or packet.pts is None or packet.time_base is None:
        return None
    start = float(packet.pts * packet.time_base) - origin
    shown = float((packet.duration or 0) * packet.time_base)
    shown = min(shown, LONGEST_GAP) if shown > 0 else SHOWN
    if not 0 < start + shown <= LONGEST:
        return None
    try:
        spoken = packet.stream.codec_context.decode2(packet)
    except (av.FFmpegError, ValueError):
        return None
    text = " ".join(_words(bytes(rect.ass)) for rect in spoken or () if rect.type == b"ass")
    text = " ".join(text.split())
    return Cue(max(0.0, start), start + shown, text) if text else None


def _words(line: bytes) -> str:
    r"""The visible text of a dialogue line of ASS, "order,layer,style,name,l,r,v,effect,text".

    Out go override tags such as {\an8}, and what stands between {\p1} and {\p0}: coordinates of a drawing.
    """
    text = line[:MOST_CUE_BYTES].split(b",", 8)[-1].decode("utf-8", "replace")
    drawing, parts = False, []
    for part in re.split(r"(\{[^{}]*\})", text):
        if part.startswith("{") and part.endswith("}"):
            mode = re.search(r"\\p(\d)", part)
            drawing = drawing if mode is None else mode[1] != "0"
        elif not drawing:
            parts.append(part)
    return re.sub(r"\\[Nnh]", " ", "".join(parts))
