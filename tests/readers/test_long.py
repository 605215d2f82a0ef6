"""Hours of video and of sound: flat memory, and times that are right at the end.

Peaks and times in the docstrings were measured on one core of a 2-core AMD EPYC with 24 GB; a third of each
time goes into writing the file.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.media_video import write_long_sound, write_long_video

HOUR = 3600

READ = """
import json, re, sys, time
from pathlib import Path
import numpy as np
from multimodal.readers import read
from multimodal.types import Audio, ReadOptions
began, found, onsets, inside = time.perf_counter(), [], [], False
for segment in read(Path(sys.argv[1]), ReadOptions(min_side=224)):
    found.append((segment.modality, segment.role, segment.start, segment.end))
    if isinstance(segment.content, Audio):
        blocks = segment.content.samples[: len(segment.content.samples) // 160 * 160].reshape(-1, 160)
        loud = np.abs(blocks).max(axis=1, initial=0) > 0.2
        for place in np.flatnonzero(loud & ~np.concatenate([[inside], loud[:-1]])):
            onsets.append(segment.start + place / 100)
        inside = bool(loud[-1]) if len(loud) else inside
    else:
        inside = False
peak = int(re.search("VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
print(json.dumps({"segments": found, "onsets": onsets, "peak": peak, "seconds": time.perf_counter() - began}))
"""

needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")


def read_apart(path: Path) -> dict[str, Any]:
    """What a process of its own reads: segments, seconds at which loud tones begin, peak memory in MiB."""
    done = subprocess.run([sys.executable, "-c", READ, str(path)], check=True, capture_output=True, text=True)
    told = json.loads(done.stdout)
    print(f"{len(told['segments'])} segments, peak {told['peak']:.0f} MiB, {told['seconds']:.0f} s")
    return dict(told)


@pytest.mark.slow
@needs_proc
def test_three_hours_of_video(tmp_path: Path) -> None:
    """108,000 frames of 64 x 48 pixels and a sound track: 63 MiB at most, 75 s."""
    rng = np.random.default_rng(0)
    cuts = np.cumsum(rng.uniform(3, 60, 400)).round(1)
    cuts = np.append(cuts[cuts < 3 * HOUR - 5], 3 * HOUR - 2.5)
    marks = [5.0, HOUR + 0.5, 2 * HOUR + 100.25, 3 * HOUR - 7.5]
    path = write_long_video(tmp_path / "x.mkv", list(cuts), 3 * HOUR, marks=marks)
    told = read_apart(path)
    video = [(start, end) for modality, _, start, end in told["segments"] if modality == "video"]
    starts, ends = np.array(video).T
    assert starts[0] == 0 and (starts[1:] == ends[:-1]).all() and ends[-1] == pytest.approx(3 * HOUR, abs=0.1)
    nearest = np.abs(starts[:, None] - cuts).min(axis=0)
    assert nearest.max() < 0.1
    edges = np.concatenate([[0], cuts, [3 * HOUR]])
    assert len(video) == np.ceil(np.diff(edges) / 15 - 1e-6).sum()  # nothing but the cuts and the bounds
    assert told["onsets"] == pytest.approx(marks, abs=0.1)
    audio_end = max(end for modality, _, _, end in told["segments"] if modality == "audio")
    assert audio_end == pytest.approx(3 * HOUR, abs=0.1)
    assert told["peak"] < 160


@pytest.mark.slow
@needs_proc
def test_ten_hours_of_sound(tmp_path: Path) -> None:
    """A low tone with a high one at known times, the last 3.7 s before the end: 57 MiB, 40 s."""
    marks = [10.0, HOUR + 0.25, 5 * HOUR + 1.5, 9 * HOUR, 10 * HOUR - 3.7]
    told = read_apart(write_long_sound(tmp_path / "x.flac", 10 * HOUR, marks, low=110))
    assert len(told["segments"]) == 10 * HOUR / 5
    assert told["segments"][-1][3] == pytest.approx(10 * HOUR, abs=0.01)
    assert told["onsets"] == pytest.approx(marks, abs=0.02)
    assert told["peak"] < 120


@pytest.mark.slow
@needs_proc
def test_ten_hours_of_silence(tmp_path: Path) -> None:
    """One segment for what is silent before, between and after the marks, however long: 54 MiB, 25 s."""
    marks = [2.0 * HOUR, 10 * HOUR - 30.5]
    told = read_apart(write_long_sound(tmp_path / "x.flac", 10 * HOUR, marks))
    edges = [0.0, marks[0], marks[0] + 1, marks[1], marks[1] + 1, 10 * HOUR]
    roles = ["blank", "content", "blank", "content", "blank"]
    assert [role for _, role, *_ in told["segments"]] == roles
    assert [start for *_, start, _ in told["segments"]] == pytest.approx(edges[:-1], abs=0.03)
    assert [end for *_, end in told["segments"]] == pytest.approx(edges[1:], abs=0.03)
    assert told["peak"] < 120
