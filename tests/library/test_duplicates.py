"""Copies of one thing are grouped around the largest; what is merely alike is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from multimodal.library.duplicates import FileFacts, file_vectors, groups, main_modality
from multimodal.library.vectors import Matrix


def unit(*rows: list[float]) -> np.ndarray:
    found = np.array(rows, np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def named(found: list) -> list[list[str]]:
    return [[copy.file.path.name for copy in group.copies] for group in found]


def test_the_largest_file_leads_its_group():
    vectors = unit([1, 0.1, 0], [1, 0, 0], [1, 0, 0.1], [0, 1, 0])
    facts = [FileFacts(Path(name), size, pixels) for name, size, pixels in
             [("thumb", 9, 100), ("full", 1, 9000), ("web", 5, 400), ("other", 7, 9000)]]  # fmt: skip
    [group] = groups("image", facts, vectors)
    assert named([group]) == [["full", "web", "thumb"]]
    assert group.larger.path == Path("full") and group.copies[0].cosine == 1.0
    assert all(0.97 <= copy.cosine < 1 for copy in group.copies[1:])


def test_a_chain_of_likenesses_is_no_group_of_copies():
    angles = np.radians([0, 12, 24, 36])  # each within 0.97 of the next, none of the one after it
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    facts = [FileFacts(Path(str(n)), 100 - n) for n in range(4)]
    assert named(list(groups("text", facts, vectors))) == [["0", "1"], ["2", "3"]]


def test_an_excerpt_is_no_copy():
    vectors = unit([1, 0], [1, 0.01], [1, 0.02])
    facts = [FileFacts(Path(name), 1, 0, seconds) for name, seconds in [("a", 60), ("b", 30), ("c", 58.0)]]
    assert named(list(groups("video", facts, vectors))) == [["a", "c"]]


def test_groups_are_the_same_however_many_blocks():
    rng = np.random.default_rng(0)
    things = unit(*rng.normal(size=(700, 16)).tolist())
    vectors = np.concatenate([things, things, things])
    facts = [FileFacts(Path(f"{n % 700}-{n // 700}"), n) for n in range(len(vectors))]
    found = list(groups("image", facts, vectors, 0.999))
    assert len(found) == 700 and {len(group.copies) for group in found} == {3}
    assert all(len({copy.file.path.name.split("-")[0] for copy in group.copies}) == 1 for group in found)


def test_a_file_is_the_mean_of_its_rows():
    rows = unit([1, 0], [0, 1], [1, 0], [-1, 0]).astype(np.float16)
    matrix = Matrix(rows, np.array([1, 2, 3, 4]), np.array([7, 7, 9, 8]))
    found = file_vectors(matrix, np.array([7, 9]))
    np.testing.assert_allclose(found, [[0.7071, 0.7071], [1, 0]], atol=1e-3)
    assert len(file_vectors(matrix, np.zeros(0, np.int64))) == 0


def test_a_video_with_sound_counts_as_a_video():
    held = {"audio": {1, 2}, "video": {1}, "text": {1, 2, 3}}
    assert main_modality(held) == {1: "video", 2: "audio", 3: "text"}
