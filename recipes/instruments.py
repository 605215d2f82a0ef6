"""Every instrument of a General MIDI sound font, played by fluidsynth: labelled, no recording needed."""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

TICKS = 480
"""Ticks of a quarter note, half a second."""
PHRASES: tuple[tuple[tuple[int, int, int], ...], ...] = (
    ((0, 960, 60), (960, 960, 64), (1920, 1440, 67)),
    ((0, 240, 50), (240, 240, 53), (480, 240, 57), (720, 240, 62), (960, 240, 57), (1200, 960, 50)),
    ((0, 1920, 55), (0, 1920, 59), (0, 1920, 62)),
)
"""(start, length, key) in ticks and MIDI keys: a slow arpeggio, a quick low run, a chord."""


def played_instruments(folder: Path) -> Iterator[tuple[str, str | None, bytes]]:
    """(key, name of the preset, WAV file) of each melodic preset and phrase. Needs `fluidsynth` (on PATH)."""
    font = next(folder.glob("**/*.sf2"))
    for program, name in presets(font.read_bytes()):
        for number, phrase in enumerate(PHRASES):
            with tempfile.TemporaryDirectory() as scratch:
                midi, wav = Path(scratch) / "in.mid", Path(scratch) / "out.wav"
                midi.write_bytes(midi_file(program, phrase))
                command = ["fluidsynth", "-ni", "-q", "-r", "16000", "-F", str(wav), str(font), str(midi)]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode or not wav.is_file():
                    raise SystemExit(f"fluidsynth failed: {done.stderr.strip()}")
                yield f"{folder.name}/{program:03d} {name} {number}", name.lower(), wav.read_bytes()


def presets(font: bytes) -> list[tuple[int, str]]:
    """(program 0-127, name) of bank 0, from the `phdr` chunk of a SoundFont 2 file."""
    at = font.index(b"phdr")
    size = struct.unpack_from("<I", font, at + 4)[0]
    records = [struct.unpack_from("<20sHH", font, at + 8 + i) for i in range(0, size - 38, 38)]
    return sorted(
        (program, name.split(b"\0")[0].decode("latin-1")) for name, program, bank in records if bank == 0
    )


def midi_file(program: int, phrase: tuple[tuple[int, int, int], ...]) -> bytes:
    """A standard MIDI file, one track: choose the program, then the notes of the phrase."""
    events = [(0, bytes([0xC0, program]))]
    for start, length, key in phrase:
        events += [(start, bytes([0x90, key, 96])), (start + length, bytes([0x80, key, 0]))]
    events.sort(key=lambda event: event[0])
    track, now = b"", 0
    for at, message in events:
        track += _variable(at - now) + message
        now = at
    track += _variable(TICKS) + b"\xff\x2f\x00"
    header = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, TICKS)
    return header + struct.pack(">4sI", b"MTrk", len(track)) + track


def _variable(value: int) -> bytes:
    """MIDI's variable-length number: 7 bits a byte, all but the last with the high bit set."""
    out = bytes([value & 0x7F])
    while value := value >> 7:
        out = bytes([0x80 | (value & 0x7F)]) + out
    return out
