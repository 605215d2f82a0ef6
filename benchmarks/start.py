"""Cold start: a typed search beside `import torch`, whole processes, in turn.

    python -m benchmarks.start [--runs 7] [--rows 100000]

The library is samples/, to which `--rows` vectors in clusters are added, which cost no model.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.machine import machine
from multimodal import Library

SAMPLES = Path(__file__).parent.parent / "samples"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--rows", type=int, default=0)
    args = parser.parse_args()
    runs = args.runs
    command = [sys.executable, "-m", "multimodal.cli"]
    with tempfile.TemporaryDirectory() as home:
        subprocess.run([*command, "index", str(SAMPLES), "--library", home, "--quiet"], check=True)
        if args.rows:
            grow(Path(home), args.rows)
            subprocess.run([*command, "search", "a dog", "--library", home], check=True, capture_output=True)
        contenders = {
            "multimodal search": [*command, "search", "a dog", "--library", home],
            "import torch": [sys.executable, "-c", "import torch"],
            "python alone": [sys.executable, "-c", "pass"],
        }
        seconds = measure(contenders, runs)
    print(
        f"{machine()}; samples/ and {args.rows:,} rows; {runs} runs in turn; median seconds (least to most)"
    )
    for name, times in seconds.items():
        print(f"{name:<18} {statistics.median(times):6.3f} ({min(times):.3f} to {max(times):.3f})")
    ratios = [
        ours / torch
        for ours, torch in zip(seconds["multimodal search"], seconds["import torch"], strict=True)
    ]
    print(f"search / import torch: median {statistics.median(ratios):.2f}", end=", ")
    print(f"pair by pair {min(ratios):.2f} to {max(ratios):.2f}")


def grow(home: Path, rows: int) -> None:
    """Put `rows` pictures' vectors into a library, in 200 clusters."""
    import pyarrow as pa

    with Library(home) as library:
        stats, rng = library.stats(), np.random.default_rng(0)
        dim = stats.dim
        centres = rng.normal(size=(200, dim))
        made = centres[rng.integers(0, 200, rows)] + rng.normal(size=(rows, dim))
        made = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
        names = [f"photo{number:06}.jpg" for number in range(rows)]
        vectors = pa.FixedSizeListArray.from_arrays(made.reshape(-1), dim)
        table = pa.table({"path": names, "vector": vectors})
        library.import_vectors(table, space=stats.space_id, modality="image")


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
