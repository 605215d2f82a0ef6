"""A corpus of hostile files: every format damaged in every way, and bombs; always the same.

for path in mutants(originals, folder, rounds=5): ...
outcomes = read_all(paths)
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.hostile.harness import ROOT, STARTED, Tree
from tests.hostile.mutate import MUTATORS, mutate

SEED = 20


def mutants(originals: Mapping[str, Path], folder: Path, rounds: int, seed: int = SEED) -> list[Path]:
    """Damaged copies: in each round every original by another mutator, and one in six under the extension
    of another. The names say how: "3-claim-plain.mp4"."""
    names, ways = sorted(originals), sorted(MUTATORS)
    made = []
    for turn in range(rounds):
        for number, name in enumerate(names):
            chance = random.Random(f"{seed} {turn} {name}")
            way = ways[(turn * 5 + number) % len(ways)]  # 5 and 13 share no factor: all ways come
            donor = originals[chance.choice(names)]
            data = mutate(way, originals[name].read_bytes(), chance, donor.read_bytes())
            stem, suffix = Path(name).stem, Path(name).suffix
            if chance.random() < 1 / 6:
                stem, suffix = f"{stem}-{suffix[1:]}", donor.suffix
            path = folder / f"{turn}-{way}-{stem}{suffix}"
            path.write_bytes(data)
            made.append(path)
    return made


@dataclass(frozen=True)
class Outcome:
    """What became of a file."""

    path: Path
    status: str
    reason: str | None
    rows: str
    seconds: float


@dataclass(frozen=True)
class Run:
    """What became of all of them; bytes of memory at the worst moment, of all processes and of one worker."""

    outcomes: Mapping[Path, Outcome]
    seconds: float
    peak: int
    worker: int


def read_all(
    paths: Sequence[Path], workers: int = 2, timeout: float = 20.0, memory: int = 1 << 30, most: float = 1800
) -> Run:
    """Read files in a process of its own (`tests.hostile.runner`), watched from here.

    Raises AssertionError when the run itself fails, takes longer than `most` seconds, or leaves a file out
    or tells of it twice.
    """
    command = [sys.executable, "-m", "tests.hostile.runner", "--workers", str(workers)]
    command += ["--timeout", str(timeout), "--memory", str(memory)]
    begun = time.monotonic()
    process = subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    STARTED.append(process)
    tree = Tree(process.pid)
    out, said = process.communicate("\n".join(map(str, paths)), timeout=most)
    tree.stop()
    assert process.returncode == 0, said
    outcomes = [Outcome(Path(told.pop("path")), **told) for told in map(json.loads, out.splitlines())]
    by_path = {outcome.path: outcome for outcome in outcomes}
    assert len(by_path) == len(outcomes) and set(by_path) == set(paths)
    return Run(by_path, time.monotonic() - begun, tree.peak, tree.largest)


_EXCEPTION = re.compile(
    r"\b[A-Z]\w*(?:Error|Exception|Warning)\b|Traceback|<[\w.]+ object at|0x[0-9a-f]{6}|Errno"
)


def offence(outcome: Outcome) -> str | None:
    """Why an outcome is none that a person should see, None where it is fair."""
    reason = outcome.reason
    if outcome.status == "added":
        return None if reason is None else f"added, with a reason: {reason}"
    if not reason:
        return "no reason"
    if "the decoder crashed" in reason or "the decoder quit" in reason or "was killed" in reason:
        return f"a crash: {reason}"
    if "gave nothing" in reason:
        return f"a hang: {reason}"
    if "decoding needs more" in reason:
        return f"a bomb went off: {reason}"
    if _EXCEPTION.search(reason):
        return f"an exception's name: {reason}"
    return None
