"""Files per second and peak memory of reading, by format, beside the plain loop one would write without us.

python -m benchmarks.decode [--seconds 0.4] [--only .jpg .mp4 ...] [--large 20] [--folder DIR]

Ours is `readers.read` with the starter's options, pictures and frames then brought to its 260 pixels. Plain
is Pillow's `open`, `convert` and `resize`, or OpenCV's `imread` and `resize`, for pictures (LibRaw and resvg
as they come for raw files and drawings); PyAV's and OpenCV's loops over every frame of a video;
`librosa.load` for sounds; `read_text` for texts. Every format and way runs in a process of its own, files
in turn after one to warm up; memory is the most that process ever held: its imports, and no model.

Then large JPEGs, 12 and 24 megapixels: reading at a fraction of their size against decoding in full and
resizing, by CPU time (both run in one thread), and the cosine between the starter's vectors of the two.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from benchmarks.photos import QUALITY, scene
from benchmarks.plain import PLAIN, WAYS, fit, pillow
from multimodal import load_space
from multimodal.readers import EXTENSIONS, read
from multimodal.types import Clip, Modality

SIZE = 1600, 1200
FILES = 2
"""Of each format, so that no file is read twice in a row."""
OTHER_NAMES = (
    ".jpeg", ".jfif", ".mpo", ".tiff", ".heif", ".hif", ".j2k", ".cur", ".m4v", ".3gp", ".m2ts", ".mts",
    ".mpeg", ".aif", ".oga", ".mka", ".au", ".w64", ".htm", ".xhtml", ".docm", ".tsv", ".ndjson", ".ssa",
)  # fmt: skip
"""Extensions of formats that are measured under another."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=0.4, help="least time that each way is measured")
    parser.add_argument("--only", nargs="*", help="extensions to measure")
    parser.add_argument("--large", type=int, default=20, help="large JPEGs, half of them of each size")
    parser.add_argument("--folder", type=Path, help="where to keep the files for the next time")
    parser.add_argument("--run", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        way, modality, *paths = args.run
        print(json.dumps(measure(way, modality, [Path(path) for path in paths], args.seconds)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        print(machine())
        formats(folder, args.only, args.seconds)
        if args.large:
            large(folder, args.large)


def formats(folder: Path, only: Sequence[str] | None, seconds: float) -> None:
    print(f"pictures of {SIZE[0]} x {SIZE[1]}, videos of 6 s at 640 x 360, sounds of 30 s")
    print("ours / fastest plain    ours: files/s, MB      plain: files/s, MB")
    for extension, paths in write_files(folder, only):
        modality = EXTENSIONS[extension].modality
        ours, *plain = (in_a_process(way, modality, paths, seconds) for way in ("ours", *PLAIN[modality]))
        named = [
            (name, rate)
            for name, rate in zip(PLAIN[modality], plain, strict=True)
            if rate["files"] is not None
        ]
        fastest = max((rate["files"] for _, rate in named), default=None)
        ratio = f"{ours['files'] / fastest:6.2f}" if fastest and ours["files"] else "     -"
        own = f"{ours['files']:9.1f} {ours['memory']:5.0f}" if ours["files"] else f" cannot: {ours['why']}"
        others = "   ".join(f"{name} {rate['files']:.1f} {rate['memory']:.0f}" for name, rate in named)
        print(f"{ratio}  {extension:<6} {own}      {others or 'no plain way reads it'}", flush=True)


def write_files(folder: Path, only: Sequence[str] | None) -> Iterable[tuple[str, list[Path]]]:
    """FILES of each format that the tests' writers can make (one of a video); what is there stays."""
    from tests import media

    for extension in media.ALL_EXTENSIONS:
        if extension in (only if only is not None else media.ALL_EXTENSIONS) and extension not in OTHER_NAMES:
            many = 1 if EXTENSIONS[extension].modality == "video" else FILES
            paths = [folder / f"{number}{extension}" for number in range(many)]
            for number, path in enumerate(paths):
                if not path.exists():
                    write_file(path, number)
            yield extension, paths


@cache
def photo(number: int) -> Any:
    from PIL import Image

    return Image.fromarray(scene(number, *SIZE))


def write_file(path: Path, number: int) -> None:
    from tests import media

    extension, modality = path.suffix, EXTENSIONS[path.suffix].modality
    if modality == "image":
        save: dict[str, Any] = {".psd": {"packed": False}, ".jpg": {"quality": 90}}.get(extension, {})
        media.write_image(path, photo(number), **save)
    elif modality == "video":
        media.write_video(path, [media.picture(seed, 640, 360) for seed in range(3)], seconds=2.0)
    elif modality == "audio":
        media.write_sound(path, media.tone(30.0, hz=220.0 * (number + 1)))
    elif extension in (".txt", ".md"):
        media.write_text(path, "\n\n".join(f"{number} {text}" for text in media.PASSAGES * 300))
    else:
        media.write(path, number)


def in_a_process(way: str, modality: Modality, paths: Sequence[Path], seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.decode", "--seconds", str(seconds), "--run", way, modality]
    done = subprocess.run([*command, *map(str, paths)], capture_output=True, text=True, check=False)
    if done.returncode:
        return {"files": None, "why": f"exit code {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def measure(way: str, modality: str, paths: Sequence[Path], seconds: float) -> dict[str, Any]:
    """Files per second and peak MB of this process, which does nothing else."""
    try:
        once = ours(modality) if way == "ours" else WAYS[modality, way](paths[0].suffix)
        once(paths[-1])
        began, done = time.perf_counter(), 0
        while done < len(paths) or time.perf_counter() - began < seconds:
            once(paths[done % len(paths)])
            done += 1
        return {"files": done / (time.perf_counter() - began), "memory": peak()}
    except Exception as error:  # whatever a plain loop raises on a format that it does not know
        return {"files": None, "why": " ".join(str(error).split())[:60]}


def peak() -> float:
    """MB. Linux's ru_maxrss counts what stood in memory before this program replaced its parent's copy."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(lines[0].split()[1]) / 1000
    import resource  # not on Windows

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most / 1000


def ours(modality: str) -> Callable[[Path], object]:
    options, fitted = load_space().read_options, fit()

    def once(path: Path) -> None:
        segments = 0
        for segment in read(path, options):
            if segment.modality != modality:
                break  # the sound of a video, the words in a picture: no plain loop reads them
            segments += 1
            if modality == "image":
                fitted(segment.content)
            elif isinstance(segment.content, Clip):
                for frame in segment.content.frames:
                    fitted(frame)
        assert segments

    return once


def large(folder: Path, count: int) -> None:
    from PIL import Image

    encoder, once = load_space()["image"], ours("image")
    options = load_space().read_options
    plain = pillow(".jpg")
    for size in ((4032, 3024), (6000, 4000)):
        paths = write_large(folder, size, count // 2)
        ratios, cosines, rates = [], [], []
        for path in paths:
            full, fraction = (min(timed(way, path) for _ in range(4)) for way in (plain, once))
            ratios.append(full / fraction)
            rates.append(1 / fraction)
            whole = Image.open(path).convert("RGB")
            reduced = next(segment.content for segment in read(path, options))
            a, b = (encoder.encode([picture])[0] for picture in (whole, reduced))
            cosines.append(float(a @ b))
        print(
            f"{size[0] * size[1] / 1e6:.0f} megapixels, {len(paths)} JPEGs:"
            f" {statistics.median(ratios):.2f} times full decoding and resizing"
            f" ({min(ratios):.2f} to {max(ratios):.2f}),"
            f" {statistics.median(rates):.1f} files per CPU second;"
            f" cosine of the vectors at least {min(cosines):.5f}",
            flush=True,
        )


def write_large(folder: Path, size: tuple[int, int], count: int) -> list[Path]:
    """JPEGs of a size, quality 90, of one scene, moved, mirrored and turned so that each is another."""
    from PIL import Image

    paths = [folder / f"large{size[0]}-{number}.jpg" for number in range(count)]
    missing = [number for number, path in enumerate(paths) if not path.exists()]
    drawn = scene(0, *size) if missing else np.empty(0)
    for number in missing:
        values = np.roll(drawn, 331 * number, axis=number // 2 % 2)
        picture = Image.fromarray(np.ascontiguousarray(values[:, :: -1 if number % 4 > 1 else 1]))
        turned = picture.transpose(Image.Transpose.ROTATE_90) if number % 5 == 0 else picture
        turned.save(paths[number], quality=QUALITY)
    return paths


def timed(way: Callable[[Path], object], path: Path) -> float:
    """CPU seconds of this thread: what else the machine does leaves them nearly alone."""
    began = time.thread_time()
    way(path)
    return time.thread_time() - began


if __name__ == "__main__":
    main()
