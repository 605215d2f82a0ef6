"""The command as a user runs it: a process, real files, the embedded model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "samples"


def run(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "multimodal.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=240)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("library")
    done = run("index", SAMPLES, "--library", home)
    assert done.returncode == 0, done.stderr
    assert "files added" in done.stderr
    return home


def hits(library: Path, *arguments: str | Path) -> list[dict[str, object]]:
    done = run("search", *arguments, "--library", library, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_a_second_index_embeds_nothing(library: Path) -> None:
    done = run("index", SAMPLES, "--library", library)
    assert done.returncode == 0
    assert done.stderr.startswith("0 files added (0 segments), 0 reused")


def test_words_find_files_of_every_kind(library: Path) -> None:
    for modality in ("text", "image", "video", "audio"):
        found = hits(library, "an animal", "--in", modality, "-k", "3")
        assert len(found) == 3 and {hit["modality"] for hit in found} == {modality}
        assert all(Path(str(hit["path"])).is_file() for hit in found)
    moments = hits(library, "an animal", "--in", "video,audio", "--all-segments")
    assert all(hit["end"] > hit["start"] >= 0 for hit in moments)  # type: ignore[operator]


def test_a_picture_finds_itself_and_its_like(library: Path) -> None:
    picture = sorted(SAMPLES.glob("pictures/*.jpg"))[0]
    found = hits(library, picture, "--in", "image", "-k", "3")
    assert Path(str(found[0]["path"])) == picture
    assert found[0]["cosine"] == pytest.approx(1, abs=1e-3)


def test_results_are_lines_a_person_can_read(library: Path) -> None:
    done = run("search", "a cat", "--library", library, "-k", "4")
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert all(line.split()[2] in ("text", "image", "video", "audio") for line in lines)


def test_the_library_is_found_upwards(tmp_path: Path) -> None:
    below = tmp_path / "photos" / "2024"
    below.mkdir(parents=True)
    Image.new("RGB", (64, 64), "red").save(below / "red.png")
    assert run("index", tmp_path / "photos").returncode == 0
    assert (tmp_path / "photos" / ".multimodal").is_dir()
    done = run("search", "a red square", cwd=below)
    assert done.returncode == 0 and "red.png" in done.stdout
    assert "files     1" in run("info", cwd=below).stdout


def test_bad_files_are_named_and_the_rest_is_indexed(tmp_path: Path) -> None:
    folder = tmp_path / "mess"
    folder.mkdir()
    Image.new("RGB", (64, 64), "red").save(folder / "good.png")
    (folder / "empty.jpg").touch()
    (folder / "liar.png").write_text("I am a letter, not a picture.")
    (folder / "tool.exe").write_bytes(b"MZ\x00\x01" * 40)
    (folder / "cut.jpg").write_bytes(sorted(SAMPLES.glob("pictures/*.jpg"))[0].read_bytes()[:900])
    done = run("index", folder)
    assert done.returncode == 3
    assert "1 files added" in done.stderr and "3 failed" in done.stderr and "1 skipped" in done.stderr
    for name in ("empty.jpg", "liar.png", "cut.jpg", ".exe"):
        assert name in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["search", "no-such-picture.jpg"], "query file no-such-picture.jpg does not exist"),
        (["search", "   "], "empty"),
        (["search", "a cat", "--in", "smell"], "--in takes a list of text, image, video, audio"),
        (["search", "a cat", "-k", "0"], "-k"),
        (["index", "no-such-folder"], "no-such-folder does not exist"),
        (["embed", "no-such.jpg", "-o", "x.parquet"], "no-such.jpg does not exist"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_code_2(
    library: Path, arguments: list[str], sentence: str
) -> None:
    extra = ["--library", library] if arguments[0] == "search" else []
    done = run(*arguments, *extra)
    assert done.returncode == 2
    assert sentence in done.stderr and "Traceback" not in done.stderr


def test_no_library_and_no_space_say_so(tmp_path: Path, library: Path) -> None:
    done = run("search", "a cat", cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "index a folder first" in done.stderr
    done = run("index", tmp_path, "--space", "startr")
    assert done.returncode == 2 and "There is no space 'startr'" in done.stderr


def test_a_library_of_another_space_is_refused(tmp_path: Path) -> None:
    from multimodal import Library
    from tests.fakes import fake_space

    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    with Library(tmp_path / ".multimodal", fake_space()) as made_by_another:
        made_by_another.add(tmp_path)
    done = run("index", tmp_path, "--space", "starter")
    assert done.returncode == 2
    assert "fake" in done.stderr and "starter" in done.stderr and "Traceback" not in done.stderr


def test_embed_writes_a_table_other_tools_read(tmp_path: Path) -> None:
    from multimodal import load_space

    picture, sound = sorted(SAMPLES.glob("pictures/*.jpg"))[0], sorted(SAMPLES.glob("sounds/*"))[0]
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8 nothing")
    done = run("embed", picture, sound, bad, "-o", tmp_path / "vectors.parquet")
    assert done.returncode == 3 and "bad.jpg" in done.stderr
    table = pq.read_table(tmp_path / "vectors.parquet")
    names = ["path", "modality", "role", "page", "start", "end", "text", "vector"]
    assert table.column_names == names
    assert {Path(path) for path in table["path"].to_pylist()} == {picture, sound}
    space = load_space()
    assert table.schema.metadata[b"space_id"].decode() == space.space_id
    vectors = np.stack(table["vector"].to_numpy())
    first = table["path"].to_pylist().index(str(picture))
    assert vectors[first] @ space.embed(picture)[0] > 0.99999
    assert run("embed", picture, "-o", tmp_path / "vectors.csv").returncode == 2


def test_a_typed_query_loads_no_torch_and_no_decoder(library: Path) -> None:
    command = [
        sys.executable,
        "-X",
        "importtime",
        "-m",
        "multimodal.cli",
        "search",
        "a dog",
        "--library",
        library,
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "numpy" in imported
    assert not imported & {
        "torch",
        "open_clip",
        "onnxruntime",
        "librosa",
        "av",
        "cv2",
        "PIL",
        "scipy",
        "pyarrow",
    }


def test_read_only_media_with_a_library_elsewhere(tmp_path: Path) -> None:
    media, home = tmp_path / "media", tmp_path / "elsewhere"
    shutil.copytree(SAMPLES / "texts", media)
    media.chmod(0o555)
    try:
        assert run("index", media, "--library", home).returncode == 0
    finally:
        media.chmod(0o755)
    assert not (media / ".multimodal").exists()
    assert run("search", "anything", "--library", home).returncode == 0


def test_help_names_every_command() -> None:
    text = run("--help").stdout
    assert all(command in text for command in ("index", "search", "embed", "info"))
    assert run("--version").stdout.startswith("multimodal ")
