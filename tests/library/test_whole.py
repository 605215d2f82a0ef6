"""The library with the real readers and the real pipeline, workers and all."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from multimodal import Library
from tests.fakes import fake_space
from tests.media import tone, write_image, write_sound, write_video


@pytest.mark.parametrize("workers", [1, 2])
def test_folder_of_all_kinds_is_indexed_once_and_found(tmp_path: Path, workers: int):
    write_image(tmp_path / "green.png", Image.new("RGB", (64, 48), (5, 250, 5)))
    write_sound(tmp_path / "high.wav", tone(1.0, 16_000, 4000), 16_000)
    write_video(tmp_path / "red.mp4", [Image.new("RGB", (64, 48), (250, 5, 5))], seconds=1.0)
    (tmp_path / "cat.txt").write_text("cat in a hat")
    (tmp_path / "copy.txt").write_text("cat in a hat")
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 and nothing more")
    with Library(tmp_path / ".multimodal", fake_space()) as library:
        report = library.add(tmp_path, workers=workers)
        statuses = {record.path.name: record.status for record in report.records}
        assert statuses.pop("bad.jpg") == "failed"
        texts = {statuses.pop("cat.txt"), statuses.pop("copy.txt")}
        assert texts == {"added", "reused"} and set(statuses.values()) == {"added"}
        for query, kind, name in (
            ("green", "image", "green.png"),
            ("high", "audio", "high.wav"),
            ("red", "video", "red.mp4"),
        ):
            assert library.search(query, k=1, modality=kind)[0].path.name == name  # type: ignore[arg-type]
        again = library.add(tmp_path, workers=workers)
        assert again.count("unchanged") == 5 and again.count("failed") == 1
