"""Keeping up with a folder: what changes is indexed, what does not is not, and nothing ends it but an end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest

from multimodal import IndexReport, Library, LibraryError, NoMediaFile, WrongSpace
from multimodal.library import watching
from multimodal.library import writing as module
from multimodal.library.watching import watch
from multimodal.space import Space
from tests.fakes import fake_space
from tests.library.serial import Serial
from tests.library.test_safety import HERE, start

pytest.importorskip("watchfiles", reason="watchfiles is not installed")

REST = 0.3


class Watched:
    """A watch that runs in a thread; `next` is its next report."""

    def __init__(self, library: Library, folder: Path, **how: Any) -> None:
        self.stop = threading.Event()
        self.problems: Queue[str] = Queue()
        self.reports: Queue[IndexReport] = Queue()
        self.failure: BaseException | None = None
        how = {"debounce": REST, "on_problem": self.problems.put, "stop_event": self.stop, **how}
        self.thread = threading.Thread(target=self._run, args=(watch(library, folder, **how),), daemon=True)
        self.thread.start()

    def _run(self, reports: Iterator[IndexReport]) -> None:
        try:
            for report in reports:
                self.reports.put(report)
        except BaseException as error:
            self.failure = error

    def next(self, seconds: float = 20.0) -> dict[str, set[str]]:
        """What became of which files, the unchanged left out."""
        report = self.reports.get(timeout=seconds)
        found: dict[str, set[str]] = {}
        for record in report.records:
            if record.status != "unchanged":
                found.setdefault(record.status, set()).add(record.path.name)
        return found

    def is_quiet(self, seconds: float = 1.2) -> bool:
        try:
            self.reports.get(timeout=seconds)
        except Empty:
            return True
        return False

    def end(self) -> None:
        self.stop.set()
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture
def watched(library: Library, photos: Path) -> Iterator[Callable[..., Watched]]:
    begun: list[Watched] = []

    def begin(folder: Path = photos, **how: Any) -> Watched:
        begun.append(Watched(library, folder, **how))
        return begun[-1]

    yield begin
    for one in begun:
        one.end()


def test_what_changes_is_indexed(watched: Callable[..., Watched], library: Library, photos: Path):
    one = watched()
    assert {name for names in one.next().values() for name in names} >= {"apple.txt", "egg.txt"}
    (photos / "new.txt").write_text("zebra")
    (photos / "cat.txt").write_text("cat without a hat")
    assert one.next() == {"added": {"new.txt", "cat.txt"}}
    assert library.search("zebra", k=1)[0].path == photos / "new.txt"
    (photos / "dog.txt").unlink()
    assert one.next() == {"removed": {"dog.txt"}}
    (photos / "new.txt").rename(photos / "sub" / "old.txt")
    assert one.next() == {"reused": {"old.txt"}, "removed": {"new.txt"}}
    shutil.rmtree(photos / "sub")
    assert one.next() == {"removed": {"egg.txt", "fox.txt", "old.txt"}}
    (photos / "deep" / "er").mkdir(parents=True)
    (photos / "deep" / "er" / "owl.txt").write_text("owl")
    assert one.next() == {"added": {"owl.txt"}}
    one.end()
    assert one.failure is None and one.problems.empty()


def test_what_happens_during_a_run_is_indexed_after_it(
    watched: Callable[..., Watched], photos: Path, serial: Serial
):
    def meanwhile(path: Path) -> None:
        if path.name == "boat.txt":
            (photos / "apple.txt").write_text("two apple trees")
            (photos / "meanwhile.txt").write_text("meanwhile")

    serial.before = meanwhile
    one = watched()
    assert len(one.next()["added"]) == 6
    assert one.next() == {"added": {"apple.txt", "meanwhile.txt"}}


def test_hidden_and_ignored_files_and_the_library_itself_are_no_changes(
    watched: Callable[..., Watched], photos: Path
):
    (photos / ".multimodalignore").write_text("*.bak.txt\ncache/\n")
    (photos / "cache").mkdir()
    one = watched(exclude=["drafts/"])
    one.next()
    (photos / "run.bak.txt").write_text("before")
    (photos / "cache" / "thumb.txt").write_text("thumb")
    (photos / "drafts").mkdir()
    (photos / "drafts" / "draft.txt").write_text("draft")
    (photos / ".hidden").write_text("hidden")
    (photos / "Thumbs.db").write_bytes(b"thumbs")
    (photos / ".multimodal" / "note.txt").write_text("note")
    assert one.is_quiet()
    (photos / ".multimodalignore").write_text("cache/\n")
    assert one.next() == {"added": {"run.bak.txt"}}


def test_patterns_of_the_root_count_for_a_folder_below(
    watched: Callable[..., Watched], library: Library, photos: Path
):
    (photos / ".multimodalignore").write_text("sub/tmp/\n")
    library.add(photos)
    one = watched(photos / "sub")
    one.next()
    (photos / "sub" / "tmp").mkdir()
    (photos / "sub" / "tmp" / "a.txt").write_text("a")
    assert one.is_quiet()
    (photos / "outside.txt").write_text("not watched")
    (photos / "sub" / "b.txt").write_text("b")
    assert one.next() == {"added": {"b.txt"}}


def test_it_waits_until_the_folder_rests(watched: Callable[..., Watched], photos: Path):
    one = watched(debounce=1.0)
    one.next()
    for part in range(8):
        with (photos / "slow.txt").open("a") as file:
            file.write(f"part{part} ")
        time.sleep(0.25)
    assert one.next() == {"added": {"slow.txt"}}
    assert one.is_quiet(1.5)  # it was read once, not in between


def test_a_folder_that_never_rests_is_looked_at_all_the_same(
    watched: Callable[..., Watched], photos: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(watching, "LONGEST", 1.0)
    one = watched(debounce=30.0)
    (photos / "never.txt").write_text("0")
    one.next()
    end = time.monotonic() + 10
    while one.reports.empty() and time.monotonic() < end:
        with (photos / "never.txt").open("a") as file:
            file.write(" and more")
        time.sleep(0.05)
    assert one.next(0.1) == {"added": {"never.txt"}}


def test_a_busy_library_is_waited_for(
    watched: Callable[..., Watched], library: Library, photos: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.05)
    monkeypatch.setattr(watching, "RETRY", (0.2, 0.4))
    library.add(photos)
    (photos / "new.txt").write_text("new")
    process = start(library.path, photos, "60")
    try:
        assert process.stdout is not None and process.stdout.readline().strip() == "-"
        one = watched()
        assert str(process.pid) in one.problems.get(timeout=10)
        assert one.is_quiet(0.8) and one.problems.empty()  # told once
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
    assert one.next() == {"added": {"new.txt"}}


@pytest.mark.skipif(os.name == "nt", reason="an open folder cannot be moved there")
@pytest.mark.parametrize("where", ["inside", "elsewhere"])
def test_a_disk_that_is_away_is_waited_for(
    library: Library, photos: Path, tmp_path: Path, space: Space, where: str, monkeypatch: pytest.MonkeyPatch
):
    """The folder goes, an empty one is in its place as under an unmounted disk, and it comes back."""
    monkeypatch.setattr(watching, "RETRY", (0.2, 0.4))
    if where == "elsewhere":
        library = Library(tmp_path / "library", space)
    one = Watched(library, photos)
    try:
        assert len(one.next()["added"]) == 6
        photos.rename(tmp_path / "away")
        assert "waiting" in one.problems.get(timeout=10)
        if where == "inside":
            photos.mkdir()
            assert one.is_quiet(1.0)
            assert not any(photos.iterdir())  # no library was made there
            photos.rmdir()
        (tmp_path / "away" / "new.txt").write_text("zebra")
        (tmp_path / "away").rename(photos)
        assert one.next() == {"added": {"new.txt"}}
        assert library.stats().files == 7
        (photos / "later.txt").write_text("yak")  # it listens again
        assert one.next() == {"added": {"later.txt"}}
    finally:
        one.end()
        library.close()
    assert one.failure is None


def test_a_failed_run_is_tried_again(
    watched: Callable[..., Watched], photos: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(watching, "RETRY", (0.1, 0.4))
    one = watched()
    one.next()
    whole, failing = Library.add, [LibraryError("The disk is full."), OSError(5, "Input/output error")]

    def breaks(*arguments: Any, **how: Any) -> IndexReport:
        if failing:
            raise failing.pop(0)
        return whole(*arguments, **how)

    monkeypatch.setattr(Library, "add", breaks)
    (photos / "new.txt").write_text("zebra")
    assert one.next() == {"added": {"new.txt"}}
    assert [one.problems.get(timeout=1) for _ in range(2)] == ["The disk is full.", "input/output error"]


def test_the_whole_folder_is_looked_at_now_and_then(
    watched: Callable[..., Watched], photos: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(watching._Watcher, "_places", lambda *_: set())  # nothing is ever told
    one = watched(rescan=0.5)
    one.next()
    assert one.is_quiet()  # a look that finds nothing is not told of
    (photos / "new.txt").write_text("zebra")
    assert one.next() == {"added": {"new.txt"}}


def test_where_the_system_does_not_tell_the_files_are_looked_at(
    watched: Callable[..., Watched], photos: Path, monkeypatch: pytest.MonkeyPatch
):
    import watchfiles

    whole = watchfiles.watch

    def limited(*paths: Path, force_polling: bool | None = None, **how: Any) -> Any:
        if not force_polling:
            raise OSError("OS file watch limit reached")
        return whole(*paths, force_polling=True, **how)

    monkeypatch.setattr(watchfiles, "watch", limited)
    monkeypatch.setattr(watching, "RETRY", (0.1, 0.2))
    monkeypatch.setattr(watching, "POLL_MS", 100)
    one = watched()
    assert "limit reached" in one.problems.get(timeout=10)
    one.next()
    (photos / "new.txt").write_text("zebra")
    assert one.next() == {"added": {"new.txt"}}


def test_it_stops_in_the_middle_of_a_run(library: Library, photos: Path, serial: Serial):
    begun = threading.Event()

    def slowly(_: Path) -> None:
        begun.set()
        time.sleep(0.2)

    serial.before = slowly
    for number in range(100):
        (photos / f"{number}.txt").write_text(f"word{number}")
    one = Watched(library, photos)
    assert begun.wait(10)
    time.sleep(1.5)  # the first batch is safe
    one.end()
    assert one.failure is None and one.reports.empty()
    assert 0 < library.stats().files < 106


def test_what_cannot_be_watched_is_said_at_once(library: Library, photos: Path, tmp_path: Path):
    with pytest.raises(NoMediaFile):
        watch(library, tmp_path / "none")
    with pytest.raises(NoMediaFile, match="only folders"):
        watch(library, photos / "cat.txt")
    library.add(photos)
    with Library(library.path, fake_space(2)) as other, pytest.raises(WrongSpace):
        next(watch(other, photos))


def test_without_watchfiles_one_sentence_says_so(library: Library, photos: Path, monkeypatch):
    monkeypatch.setattr(watching.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(LibraryError, match=r"multimodal\[watch\]"):
        watch(library, photos)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_process_watches_until_it_is_interrupted(photos: Path, sign: int):
    """Real readers, real workers, a real signal: what was done is kept."""
    command = [sys.executable, "-m", "tests.library.watcher", str(photos / ".multimodal"), str(photos)]
    process = subprocess.Popen(
        command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().split() == ["6", "0", "0", "0"]
        (photos / "new.txt").write_text("zebra")
        assert process.stdout.readline().split()[0] == "1"
        process.send_signal(sign)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode in (-sign, 130), errors
    assert "KeyboardInterrupt" in errors if sign == signal.SIGINT else not errors
    with Library(photos / ".multimodal", fake_space()) as library:
        assert library.search("zebra", k=1)[0].path.name == "new.txt"
