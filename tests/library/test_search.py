"""What a search gives: any query, the order, the scores, the same from either kernel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multimodal import Audio, Clip, Library, NoLibrary, QueryError, Segment
from multimodal.errors import ReadError
from multimodal.library import Filter, calibration
from multimodal.library.asking import Asked, asked
from multimodal.library.bank import Bank
from multimodal.library.calibration import measure
from multimodal.library.codes import Storage
from multimodal.library.search import Judge, rank
from multimodal.library.vectors import Kernel, Matrix
from multimodal.space import Space
from multimodal.types import Modality
from tests.fakes import fake_space
from tests.library.conftest import TEXTS
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


def test_a_hit_says_how_near_it_is_and_how_sure(mixed: Library):
    assert first(mixed, "red") == "red.png"  # named so
    hits = mixed.search("red", k=20, mode="meaning")
    assert hits[0].path.name in ("red.png", "film.mp4") and hits[0].confidence is not None
    by_score = sorted(hits, key=lambda hit: -hit.score)
    assert [hit.path for hit in by_score] == [hit.path for hit in hits]
    assert all(0 <= hit.confidence <= 1 and -1 <= hit.cosine <= 1 for hit in hits)  # type: ignore[operator]
    assert hits.presence is not None and hits.note is None


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar of texts for all: words of the fake space meet by chance more often than real ones do."""
    monkeypatch.setattr(calibration, "BARS", dict.fromkeys(calibration.BARS, 0.4))


@pytest.mark.usefixtures("strict")
def test_what_has_no_match_gives_a_sentence(mixed: Library):
    hits = mixed.search("zzyzx qwrtp")
    assert hits == [] and "Nothing matches" in str(hits.note) and hits.presence is not None
    assert len(mixed.search("zzyzx qwrtp", min_confidence=0)) == 10
    sure = mixed.search("red", k=20, min_confidence=0.9)
    assert 0 < len(sure) < 13 and all((hit.confidence or 0) >= 0.9 for hit in sure)
    assert "0.999" in str(mixed.search("zzyzx qwrtp", min_confidence=0.999).note)
    with pytest.raises(QueryError, match="from 0 to 1"):
        mixed.search("red", min_confidence=7)
    with pytest.raises(QueryError, match="no mode 'guess'"):
        mixed.search("red", mode="guess")  # type: ignore[arg-type]


@pytest.mark.usefixtures("strict")
def test_words_lead_to_their_files_whatever_they_look_like(mixed: Library, photos: Path):
    (photos / "wedding").mkdir()
    write_image(photos / "wedding" / "IMG_77.png", Image.new("RGB", (64, 48), GREEN))
    (photos / "wedding" / "IMG_77.txt").write_text("Aunt Frieda dances")
    mixed.add(photos)
    hit = mixed.search("frieda")[0]
    assert hit.path.name == "IMG_77.png" and len(mixed.search("frieda")) == 1
    assert mixed.search("frieda", mode="meaning") == []
    said = mixed.search("bone", mode="words")
    assert [hit.path.name for hit in said] == ["dog.txt"]
    assert said[0].snippet is not None
    assert [said[0].snippet[begin:end] for begin, end in said[0].marks] == ["bone"]
    assert mixed.search("zebra", mode="words").note == "Nothing in the library has these words."
    with pytest.raises(QueryError, match="needs words"):
        mixed.search(Image.new("RGB", (40, 40), RED), mode="words")
    every = mixed.search("bone", mode="words", all_segments=True)
    assert [hit.path.name for hit in every] == ["dog.txt"]


def test_a_moment_is_found_by_the_frames_that_the_query_looks_at(mixed: Library, photos: Path):
    scenes = [Image.new("RGB", (64, 48), (5 + 2 * n, 250 - 2 * n, 5)) for n in range(12)]
    write_video(photos / "fade.mp4", scenes, seconds=0.5)
    mixed.add(photos)
    hits = mixed.search(Image.new("RGB", (40, 40), GREEN), modality="video")
    fade = next(hit for hit in hits if hit.path.name == "fade.mp4")
    assert fade.frames and sum(weight for _, weight in fade.frames) == pytest.approx(1, abs=1e-5)
    assert all(fade.start <= time <= fade.end for time, _ in fade.frames)  # type: ignore[operator]


