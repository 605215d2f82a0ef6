from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from multimodal import Library
from tests.test_samples import SAMPLES


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of the samples with a library, in a folder of their own."""
    folder = tmp_path_factory.mktemp("app") / "media"
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((SAMPLES / name).read_bytes())
    with Library(folder / ".multimodal") as library:
        library.add(folder, workers=1)
    return folder


NAMES = (
    "pictures/castle.jpg",
    "pictures/cup-of-coffee.jpg",
    "pictures/horse.png",
    "sounds/horse-neighing.ogg",
    "texts/a-good-cup-of-coffee.md",
    "videos/music-room.webm",
)


@pytest.fixture(scope="session")
def page(samples: Path) -> Iterator[str]:
    """The address of the page, served by the command."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "multimodal.cli", "app", str(samples), "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ) as process:
        address = f"http://127.0.0.1:{port}"
        for _ in range(240):
            try:
                urllib.request.urlopen(address, timeout=2).close()
                break
            except OSError:
                assert process.poll() is None, "the command ended"
                time.sleep(0.25)
        yield address
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
