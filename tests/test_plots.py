"""Plots of a space, on the space that knows colours and pitches."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multimodal import Audio, Clip, Hit, Library, QueryError, plots
from multimodal.display import MOST, shown
from multimodal.types import Hits
from tests.fakes import fake_space
from tests.media import write_video

COLOURS = ("red", "green", "blue")


@pytest.fixture(autouse=True)
def without_umap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)  # it compiles for half a minute


def squares() -> list[Image.Image]:
    return [Image.new("RGB", (64, 64), colour) for colour in COLOURS]


def tone(hertz: float) -> Audio:
    return Audio(np.sin(np.arange(16_000) / 16_000 * 2 * np.pi * hertz).astype(np.float32), 16_000)


def test_the_map_has_thumbnails_words_and_colours(tmp_path: Path) -> None:
    from matplotlib.offsetbox import AnnotationBbox

    items = [*squares(), *COLOURS, tone(200), tone(3000)]
    figure = plots.shared_space(fake_space(), items)
    axes = figure.axes[0]
    assert sum(isinstance(artist, AnnotationBbox) for artist in axes.artists) == 3
    assert {"red", "green", "blue"} <= {text.get_text() for text in axes.texts}
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["text", "image", "audio"]
    figure.savefig(tmp_path / "map.png")
    assert (tmp_path / "map.png").stat().st_size > 5000


def test_a_matrix_has_the_cosines_of_the_space() -> None:
    space = fake_space()
    figure = plots.similarity_matrix(space, squares(), COLOURS)
    drawn = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(drawn, space.similarity(squares(), COLOURS), atol=1e-6)
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == list(COLOURS)
    assert len(plots.similarity_matrix(space, ["red", "$x$"]).axes[0].texts) == 4


def test_a_timeline_marks_the_best_moment_of_each_query() -> None:
    clip = Clip(squares(), np.array([0.0, 1.0, 2.0]))
    axes = plots.timeline(fake_space(), clip, ["red", "blue"]).axes[0]
    best = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1]  # type: ignore[index,arg-type]
    assert best == [0.5, 2.5]
    sound = Audio(np.concatenate([tone(200).samples, tone(3000).samples]), 16_000)
    assert len(plots.timeline(fake_space(), sound, ["high"]).axes[0].lines) == 2
    with pytest.raises(QueryError, match="of a video or a sound"):
        plots.timeline(fake_space(), "red", ["red"])


def test_centring_closes_the_gap() -> None:
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(0, 0.2, (30, 8)) + shift for shift in (1.0, -1.0)]).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    kinds = ["text"] * 30 + ["image"] * 30
    assert plots.gap(rows, kinds) > 1.5  # type: ignore[arg-type]
    assert plots.gap(plots.moved(rows, kinds), kinds) < 0.35  # type: ignore[arg-type]
    figure = plots.modality_gap(fake_space(), [*squares(), *COLOURS])
    assert [axes.get_title().split(":")[0] for axes in figure.axes] == ["as they are", "centred by modality"]


def test_a_plane_keeps_what_is_near_and_is_always_the_same() -> None:
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(place, 0.1, (40, 16)) for place in (-1, 1)])
    places = plots.layout(rows)
    assert places.shape == (80, 2)
    np.testing.assert_array_equal(places, plots.layout(rows))
    assert (places[:40, 0] < 0).all() != (places[40:, 0] < 0).all()
    assert plots.layout(rows[:1]).tolist() == [[0, 0]]
    with pytest.raises(QueryError, match="umap-learn"):
        plots.layout(rows, "umap")


@pytest.mark.slow
def test_umap_is_taken_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    pytest.importorskip("umap", exc_type=Warning)
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(place, 0.3, (40, 16)) for place in (-1, 1)])
    places = plots.layout(rows)
    np.testing.assert_array_equal(places, plots.layout(rows))
    assert np.linalg.norm(places[:40].mean(axis=0) - places[40:].mean(axis=0)) > 2


def test_nothing_and_too_few_labels_are_refused() -> None:
    with pytest.raises(QueryError, match="at least one item"):
        plots.shared_space(fake_space(), [])
    with pytest.raises(QueryError, match="as many labels"):
        plots.shared_space(fake_space(), ["red", "blue"], labels=["one"])


def test_hits_show_themselves(tmp_path: Path) -> None:
    squares()[0].save(tmp_path / "<red>.png")
    video = write_video(tmp_path / "film.mp4")
    (tmp_path / "note.txt").write_text("red & blue", encoding="utf-8")
    with Library(tmp_path / ".multimodal", fake_space()) as library:
        library.add(tmp_path)
        hits = library.search("red", k=5)
    page = hits._repr_html_()  # type: ignore[attr-defined]
    assert "&lt;red&gt;.png" in page and "<red>" not in page
    assert 'src="data:image/jpeg;base64,' in page and " &amp; blue" in page
    moment = Hit(video, "video", 1.0, 0.5, start=1.0, end=2.0)._repr_html_()
    assert "data:video/mp4;base64," in moment and '#t=1.00,2.00"' in moment


def test_a_large_film_is_a_frame_of_its_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from multimodal import moments

    monkeypatch.setattr(moments, "FILM_BYTES", 0)
    page = Hit(write_video(tmp_path / "film.mp4"), "video", 1.0, 0.5, start=1.0, end=2.0)._repr_html_()
    assert "data:image/jpeg" in page and "<video" not in page


def test_a_long_list_and_one_without_files_stay_small(tmp_path: Path) -> None:
    hits = Hits([Hit(tmp_path / f"{n}.jpg", "image", 1.0, 0.2) for n in range(40)])
    page = shown(hits)
    assert page.count("there is no such file") == MOST and "28 more: 12.jpg" in page
    assert "no hits" in shown(Hits())
