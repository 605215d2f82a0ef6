"""Calibration on vectors made for the purpose, and the shipped bank."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import multimodal
from multimodal import load_space
from multimodal.library import calibration
from multimodal.library.bank import Bank
from multimodal.library.calibration import Reference, judge, measure
from multimodal.phrases import everyday
from tests.fakes import fake_space

STARTER = Path(multimodal.__file__).parent / "starter"
DIM = 64
Floats = NDArray[np.float32]


def unit(rows: Floats) -> Floats:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def random_rows(count: int, seed: int, dim: int = DIM) -> Floats:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32))


def near(row: Floats, cosine: float, seed: int) -> Floats:
    """A unit vector with this cosine to a row."""
    other = random_rows(1, seed, len(row))[0]
    other = unit(other - (other @ row) * row)
    return unit(cosine * row + np.sqrt(1 - cosine**2) * other)


@pytest.fixture(scope="module")
def bank() -> Bank:
    """Phrases, pictures and sounds, each around a direction of its modality."""
    away = random_rows(3, 1)
    phrases = unit(random_rows(300, 2) + 0.5 * away[0])
    pictures, sounds = unit(random_rows(80, 3) + 2 * away[1]), unit(random_rows(80, 4) + 2 * away[2])
    centres = {"text": phrases.mean(axis=0), "image": pictures.mean(axis=0), "audio": sounds.mean(axis=0)}
    return Bank({"text": phrases, "image": pictures, "audio": sounds}, centres)  # type: ignore[arg-type]


def test_what_fits_scores_alike_in_modalities_with_other_cosines(bank: Bank) -> None:
    query = random_rows(1, 5)[0]
    texts, pictures = random_rows(500, 6), 0.4 * random_rows(500, 7)
    pictures[:, 0] = np.sqrt(1 - (pictures[:, 1:] ** 2).sum(axis=1))  # all alike: cosines spread little
    pictures = unit(pictures)
    found = {}
    for modality, rows in (("text", texts), ("image", pictures)):
        reference = measure(bank, "text", modality, rows)  # type: ignore[arg-type]
        best = (rows @ query).argsort()[::-1][:1]
        found[modality] = judge(bank, reference, "text", query, modality, rows[best]).levels[0]  # type: ignore[arg-type]
        assert judge(bank, reference, "text", rows[9], modality, rows[9:10]).levels[0] > 3  # type: ignore[arg-type]
    assert max(found.values()) < 3  # a query that nothing fits is about as near as a phrase that nothing fits


def test_a_library_of_any_size_refuses_what_it_has_not(bank: Bank) -> None:
    for size in (1, 5, 200, 20_000):
        rows = random_rows(size, 8)
        reference = measure(bank, "text", "image", rows)
        nothing, present = [], []
        for seed in range(20):
            query = random_rows(1, 100 + seed)[0]
            nothing.append(calibration.presence([_best(bank, reference, query, rows)]))
            present.append(calibration.presence([_best(bank, reference, near(rows[0], 0.9, seed), rows)]))
        assert np.median(nothing) < calibration.bar({"text"}) < np.median(present)
        assert np.mean(np.array(present) > calibration.bar({"text"})) == 1


def _best(bank: Bank, reference: Reference, query: Floats, rows: Floats) -> float:
    return float(judge(bank, reference, "text", query, "image", rows).levels.max())


@pytest.mark.parametrize("kind", ["text", "image", "audio", None])
def test_rows_that_come_later_are_measured_as_if_they_had_been_there(bank: Bank, kind: str | None) -> None:
    rows = random_rows(9000, 9).astype(np.float16)
    whole = measure(bank, kind, "image", rows)  # type: ignore[arg-type]
    part = measure(bank, kind, "image", rows[:5000])  # type: ignore[arg-type]
    both = measure(bank, kind, "image", rows, before=part)  # type: ignore[arg-type]
    assert part.counted == 5000 and both.counted == whole.counted == 9000
    np.testing.assert_allclose(both.best, whole.best, atol=1e-6)
    np.testing.assert_array_equal(both.places, whole.places)
    assert both.hub == pytest.approx(whole.hub, abs=1e-5)
    probes = bank.probes(kind)  # type: ignore[arg-type]
    compared = bank.compared(kind, "image", rows)  # type: ignore[arg-type]
    np.testing.assert_allclose(whole.best, (probes @ compared.T).max(axis=1), atol=1e-5)


def test_a_row_that_is_near_to_everything_comes_later(bank: Bank) -> None:
    rows = random_rows(400, 10)
    rows[7] = unit(bank.queries["text"].mean(axis=0))
    reference = measure(bank, "text", "image", rows)
    query = unit(bank.queries["text"][11] + 0.3 * rows[3])
    judged = judge(bank, reference, "text", query, "image", rows)
    assert judged.levels.argmax() == 7 and judged.scores.argmax() != 7
    np.testing.assert_allclose(np.argsort(judged.levels), np.argsort(rows @ query))


def test_pictures_are_compared_from_the_centre_of_pictures(bank: Bank) -> None:
    rows = bank.queries["image"]
    query = unit(bank.centres["image"] * 2 + rows[5])
    plain = (rows @ query).std()
    seen = bank.compared("image", "image", rows) @ bank.seen("image", query)
    assert seen.argmax() == 5 and seen.std() > 2 * plain
    assert np.array_equal(bank.seen("text", query), query)
    assert np.array_equal(bank.seen(None, query), query)
    np.testing.assert_allclose(bank.compared("text", "image", rows), rows, atol=1e-6)


def test_a_moment_is_judged_by_the_frames_that_the_query_is_about(bank: Bank) -> None:
    frames = [random_rows(8, 20 + i) for i in range(40)]
    rows = unit(np.stack([kept.mean(axis=0) for kept in frames]))
    sample = dict(enumerate(frames))
    reference = measure(bank, "text", "video", rows, frames=sample)
    assert reference.gain > 0.05 and measure(bank, "text", "video", rows).gain == 0
    query = near(frames[3][5], 0.8, 30)
    judged = judge(bank, reference, "text", query, "video", rows, [*frames[:39], None])
    assert judged.scores.argmax() == 3
    assert judged.weights[3] is not None and judged.weights[39] is None
    assert judged.weights[3].argmax() == 5 and judged.weights[3].sum() == pytest.approx(1, abs=1e-5)
    without = judge(bank, reference, "text", query, "video", rows)
    assert without.weights == [None] * 40
    assert judged.levels[3] > without.levels[3] and judged.levels[39] == without.levels[39]


def test_attention_at_its_limits() -> None:
    query, frames = random_rows(1, 40)[0], random_rows(5, 41)
    score, weights = calibration.frame_scores(query, frames, tau=1e6)
    np.testing.assert_allclose(weights, 0.2, atol=1e-5)
    assert score == pytest.approx(float(query @ unit(frames.mean(axis=0))), abs=1e-5)
    score, weights = calibration.frame_scores(query, frames, tau=1e-4)
    assert weights.max() > 0.999 and score == pytest.approx(float((frames @ query).max()), abs=1e-3)
    assert calibration.frame_scores(query, query[None])[0] == pytest.approx(1, abs=1e-6)


def test_confidence_rises_with_levels_and_modalities_add_up() -> None:
    levels = np.array([-5.0, 0.0, 1.0, 5.0])
    chances = calibration.confidence(levels)
    assert (np.diff(chances) > 0).all() and 0 < chances[0] < 0.01 and 0.99 < chances[-1] < 1
    assert calibration.presence([1.0]) == pytest.approx(float(calibration.confidence(1.0)))
    assert (
        calibration.presence([1.0, 1.0])
        > calibration.presence([1.0, -4.0])
        > calibration.presence([-4.0, -4.0])
    )
    assert calibration.presence([]) == 0.0
    assert calibration.presence([400.0, -400.0]) == 1.0


def test_a_space_without_a_bank_makes_one_of_phrases_and_rows() -> None:
    space = fake_space()
    words = [f"thing number {i}" for i in range(60)]
    pictures = random_rows(100, 50, space.dim)
    bank = Bank.measured(space.embed(words), {"image": pictures.astype(np.float16)})
    assert bank.centre("image") is not None and bank.centre("audio") is None
    for kind in ("text", "image", "audio", None):
        reference = measure(bank, kind, "image", pictures)  # type: ignore[arg-type]
        query = bank.seen(kind, pictures[3])  # type: ignore[arg-type]
        judged = judge(bank, reference, kind, pictures[3], "image", pictures)  # type: ignore[arg-type]
        assert np.isfinite(judged.scores).all() and judged.levels.argmax() == 3
        assert np.linalg.norm(query) == pytest.approx(1, abs=1e-5)
    sounds = random_rows(100, 51, space.dim)  # no sample of these was given
    assert np.isfinite(measure(bank, "audio", "audio", sounds).best).all()


def test_rows_that_are_all_alike_divide_by_something(bank: Bank) -> None:
    rows = np.repeat(random_rows(1, 60), 30, axis=0)
    reference = measure(bank, "text", "audio", rows)
    judged = judge(bank, reference, "text", rows[0], "audio", rows)
    assert np.isfinite(judged.scores).all() and (judged.scores == judged.scores[0]).all()


def test_the_shipped_bank_is_what_the_starter_makes_of_its_phrases() -> None:
    bank, space = Bank.load(STARTER / "bank.safetensors"), load_space()
    phrases = everyday()
    assert len(phrases) == len(set(phrases)) == len(bank.queries["text"]) == 935
    places = range(0, 935, 85)
    made = space.embed([phrases[place] for place in places])
    assert (made * bank.queries["text"][list(places)]).sum(axis=1).min() > 0.99999
    assert {name: rows.shape for name, rows in bank.queries.items() if name != "text"} == dict.fromkeys(
        ("image", "video", "audio"), (112, space.dim)
    )
    assert set(bank.centres) == set(space)
    for modality in space:
        assert 0.1 < np.linalg.norm(bank.centres[modality]) < 0.9
        np.testing.assert_allclose(np.linalg.norm(bank.queries[modality], axis=1), 1, atol=1e-6)
    assert (STARTER / "bank.safetensors").stat().st_size < 1e6
    digest = hashlib.blake2b((STARTER / "bank.safetensors").read_bytes(), digest_size=8).hexdigest()
    assert digest == "a4dc0ebfcccbe71b"


def test_a_damaged_bank_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bank.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError):
        Bank.load(tmp_path / "bank.safetensors")
    with pytest.raises(OSError):
        Bank.load(tmp_path / "missing.safetensors")
