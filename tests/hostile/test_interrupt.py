"""Ctrl-C and SIGTERM stop the command within two seconds, whatever it is doing; a second run goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import media
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

SIGNALS = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated")}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four hours of film: one minute, over and over, which takes half a minute to read and more."""
    import av

    folder = tmp_path_factory.mktemp("film")
    scenes = [media.picture(seed, 320, 240) for seed in range(10)]
    short, long = media.write_video(folder / "short.mp4", scenes, seconds=6, rate=25), folder / "film.mp4"
    with av.open(str(short)) as source, av.open(str(long), "w") as target:
        given = source.streams.video[0]
        stream = target.add_stream_from_template(given)
        packets = [packet for packet in source.demux(given) if packet.dts is not None]
        minute = int(60 / given.time_base)
        times = [(packet.pts, packet.dts) for packet in packets]
        for number in range(240):
            for packet, (shown, decoded) in zip(packets, times, strict=True):
                packet.stream = stream
                packet.pts, packet.dts = shown + number * minute, decoded + number * minute
                target.mux(packet)
    return long


def folder_of(tmp_path: Path, film: Path, last: str) -> Path:
    """Thirty quick files, then what the run will be stuck in."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number:02}.txt").write_text(f"word{number}")
    if last == "film":
        (folder / "film.mp4").hardlink_to(film)
    elif last == "hang":
        media.write_sound(folder / "hang.wav", media.tone(30.0, 8000), 8000)
        media.write_sound(folder / "hang2.wav", media.tone(40.0, 8000), 8000)
    else:  # one that is all reading: content is hashed before it goes to a decoder
        with (folder / "huge.wav").open("wb") as file:
            file.truncate(60 << 30)
    return folder


def stop(process: subprocess.Popen[str], sign: signal.Signals) -> tuple[float, str]:
    """Send a signal; gives the seconds it took to end, and what was said. No worker may be left."""
    workers = descendants(process.pid)
    begun = time.monotonic()
    process.send_signal(sign)
    _, said = process.communicate(timeout=20)
    took = time.monotonic() - begun
    assert not survivors(workers, 0.5)
    return took, said


@pytest.mark.parametrize("sign", list(SIGNALS))
@pytest.mark.parametrize("last", ["film", "hang", "hash"])
def test_a_signal_stops_the_command_and_a_second_run_goes_on(
    tmp_path: Path, film: Path, sign: signal.Signals, last: str
) -> None:
    folder, note = folder_of(tmp_path, film, last), tmp_path / "report.jsonl"
    process = start("index", folder, "--report", note, "--workers", "2", HOSTILE_HANG="1")
    if last == "hash":  # nothing is told of meanwhile
        wait_for((folder / ".multimodal" / "library.db").exists)
        time.sleep(1.0)
    else:
        wait_for(lambda: len(report(note)) >= 30)
        time.sleep(0.5)
    assert process.poll() is None
    took, said = stop(process, sign)
    code, word = SIGNALS[sign]
    assert took < 2
    assert process.returncode == code
    assert said == f"multimodal: {word}; what was done is kept, run it again to go on\n"
    files, segments = contents(folder / ".multimodal")
    if last == "hash":
        return
    assert len(files) == len(segments) == 30
    if last == "film":  # reading all of it is not what is tested
        (folder / "film.mp4").unlink()
    again = run("index", folder)
    expected = 30 if last == "film" else 32
    assert again.returncode == 0, again.stderr
    assert again.stderr.startswith(f"{expected - 30} files added")
    assert "30 unchanged" in again.stderr
    assert len(contents(folder / ".multimodal")[0]) == expected
    assert check_derived(folder / ".multimodal") >= expected


@pytest.mark.parametrize("seconds", [0.05, 0.2, 0.4, 0.8])
def test_a_signal_while_it_starts_is_no_traceback(tmp_path: Path, film: Path, seconds: float) -> None:
    """A second Ctrl-C, too, comes in the middle of something."""
    folder = folder_of(tmp_path, film, "hang")
    process = start("index", folder, HOSTILE_HANG="1")
    time.sleep(seconds)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    assert process.returncode in (143, -signal.SIGTERM)
    if process.returncode == 143:
        assert said.count("\n") == 1 and "Traceback" not in said


def test_the_real_command_with_the_real_model_stops_too(tmp_path: Path, film: Path) -> None:
    folder, note = folder_of(tmp_path, film, "film"), tmp_path / "report.jsonl"
    process = start("index", folder, "--report", note, module="multimodal.cli")
    wait_for(lambda: len(report(note)) >= 30, 60)
    time.sleep(1.5)  # in the middle of a batch, most likely
    took, said = stop(process, signal.SIGINT)
    assert took < 2 and process.returncode == 130 and "interrupted" in said
    assert len(contents(folder / ".multimodal")[0]) == 30
