"""What a decoder may do to its worker: the file is failed with a reason, everything else is embedded."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from multimodal import readers
from multimodal.errors import MultimodalError, SpaceError
from multimodal.pipeline import EncodedFile, Limits, encode_files
from multimodal.pipeline import pool as pool_module
from multimodal.pipeline.encode import setup_for
from multimodal.pipeline.pool import DecodePool
from multimodal.pipeline.wire import Ended, Setup, Task
from multimodal.space import Space
from multimodal.types import ReadOptions
from tests.fakes import fake_space
from tests.pipeline import hazards
from tests.pipeline.conftest import Script, gone, pids

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

QUICK = Limits(seconds_without_progress=3.0)


def run(paths: list[Path], workers: int = 1, limits: Limits = QUICK) -> dict[str, EncodedFile]:
    files = list(encode_files(paths, fake_space(), workers=workers, limits=limits))
    assert sorted(file.path for file in files) == sorted(paths)
    return {file.path.name: file for file in files}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("signal 11", "the decoder crashed (signal 11)"),
        ("signal 6", "the decoder crashed (signal 6)"),
        ("signal 9", "the decoder was killed (signal 9), perhaps for want of memory"),
        ("exit 3", "the decoder quit (exit code 3)"),
        ("exit 0", "the decoder quit (exit code 0)"),
        ("quit 4", "the decoder quit (exit code 4)"),
        ("hang", "the decoder gave nothing for 3 s"),
        ("fail the index is lost", "the index is lost"),
        ("oops odd", "the file cannot be decoded: RuntimeError: odd"),
        ("lose", "the file cannot be read: no such file or directory"),
    ],
)
def test_a_bad_file_fails_alone(script: Script, line: str, reason: str) -> None:
    paths = [
        script("first", "red"),
        script("bad", "red", "say words", line, "blue"),
        script("last", "blue", "say more"),
    ]
    files = run(paths)
    assert (files["bad"].status, files["bad"].reason, files["bad"].rows) == ("failed", reason, [])
    assert [files[name].status for name in ("first", "last")] == ["added", "added"]
    assert len(files["last"].rows) == 2


def test_an_unsupported_file_is_skipped(script: Script) -> None:
    file = run([script("odd", "unsupported")])["odd"]
    assert (file.status, file.reason) == ("skipped", "no reader takes it")


def test_every_file_may_crash(script: Script) -> None:
    paths = [script(f"{n}", *(["signal 11"] if n % 3 else ["red"])) for n in range(12)]
    files = run(paths, workers=2)
    assert [name for name, file in files.items() if file.status == "added"].__len__() == 4
    assert {file.reason for file in files.values()} == {None, "the decoder crashed (signal 11)"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of one process")
def test_memory_is_limited(script: Script) -> None:
    paths = [script("bomb", "red", "eat 1.5"), script("good", "red")]
    files = run(paths, limits=Limits(worker_memory=1 << 30))
    assert files["bomb"].reason == "decoding needs more than 1 GiB of memory"
    assert files["good"].status == "added"
    assert run(paths[:1], limits=Limits(worker_memory=None))["bomb"].status == "added"


def test_a_worker_killed_in_the_middle_of_a_file(script: Script, tmp_path: Path) -> None:
    paths = [
        script("victim", f"pid {tmp_path / 'pids'}", "red", "nap 30"),
        script("next", f"pid {tmp_path / 'pids'}", "red"),
    ]
    killer = threading.Thread(target=lambda: os.kill(pids(tmp_path / "pids")[0], signal.SIGKILL))
    killer.start()
    files = run(paths, limits=Limits())
    killer.join()
    assert files["victim"].status == "failed"
    assert "signal 9" in str(files["victim"].reason)
    assert files["next"].status == "added"
    victim, successor = pids(tmp_path / "pids", 2)
    assert victim != successor


def test_a_worker_that_dies_between_files_costs_none(script: Script, tmp_path: Path) -> None:
    first = script("first", f"pid {tmp_path / 'pids'}", "red")
    second = script("second", f"pid {tmp_path / 'pids'}", "red")
    pool = DecodePool(lambda: setup_for(fake_space(), QUICK), 1, QUICK)
    try:
        for task, path in enumerate((first, second)):
            pool.submit(task, Task(path))
            messages = []
            while not messages or not isinstance(messages[-1], Ended):
                event = pool.get(0.5)
                messages += [event.message] if event else []
            assert messages[-1].outcome == "read"
            pid = pids(tmp_path / "pids", task + 1)[task]
            os.kill(pid, signal.SIGKILL)
            assert gone(pid, 5)
    finally:
        pool.close()


def test_what_a_decoder_prints_breaks_nothing(script: Script) -> None:
    flood = ["print " + "x" * 60_000] * 20
    files = run(
        [
            script("chatty", "print hello", "red", *flood, "blue"),
            script("last words", "red", "print giving up", "exit 1"),
        ]
    )
    assert len(files["chatty"].rows) == 2
    assert files["last words"].reason == "the decoder quit (exit code 1): giving up"


def test_a_hang_is_noticed_while_other_workers_are_busy(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "FILES_PER_WORKER", 1)
    paths = [
        script("hung", "red", "hang"),
        script("busy", *["nap 0.002", "red"] * 4000),
        script("more", "red"),
    ]
    limits = Limits(seconds_without_progress=2.0)  # the busy one takes 8 s and more
    files = [file.path.name for file in encode_files(paths, fake_space(), workers=2, limits=limits)]
    assert files.index("hung") < files.index("busy")


def test_slow_is_not_hung(script: Script) -> None:
    file = run([script("slow", *["nap 0.8", "red"] * 4)])["slow"]
    assert len(file.rows) == 4
    assert 3.2 <= file.seconds < 10


def test_a_slow_consumer_is_no_hang(script: Script, heavy_space: Space) -> None:
    """While nobody takes what it gives, a worker waits longer than the limit and is not blamed."""
    paths = [script("a", "red"), script("b", "big 20"), script("c", "red")]
    files = []
    for file in encode_files(paths, heavy_space, workers=1, limits=Limits(seconds_without_progress=1.0)):
        files.append(file)
        time.sleep(2.5 if file.path.name == "a" else 0)
    assert [file.status for file in files] == ["added"] * 3


def test_a_space_whose_preprocessing_cannot_travel(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = fake_space()
    monkeypatch.setattr(space["image"].tower, "preprocess", hazards.Fragile())
    with pytest.raises(MultimodalError, match="no such codec here"):
        list(encode_files([script("any", "red")], space))
    monkeypatch.setattr(space["image"].tower, "preprocess", lambda content: content)
    with pytest.raises(MultimodalError, match="cannot be sent to decode workers"):
        list(encode_files([script("any", "red")], space))


def test_workers_that_never_start(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(Path(os.__file__).parent)])
    with pytest.raises(MultimodalError, match=r"No decode worker can be started: .*No module named"):
        list(encode_files([script("any", "red")], fake_space()))


def test_a_damaged_space_ends_the_run(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    space = fake_space()

    def broken(batch: object) -> None:
        raise SpaceError("the weights are gone")

    monkeypatch.setattr(space["image"].tower, "forward", broken)
    with pytest.raises(SpaceError, match="the weights are gone"):
        list(encode_files([script("any", "red")], space))


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_a_segment_without_a_vector_fails_its_file_alone(
    script: Script, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    space = fake_space()
    forward = space["image"].tower.forward

    def partly(batch: list[np.ndarray]) -> np.ndarray:
        rows = forward(batch)
        return np.where(rows[:, 2:3] > 0.5, value, rows).astype(np.float32)  # the blue ones

    monkeypatch.setattr(space["image"].tower, "forward", partly)
    files = list(encode_files([script("a", "red"), script("b", "red", "blue"), script("c", "green")], space))
    assert {file.path.name: file.reason for file in files} == {
        "a": None, "b": "the image encoder gives it no direction", "c": None,
    }  # fmt: skip


def test_a_segment_that_a_tower_cannot_take(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    space = fake_space()
    embed = space["text"].embed

    def picky(batch: list[np.ndarray]) -> np.ndarray:
        if any(row[0] for row in batch):
            raise ValueError("red is not a word")
        return embed(batch)

    monkeypatch.setattr(space["text"], "embed", picky)
    files = list(
        encode_files([script("a", "say blue"), script("b", "say red"), script("c", "say sky")], space)
    )
    assert {file.path.name: file.reason for file in files} == {
        "a": None, "b": "it cannot be embedded: ValueError: red is not a word", "c": None,
    }  # fmt: skip


def test_setup_names_every_modality() -> None:
    setup = setup_for(fake_space(), QUICK)
    assert isinstance(setup, Setup)
    assert set(setup.preprocess) == {"text", "image", "video", "audio"}
    assert setup.preprocess["text"] is None
    assert setup.options == ReadOptions(min_side=32)
    assert setup.read is readers.read


def test_limits_are_checked() -> None:
    with pytest.raises(ValueError, match="seconds_without_progress"):
        Limits(seconds_without_progress=0)
    with pytest.raises(ValueError, match="worker_memory"):
        Limits(worker_memory=0)
    with pytest.raises(ValueError, match="workers"):
        encode_files([], fake_space(), workers=0)
