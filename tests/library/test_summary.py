"""A few segments that stand for the rest, the sheet they are shown on, and the command that makes it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from multimodal import Library
from multimodal.cli import app
from multimodal.errors import MultimodalError, QueryError
from multimodal.library import summary as summaries
from multimodal.library.sheets import contact_sheet
from multimodal.library.summary import representatives, stood_for
from multimodal.types import Hit
from tests.fakes import fake_space
from tests.library.serial import Serial
from tests.library.shelf import DIM, Shelf, row
from tests.media import tone, write_frames, write_sound


def rows_of(n: int, dim: int, seed: int) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def covered(rows: np.ndarray, chosen: object) -> float:
    return float((rows @ rows[np.asarray(chosen)].T).max(axis=1).mean())


def axis(number: int, lean: float = 0.0) -> list[float]:
    """A direction, leaning towards the last one."""
    found = [0.0] * DIM
    found[number], found[DIM - 1] = 1.0, lean
    return found


def chosen(rows: np.ndarray, k: int) -> np.ndarray:
    return representatives(rows.__getitem__, len(rows), k)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """A film of three scenes and black in between, with subtitles and sound; a report; pictures."""
    shelf = Shelf.made(tmp_path)
    scenes = [0, 0, 1, 1, 1, 2]
    film = [row("video", None, 4.0 * n, 4.0 * n + 4, vector=axis(s, n / 50)) for n, s in enumerate(scenes)]
    dark = row("video", None, 24, 60, role="blank")
    words = [row("text", "said", float(n), n + 1.0, "subtitles", vector=axis(5)) for n in range(9)]
    sound = [row("audio", None, 5.0 * n, 5.0 * n + 5, vector=axis(6)) for n in range(4)]
    shelf.put("b/film.mp4", *film, dark, *words, *sound)
    pages = [row("text", f"page {n}", page=n, vector=axis(n % 2, n / 90)) for n in range(1, 9)]
    shelf.put("a/report.pdf", *pages, row("image", page=3, vector=axis(4)))
    for name, direction in (("x", 3), ("y", 4)):
        picture = row("image", vector=axis(direction))
        shelf.put(f"c/{name}.jpg", picture, row("text", "a caption", role="caption", vector=axis(direction)))
    return shelf


def test_the_choice_is_near_the_best_there_is() -> None:
    for seed in range(8):
        rows = rows_of(14, 5, seed)
        best = max(covered(rows, some) for some in itertools.combinations(range(14), 3))
        found = chosen(rows, 3)
        assert len(set(found.tolist())) == 3 and (np.diff(found) > 0).all()
        assert covered(rows, found) >= 0.97 * best
        assert found.tolist() == chosen(rows, 3).tolist()


def test_swaps_mend_what_was_chosen_greedily() -> None:
    gained = []
    for seed in range(8):
        rows = rows_of(60, 4, seed)
        cosines = rows @ rows.T
        first = summaries._greedy(cosines, 4)
        gained.append(covered(rows, summaries._swapped(cosines, first)) - covered(rows, first))
    assert min(gained) >= -1e-6 and max(gained) > 0.005


def test_all_rows_count_where_only_some_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of(3000, 6, 0)
    monkeypatch.setattr(summaries, "BLOCK", 700)
    monkeypatch.setattr(summaries, "SAMPLE", 32)
    sample = np.unique(np.linspace(0, 2999, 32).round().astype(np.int64))
    cosines = rows[sample] @ rows[sample].T
    sampled = sample[summaries._swapped(cosines, summaries._greedy(cosines, 6))]
    assert covered(rows, chosen(rows, 6)) > covered(rows, sampled) + 0.01
    shares, means = stood_for(rows.__getitem__, 3000, chosen(rows, 6))
    assert shares.sum() == pytest.approx(1)
    assert (shares * means).sum() == pytest.approx(covered(rows, chosen(rows, 6)), abs=1e-5)


def test_equal_rows_each_stand_for_themselves() -> None:
    rows = np.repeat(rows_of(1, 4, 0), 5, axis=0)
    found = chosen(rows, 3)
    shares, means = stood_for(rows.__getitem__, 5, found)
    assert len(set(found.tolist())) == 3 and min(shares) >= 1 / 5 and means == pytest.approx(1)


def test_a_film_is_its_scenes_in_their_order(shelf: Shelf, tmp_path: Path) -> None:
    with Library(shelf.folder) as library:
        hits = library.summary(tmp_path / "b" / "film.mp4", 3)
        starts = [hit.start or 0.0 for hit in hits]
        assert {hit.modality for hit in hits} == {"video"}
        assert starts[0] in (0, 4) and starts[1] == 12 and starts[2] == 20  # 12 is the middle one of three
        assert [hit.score for hit in hits] == pytest.approx([2 / 6, 3 / 6, 1 / 6])
        assert all(0.99 < hit.cosine <= 1 for hit in hits)
        every = library.summary(tmp_path / "b" / "film.mp4", 50)
        assert [hit.start for hit in every] == [0, 4, 8, 12, 16, 20]  # neither the black nor the subtitles
        assert [hit.start for hit in library.summary(tmp_path / "b", 50, "audio")] == [0, 5, 10, 15]


def test_a_document_is_its_passages_and_a_folder_all_of_it(shelf: Shelf, tmp_path: Path) -> None:
    with Library(shelf.folder) as library:
        pages = library.summary(tmp_path / "a" / "report.pdf", 2)
        assert [hit.modality for hit in pages] == ["text", "text"]
        assert pages[0].page < pages[1].page and (pages[0].page + pages[1].page) % 2 == 1  # type: ignore[operator]
        assert pages[0].text == f"page {pages[0].page}"
        every = library.summary(None, 100)
        assert [hit.path.name for hit in every] == ["report.pdf"] * 8 + ["film.mp4"] * 6 + ["x.jpg", "y.jpg"]
        assert library.summary(tmp_path, 100) == every
        some = library.summary(tmp_path, 6)
        assert {hit.modality for hit in some} == {"text", "video", "image"}
        assert some == sorted(some, key=lambda hit: (str(hit.path), hit.page or 0, hit.start or 0))


def test_modalities_compare_without_their_means(tmp_path: Path) -> None:
    shelf = Shelf.made(tmp_path)
    for kind, place in (("image", 5), ("text", 6)):  # far apart as a whole, alike one by one
        for thing, count in ((0, 3), (1, 3), (2, 3)):
            for n in range(count):
                vector = np.array(axis(place)) * 3 + np.array(axis(thing)) + np.array(axis(4)) * 0.01 * n
                shelf.put(f"{kind}{thing}{n}", row(kind, "words", vector=vector.tolist()))  # type: ignore[arg-type]
    with Library(shelf.folder) as library:
        hits = library.summary(tmp_path, 3)
    assert sorted(hit.path.name[-2] for hit in hits) == ["0", "1", "2"]
    assert [hit.score for hit in hits] == pytest.approx([1 / 3] * 3)


def test_wrong_questions_are_told(shelf: Shelf, tmp_path: Path) -> None:
    shelf.put("dark.mp4", row("video", None, 0, 9, role="blank"))
    with Library(shelf.folder) as library:
        for k in (0, 1001):
            with pytest.raises(QueryError, match="from 1 to 1000"):
                library.summary(tmp_path, k)
        with pytest.raises(QueryError, match=r"nothing of .*nowhere"):
            library.summary(tmp_path / "nowhere")
        with pytest.raises(QueryError, match="no modality 'smell'"):
            library.summary(tmp_path, modality="smell")  # type: ignore[arg-type]
        nothing = library.summary(tmp_path / "dark.mp4")
        assert nothing == [] and "nothing to see" in (nothing.note or "")


def test_real_files_on_a_sheet(tmp_path: Path, serial: Serial) -> None:
    for name, colour in (("1.png", "#ff0000"), ("2.png", "#00ff00")):
        Image.new("RGB", (80, 60), colour).save(tmp_path / name)
    write_frames(
        tmp_path / "3.mp4", [(n / 10, Image.new("RGB", (64, 48), "#0000ff")) for n in range(20)], rate=10
    )
    write_sound(tmp_path / "4.wav", tone(seconds=2))
    (tmp_path / "5.txt").write_text("words " * 400, encoding="utf-8")
    with Library(tmp_path / ".multimodal", fake_space()) as library:
        library.add(tmp_path, workers=1)
        found = library.summary(tmp_path, 20)
    hits = [hit for n, hit in enumerate(found) if n == 0 or found[n - 1].path != hit.path]
    assert [hit.modality for hit in hits] == ["image", "image", "video", "audio", "text"]
    gone = Hit(tmp_path / "6.png", "image", 1, 1)
    sheet = contact_sheet([*hits, gone], columns=3, width=200)
    assert sheet.mode == "RGB" and sheet.width == 3 * 212 + 12
    second = 12 + (sheet.height - 12) // 2
    middles = [sheet.getpixel((12 + 212 * n + 100, 12 + 75)) for n in range(3)]
    assert middles[:2] == [(255, 0, 0), (0, 255, 0)]
    assert middles[2][2] > 220 and max(middles[2][:2]) < 40  # type: ignore[index]
    for n in range(3):  # a waveform, words, the reason
        card = sheet.crop((12 + 212 * n, second, 12 + 212 * n + 200, second + 150))
        assert len(card.getcolors(9999) or []) > 1, n
    plainer = contact_sheet(hits[3:4], width=200).crop((12, 12, 212, 162))
    assert plainer.getpixel((100, 75)) == (0x2B, 0x6C, 0xA3) and plainer.getpixel((100, 2)) == (
        0xF2,
        0xF2,
        0xF0,
    )


def test_a_sheet_holds_any_text(tmp_path: Path) -> None:
    texts = ["", "x" * 5000, "two\nlines\x1b[31m", "日本語のテキスト" * 60, "W " * 900]
    hits = [Hit(tmp_path / f"{'name' * 30}{n}.txt", "text", 1, 1, text=text) for n, text in enumerate(texts)]
    assert contact_sheet(hits, width=100).width == 3 * 112 + 12
    for wrong in ({"columns": 0}, {"width": 40}):
        with pytest.raises(QueryError, match="at least one column"):
            contact_sheet(hits, **wrong)
    with pytest.raises(QueryError, match="no hits"):
        contact_sheet([])


def test_the_command_sums_up_what_is_gone(shelf: Shelf, tmp_path: Path) -> None:
    film, sheet = tmp_path / "b" / "film.mp4", tmp_path / "sheet.png"
    where = ["--library", str(shelf.folder)]
    done = CliRunner().invoke(app, ["summary", str(film), "-k", "3", "-o", str(sheet), "--json", *where])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [one["modality"] for one in told] == ["video"] * 3 and sum(one["share"] for one in told) > 0.99
    with Image.open(sheet) as made:
        assert made.width > 500
    assert [path.name for path in tmp_path.glob(".*.tmp")] == []
    shown = CliRunner().invoke(app, ["summary", str(film), "-k", "3", *where]).stdout.splitlines()
    assert len(shown) == 3 and shown[1].startswith(" 50%  video") and "0:12.0-0:16.0" in shown[1]


def test_the_command_refuses_before_it_works(shelf: Shelf, tmp_path: Path) -> None:
    for arguments, reason in (
        (["-o", "sheet.gif"], "ends in .png"),
        (["--in", "smell"], "--in takes a list"),
        (["-o", str(tmp_path / "no" / "sheet.png")], "cannot be written"),
    ):
        film = str(tmp_path / "b" / "film.mp4")
        done = CliRunner().invoke(app, ["summary", film, "--library", str(shelf.folder), *arguments])
        assert isinstance(done.exception, MultimodalError) and reason in str(done.exception)
    lost = CliRunner().invoke(app, ["summary", str(tmp_path.parent / "nowhere" / "x.mp4")])
    assert isinstance(lost.exception, MultimodalError) and "does not exist" in str(lost.exception)


def test_the_command_indexes_first(tmp_path: Path, serial: Serial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multimodal.library.library.load_space", lambda name: fake_space())
    for name, colour in (("1", "red"), ("2", "#f01010"), ("3", "blue")):
        Image.new("RGB", (40, 40), colour).save(tmp_path / f"{name}.png")
    done = CliRunner().invoke(app, ["summary", str(tmp_path), "-k", "2", "--json"])
    assert done.exit_code == 0, done.output
    shares = [(Path(one["path"]).name, one["share"]) for one in json.loads(done.stdout)]
    assert [name for name, _ in shares][1] == "3.png" and [share for _, share in shares] == [0.6667, 0.3333]
    assert (tmp_path / ".multimodal" / "library.db").is_file()
    (tmp_path / "4.png").write_bytes(b"no picture")
    assert CliRunner().invoke(app, ["summary", str(tmp_path)]).exit_code == 3
