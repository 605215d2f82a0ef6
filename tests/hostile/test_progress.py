"""Getting on with a file of which nothing comes for long is no hang; being led in circles is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multimodal.pipeline import Limits, encode_files
from multimodal.readers import base
from multimodal.readers.container import open_media, packets
from tests import media
from tests.fakes import fake_space
from tests.hostile.bombs import sparse, wave, write_bomb

HURRY = Limits(seconds_without_progress=1.5)


def long_film(path: Path, minutes: int) -> Path:
    """Black pictures, one minute over and over, 20 MB an hour."""
    import av

    short = path.with_name(f"short-{path.name}")
    noise = np.random.default_rng(0).integers(0, 4, (240, 320, 3), np.uint8)  # what a camera sees of black
    media.write_video(short, [Image.fromarray(noise)], seconds=60, rate=25)
    with av.open(str(short)) as source, av.open(str(path), "w") as target:
        given = source.streams.video[0]
        stream = target.add_stream_from_template(given)
        found = [packet for packet in source.demux(given) if packet.dts is not None]
        times, minute = [(packet.pts, packet.dts) for packet in found], int(60 / given.time_base)
        for number in range(minutes):
            for packet, (shown, decoded) in zip(found, times, strict=True):
                packet.stream = stream
                packet.pts, packet.dts = shown + number * minute, decoded + number * minute
                target.mux(packet)
    return path


def test_hours_of_black_and_of_silence_are_no_hang(tmp_path: Path) -> None:
    film, silence = long_film(tmp_path / "black.mp4", 12), tmp_path / "silence.wav"
    sparse(silence, wave(size=250 << 20), 250 << 20)
    for path, modality in ((film, "video"), (silence, "audio")):
        [file] = encode_files([path], fake_space(), workers=1, limits=HURRY)
        assert (file.status, file.reason) == ("added", None)
        assert file.seconds > HURRY.seconds_without_progress, "too fast for this test: make the file longer"
        assert [row.modality for row in file.rows if row.role == "blank"] == [modality]


def test_only_a_part_that_was_not_read_before_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = media.write(tmp_path / "film.mp4", 1)
    told: list[int] = []
    monkeypatch.setattr(base, "_listeners", [lambda: told.append(1)])
    with open_media(path) as container:
        count = sum(packet.size > 0 for packet in packets(container, container.streams))
    assert 1 <= len(told) <= 1 + path.stat().st_size // (1 << 16) < count


def test_a_decoder_that_goes_round_is_ended(tmp_path: Path) -> None:
    """3 GB in which Pillow looks for a marker byte by byte, which is not reading a sound or a video."""
    paths = [write_bomb(tmp_path, "sparse.jpg"), media.write(tmp_path / "good.png")]
    files = {file.path: file for file in encode_files(paths, fake_space(), workers=1, limits=HURRY)}
    assert files[paths[0]].reason == "the decoder gave nothing for 1.5 s"
    assert files[paths[1]].status == "added"
