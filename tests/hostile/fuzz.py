"""Fuzz targets, one for each reader: damaged files read in a process of their own until the time is over.

    python -m tests.hostile.fuzz [READER ...] [--seconds 60] [--seed 0] [--keep FOLDER]

Hypothesis draws a file of one of the reader's formats and damage to it, and makes what goes wrong as small as
it can. A file may give segments or a ReadError, or need more memory than the limit; anything else (another
exception, a crash, ten seconds without a segment) is a finding: the file is kept, the exit code is 1.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from multimodal.errors import ReadError
from multimodal.readers import READERS, read
from multimodal.types import ReadOptions
from tests.hostile import damage

SEGMENTS = 200
"""Most that are taken of a file: a damaged one may state hours."""
STUCK = 10.0
"""Seconds after which a single file counts as hung: the pipeline's own limit is 60."""
MEMORY = 2 << 30
TARGETS = {type(reader).__name__.removesuffix("Reader").lower(): reader for reader in READERS}


@st.composite
def damaged(draw: st.DrawFn, suffixes: Sequence[str]) -> tuple[str, bytes]:
    """An extension and the bytes of a damaged file."""
    suffix = draw(st.sampled_from(suffixes))
    data = damage.originals()[suffix]
    for kind in draw(st.lists(st.sampled_from(sorted(damage.MUTATORS)), min_size=1, max_size=4)):
        chance = random.Random(draw(st.integers(0, 2**32)))
        if len(data) > 16:
            data = damage.MUTATORS[kind](data, chance)
    return suffix, data


def fuzz(name: str, seconds: float, seed: int, current: Path) -> int:
    """Read damaged files for so long; gives how many. Raises what a reader should not."""
    suffixes = [suffix for suffix in TARGETS[name].extensions if damage.originals().get(suffix)]
    until, count = time.monotonic() + seconds, 0

    @given(damaged(suffixes))
    def target(file: tuple[str, bytes]) -> None:
        nonlocal count
        if time.monotonic() > until:
            return
        count += 1
        path = current.with_suffix(file[0])
        path.write_bytes(file[1])
        faulthandler.dump_traceback_later(STUCK, exit=True)
        try:
            list(islice(read(path, ReadOptions(min_side=64)), SEGMENTS))
        except (ReadError, MemoryError):
            pass
        finally:
            faulthandler.cancel_dump_traceback_later()
        path.unlink()

    checked = settings(
        max_examples=200,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )(target)
    turn = seed * 1_000_000
    while time.monotonic() < until:
        seeded(turn)(checked)()
        turn += 1
    return count


def child(name: str, seconds: float, seed: int, folder: Path) -> None:
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    print(fuzz(name, seconds, seed, folder / "current"))


def main() -> int:
    parser = argparse.ArgumentParser(description="Damaged files, read until the time is over.")
    parser.add_argument("readers", nargs="*", metavar="READER", help="by default all")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="where findings go")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        child(args.readers[0], args.seconds, args.seed, args.child)
        return 0
    if unknown := set(args.readers) - TARGETS.keys():
        parser.error(f"no reader {', '.join(unknown)}: there are {', '.join(TARGETS)}")
    findings = 0
    for name in args.readers or TARGETS:
        findings += not _in_peace(name, args.seconds, args.seed, args.keep)
    return 1 if findings else 0


def _in_peace(name: str, seconds: float, seed: int, keep: Path) -> bool:
    """Run one target; whether nothing was found."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "tests.hostile.fuzz", name, "--child", place]
        more = ["--seconds", str(seconds), "--seed", str(seed)]
        done = subprocess.run([*command, *more], capture_output=True, text=True, errors="replace")
        if done.returncode == 0:
            print(f"{name:<9} {int(done.stdout.split()[-1]):>6} files, nothing found", flush=True)
            return True
        keep.mkdir(parents=True, exist_ok=True)
        for left in Path(place).iterdir():
            kept = keep / f"{name}-{seed}{left.suffix}"
            kept.write_bytes(left.read_bytes())
            print(f"{name:<9} FOUND: exit code {done.returncode}, kept as {kept}", flush=True)
        print(done.stderr[-3000:], flush=True)
        return False


if __name__ == "__main__":
    sys.exit(main())
