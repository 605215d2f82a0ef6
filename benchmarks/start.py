"""Cold start: a typed search on samples/ beside `import torch`, whole processes, in turn.

python -m benchmarks.start [--runs 7]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import machine

SAMPLES = Path(__file__).parent.parent / "samples"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    command = [sys.executable, "-m", "multimodal.cli"]
    with tempfile.TemporaryDirectory() as home:
        subprocess.run([*command, "index", str(SAMPLES), "--library", home, "--quiet"], check=True)
        contenders = {
            "multimodal search": [*command, "search", "a dog", "--library", home],
            "import torch": [sys.executable, "-c", "import torch"],
            "python alone": [sys.executable, "-c", "pass"],
        }
        seconds = measure(contenders, runs)
    print(f"{machine()}; {runs} runs in turn after one warm-up, median seconds (min to max)")
    for name, times in seconds.items():
        print(f"{name:<18} {statistics.median(times):6.3f} ({min(times):.3f} to {max(times):.3f})")
    ratios = [
        ours / torch
        for ours, torch in zip(seconds["multimodal search"], seconds["import torch"], strict=True)
    ]
    print(f"search / import torch: median {statistics.median(ratios):.2f}", end=", ")
    print(f"pair by pair {min(ratios):.2f} to {max(ratios):.2f}")


def measure(contenders: dict[str, list[str]], runs: int) -> dict[str, list[float]]:
    """Seconds of each command, run in turn so that a drifting machine touches all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(runs + 1):
        for name, command in contenders.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return seconds


if __name__ == "__main__":
    main()
