"""The commands export and import, on a library of the fake space."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from multimodal import Library, LibraryError, NoLibrary, QueryError, WrongSpace
from multimodal.commands import exporting
from multimodal.library import library as module
from multimodal.library.imports import import_vectors
from tests.fakes import fake_space

TEXTS = ["red fox", "blue whale", "green frog"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr(module, "load_space", lambda _: fake_space())
    app = typer.Typer()
    app.command()(exporting.export)
    app.command("import")(exporting.import_)
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments)])


def table(**columns: Any) -> pa.Table:
    vectors = list(fake_space().embed(TEXTS))
    return pa.table(
        {"id": ["a", "b", "c"], "modality": ["text"] * 3, "text": TEXTS, "vector": vectors, **columns}
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with Library(tmp_path / "photos" / ".multimodal", fake_space()) as library:
        import_vectors(library, table(modality=["text", "image", "audio"]), space="fake")
    return tmp_path / "photos" / ".multimodal"


def test_export_writes_the_format_that_the_name_or_to_says(
    home: Path, tmp_path: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(home.parent)  # the library is found from here
    done = run("export", tmp_path / "out.parquet")
    assert done.exit_code == 0 and done.stdout == ""
    assert done.stderr == f"3 segments in {tmp_path / 'out.parquet'}\n"
    assert pq.read_table(tmp_path / "out.parquet")["id"].to_pylist() == ["a", "b", "c"]
    run("export", "--to", "npy", tmp_path / "vectors", "--in", "image,audio")
    assert np.allclose(
        np.load(tmp_path / "vectors" / "vectors.npy"), fake_space().embed(TEXTS)[1:], atol=1e-3
    )
    run("export", tmp_path / "out.csv", "--library", home, "--vectors")
    assert "v31" in (tmp_path / "out.csv").read_text().splitlines()[0]
    assert run("export", "--to", "faiss", tmp_path / "index").exit_code == 0
    run("export", tmp_path / "out.parquet", "--where", "collection = 'imported' AND id > 'a'")
    assert pq.read_table(tmp_path / "out.parquet")["id"].to_pylist() == ["b", "c"]


def test_import_takes_in_what_export_wrote(home: Path, tmp_path: Path, run: Callable[..., Result]):
    assert run("export", tmp_path / "out.parquet", "--library", home).exit_code == 0
    other = tmp_path / "other"
    done = run("import", tmp_path / "out.parquet", "--library", other, "--collection", "zoo")
    assert done.stderr == "3 rows in zoo, 0 replaced\n"
    assert run("import", tmp_path / "out.parquet", "--library", other, "--collection", "zoo").stderr == (
        "3 rows in zoo, 3 replaced\n"
    )
    with Library(other, fake_space()) as library:
        assert library.search("blue whale", k=1)[0].id == "b"


def test_import_of_a_table_that_says_little(tmp_path: Path, home: Path, run: Callable[..., Result]):
    bare = table().drop_columns(["modality", "text"])
    pq.write_table(
        bare.set_column(1, "vector", pa.array([[2.0] + [0.0] * 31] * 3)), tmp_path / "bare.parquet"
    )
    given = "import", tmp_path / "bare.parquet", "--library", home
    for more, error, sentence in (
        ((), LibraryError, "Say which space"),
        (("--space", "fake"), LibraryError, "no column 'modality'"),
        (("--space", "fake", "--modality", "smell"), QueryError, "--modality takes one of"),
        (("--space", "fake", "--modality", "image"), LibraryError, "length 2"),
        (("--space", "starter", "--modality", "image"), WrongSpace, "cannot be compared"),
    ):
        failure = run(*given, *more).exception
        assert type(failure) is error and sentence in str(failure)
    done = run(*given, "--space", "fake", "--modality", "image", "--normalize")
    assert done.stderr == "3 rows in imported, 3 replaced\n"


def test_wrong_use_is_one_sentence(
    home: Path, tmp_path: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for arguments, error in (
        (("export", "out.parquet"), NoLibrary),
        (("export", "out.xlsx", "--library", home), QueryError),
        (("export", "out", "--to", "xlsx", "--library", home), QueryError),
        (("export", "out.csv", "--in", "smell", "--library", home), QueryError),
        (("import", "none.parquet", "--library", home, "--space", "fake"), LibraryError),
    ):
        assert type(run(*arguments).exception) is error
    assert {path.name for path in tmp_path.iterdir()} == {"photos"}
