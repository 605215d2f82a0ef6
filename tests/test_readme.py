"""The README is run: its Python sessions by doctest's parser, its commands in a shell, output compared.

Numbers may differ in the last digit shown from machine to machine (other BLAS, other vector unit), so
words are compared exactly and numbers to 2 %, or 0.06 where they are small.
"""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
VOLATILE = re.compile(r"\d+\.\d s\b|\d+(?:\.\d+)? MB|[0-9a-f]{16}")


def blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.M | re.S)


def same(expected: str, got: str) -> bool:
    """Equal but for the last digits of numbers, and for times, sizes and ids."""
    expected, got = VOLATILE.sub("*", expected), VOLATILE.sub("*", got)
    if NUMBER.sub("#", expected).split() != NUMBER.sub("#", got).split():
        return False
    pairs = zip(map(float, NUMBER.findall(expected)), map(float, NUMBER.findall(got)), strict=True)
    return all(abs(a - b) <= max(0.06, 0.02 * abs(a)) for a, b in pairs)


class Numeric(doctest.OutputChecker):
    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return super().check_output(want, got, optionflags) or same(want, got)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader has in front of them: the samples, in a folder of their own."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "samples", folder / "samples", ignore=shutil.ignore_patterns(".multimodal"))
    return folder


def test_the_readme_has_both_kinds_of_session() -> None:
    assert blocks("python") and blocks("console")


def test_python_sessions(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout)
    runner = doctest.DocTestRunner(checker=Numeric(), optionflags=doctest.NORMALIZE_WHITESPACE, verbose=False)
    report: list[str] = []
    session = "\n".join(blocks("python"))
    test = doctest.DocTestParser().get_doctest(session, {"__name__": "__readme__"}, "README", "README.md", 0)
    assert test.examples
    runner.run(test, out=report.append)
    assert not runner.failures, "".join(report)


def test_command_sessions(checkout: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ran = 0
    for block in blocks("console"):
        for command, expected in re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", block, flags=re.M):
            if command.startswith(("make ", "pip ", "git ")):
                continue  # these install; the fresh-machine check runs them
            done = subprocess.run(
                command,
                shell=True,
                cwd=checkout,
                env={**os.environ, "PATH": path},
                capture_output=True,
                text=True,
            )
            got = done.stdout + done.stderr
            assert same(expected, got), f"$ {command}\n--- README\n{expected}--- now\n{got}"
            ran += 1
    assert ran >= 3
