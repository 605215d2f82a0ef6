"""Ratios that must not get worse, in under three minutes: `make bench-quick`.

    python -m benchmarks.quick [--write]

Each is this package against a plain loop on the same machine in the same run, so that a slower machine moves
both. A ratio below MARGIN of the committed one (`ratios.json`) fails; `--write` commits what was measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import media
from benchmarks.decode import ours as read_picture
from benchmarks.decode import pillow, write_large
from benchmarks.machine import machine
from benchmarks.search import Ours
from benchmarks.search_peers import Faiss, clustered
from benchmarks.start import SAMPLES
from benchmarks.start import measure as in_turn_commands

COMMITTED = Path(__file__).with_name("ratios.json")
MARGIN = 0.7
"""Of ten runs on a machine that others used too, the least ratio was 0.78 of the median."""
MAKE = "groups of 2 s"
ROWS = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="commit the ratios of this run")
    args = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        found = ratios(Path(scratch))
    print(f"{machine()}; {time.perf_counter() - began:.0f} s")
    if args.write:
        COMMITTED.write_text(
            json.dumps({"machine": machine(), "ratios": found}, indent=1) + "\n", encoding="utf-8"
        )
    before = json.loads(COMMITTED.read_text(encoding="utf-8"))["ratios"]
    worse = []
    for name, ratio in found.items():
        bar = MARGIN * before.get(name, 0.0)
        worse += [name] if ratio < bar else []
        told = f"{name:<58} {ratio:6.2f}   committed {before.get(name, float('nan')):6.2f}"
        print(f"{told}   {'WORSE' if ratio < bar else 'ok'}")
    sys.exit(1 if worse else 0)


def ratios(folder: Path) -> dict[str, float]:
    """How many times as fast this package is, by name."""
    film = media.film(folder, MAKE, 1)
    found = {f"video at 1 frame a second, {MAKE}: OpenCV / ours": _ratio(
        partial(media.opencv, film), partial(media.frames, film, 1.0))}  # fmt: skip
    for kind in ("wav", "mp3"):
        path = media.sound(folder, kind)
        found[f"{kind} to 16 kHz: librosa / ours"] = _ratio(
            partial(media.librosa_load, path), partial(media.samples, path)
        )
    photos = write_large(folder, (4032, 3024), 4)
    full, ours = pillow(".jpg"), read_picture("image")
    found["JPEG of 12 megapixels: decoded in full / ours"] = _ratio(
        lambda: [full(path) for path in photos], lambda: [ours(path) for path in photos]
    )
    found |= {"exact search of 100,000 rows: faiss / ours": _search(folder)}
    found["cold search: import torch / ours"] = _start(folder)
    return {name: round(ratio, 3) for name, ratio in found.items()}


def _ratio(theirs: Callable[[], object], ours: Callable[[], object], runs: int = 3) -> float:
    """Of CPU seconds, the best of each."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        for place, way in enumerate((theirs, ours)):
            began = time.process_time()
            way()
            times[place].append(time.process_time() - began)
    return min(times[0]) / min(times[1])


def _search(folder: Path) -> float:
    """Bare faiss over the same rows in float16 against whole hits of a library; the median of 40 queries."""
    rows = clustered(ROWS, 10)
    seconds = []
    for number, contender in enumerate((Faiss("half"), Ours("float16", True))):
        home = folder / f"search{number}"
        home.mkdir()
        contender.fill(home, rows)
        contender.open(home)
        times = []
        for asked in range(44):
            began = time.perf_counter()
            contender.search(asked, False)
            times.append(time.perf_counter() - began)
        seconds.append(float(np.median(times[4:])))
    return seconds[0] / seconds[1]


def _start(folder: Path) -> float:
    import subprocess

    home = folder / "library"
    command = [sys.executable, "-m", "multimodal.cli"]
    subprocess.run([*command, "index", str(SAMPLES), "--library", str(home), "--quiet"], check=True)
    ways = {
        "torch": [sys.executable, "-c", "import torch"],
        "ours": [*command, "search", "a dog", "--library", str(home)],
    }
    seconds = in_turn_commands(ways, 3)
    return min(seconds["torch"]) / min(seconds["ours"])


if __name__ == "__main__":
    main()
