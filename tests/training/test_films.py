"""Sounds that learn from the pictures of videos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from multimodal import load_space
from multimodal.cli import app
from multimodal.errors import NoMediaFile, QueryError
from multimodal.towers.base import unit
from multimodal.training import Settings, fit_from_videos
from multimodal.training.film_rows import Film, films, overlaps
from multimodal.training.films import data_of, trained_from
from multimodal.training.scores import recall
from tests.fakes import fake_space
from tests.media import picture, tone, write_image, write_video

DIM = 16
SEEN_AND_HEARD = (("red", 200.0), ("lime", 900.0), ("blue", 3000.0))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def film(path: Path, order: list[int], seconds: float = 5.0, silent: bool = False) -> Path:
    """Scenes of one colour, each with the pitch that goes with it."""
    scenes = [Image.new("RGB", (64, 48), SEEN_AND_HEARD[place][0]) for place in order]
    sound = np.concatenate([tone(seconds, 16_000, SEEN_AND_HEARD[place][1]) for place in order])
    return write_video(
        path, scenes, seconds, 4, sound=None if silent else sound, sound_rate=16_000, codec="mpeg4"
    )


def made(count: int, segments: int = 3, seed: int = 0) -> list[Film]:
    """Films whose sounds lie by a rotation of their pictures: a thing to learn."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(np.eye(DIM) + 0.3 * rng.normal(size=(DIM, DIM)))[0]
    times = np.array([[5.0 * place, 5.0 * place + 5] for place in range(segments)])
    found = []
    for number in range(count):
        pictures = unit(rng.normal(size=(segments, DIM)))
        sounds = unit(pictures @ turn + 0.05 * rng.normal(size=(segments, DIM)))
        found.append(Film(f"film{number}", pictures, sounds, times))
    return found


def test_a_scene_is_paired_with_what_is_heard_meanwhile(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    film(folder / "a.mp4", [0, 1, 2])
    film(folder / "silent.mp4", [1, 2], 2.0, silent=True)
    (folder / "again.mp4").write_bytes((folder / "a.mp4").read_bytes())
    (folder / "broken.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(200))
    write_image(folder / "beside.png")
    space = fake_space()
    [found], left_out = films(space, folder, tmp_path / "run", workers=1)
    assert {record.path.name: record.status for record in left_out} == {
        "silent.mp4": "skipped",
        "broken.mp4": "failed",
    }
    assert found.times.round().tolist() == [[0, 5], [5, 10], [10, 15]]
    assert found.pictures[:, :3].argmax(axis=1).tolist() == [0, 1, 2]
    assert found.sounds[:, 3:6].argmax(axis=1).tolist() == [0, 1, 2]
    seen: list[tuple[int, int]] = []
    [again], _ = films(space, folder, tmp_path / "run", 1, lambda done, of: seen.append((done, of)))
    np.testing.assert_array_equal(again.sounds, found.sounds)
    assert seen == [(3, 3)], "only the broken one is tried again"


def test_overlaps_are_seconds_that_are_shared() -> None:
    left, right = np.array([[0.0, 4.0], [4.0, 10.0]]), np.array([[0.0, 5.0], [5.0, 7.0], [20.0, 30.0]])
    assert overlaps(left, right).tolist() == [[4, 0, 0], [1, 2, 0]]


def test_validation_is_whole_films_or_their_ends() -> None:
    many, few = data_of(made(40), 0.2, 0), data_of(made(3, segments=10), 0.2, 0)
    by_film = many.kinds[0].split.reshape(40, 3)
    assert (by_film == by_film[:, :1]).all() and 1 <= by_film[:, 0].sum() <= 20
    assert few.kinds[0].split.reshape(3, 10).tolist() == [[0] * 8 + [1] * 2] * 3
    assert data_of(made(40), 0.2, 0).id == many.id != data_of(made(40), 0.2, 1).id


def test_segments_that_look_alike_stay_together_and_are_no_negatives() -> None:
    [one] = made(1, segments=10)
    one.pictures[9] = one.pictures[2]
    [kind] = data_of([one], 0.2, 0).kinds
    assert kind.split[9] == kind.split[2] and kind.right_group[9] == kind.right_group[2]
    codes = kind.codes(np.arange(10))
    assert kind.belongs(codes, kind.left_group[2:3], kind.right_group)[0].nonzero()[0].tolist() == [2, 9]


def test_sounds_learn_where_pictures_are_and_nothing_else_moves() -> None:
    settings = Settings().with_(
        parts=("audio",), epochs=20, rate=5e-3, hidden=64, hold=0.0, lose=0.9, dropout=0.0, batch=64
    )
    rng = np.random.default_rng(0)
    wide = [
        Film(
            one.key,
            unit(np.pad(one.pictures, ((0, 0), (0, 32 - DIM)))),
            unit(np.pad(one.sounds, ((0, 0), (0, 32 - DIM)))),
            one.times,
        )
        for one in made(60)
    ]
    space = fake_space()
    learned = trained_from(space, settings, wide)
    assert recall(learned.after) > recall(learned.before) + 0.2
    assert set(learned.adapters) == {"audio"}
    assert learned.space["video"].encoder_id == space["video"].encoder_id
    assert learned.space["audio"].encoder_id != space["audio"].encoder_id
    moved = learned.adapters["audio"](unit(rng.normal(size=(2, 32))))
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 1, atol=1e-5)


def test_nothing_to_learn_from_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoMediaFile, match="no such folder"):
        fit_from_videos(fake_space(), tmp_path / "none")
    with pytest.raises(NoMediaFile, match="no videos"):
        fit_from_videos(fake_space(), tmp_path)
    film(tmp_path / "silent.mp4", [1, 2], 2.0, silent=True)
    with pytest.raises(QueryError, match="too few"):
        fit_from_videos(fake_space(), tmp_path, workers=1)
    with pytest.raises(QueryError, match="cannot learn"):
        fit_from_videos(fake_space(), tmp_path, "head.text")


@pytest.mark.parametrize("arguments", [[], ["pairs.csv", "--from-videos", "films"]])
def test_the_command_takes_pairs_or_videos(tmp_path: Path, arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["train", *arguments, "-o", str(tmp_path / "new")])
    assert isinstance(result.exception, QueryError) and "--from-videos FOLDER" in str(result.exception)


@pytest.mark.slow
def test_the_command_writes_a_space_that_loads(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    for number in range(3):
        scenes = [picture(4 * number + place, 160, 120) for place in range(4)]
        sound = np.concatenate([tone(2.0, 16_000, 150.0 * 1.4 ** (4 * number + place)) for place in range(4)])
        write_video(folder / f"{number}.mp4", scenes, 2.0, 4, sound=sound, sound_rate=16_000, codec="mpeg4")
    target = tmp_path / "new"
    options = ["--epochs", "2", "--set", "lose=0.9", "--set", "validation=0", "--workers", "1"]
    result = CliRunner().invoke(app, ["train", "--from-videos", str(folder), "-o", str(target), *options])
    assert result.exit_code == 0, result.output
    before, after = load_space(), load_space(target)
    assert after["image"].encoder_id == before["image"].encoder_id
    assert after["audio"].encoder_id != before["audio"].encoder_id
    assert "| video and audio |" in (target / "README.md").read_text(encoding="utf-8")
