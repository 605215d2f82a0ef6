"""Files in, rows out: real files of every format, and what the caller may rely on."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import multimodal
from multimodal.encoder import Encoder
from multimodal.pipeline import EncodedFile, Progress, Row, encode_files, pool
from multimodal.pipeline.encode import default_workers, setup_for
from multimodal.pipeline.pool import DecodePool
from multimodal.pipeline.wire import Limits, Task
from multimodal.space import Space, load_space
from tests import media
from tests.fakes import DIM, FakeSource, fake_space
from tests.pipeline.conftest import Script, pids

STARTER = Path(multimodal.__file__).parent / "starter"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small real file of each kind of content, and four that are none."""
    folder = tmp_path_factory.mktemp("media")
    for seed, suffix in enumerate(
        (".jpg", ".png", ".gif", ".tif", ".txt", ".srt", ".wav", ".mp3", ".mp4", ".webm")
    ):
        media.write(folder / f"good{suffix}", seed)
    media.write_image(folder / "second.jpg", media.picture(40, 900, 700))
    (folder / "empty.jpg").touch()
    (folder / "lie.png").write_bytes(b"%PDF-1.7\n" + bytes(200))
    (folder / "whatever.xyz").write_bytes(bytes(range(256)))
    (folder / "cut.jpg").write_bytes((folder / "second.jpg").read_bytes()[:300])
    return folder


def by_name(files: Iterator[EncodedFile]) -> dict[str, EncodedFile]:
    return {file.path.name: file for file in files}


def test_every_file_has_one_result(folder: Path) -> None:
    paths = [*sorted(folder.iterdir()), folder / "missing.jpg", folder / "good.jpg"]
    files = list(encode_files(paths, fake_space()))
    assert sorted(file.path for file in files) == sorted(paths)
    bad = {file.path.name: (file.status, bool(file.reason)) for file in files if file.status != "added"}
    assert bad == {
        "empty.jpg": ("failed", True),
        "lie.png": ("failed", True),
        "cut.jpg": ("failed", True),
        "missing.jpg": ("failed", True),
        "whatever.xyz": ("skipped", True),
    }
    for file in files:
        assert file.seconds >= 0
        assert (file.status == "added") == bool(file.rows) == (file.reason is None)


def test_rows_are_the_segments_of_the_file_in_their_order(folder: Path) -> None:
    space = fake_space()
    for name, file in by_name(encode_files(sorted(folder.glob("good.*")), space)).items():
        segments = list(space.read(folder / name))
        assert [(row.modality, row.start, row.end) for row in file.rows] == [
            (segment.modality, segment.start, segment.end) for segment in segments
        ]
        texts = [segment.content if segment.modality == "text" else None for segment in segments]
        assert [row.text for row in file.rows] == texts
        vectors = np.stack([row.vector for row in file.rows])
        assert vectors.dtype == np.float32
        assert vectors.shape == (len(segments), DIM)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(vectors, space.embed(segments), atol=1e-5)


