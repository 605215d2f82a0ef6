"""Peak memory of indexing one long video: the whole tree of processes, watched from outside.

python -m benchmarks.memory [--hours 1] [--size 640x360] [--space starter] [--video FILE]

The video has a picture that moves, a hard cut every 7 seconds and a sound track. Memory is the
proportional set size (Linux: what processes share counts once), summed over the indexing process and
its decode workers, ten times a second.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.machine import machine

RATE = 25
SCENE_SECONDS = 7
SAMPLE_RATE = 44_100

INDEX = """
import sys
from multimodal import Library, load_space
report = Library(sys.argv[2], load_space(sys.argv[3])).add(sys.argv[1])
assert report.count("added") == 1, report.problems
print(report.segments)
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--space", default="starter")
    parser.add_argument("--video", type=Path, help="where to keep the video for the next time")
    args = parser.parse_args()
    width, height = (int(side) for side in args.size.split("x"))
    with tempfile.TemporaryDirectory() as scratch:
        video = args.video or Path(scratch) / "long.mp4"
        if not video.exists():
            write_video(video, args.hours * 3600, width, height)
        command = [sys.executable, "-c", INDEX, str(video), str(Path(scratch) / "library"), args.space]
        began = time.perf_counter()
        peak, parts, said = watch(command)
        seconds = time.perf_counter() - began
    print(f"{machine()}; space {args.space}")
    print(f"{args.hours:g} h of video, {args.size}, {RATE} frames/s, with sound: {said.strip()} segments")
    print(f"in {seconds:.0f} s, {args.hours * 3600 / seconds:.0f} times as fast as it plays")
    print(f"peak memory of all processes {peak / 1e9:.2f} GB:", end=" ")
    print(", ".join(f"{size / 1e9:.2f} GB" for size in parts), "(this process first, then its workers)")


def watch(command: list[str]) -> tuple[int, list[int], str]:
    """Runs a command: the peak of its tree's memory in bytes, the processes' parts of it, its output."""
    peak, parts = 0, [0]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            now = [memory(pid) for pid in tree(process.pid)]
            if sum(now) > peak:
                peak, parts = sum(now), now
            time.sleep(0.1)
        assert process.stdout is not None
        said = process.stdout.read()
    if process.returncode:
        raise SystemExit(f"indexing ended with exit code {process.returncode}")
    return peak, parts, said


def tree(pid: int) -> Iterator[int]:
    """A process and everything that descends from it."""
    yield pid
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except OSError:
            continue
        for child in children:
            yield from tree(int(child))


def memory(pid: int) -> int:
    """Proportional set size in bytes, 0 for a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def write_video(path: Path, seconds: float, width: int, height: int) -> None:
    """H.264 and AAC: a window that pans over noise, another part of it after each cut; tones in turn."""
    import av

    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    scene = np.asarray(Image.fromarray(small).resize((2 * width, 2 * height), Image.Resampling.BICUBIC))
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=RATE)
        pictures.width, pictures.height, pictures.pix_fmt = width, height, "yuv420p"
        pictures.options = {"preset": "ultrafast", "crf": "28"}
        sound = container.add_stream("aac", rate=SAMPLE_RATE)
        sound.layout = "mono"
        for second in range(round(seconds)):
            for frame in _pictures(scene, second, width, height):
                container.mux(pictures.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            block = av.AudioFrame.from_ndarray(_tone(second), format="fltp", layout="mono")
            block.sample_rate = SAMPLE_RATE
            container.mux(sound.encode(block))
        container.mux(pictures.encode(None))
        container.mux(sound.encode(None))


def _pictures(scene: np.ndarray, second: int, width: int, height: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(second // SCENE_SECONDS)
    left, top = int(rng.integers(0, width - RATE * SCENE_SECONDS)), int(rng.integers(0, height))
    for frame in range(RATE):
        at = left + second % SCENE_SECONDS * RATE + frame
        yield np.ascontiguousarray(scene[top : top + height, at : at + width])


def _tone(second: int) -> np.ndarray:
    hertz = 220.0 * (1 + second // 5 % 7)
    t = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    return (0.3 * np.sin(2 * np.pi * hertz * t)).astype(np.float32)[None]


if __name__ == "__main__":
    main()
