"""What a search gives: any query, the order, the scores, the same from either kernel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multimodal import Audio, Clip, Library, NoLibrary, QueryError, Segment
from multimodal.errors import ReadError
from multimodal.library import Filter
from multimodal.library.asking import Asked, asked
from multimodal.library.search import backgrounds, rank
from multimodal.library.vectors import Kernel, Matrix
from multimodal.space import Space
from multimodal.types import Modality
from tests.fakes import FakeSource
from tests.library.conftest import TEXTS
from tests.library.serial import Serial
from tests.media import tone, write_image, write_sound, write_video

RED, GREEN, BLUE = (250, 5, 5), (5, 250, 5), (5, 5, 250)


@pytest.fixture
def mixed(library: Library, photos: Path) -> Library:
    for name, colour in {"red": RED, "green": GREEN, "blue": BLUE}.items():
        write_image(photos / f"{name}.png", Image.new("RGB", (64, 48), colour))
    for name, hertz in {"low": 200, "middle": 800, "high": 4000}.items():
        write_sound(photos / f"{name}.wav", tone(1.0, 16_000, hertz), 16_000)
    scenes = [Image.new("RGB", (64, 48), colour) for colour in (BLUE, RED)]
    write_video(photos / "film.mp4", scenes, seconds=2.0)
    library.add(photos)
    return library


def first(library: Library, query: object, **how: object) -> str:
    return library.search(query, k=1, **how)[0].path.name  # type: ignore[arg-type]


def test_every_kind_of_query_finds_its_like(mixed: Library, photos: Path):
    assert first(mixed, "green", modality="image") == "green.png"
    assert first(mixed, "high", modality="audio") == "high.wav"
    assert first(mixed, Image.new("RGB", (40, 40), GREEN), modality="image") == "green.png"
    assert first(mixed, Audio(tone(2.0, 16_000, 210)[:, 0], 16_000), modality="audio") == "low.wav"
    clip = Clip([Image.new("RGB", (40, 40), BLUE)] * 2, np.array([0.0, 1.0]))
    assert first(mixed, clip, modality=["image"]) == "blue.png"
    assert first(mixed, Segment("text", TEXTS["cat.txt"]), modality="text") == "cat.txt"
    assert first(mixed, Image.new("RGB", (40, 40), RED), modality=["image", "video"]) in (
        "red.png",
        "film.mp4",
    )


def test_file_of_the_library_finds_itself_without_a_model(
    mixed: Library, photos: Path, monkeypatch: pytest.MonkeyPatch
):
    read = {name: mixed.space.embed_file(photos / name) for name in ("low.wav", "film.mp4")}
    monkeypatch.setattr(Space, "read", lambda *_: pytest.fail("the file was read"))
    for name, modality in (("green.png", "image"), ("low.wav", "audio"), ("dog.txt", "text")):
        hit = mixed.search(photos / name, k=1, modality=modality)[0]  # type: ignore[arg-type]
        assert hit.path.name == name and hit.cosine == pytest.approx(1, abs=1e-4)
        assert name in {hit.path.name for hit in mixed.search(photos / name, k=10)}
    for name, (modality, vector) in read.items():
        known = asked(photos / name, mixed.space, mixed._known_rows, mixed._centre)
        assert known.modality == modality
        assert float(known.vector @ vector) > 0.99999


def test_file_outside_the_library_is_read(mixed: Library, tmp_path: Path):
    path = write_image(tmp_path / "other.png", Image.new("RGB", (40, 40), GREEN))
    assert first(mixed, path, modality="image") == "green.png"


def test_hits_carry_time_and_text(mixed: Library, photos: Path):
    hit = mixed.search(Image.new("RGB", (40, 40), RED), k=1, modality="video")[0]
    assert hit.path == photos / "film.mp4" and hit.modality == "video"
    assert hit.start is not None and hit.end is not None and 0 <= hit.start < hit.end <= 4.2
    text = mixed.search(TEXTS["dog.txt"], k=1, modality="text")[0]
    assert (text.text, text.start, text.end) == (TEXTS["dog.txt"], None, None)


def test_one_hit_per_file_unless_all_segments_are_asked_for(library: Library, photos: Path):
    parts = [f"apple {word} " * 60 for word in "abcdefgh"]
    (photos / "long.txt").write_text("\n\n".join(parts))
    library.add(photos)
    assert library.stats().segments["text"] > 12
    paths = [hit.path for hit in library.search("apple", k=7)]
    assert len(set(paths)) == len(paths) == 7
    hits = library.search("apple", k=7, all_segments=True)
    assert [hit.path.name for hit in hits].count("long.txt") > 1 and len(hits) == 7
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_k_files_are_found_behind_one_that_fills_the_first_places(library: Library, photos: Path):
    (photos / "flood.txt").write_text("\n\n".join(f"apple apple apple apple {n} " * 30 for n in range(400)))
    library.add(photos)
    assert len(library.search("apple", k=5)) == 5


def test_equal_scores_are_ordered_by_path(library: Library, photos: Path):
    for name in ("z", "m", "a"):
        (photos / f"{name}.txt").write_text("the same words")
    library.add(photos)
    hits = library.search("the same words", k=3, duplicates=True)
    assert [hit.path.name for hit in hits] == ["a.txt", "m.txt", "z.txt"]
    assert len({hit.score for hit in hits}) == 1
    assert [hit.path.name for hit in library.search("the same words", k=2, duplicates=True)] == [
        "a.txt",
        "m.txt",
    ]


@pytest.mark.parametrize("query", ["", "  \n", 7, None, ["a", "b"]])
def test_no_query_raises(library: Library, photos: Path, query: object):
    library.add(photos)
    with pytest.raises(QueryError):
        library.search(query)  # type: ignore[arg-type]


def test_wrong_questions_raise(library: Library, photos: Path):
    with pytest.raises(NoLibrary, match="index a folder first"):
        library.search("apple")
    with pytest.raises(NoLibrary):
        library.stats()
    library.add(photos)
    with pytest.raises(QueryError, match="smell"):
        library.search("apple", modality="smell")  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="at least 1"):
        library.search("apple", k=0)
    with pytest.raises(ReadError):
        library.search(photos / "nowhere.png")
    assert library.search("apple", modality="image") == []


def test_emptied_library_finds_nothing(library: Library, photos: Path):
    library.add(photos)
    library.remove(photos)
    assert library.search("apple") == []
    assert library.stats().files == 0


class Measured(FakeSource):
    background: dict[str, dict[str, tuple[float, float]]] = {  # noqa: RUF012 - as in FakeSource
        "text": {"text": (0.5, 0.1), "image": (0.1, 0.05), "audio": (0.0, 0.2)}
    }


def test_scores_are_deviations_above_the_spaces_background(photos: Path, serial: Serial):
    write_image(photos / "red.png", Image.new("RGB", (64, 48), RED))
    with Library(photos / ".multimodal", Space(Measured())) as library:
        library.add(photos)
        for hit in library.search("red", k=7):
            mean, deviation = Measured.background["text"][hit.modality]
            assert hit.score == pytest.approx((hit.cosine - mean) / deviation)


def matrix(rows: int, seed: int = 0, dim: int = 64, rows_per_file: int = 1) -> Matrix:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((20, dim))
    vectors = centres[rng.integers(0, 20, rows)] + 0.7 * rng.standard_normal((rows, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    numbers = np.arange(1, rows + 1)
    return Matrix(vectors.astype(np.float16), numbers, numbers // rows_per_file)


def query(seed: int = 1, dim: int = 64) -> Asked:
    vector = np.random.default_rng(seed).standard_normal(dim)
    return Asked("text", (vector / np.linalg.norm(vector)).astype(np.float32))


@pytest.mark.parametrize(
    "kernel", [Kernel(faiss_after=0), Kernel(faiss_after=10**12)], ids=["faiss", "numpy"]
)
@pytest.mark.parametrize(("rows", "per_file"), [(1, True), (70, True), (5000, False), (5000, True)])
def test_either_kernel_gives_what_a_full_sort_gives(
    kernel: Kernel, rows: int, per_file: bool, monkeypatch: pytest.MonkeyPatch
):
    import sys

    if kernel._faiss_after:
        monkeypatch.delitem(sys.modules, "faiss", raising=False)
    matrices: dict[Modality, Matrix] = {"text": matrix(rows, 2, rows_per_file=9), "image": matrix(rows, 3)}
    against: dict[Modality, tuple[float, float]] = {"text": (0.1, 0.2), "image": (-0.1, 0.1)}
    asked = query()
    everything = []
    for name, (mean, deviation) in against.items():
        rows64 = matrices[name].vectors.astype(np.float64)
        cosines = rows64 @ asked.vector.astype(np.float64) / np.linalg.norm(rows64, axis=1)
        everything += [
            ((c - mean) / deviation, name, s, f)
            for c, s, f in zip(cosines, matrices[name].segments, matrices[name].files, strict=True)
        ]
    everything.sort(reverse=True)
    wanted, seen = [], set()
    for score, name, segment, file in everything:
        if not per_file or file not in seen:
            wanted.append((name, segment, score))
            seen.add(file)
    found, seen = [], set()
    for row in rank(matrices, asked, against, 10, per_file, kernel):
        if not per_file or row.file not in seen:
            found.append((row.modality, row.segment, row.score))
            seen.add(row.file)
    assert [row[:2] for row in found[:10]] == [row[:2] for row in wanted[:10]]
    assert [row[2] for row in found[:10]] == pytest.approx([row[2] for row in wanted[:10]], abs=1e-9)


def test_kernel_turns_to_faiss_when_it_pays(monkeypatch: pytest.MonkeyPatch):
    import sys

    monkeypatch.delitem(sys.modules, "faiss", raising=False)
    kernel = Kernel(faiss_after=2500)
    rows = matrix(1000)
    for _ in range(2):
        kernel.top(rows, query().vector, 10)
    assert "faiss" not in sys.modules
    kernel.top(rows, query().vector, 10)
    assert "faiss" in sys.modules


def test_background_is_measured_where_the_space_has_none():
    asked = query()
    big, small = matrix(1000, 4), matrix(3, 5)
    found = backgrounds(asked, {"text": big, "image": small}, lambda *_: None)
    cosines = big.cosines(np.arange(1000), asked.vector)
    few = np.concatenate([cosines, small.cosines(np.arange(3), asked.vector)])
    assert found["text"] == pytest.approx((cosines.mean(), cosines.std()))
    assert found["image"] == pytest.approx((few.mean(), few.std()))
    assert backgrounds(asked, {"image": small}, lambda *_: None) == {"image": (0.0, 1.0)}
    alike = Matrix(np.repeat(big.vectors[:1], 50, axis=0), np.arange(50), np.arange(50))
    assert backgrounds(asked, {"image": alike}, lambda *_: None)["image"][1] > 0
    given = backgrounds(
        asked, {"image": small}, lambda q, r: (0.2, 0.1) if (q, r) == ("text", "image") else None
    )
    assert given == {"image": (0.2, 0.1)}


def test_copies_are_folded_into_the_first_and_named(mixed: Library, photos: Path):
    copies = {"red.png"}
    for number in range(12):
        size = (64 + number, 48)
        copies.add(write_image(photos / f"red-{number:02}.png", Image.new("RGB", size, RED)).name)
    mixed.add(photos)
    query = Image.new("RGB", (40, 40), RED)
    hits = mixed.search(query, k=3, modality="image")
    assert len(hits) == 3 and [hit.path.name for hit in hits[1:]] == ["blue.png", "green.png"]
    assert {hits[0].path.name, *(path.name for path in hits[0].duplicates)} == copies
    apart = mixed.search(query, k=13, modality="image", duplicates=True)
    assert {hit.path.name for hit in apart} == copies and not any(hit.duplicates for hit in apart)


def test_duplicates_are_grouped_by_meaning_and_the_larger_is_first(mixed: Library, photos: Path):
    write_image(photos / "sub" / "big-red.png", Image.new("RGB", (640, 480), RED))
    (photos / "copy-of-cat.txt").write_text(TEXTS["cat.txt"])
    mixed.add(photos)
    found = {group.modality: group for group in mixed.duplicates()}
    assert set(found) == {"image", "text"}
    assert [copy.file.path.name for copy in found["image"].copies] == ["big-red.png", "red.png"]
    assert found["image"].larger.pixels == 640 * 480
    assert {copy.file.path.name for copy in found["text"].copies} == {"cat.txt", "copy-of-cat.txt"}
    assert mixed.duplicates(photos / "sub") == []
    assert [group.modality for group in mixed.duplicates(modality="image")] == ["image"]
    with pytest.raises(QueryError, match="threshold"):
        mixed.duplicates(threshold=2)


def test_sums_and_moments_are_queries(mixed: Library, photos: Path):
    space = mixed.space
    query = space.query("red") + Image.new("RGB", (40, 40), RED) - Image.new("RGB", (40, 40), BLUE)
    assert first(mixed, query, modality="image") == "red.png"
    assert first(mixed, -query, modality="image") == "blue.png"
    film = photos / "film.mp4"
    assert first(mixed, space.query(film, at=0.5), modality="image") == "blue.png"
    assert first(mixed, space.query(film, at=3.5), modality="image") == "red.png"
    with pytest.raises(QueryError, match="nothing to compare with at 99 s"):
        mixed.search(space.query(film, at=99))


def test_a_moment_of_a_film_outside_the_library_is_read(mixed: Library, tmp_path: Path):
    scenes = [Image.new("RGB", (64, 48), colour) for colour in (GREEN, RED)]
    film = write_video(tmp_path / "other.mp4", scenes, seconds=2.0)
    assert first(mixed, mixed.space.query(film, at=0.5), modality="image") == "green.png"


def test_a_filter_limits_what_is_found(mixed: Library, photos: Path):
    every = {hit.path.name for hit in mixed.search("red", k=100)}
    assert {"red.png", "film.mp4", "cat.txt"} <= every
    some = mixed.search("red", k=100, filter=Filter(globs=("*.png", "!blue*")))
    assert [hit.path.name for hit in some] == ["red.png", "green.png"]
    some = mixed.search("red", k=100, where="modality = 'audio' AND name LIKE 'low%'")
    assert [hit.path.name for hit in some] == ["low.wav"]
    some = mixed.search("red", k=100, all_segments=True, filter=Filter(between=(3.0, None)), modality="video")
    assert [(hit.path.name, hit.start) for hit in some] == [("film.mp4", 2.0)]
    assert mixed.search("red", k=100, modality="image", filter=Filter(modalities=("audio",))) == []
    with pytest.raises(QueryError, match="no such column: colour"):
        mixed.search("red", where="colour = 'red'")
