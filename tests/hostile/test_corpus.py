"""Every format, damaged in every way: all files accounted for, no crash, no hang, memory bounded."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from multimodal.readers import EXTENSIONS
from tests import media, media_images
from tests.hostile.bombs import LAUGHS, LIMITED, NAMES, SLOW, write_bomb
from tests.hostile.corpus import Run, mutants, offence, read_all
from tests.hostile.harness import contents, report, run
from tests.hostile.mutate import MUTATORS
from tests.hostile.originals import UNMADE, VARIANTS, write_originals

MEMORY = 1 << 30
"""Bytes that a worker may take. All processes together stay below one and a half times as much."""

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_originals(tmp_path_factory.mktemp("originals"))


def test_every_extension_has_a_writer_or_a_reason() -> None:
    assert set(EXTENSIONS) == set(media.ALL_EXTENSIONS) | set(UNMADE)
    assert not set(media.ALL_EXTENSIONS) & set(UNMADE)
    assert set(UNMADE) == set(media_images.UNMADE_EXTENSIONS) and all(UNMADE.values())


def test_what_is_not_damaged_is_read(originals: dict[str, Path]) -> None:
    """So that what follows is about the damage."""
    done = read_all(list(originals.values()))
    assert {path.name: o.reason for path, o in done.outcomes.items() if o.status != "added"} == {}
    assert len(done.outcomes) == len(EXTENSIONS) + len(VARIANTS)


def check(done: Run) -> None:
    offences = {path.name: why for path, o in done.outcomes.items() if (why := offence(o))}
    assert not offences
    assert done.peak < 1.5 * MEMORY, f"{done.peak >> 20} MB at the peak, {done.worker >> 20} MB of one worker"


def table(done: Run) -> str:
    """Lines of format, number, and what became of them."""
    counts: dict[str, Counter[str]] = {}
    for path, outcome in done.outcomes.items():
        counts.setdefault(path.suffix, Counter())[outcome.status] += 1
    lines = [f"{'format':<10}{'files':>7}{'added':>7}{'failed':>8}{'skipped':>9}"]
    for suffix, count in [*sorted(counts.items()), ("all", sum(counts.values(), Counter()))]:
        numbers = f"{count['added']:>7}{count['failed']:>8}{count['skipped']:>9}"
        lines.append(f"{suffix:<10}{count.total():>7}{numbers}")
    return "\n".join([*lines, f"{done.seconds:.0f} s, {done.peak >> 20} MB at the peak"])


@needs_linux
def test_damaged_files_of_every_format(originals: dict[str, Path], tmp_path: Path) -> None:
    """More than 600 of them, every way of damage to every tenth format or so."""
    paths = mutants(originals, tmp_path, rounds=6)
    assert len(paths) >= 500 and {path.suffix for path in paths} == set(EXTENSIONS)
    assert {path.name.split("-")[1] for path in paths} == set(MUTATORS)
    done = read_all(paths, memory=MEMORY)
    check(done)
    statuses = Counter(outcome.status for outcome in done.outcomes.values())
    assert statuses["added"] > 100 and statuses["failed"] > 100  # neither is all damage fatal nor in vain
    some = paths[::7]
    again = read_all(some, workers=1, memory=MEMORY)
    for path in some:
        first, second = done.outcomes[path], again.outcomes[path]
        assert (first.status, first.reason, first.rows) == (second.status, second.reason, second.rows)


@needs_linux
@pytest.mark.parametrize("slow", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.timeout(1200)
def test_bombs(tmp_path: Path, slow: bool) -> None:
    names = sorted(name for name in NAMES if slow or name not in SLOW)
    paths = [write_bomb(tmp_path, name) for name in names]
    done = read_all(paths, workers=1, timeout=30.0, memory=MEMORY)
    for name in LIMITED:
        if name in names:
            outcome = done.outcomes[tmp_path / name]
            assert outcome.status == "failed" and str(outcome.reason).startswith(LIMITED[name])
    rest = {path: outcome for path, outcome in done.outcomes.items() if path.name not in LIMITED}
    check(Run(rest, done.seconds, done.peak, done.worker))
    if slow:
        print(table(done))


@needs_linux
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [101, 102])
def test_thousands_of_damaged_files(originals: dict[str, Path], tmp_path: Path, seed: int) -> None:
    paths = mutants(originals, tmp_path, rounds=40, seed=seed)
    done = read_all(paths, memory=MEMORY, most=3000)
    print(f"\n{table(done)}")
    check(done)
    assert len(done.outcomes) > 4000


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
