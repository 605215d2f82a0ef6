"""Video and sound beside the loops one would write: OpenCV reading every frame, librosa loading a file.

    python -m benchmarks.media [--minutes 10] [--rate 1] [--runs 3] [--folder DIR]

The film is 1280 x 720, 25 frames a second, H.264, shots of 4 to 16 s under a moving camera, in three makes:
 groups of up to 250 frames as x264 makes them by itself, of 2 s as on the web, of 1 s without B-frames as
phones do. Ours is `readers.read` at `--rate` frames a second with 260 pixels; OpenCV reads every frame and
keeps one each second. The two must agree: each of our frames is that of its time to one frame interval.
Sounds are stereo at 44.1 kHz, decoded to 16 kHz mono; "front end" adds the starter's log-mel windows. Ways
take turns; ratios are of medians, by the clock and by CPU time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.machine import machine
from benchmarks.photos import scene
from multimodal import load_space
from multimodal.readers import read
from multimodal.types import Audio, Clip, ReadOptions

SIZE, RATE, PART = (1280, 720), 25, 60
MAKES: dict[str, dict[str, str]] = {
    "groups of up to 10 s": {"g": "250", "bf": "3"},
    "groups of 2 s": {"g": "50", "bf": "3"},
    "groups of 1 s, no B-frames": {"g": "25", "keyint_min": "25", "bf": "0"},
}
SOUNDS = ("wav", "mp3", "flac")


class Cost(NamedTuple):
    wall: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--rate", type=float, default=1.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to keep the files for the next time")
    args = parser.parse_args()
    print(f"{machine()}; {args.runs} runs in turn, medians\n")
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        print(
            f"| film of {args.minutes} min, {args.rate:g} a second | OpenCV, s | ours, s | ratio | of CPU |"
        )
        print("|---|---|---|---|---|")
        for name in MAKES:
            path = film(folder, name, args.minutes)
            costs = in_turn(
                {"OpenCV": partial(opencv, path), "ours": partial(frames, path, args.rate)}, args.runs
            )
            print(row(name, costs["OpenCV"], costs["ours"]), flush=True)
        print("\n| 10 min of sound | librosa, s | ours, s | ratio | of CPU | times real time | with mel |")
        print("|---|---|---|---|---|---|---|")
        for kind in SOUNDS:
            path = sound(folder, kind)
            ways = {"librosa": partial(librosa_load, path), "ours": partial(samples, path),
                    "front": partial(front_end, path)}  # fmt: skip
            costs = in_turn(ways, args.runs)
            speeds = [600 / costs[way].cpu for way in ("ours", "front")]
            print(
                f"{row(kind, costs['librosa'], costs['ours'])} {speeds[0]:.0f} | {speeds[1]:.0f} |",
                flush=True,
            )


def row(name: str, theirs: Cost, ours: Cost) -> str:
    ratios = f"{theirs.wall / ours.wall:.2f} | {theirs.cpu / ours.cpu:.2f}"
    return f"| {name} | {theirs.wall:.2f} | {ours.wall:.2f} | {ratios} |"


def in_turn(ways: dict[str, Callable[[], Any]], runs: int) -> dict[str, Cost]:
    """Median seconds of each way, after one run that is not counted."""
    found: dict[str, list[Cost]] = {name: [] for name in ways}
    for turn in range(runs + 1):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            way()
            if turn:
                found[name].append(Cost(time.perf_counter() - wall, time.process_time() - cpu))
    return {name: Cost(*map(statistics.median, zip(*costs, strict=True))) for name, costs in found.items()}


def film(folder: Path, name: str, minutes: int) -> Path:
    """A minute is encoded, and its packets are repeated."""
    import av

    path = folder / f"{name.replace(' ', '-')}-{minutes}.mp4"
    if path.exists():
        return path
    part = path.with_suffix(".part.mp4")
    with av.open(str(part), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.options = {"preset": "veryfast", **MAKES[name]}
        for picture in camera():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(path), "w") as container:
        copied: Any = None
        for turn in range(minutes):
            with av.open(str(part)) as source:
                given = source.streams.video[0]
                copied = copied or container.add_stream_from_template(given)
                for packet in source.demux(given):
                    if packet.dts is not None:
                        shift = int(turn * PART / packet.time_base)
                        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                        packet.stream = copied
                        container.mux(packet)
    part.unlink()
    return path


def camera() -> Any:
    """A minute of frames: shots of eight scenes by a hand-held camera that moves, turns and comes closer,
    with grain; two things cross the picture. So much moves that no frame is a mere shift."""
    import cv2

    rng = np.random.default_rng(0)
    width, height = SIZE
    scenes = [
        cv2.GaussianBlur(scene(number, width * 3 // 2, height * 3 // 2), (0, 0), 2) for number in range(8)
    ]
    grain = rng.normal(0, 3, (4, height, width, 3)).astype(np.float32)
    done = 0
    while done < PART * RATE:
        length = min(int(rng.integers(4 * RATE, 16 * RATE)), PART * RATE - done)
        first, second = (scenes[place] for place in rng.choice(8, 2, replace=False))
        angle, closer, across, down = rng.uniform(-0.03, 0.03), rng.uniform(0, 0.002), *rng.uniform(-1, 1, 2)
        for step in range(length):
            centre = width * 3 / 4 + across * step, height * 3 / 4 + down * step
            turned = cv2.getRotationMatrix2D(centre, angle * step + 0.2 * np.sin(step / 9), 1 + closer * step)
            turned[:, 2] += (width / 2 - centre[0], height / 2 - centre[1])
            frame = cv2.warpAffine(first, turned, SIZE, borderMode=cv2.BORDER_REFLECT)
            for side, pace in ((160, 4), (90, -7)):
                x, y = (pace * step) % (width - side), height // 2 - side // 2 + side * (pace > 0)
                frame[y : y + side, x : x + side] = second[:side, :side]
            noisy = frame + grain[step % 4]
            yield np.clip(noisy, 0, 255).astype(np.uint8)
        done += length


def opencv(path: Path) -> int:
    """Frames kept by a loop that reads every frame."""
    import cv2

    capture, kept, number = cv2.VideoCapture(str(path)), 0, 0
    rate = capture.get(cv2.CAP_PROP_FPS)
    while True:
        there, frame = capture.read()
        if not there:
            return kept
        if number % round(rate) == 0:
            cv2.resize(frame, (462, 260), interpolation=cv2.INTER_AREA)
            kept += 1
        number += 1


def frames(path: Path, rate: float) -> int:
    """Frames that our reader samples. Raises AssertionError where one is not of its time."""
    options = ReadOptions(modalities=("video",), frame_rate=rate, min_side=260)
    times = [
        time
        for segment in read(path, options)
        if isinstance(segment.content, Clip)
        for time in segment.content.times
    ]
    wanted = np.arange(0, times[-1], 1 / rate)
    late = np.abs(wanted[:, None] - np.array(times)[None]).min(axis=1)
    assert np.mean(late <= 1 / RATE + 1e-6) > 0.9  # a tick within half an interval of a cut gives way to it
    return len(times)


def sound(folder: Path, kind: str) -> Path:
    """Ten minutes of noise that comes and goes."""
    import soundfile

    path = folder / f"sound.{kind}"
    if not path.exists():
        rng = np.random.default_rng(0)
        wave = rng.normal(0, 0.1, (600 * 44_100, 2)).astype(np.float32)
        wave *= (0.6 + 0.4 * np.sin(np.arange(len(wave)) / 30_000))[:, None].astype(np.float32)
        soundfile.write(path, wave, 44_100)
    return path


def samples(path: Path) -> list[Audio]:
    return [segment.content for segment in read(path) if isinstance(segment.content, Audio)]


def front_end(path: Path) -> None:
    prepare = load_space()["audio"].tower.preprocess
    for one in samples(path):
        prepare(one)


def librosa_load(path: Path) -> None:
    import librosa

    librosa.load(path, sr=16_000)


if __name__ == "__main__":
    main()
