"""Libraries made on a cluster of two nodes equal the ones made by one process, whatever dies meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from multimodal import Library
from multimodal.errors import QueryError, SpaceError
from multimodal.pipeline.wire import Limits
from multimodal.scale import index
from multimodal.scale.shared import pull
from multimodal.types import FileRecord
from tests.fakes import fake_space
from tests.scale.hard import DEADLY, HANGING, hard_space
from tests.scale.kept import assert_equal, files, segments

pytest.importorskip("ray", reason="needs multimodal[ray]")
psutil = pytest.importorskip("psutil")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of two nodes of one core each, which find the tests."""
    from ray.cluster_utils import Cluster

    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(SAMPLES.parent)
    node = {"num_cpus": 1, "object_store_memory": 200 << 20}
    made = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    made.add_node(**node)
    made.wait_for_nodes()
    yield made.address
    made.shutdown()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """60 texts, one of which is another's copy."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(59):
        (folder / f"{number:02}.txt").write_text(f"text {number} of a tree")
    shutil.copy(folder / "07.txt", folder / "copy.txt")
    return folder


def add(folder: Path, home: Path) -> Path:
    with Library(home, fake_space()) as library:
        library.add(folder)
    return home


def workers() -> list[Any]:
    """The processes of this test's actors."""
    below = psutil.Process().children(recursive=True)
    return [process for process in below if "MapWorker" in process.name() + " ".join(cmdline(process))]


def cmdline(process: Any) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def test_media_of_every_kind_and_poisoned_ones(cluster: str, tmp_path: Path) -> None:
    folder = tmp_path / "media"
    shutil.copytree(SAMPLES, folder)
    pictures = sorted(folder.rglob("*.jpg"))
    shutil.copy(pictures[0], folder / "copy.jpg")
    (folder / "poison.jpg").write_bytes(pictures[1].read_bytes()[:500])
    (folder / "empty.png").write_bytes(b"")
    (folder / "thing.xyz").write_bytes(b"\0\1\2")
    one = add(folder, tmp_path / "one")
    with Library(tmp_path / "two", fake_space()) as library:
        report = index(library, folder.as_uri(), engine="ray", address=cluster)
        assert {record.path.name for record in report.problems} >= {"poison.jpg", "empty.png", "thing.xyz"}
        again = index(library, folder, engine="ray", address=cluster)
    assert_equal(one, tmp_path / "two")
    assert report.count("reused") == 1 and again.count("unchanged") == report.count("added") + 1