def test_relative_paths_come_back_as_they_were_given(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    [file] = encode_files([Path("good.jpg")], fake_space())
    assert file.path == Path("good.jpg")
    assert file.status == "added"


class Deaf(FakeSource):
    name = "deaf"
    modalities = ("text", "image", "video")

    def build(self, modality: str) -> Encoder:  # type: ignore[override]
        assert modality != "audio"
        return super().build(modality)  # type: ignore[arg-type]


def test_a_modality_the_space_does_not_have(folder: Path) -> None:
    files = by_name(
        encode_files([folder / "good.wav", folder / "good.mp4", folder / "good.jpg"], Space(Deaf()))
    )
    assert (files["good.wav"].status, files["good.wav"].reason) == (
        "skipped",
        "the space deaf has no audio encoder",
    )
    assert files["good.mp4"].status == "added"
    assert {row.modality for row in files["good.mp4"].rows} == {"video"}
    assert files["good.jpg"].status == "added"


def test_a_file_of_many_batches(script: Script) -> None:
    """More segments than fit a batch, of two modalities in turns: each row stands where it belongs."""
    lines = [line for n in range(50) for line in (f"say red{n}", f"tone {300 + 40 * n}")]
    space = fake_space()
    [file] = encode_files([script("long", *lines)], space)
    assert [row.modality for row in file.rows] == ["text", "audio"] * 50
    words = space.embed([f"red{n}" for n in range(50)])
    np.testing.assert_allclose([row.vector for row in file.rows[::2]], words, atol=1e-6)


def test_batches_are_filled_across_files(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    space = fake_space()
    sizes: list[int] = []
    embed = space["image"].embed

    def counted(batch: list[np.ndarray]) -> np.ndarray:
        sizes.append(len(batch))
        time.sleep(0.2)  # the workers are ahead
        return embed(batch)

    monkeypatch.setattr(space["image"], "embed", counted)
    files = list(encode_files([script(f"{n}", "red") for n in range(200)], space, workers=4))
    assert len(files) == sum(sizes) == 200
    assert max(sizes) == 32
    assert len(sizes) < 20


def test_a_tower_that_waits_takes_a_quarter_of_a_batch(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = fake_space()
    sizes: list[int] = []
    embed = space["image"].embed

    def counted(batch: list[np.ndarray]) -> np.ndarray:
        sizes.append(len(batch))
        return embed(batch)

    monkeypatch.setattr(space["image"], "embed", counted)
    files = list(encode_files([script(f"{n}", "red") for n in range(200)], space, workers=1))
    assert len(files) == sum(sizes) == 200
    assert len(sizes) < 60 and np.median(sizes) < 32


def test_nothing_given(script: Script) -> None:
    assert list(encode_files([], fake_space())) == []
    [file] = encode_files([script("silent")], fake_space())
    assert (file.status, file.reason) == ("failed", "it holds nothing to embed")


def test_paths_are_taken_as_the_work_goes_on(script: Script) -> None:
    taken = itertools.count()
    path = script("one", "red")

    def endless() -> Iterator[Path]:
        while True:
            next(taken)
            yield path

    files = encode_files(endless(), fake_space(), workers=2)
    assert all(next(files).status == "added" for _ in range(50))
    files.close()  # type: ignore[attr-defined]
    assert next(taken) < 250


def test_the_thread_that_iterates_takes_the_paths(folder: Path) -> None:
    threads = set()

    def paths() -> Iterator[Path]:
        for _ in range(20):
            threads.add(threading.get_ident())
            yield folder / "good.jpg"

    assert len(list(encode_files(paths(), fake_space()))) == 20
    assert threads == {threading.get_ident()}


def test_an_error_of_the_caller_passes_through(folder: Path) -> None:
    def paths() -> Iterator[Path]:
        yield folder / "good.jpg"
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        list(encode_files(paths(), fake_space()))


def test_a_waiting_producer_does_not_fill_the_memory(
    script: Script, heavy_space: Space, tmp_path: Path
) -> None:
    """400 MB of prepared sounds: while the consumer is away, no more than the buffer's 32 MB is made."""
    log = tmp_path / "log"
    paths = [script("first", "red"), script("endless", f"log {log}", "big 100")]
    files = encode_files(paths, heavy_space, workers=1)
    assert next(files).path == paths[0]
    time.sleep(2)
    made = len(log.read_text().splitlines())
    assert 4 <= made <= 14
    assert next(files).rows[-1].end == 100
    assert len(log.read_text().splitlines()) == 100


def test_workers_start_as_the_files_call_for_them(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "LONG_WAIT", 60.0)

    def processes(count: int) -> int:
        log = tmp_path / f"pids{count}"
        paths = [script(f"{count}-{n}", f"pid {log}", "nap 0.01", "red") for n in range(count)]
        assert len(list(encode_files(paths, fake_space(), workers=3))) == count
        return len(set(pids(log, count)))

    assert processes(5) == 1
    assert 2 <= processes(120) <= 3


def test_a_file_that_waits_long_gets_another_worker(script: Script, tmp_path: Path) -> None:
    paths = [script(f"{n}", f"pid {tmp_path / 'pids'}", "nap 3", "red") for n in range(2)]
    assert len(list(encode_files(paths, fake_space(), workers=2))) == 2
    assert len(set(pids(tmp_path / "pids", 2))) == 2


def test_progress(folder: Path) -> None:
    seen: list[Progress] = []
    paths = sorted(folder.glob("good.*"))
    files = list(encode_files(paths, fake_space(), on_progress=seen.append))
    last = seen[-1]
    assert (last.files_done, last.files_seen) == (len(paths), len(paths))
    assert last.rows == sum(len(file.rows) for file in files)
    assert [report.files_done for report in seen] == sorted(report.files_done for report in seen)
    assert {report.current for report in seen if report.current} <= set(paths)


def vectors(files: Iterator[EncodedFile]) -> dict[str, np.ndarray]:
    return {file.path.name: np.stack([row.vector for row in file.rows]) for file in files if file.rows}


def check_determinism(folder: Path, name: str) -> None:
    """Alone, in a batch, in another order, with other workers, in another process: the same rows."""
    space = load_space() if name == "starter" else fake_space()
    paths = [*sorted(folder.glob("good.*")), folder / "second.jpg"]
    together = vectors(encode_files(paths, space))
    assert set(together) == {path.name for path in paths}
    ways = [
        {key: row for path in paths for key, row in vectors(encode_files([path], space, workers=1)).items()},
        vectors(encode_files(reversed(paths), space, workers=3)),
        elsewhere(paths, name, folder),
    ]
    for way in ways:
        assert set(way) == set(together)
        for file, rows in together.items():
            cosines = (rows.astype(np.float64) * way[file]).sum(axis=1)
            assert cosines.min() >= 0.99999, file


def elsewhere(paths: list[Path], name: str, folder: Path) -> dict[str, np.ndarray]:
    """The same in a process of its own, from a plain script without a `__main__` guard."""
    space = "from multimodal import load_space\nspace = load_space()"
    if name == "fake":
        space = "from tests.fakes import fake_space\nspace = fake_space()"
    script = folder / "script.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parents[2])!r})\n{space}\n"
        "import numpy as np\nfrom pathlib import Path\nfrom multimodal.pipeline import encode_files\n"
        f"files = encode_files([Path(p) for p in {[str(path) for path in paths]!r}], space)\n"
        f"rows = {{f.path.name: np.stack([r.vector for r in f.rows]) for f in files}}\n"
        f"np.savez({str(folder / 'rows.npz')!r}, **rows)\n"
    )
    subprocess.run([sys.executable, str(script)], check=True, timeout=120)
    with np.load(folder / "rows.npz") as rows:
        return dict(rows)


def test_the_same_file_gives_the_same_rows(folder: Path) -> None:
    check_determinism(folder, "fake")


@pytest.mark.slow
@pytest.mark.skipif(not (STARTER / "audio.onnx").exists(), reason="the starter's towers are not built")
def test_the_same_file_gives_the_same_rows_on_the_starter(folder: Path) -> None:
    check_determinism(folder, "starter")


def test_rows_are_plain_values() -> None:
    row = Row("text", None, None, "words", np.zeros(3, np.float32))
    with pytest.raises(AttributeError):
        row.text = "other"  # type: ignore[misc]
    assert default_workers() >= 1


def test_a_pool_alone_decodes(folder: Path) -> None:
    decode = DecodePool(lambda: setup_for(fake_space(), Limits()), 1, Limits())
    try:
        decode.submit(7, Task(folder / "good.jpg"))
        events = []
        while len(events) < 2:
            event = decode.get(1)
            events += [event] if event else []
    finally:
        decode.close()
    assert [event.task for event in events] == [7, 7]
    assert events[0].message.prepared.shape == (32, 32, 3)
    assert events[1].message.outcome == "read"
