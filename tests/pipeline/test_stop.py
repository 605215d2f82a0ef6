"""Stopping: at once, from any side, and no worker stays behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from multimodal.pipeline import encode_files
from tests.fakes import fake_space
from tests.pace import within
from tests.pipeline.conftest import Script, gone, pids

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

ROOT = Path(__file__).parents[2]
RUN = """
import sys
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
sys.path.insert(0, {root!r})
from pathlib import Path
from multimodal import readers
from tests.pipeline import hazards
from tests.fakes import fake_space
from multimodal.pipeline import encode_files
readers.read = hazards.read
files = encode_files([Path(p) for p in {paths!r}], fake_space(), workers=2)
try:
    for file in files:
        print(file.path.name, flush=True)
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


def busy(script: Script, tmp_path: Path, last: str) -> list[Path]:
    """A quick file, then enough that never end to keep two workers busy."""
    return [script("quick", "red")] + [
        script(f"{n}", f"pid {tmp_path / 'pids'}", "red", last) for n in range(20)
    ]


@pytest.mark.parametrize("last", ["hang", "big 100000"])
def test_closing_ends_every_worker(script: Script, tmp_path: Path, last: str) -> None:
    files = encode_files(busy(script, tmp_path, last), fake_space(), workers=2)
    assert next(files).path.name == "quick"
    workers = pids(tmp_path / "pids", 2)
    with within(2, clock=time.monotonic):
        files.close()  # type: ignore[attr-defined]
    assert len(set(workers)) == 2
    assert all(gone(pid) for pid in workers)
    assert not [thread for thread in threading.enumerate() if thread.name == "decode"]


def test_dropping_the_iterator_ends_every_worker(script: Script, tmp_path: Path) -> None:
    files = encode_files(busy(script, tmp_path, "hang"), fake_space(), workers=2)
    next(files)
    workers = pids(tmp_path / "pids", 2)
    del files
    gc.collect()
    assert all(gone(pid) for pid in workers)


def test_the_end_of_a_run_leaves_no_worker(script: Script, tmp_path: Path) -> None:
    paths = [script(f"{n}", f"pid {tmp_path / 'pids'}", "red") for n in range(3)]
    assert len(list(encode_files(paths, fake_space()))) == 3
    assert all(gone(pid) for pid in pids(tmp_path / "pids", 3))


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_to_the_parent_ends_every_worker(
    script: Script, tmp_path: Path, sign: signal.Signals
) -> None:
    paths = [str(path) for path in busy(script, tmp_path, "hang")]
    code = RUN.format(root=str(ROOT), paths=paths)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "quick\n"
        workers = pids(tmp_path / "pids", 2)
        with within(2, clock=time.monotonic):
            process.send_signal(sign)
            said = process.stdout.read()
            process.wait(10)
    assert said == ("stopped\n" if sign == signal.SIGINT else "")
    assert process.returncode == (0 if sign == signal.SIGINT else -signal.SIGKILL)
    assert all(gone(pid, 5) for pid in workers)


def test_ctrl_c_in_a_terminal_does_not_reach_the_workers(script: Script, tmp_path: Path) -> None:
    """A terminal signals the whole process group; the parent alone decides what then ends."""
    [path] = [script("one", f"pid {tmp_path / 'pids'}", "nap 0.5", "red")]
    files = encode_files([path], fake_space())
    done: list[str] = []
    thread = threading.Thread(target=lambda: done.extend(file.status for file in files))
    thread.start()
    assert os.getpgid(pids(tmp_path / "pids")[0]) != os.getpgid(0)
    thread.join()
    assert done == ["added"]


def test_a_folder_of_traps_is_not_imported(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder that is worked in may hold files named as modules: they are media, never code."""
    for name in ("json", "numpy", "pickle", "PIL", "struct", "multimodal"):
        (tmp_path / f"{name}.py").write_text(
            "import pathlib; pathlib.Path(__file__).with_suffix('.ran').touch()"
        )
    monkeypatch.chdir(tmp_path)
    assert [file.status for file in encode_files([script("one", "red")], fake_space())] == ["added"]
    assert not list(tmp_path.glob("*.ran"))
