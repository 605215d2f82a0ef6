"""match, caption and tag as a person types them: real files, the embedded model, every way out."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from lxml import etree
from PIL import Image
from typer.testing import CliRunner, Result

from multimodal.cli import app
from multimodal.errors import MultimodalError
from tests.media import write_video

SAMPLES = Path(__file__).parent.parent / "samples"
PICTURES = {"horse": "horse.png", "bee": "honey-bee.jpg"}
SUBJECT = "{http://purl.org/dc/elements/1.1/}subject"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    media = tmp_path / "media"
    media.mkdir()
    for name in PICTURES.values():
        shutil.copy(SAMPLES / "pictures" / name, media / name)
    shutil.copy(SAMPLES / "sounds" / "drum-kit.ogg", media)
    return media


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def listed(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_captions_of_a_file_find_their_media(folder: Path, tmp_path: Path) -> None:
    told = listed(tmp_path / "told.txt", "a horse", "a bee on a flower", "drums", "a train", "")
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    done = run("match", folder, "--captions", told, "--json")
    assert done.exit_code == 3 and "bad.png" in done.stderr
    first = {Path(row["path"]).name: row["captions"][0] for row in json.loads(done.stdout)}
    assert {name: one["caption"] for name, one in first.items()} == {
        "horse.png": "a horse", "honey-bee.jpg": "a bee on a flower", "drum-kit.ogg": "drums",
    }  # fmt: skip
    assert all(0 < one["probability"] <= 1 and one["margin"] > 0 for one in first.values())
    shown = run("match", folder / "horse.png", "--captions", told, "-k", "2")
    assert shown.exit_code == 0 and shown.stdout.count("\n") == 3 and "a horse" in shown.stdout


def test_one_to_one_leaves_nobody_out_in_silence(folder: Path, tmp_path: Path) -> None:
    told = listed(tmp_path / "told.txt", "a horse", "a bee")
    done = run("match", folder, "--captions", told, "--one-to-one", "--json")
    given = {
        Path(row["path"]).name: [one["caption"] for one in row["captions"]] for row in json.loads(done.stdout)
    }
    assert given == {"horse.png": ["a horse"], "honey-bee.jpg": ["a bee"], "drum-kit.ogg": []}
    assert "no caption is left" in run("match", folder, "--captions", told, "--one-to-one").stdout


def test_sidecars_that_were_swapped_are_listed(folder: Path) -> None:
    (folder / "horse.txt").write_text("a bee on a flower", encoding="utf-8")
    (folder / "honey-bee.txt").write_text("a brown horse", encoding="utf-8")
    done = run("match", folder, "--sidecars", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert {(Path(one["path"]).name, Path(one["better"]).name) for one in found} == {
        ("horse.png", "honey-bee.jpg"), ("honey-bee.jpg", "horse.png"),
    }  # fmt: skip
    assert all(one["mutual"] for one in found)
    assert "2 fit another file better" in run("match", folder, "--sidecars").stdout


def test_a_video_is_captioned_by_its_stretches(folder: Path, tmp_path: Path) -> None:
    scenes = [Image.open(folder / name).convert("RGB").resize((320, 240)) for name in PICTURES.values()]
    write_video(tmp_path / "film.mp4", scenes, seconds=4.0)
    bank = listed(tmp_path / "bank.txt", "a horse", "a bee on a flower", "a plate of food")
    done = run("caption", tmp_path / "film.mp4", "--bank", bank, "-k", "1", "--json")
    assert done.exit_code == 0, done.output
    parts = json.loads(done.stdout)
    assert [part["captions"][0]["caption"] for part in parts] == ["a horse", "a bee on a flower"]
    assert parts[0]["start"] == 0 and parts[0]["end"] == pytest.approx(4, abs=0.6)
    shown = run("caption", tmp_path / "film.mp4", "--bank", bank, "-k", "1").stdout
    assert "0:00.0-0:04" in shown


def test_a_library_lends_its_texts_as_captions(folder: Path, tmp_path: Path) -> None:
    (folder / "notes.txt").write_text("The drummer plays his drum kit.", encoding="utf-8")
    home = tmp_path / "home"
    assert run("index", folder, "--library", home).exit_code == 0
    done = run("caption", folder / "drum-kit.ogg", "--from-library", home, "-k", "1", "--json")
    assert json.loads(done.stdout)[0]["captions"][0]["caption"] == "The drummer plays his drum kit."


def test_a_video_in_a_library_is_captioned_by_the_texts_beside_it(folder: Path, tmp_path: Path) -> None:
    scenes = [Image.open(folder / name).convert("RGB").resize((320, 240)) for name in PICTURES.values()]
    write_video(folder / "film.mp4", scenes, seconds=4.0)
    for name, said in {"one": "A brown horse.", "two": "A bee on a flower.", "three": "Jazz drums."}.items():
        (folder / f"{name}.txt").write_text(said, encoding="utf-8")
    home = tmp_path / "home"
    assert run("index", folder, "--library", home).exit_code == 0
    done = run("caption", folder / "film.mp4", "--from-library", home, "-k", "1", "--json")
    parts = json.loads(done.stdout)
    assert [part["captions"][0]["caption"] for part in parts] == ["A brown horse.", "A bee on a flower."]
    assert parts[1]["start"] == pytest.approx(4, abs=0.6) and parts[1]["end"] == pytest.approx(8, abs=0.6)


@pytest.mark.parametrize("ending", ["csv", "json", "md", "parquet"])
def test_tags_are_a_table(folder: Path, tmp_path: Path, ending: str) -> None:
    labels = listed(tmp_path / "labels.txt", "animal > horse", "animal > bee", "# music", "drum kit")
    out = tmp_path / f"tags.{ending}"
    done = run("tag", folder, "--labels", labels, "--top", "1", "-o", out, "--library", tmp_path / "home")
    assert done.exit_code == 0, done.output
    expected = {"horse.png": "horse", "honey-bee.jpg": "bee", "drum-kit.ogg": "drum kit"}
    if ending == "md":
        text = out.read_text(encoding="utf-8")
        assert text.count("\n") == 5 and all(f"| {label} |" in text for label in expected.values())
        return
    if ending == "csv":
        with out.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    else:
        rows = json.loads(out.read_text("utf-8")) if ending == "json" else pq.read_table(out).to_pylist()
    assert {Path(row["path"]).name: row["label"] for row in rows} == expected
    assert {row["under"] for row in rows if row["label"] != "drum kit"} == {"animal"}


def test_tags_go_into_sidecars_and_are_found_again(folder: Path, tmp_path: Path) -> None:
    labels = listed(tmp_path / "labels.txt", "horse", "bee", "drum kit")
    (folder / "honey-bee.xmp").write_text("not xml", encoding="utf-8")
    done = run("tag", folder, "--labels", labels, "--top", "1", "--xmp")
    assert done.exit_code == 3 and "left alone" in done.stderr
    assert (folder / "honey-bee.xmp").read_text(encoding="utf-8") == "not xml"
    written = etree.fromstring((folder / "horse.png.xmp").read_bytes())
    assert [item.text for bag in written.iter(SUBJECT) for item in bag.iter("{*}li")] == ["horse"]
    assert run("index", folder).exit_code == 3  # the sidecar that is none
    found = json.loads(run("search", "horse", "--library", folder / ".multimodal", "--json").stdout)
    assert Path(found[0]["path"]).name == "horse.png"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["match", "{folder}"], "--captions FILE, or one folder and --sidecars"),
        (["match", "{folder}/none.png", "--captions", "{folder}/told.txt"], "does not exist"),
        (["tag", "{folder}", "--labels", "{folder}/none.txt"], "does not exist"),
        (["tag", "{folder}", "--labels", "{folder}/told.txt", "-o", "tags.doc"], "ends in .csv"),
        (["caption", "{folder}", "--bank", "{folder}/empty.txt"], "empty"),
    ],
)
def test_wrong_use_is_one_sentence(folder: Path, arguments: list[str], sentence: str) -> None:
    listed(folder / "told.txt", "a horse")
    (folder / "empty.txt").write_text("", encoding="utf-8")
    done = run(*(argument.format(folder=folder) for argument in arguments))
    assert isinstance(done.exception, MultimodalError) and sentence in str(done.exception)