def test_an_actor_is_killed(cluster: str, texts: Path, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill(_: FileRecord) -> None:
        if not killed:
            process = workers()[0]
            killed.append(process.pid)
            process.send_signal(signal.SIGKILL)

    one = add(texts, tmp_path / "one")
    with Library(tmp_path / "two", hard_space()) as library:
        report = index(library, texts, engine="ray", address=cluster, on_record=kill)
    assert killed and len(report.records) == len({record.path for record in report.records}) == 60
    assert report.count("added") == 59 and report.count("reused") == 1
    assert_equal(one, tmp_path / "two")


def test_a_file_that_kills_its_actor_fails_alone(cluster: str, texts: Path, tmp_path: Path) -> None:
    one = add(texts, tmp_path / "one")
    (texts / "deadly.txt").write_text(DEADLY)
    with Library(tmp_path / "two", hard_space()) as library:
        report = index(library, texts, engine="ray", address=cluster)
    [failed] = report.problems
    assert failed.path.name == "deadly.txt" and "died each time" in str(failed.reason)
    assert_equal(one, tmp_path / "two", but="deadly.txt")


def test_a_file_that_hangs_fails_alone(cluster: str, texts: Path, tmp_path: Path) -> None:
    Image.new("RGB", (60, 60), "red").save(texts / "red.png")
    one = add(texts, tmp_path / "one")
    Image.new("RGB", HANGING, "red").save(texts / "hanging.png")
    with Library(tmp_path / "two", hard_space()) as library:
        limits = Limits(seconds_without_progress=3)
        report = index(library, texts, engine="ray", address=cluster, limits=limits)
    [failed] = report.problems
    assert failed.path.name == "hanging.png" and "gave nothing for 3 s" in str(failed.reason)
    assert report.count("added") == 60 and report.count("reused") == 1
    assert_equal(one, tmp_path / "two", but="hanging.png")


def test_actors_with_other_readers_are_refused(
    cluster: str, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multimodal.scale.indexing.version", lambda: "readers 0")  # of this process alone
    with (
        Library(tmp_path / "two", fake_space()) as library,
        pytest.raises(SpaceError, match="install the same version"),
    ):
        index(library, texts, engine="ray", address=cluster)


@pytest.mark.parametrize("shared", [False, True])
def test_the_driver_is_killed_and_the_job_run_again(
    shared: bool, cluster: str, texts: Path, tmp_path: Path
) -> None:
    home, told = tmp_path / "two", tmp_path / "report.jsonl"
    place = (tmp_path / "shared").as_uri() if shared else str(home)
    command = [sys.executable, "-m", "tests.scale.driver", str(texts), place, cluster, str(told)]
    driver = subprocess.Popen(command, cwd=SAMPLES.parent, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while not (told.exists() and told.read_bytes().count(b"\n") >= 3):
            assert driver.poll() is None and time.monotonic() < end
            time.sleep(0.01)
    finally:
        driver.kill()
        driver.wait()
    if shared:
        done = pull(place, home, fake_space())
        report = index(place, texts, space=hard_space(), engine="ray", address=cluster)
        pull(place, home, fake_space())
    else:
        done = len(files(home))
        with Library(home, hard_space()) as library:
            report = index(library, texts, engine="ray", address=cluster)
    assert 3 <= done < 60
    assert report.count("unchanged") >= done and len(report.records) == 60
    assert_equal(add(texts, tmp_path / "one"), home)


def test_objects_in_s3(cluster: str, texts: Path, tmp_path: Path) -> None:
    """Sources in an object store, into a library here and into a shared one over there."""
    server_of = pytest.importorskip("moto.server", reason="needs moto[server]")
    boto3 = pytest.importorskip("boto3")
    server = server_of.ThreadedMotoServer(port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        key = {"aws_access_key_id": "someone", "aws_secret_access_key": "secret"}
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1", **key)
        client.create_bucket(Bucket="media")
        for path in texts.iterdir():
            client.upload_file(str(path), "media", f"old/texts/{path.name}")
        options = f"?endpoint_override={host}:{port}&scheme=http&region=us-east-1"
        source = f"s3://someone:secret@media/old/texts{options}"
        with Library(tmp_path / "two", fake_space()) as library:
            report = index(library, source, engine="ray", address=cluster)
            again = index(library, source, engine="ray", address=cluster)
            hit = library.search("text 7 of a tree", k=1)[0]
        here = index_here(source, tmp_path / "three")
        shared = f"s3://someone:secret@media/library{options}"
        index(shared, source, space=fake_space(), engine="ray", address=cluster)
        assert pull(shared, tmp_path / "four", fake_space()) == 60
    finally:
        server.stop()
    assert report.count("added") == 59 and report.count("reused") == 1
    assert again.count("unchanged") == 60
    assert str(hit.path) in ("s3://media/old/texts/07.txt", "s3://media/old/texts/copy.txt")
    assert b"secret" not in (tmp_path / "two" / "library.db").read_bytes()
    assert_equal(here, tmp_path / "two")
    assert_equal(here, tmp_path / "four")
    local = {(row[2], row[3], row[4], row[7]): row[-1] for row in segments(add(texts, tmp_path / "one"))}
    for row in segments(tmp_path / "two"):
        assert abs(local[row[2], row[3], row[4], row[7]] - row[-1]).max() <= 1e-3


def test_an_address_where_nobody_listens_is_told_at_once(texts: Path, tmp_path: Path) -> None:
    with (
        Library(tmp_path / "two", fake_space()) as library,
        pytest.raises(QueryError, match="no Ray cluster"),
    ):
        index(library, texts, engine="ray", address="127.0.0.1:1")


def index_here(source: str, home: Path) -> Path:
    with Library(home, fake_space()) as library:
        index(library, source)
    return home


def test_shards_of_a_dataset(cluster: str, texts: Path, tmp_path: Path) -> None:
    import tarfile

    from multimodal.scale.shards import embed_shards

    (tmp_path / "shards").mkdir()
    for number in range(4):
        with tarfile.open(tmp_path / "shards" / f"{number}.tar", "w") as archive:
            for path in sorted(texts.iterdir())[number::4]:
                archive.add(path, path.name)
    how: dict[str, Any] = {"engine": "ray", "address": cluster}
    report = embed_shards(tmp_path / "shards", tmp_path / "out", fake_space(), **how)
    assert sorted(report.done) == ["0", "1", "2", "3"] and report.files == report.rows == 60
    here = embed_shards(tmp_path / "shards", tmp_path / "here", fake_space())
    assert here.rows == 60
    for name in report.done:
        there = (tmp_path / "out" / f"{name}.parquet").read_bytes()
        assert there == (tmp_path / "here" / f"{name}.parquet").read_bytes()
