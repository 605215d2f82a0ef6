"""kill -9 at random moments, over and over: the library becomes what it would have been without."""

from __future__ import annotations

import random
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from multimodal import Library
from tests import media
from tests.fakes import fake_space
from tests.hostile.harness import (
    check_derived,
    contents,
    descendants,
    report,
    run,
    start,
    survivors,
    wait_for,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

PACE = {"HOSTILE_PACE": "0.05", "HOSTILE_BATCH": "4"}


def crowd(folder: Path) -> None:
    """Some 400 files of every modality, with sidecars, copies, and some that cannot be read."""
    folder.mkdir()
    for number in range(200):
        (folder / f"note{number:03}.txt").write_text(f"word{number} and more\n\n" * (1 + number % 3))
    for number in range(60):
        media.write_image(folder / f"photo{number:02}.png", media.picture(number, 64, 48))
    for number in range(0, 60, 4):
        (folder / f"photo{number:02}.txt").write_text(f"caption number {number}")
    for number in range(30):
        media.write_sound(folder / f"sound{number:02}.wav", media.tone(0.5, 8000, 100.0 + 40 * number), 8000)
    media.write_sound(folder / "silence.wav", np.zeros(8000 * 7, np.float32), 8000)
    for number in range(6):
        scenes = [media.picture(100 + number, 64, 48), media.picture(200 + number, 64, 48)]
        media.write_video(folder / f"film{number}.mp4", scenes, seconds=2.5, rate=5)
        media.write_subtitles(folder / f"film{number}.srt", [(1.0, 2.0, f"they say {number}")])
    below = folder / "below"
    below.mkdir()
    for number in range(40):
        shutil.copy(folder / f"note{number:03}.txt", below / f"copy{number:02}.txt")
    for number in range(10):
        whole = (folder / f"photo{number:02}.png").read_bytes()
        (folder / f"torn{number}.png").write_bytes(whole[: len(whole) // 2] + bytes([number]))
        (folder / f"odd{number}.xyz").write_bytes(bytes(range(256)) * (1 + number))


def disturb(folder: Path, chance: random.Random, number: int) -> None:
    """Do to a folder what people do: rename, delete, change, copy and add a file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and ".multimodal" not in path.parts)
    first, second, third, fourth = chance.sample(files, 4)
    first.rename(first.with_name(f"renamed{number}-{first.name}"))
    second.unlink()
    third.write_bytes(fourth.read_bytes())
    shutil.copy(fourth, folder / f"again{number}{fourth.suffix}")
    (folder / f"later{number}.txt").write_text(f"written later {number}")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kills", [50])
def test_killed_at_random_moments_a_library_loses_and_doubles_nothing(tmp_path: Path, kills: int) -> None:
    folder, calm = tmp_path / "crowd", tmp_path / "calm"
    crowd(folder)
    chance = random.Random(3)
    home, kept = folder / ".multimodal", list[int]()
    for kill in range(kills):
        if kill >= kills * 0.6:
            disturb(folder, chance, kill)
        kept.append(killed(folder, tmp_path / f"report{kill}.jsonl", chance))
    done = run("index", folder, "--quiet")
    assert done.returncode == 3, done.stderr  # the torn ones
    shutil.copytree(folder, calm, ignore=shutil.ignore_patterns(".multimodal"))
    assert run("index", calm, "--quiet").returncode == 3
    files, segments = contents(home)
    assert (files, segments) == contents(calm / ".multimodal")
    assert check_derived(home) == check_derived(calm / ".multimodal") > 300
    assert len(set(kept)) > kills // 2 and max(kept) < len(files)  # most kills came at another point
    with Library(home, fake_space()) as one, Library(calm / ".multimodal", fake_space()) as other:
        for query in ("word7 and more", "written later 49", "red", "high"):
            found = [
                [hit.path.name for hit in library.search(query, k=1000, duplicates=True)]
                for library in (one, other)
            ]
            assert found[0] == found[1] and len(found[0]) > 300


def killed(folder: Path, note: Path, chance: random.Random) -> int:
    """Index a folder, kill that at a random moment, check what is left; gives the number of files kept."""
    process = start("index", folder, "--report", note, "--quiet", "--workers", "2", **PACE)
    if chance.random() < 0.25:  # also while it starts, makes the library, looks at the folder
        time.sleep(chance.uniform(0.1, 1.2))
    else:
        wait_for(lambda: process.poll() is not None or worked(note) >= 3)
        time.sleep(chance.uniform(0, 0.25))
    workers = descendants(process.pid)
    assert process.poll() is None, "it was done before it could be killed: the folder is too small"
    process.kill()
    process.communicate()
    assert not survivors(workers), "orphans"
    told = [record for record in report(note) if not str(record["reason"]).startswith("read with")]
    if not (folder / ".multimodal" / "library.db").exists():
        assert not told
        return 0
    files, segments = contents(folder / ".multimodal")
    stored = {str(folder / row[1]): row[5] for row in files}
    assert all(record["path"] in stored for record in told if record["status"] != "removed")
    assert all(stored[record["path"]] == "indexed" for record in told if record["status"] == "added")
    assert len({row[0] for row in segments}) == len(segments)
    return len(files)


def worked(note: Path) -> int:
    """Files that a run has told of, but for those it only looked at."""
    return sum(record["status"] != "unchanged" for record in report(note))