@pytest.mark.parametrize("storage", ["int8", "binary"])
def test_a_library_may_be_scanned_by_codes(photos: Path, serial: object, storage: Storage):
    (photos / "many.txt").write_text("\n\n".join(f"page {n} of nothing " * 30 for n in range(4200)))
    with Library(photos / ".multimodal", fake_space(), storage) as library:
        library.add(photos)
        vectors = library.path / "vectors"
        assert any(f".{storage}" in path.name for path in vectors.iterdir())
        assert first(library, "cat in a hat") == first(library, "cat in a hat", exact=True) == "cat.txt"
    with Library(photos / ".multimodal", fake_space(), "float16") as library:
        library.add(photos)
        assert not any(f".{storage}" in path.name for path in vectors.iterdir())
    with pytest.raises(QueryError, match="float16, int8, binary"):
        Library(photos / ".multimodal", storage="float8")  # type: ignore[arg-type]


def test_references_are_kept_and_extended(mixed: Library, photos: Path):
    vectors = mixed.path / "vectors"
    kept = {path.name: path.read_bytes() for path in vectors.glob("text-*.safetensors")}
    assert len(kept) == 1
    (photos / "more.txt").write_text("goat on a hill")
    mixed.add(photos)
    grown = {path.name: path.read_bytes() for path in vectors.glob("text-*.safetensors")}
    assert grown.keys() == kept.keys() and grown != kept
    (photos / "cat.txt").unlink()
    mixed.add(photos)
    anew = {path.name for path in vectors.glob("text-*.safetensors")}
    assert len(anew) == 1 and anew != kept.keys()
    before = [(hit.path, hit.score) for hit in mixed.search("goat", min_confidence=0)]
    for path in vectors.glob("*.safetensors"):
        path.write_bytes(b"damaged")
    mixed.close()
    assert [(hit.path, hit.score) for hit in mixed.search("goat", min_confidence=0)] == before


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
@pytest.mark.parametrize("rows", [1, 70, 5000])
@pytest.mark.parametrize("kind", ["text", "image"])
def test_either_kernel_gives_what_judging_every_row_gives(
    kernel: Kernel, rows: int, kind: Modality, monkeypatch: pytest.MonkeyPatch
):
    if kernel._faiss_after:
        monkeypatch.setattr("multimodal.library.kernel.faiss_is_loaded", lambda: False)
    matrices: dict[Modality, Matrix] = {"text": matrix(rows, 2), "image": matrix(rows, 3)}
    bank = Bank.measured(matrix(300, 9).vectors.astype(np.float32), {})
    references = {name: measure(bank, kind, name, m.vectors) for name, m in matrices.items()}
    judge = Judge(bank, references.__getitem__, lambda _: {})
    asked = Asked(kind, query().vector)
    every = [row for name, m in matrices.items() for row in judge.rows(asked, name, m, np.arange(rows))]
    every.sort(key=lambda row: (-row.score, row.segment))
    found = rank(matrices, asked, judge, 40, kernel, dict.fromkeys(matrices))
    assert [(row.modality, row.segment) for row in found[:10]] == [
        (r.modality, r.segment) for r in every[:10]
    ]
    assert [row.score for row in found[:10]] == pytest.approx([row.score for row in every[:10]], abs=1e-4)
    some = np.arange(0, rows, 3)
    found = rank(matrices, asked, judge, 40, kernel, {"text": some, "image": None})
    assert {row.place % 3 for row in found if row.modality == "text"} == {0}


def test_kernel_turns_to_faiss_when_it_pays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("multimodal.library.kernel.faiss_is_loaded", lambda: False)
    asked: list[int] = []
    monkeypatch.setattr("multimodal.library.kernel.faiss_index", lambda rows: asked.append(len(rows)))
    kernel = Kernel(faiss_after=2500)
    rows = matrix(1000)
    for _ in range(2):
        kernel.top(rows, query().vector, 10)
    assert not asked
    with pytest.raises(AttributeError):  # the index is none
        kernel.top(rows, query().vector, 10)
    assert asked


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
    some = mixed.search("red", k=100, where="modality = 'audio' AND name LIKE 'low%'", min_confidence=0)
    assert [hit.path.name for hit in some] == ["low.wav"]
    some = mixed.search("red", k=100, all_segments=True, filter=Filter(between=(3.0, None)), modality="video")
    assert [(hit.path.name, hit.start) for hit in some] == [("film.mp4", 2.0)]
    assert mixed.search("red", k=100, modality="image", filter=Filter(modalities=("audio",))) == []
    with pytest.raises(QueryError, match="no such column: colour"):
        mixed.search("red", where="colour = 'red'")
