"""Captions and subtitles that mean harm, beside sound pictures and videos."""

from __future__ import annotations

import json
from pathlib import Path

from tests import media, media_images
from tests.hostile.bombs import LAUGHS
from tests.hostile.harness import contents, report, run

SIDECARS = {
    "half.json": b'{"caption": "one \\ud800 half", "title": "\\udfff\\u0000\\u001b[31m"}',
    "deep.json": b'{"caption": ' + b"[" * 200_000,
    "list.json": b"[" + b"1," * 100_000 + b"1]",
    "number.json": b'{"caption": ' + b"9" * 5000 + b"}",
    "many.json": json.dumps({f"key{n}": f"words {n}" for n in range(50_000)}).encode(),
    "binary.json": bytes(range(256)) * 10,
    "laughs.xmp": LAUGHS + b"<x>&m;</x>",
    "torn.xmp": media_images.xmp("A title", "a description")[:200],
    "binary.txt": bytes(range(256)) * 10,
    "wide.txt": "breite Wörter".encode("utf-16"),
    "empty.txt": b"",
    "long.txt": b"word " * 2_000_000,
    "cues.srt": b"1\n00:00:00,000 --> 00:00:01,000\n" + b"<i>{\\an8}" * 50_000,
    "torn.vtt": b"WEBVTT\n\n00:00.000 --> ",
}


def test_hostile_captions_take_nothing_from_their_pictures(tmp_path: Path) -> None:
    for name in SIDECARS:
        stem, suffix = Path(name).stem, Path(name).suffix
        (tmp_path / name).write_bytes(SIDECARS[name])
        kind = ".mp4" if suffix in (".srt", ".vtt") else ".png"
        media.write(tmp_path / f"{stem}{suffix[1:]}{kind}", 1)
        (tmp_path / name).rename(tmp_path / f"{stem}{suffix[1:]}{suffix}")
    (tmp_path / "out").mkdir()
    note = tmp_path / "out" / "report.jsonl"
    done = run("index", tmp_path, "--exclude", "out", "--report", note, "--quiet")
    assert done.returncode == 3 and "Traceback" not in done.stderr, done.stderr
    told = {Path(record["path"]).name: record for record in report(note)}
    assert len(told) == 2 * len(SIDECARS)
    for name, record in told.items():
        if name.endswith((".png", ".mp4")):
            assert (record["status"], record["reason"]) == ("added", None)
        else:
            assert record["reason"] and record["status"] in ("added", "failed"), record
    assert told["halfjson.json"]["status"] == told["widetxt.txt"]["status"] == "added"
    assert told["deepjson.json"]["status"] == told["binarytxt.txt"]["status"] == "failed"
    _, segments = contents(tmp_path / ".multimodal")
    texts = [str(row[6]) for row in segments if row[10] == "caption"]
    assert any("breite Wörter" in text for text in texts) and any("half" in text for text in texts)
    shown = run("search", "half", "--library", tmp_path / ".multimodal", "-k", "50", "--in", "text")
    assert shown.returncode == 0 and "\x1b" not in shown.stdout
