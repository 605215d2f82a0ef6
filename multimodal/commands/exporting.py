"""Commands that take a library out and bring vectors in: export, import."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from multimodal.commands.common import LibraryOption, modalities_of, open_library
from multimodal.errors import QueryError

if TYPE_CHECKING:
    from multimodal.types import Modality


def export(
    output: Annotated[
        Path | None,
        typer.Argument(
            help="A .parquet or .csv file; for npy and faiss a folder to make; none for a server."
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="FORMAT", help="parquet, npy, csv, faiss, pgvector or qdrant."),
    ] = None,
    dsn: Annotated[
        str | None,
        typer.Option("--dsn", metavar="DSN", help="The PostgreSQL server: postgresql://user@host/database."),
    ] = None,
    table: Annotated[
        str, typer.Option("--table", metavar="NAME", help="The table on that server.")
    ] = "segments",
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="The Qdrant server: http://host:6333 (QDRANT_API_KEY)."),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Option("--path", metavar="DIR", help="A Qdrant kept in a folder, without a server."),
    ] = None,
    collection: Annotated[
        str, typer.Option("--collection", metavar="NAME", help="The collection of that Qdrant.")
    ] = "segments",
    library: LibraryOption = None,
    modalities: Annotated[
        str | None, typer.Option("--in", metavar="LIST", help="Only these, e.g. image,video,audio,text.")
    ] = None,
    where: Annotated[
        str | None, typer.Option("--where", metavar="SQL", help="Only these, as in `search --where`.")
    ] = None,
    vectors: Annotated[
        bool | None, typer.Option("--vectors/--no-vectors", help="By default in all but csv.")
    ] = None,
) -> None:
    """Write the segments of a library with their vectors for other tools, in place of a former export."""
    from multimodal.formats import export as write

    if (to == "pgvector") != (dsn is not None) or (output is None) != (to in ("pgvector", "qdrant")):
        raise QueryError("Give a file or folder to write, or --to pgvector and its --dsn, or --to qdrant.")
    if (to == "qdrant") != ((url is None) != (path is None)):
        raise QueryError("--to qdrant takes either the --url of a server or the --path of a folder.")
    with open_library(library) as opened:
        chosen = modalities_of(modalities)
        if to == "pgvector":
            from multimodal.scale.pgvector import to_pgvector

            rows = to_pgvector(opened, str(dsn), table, modality=chosen, where=where)
        elif to == "qdrant":
            from multimodal.scale.qdrant import to_qdrant

            rows = to_qdrant(opened, collection, url=url, path=path, modality=chosen, where=where)
        else:
            rows = write(opened, output, to, modality=chosen, where=where, vectors=vectors)  # type: ignore[arg-type]
    place = output or (table if to == "pgvector" else collection)
    print(f"{rows} segments in {place}", file=sys.stderr)


def import_(
    table: Annotated[Path, typer.Argument(help="A .parquet file with vector, modality, and id or path.")],
    library: LibraryOption = None,
    collection: Annotated[
        str, typer.Option(metavar="NAME", help="What the rows belong to; their ids are its own.")
    ] = "imported",
    space: Annotated[
        str | None,
        typer.Option("--space", metavar="NAME", help="What made the vectors, where the table does not say."),
    ] = None,
    modality: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of all rows, where the table does not say.")
    ] = None,
    normalize: Annotated[bool, typer.Option("--normalize", help="Bring vectors to length 1.")] = False,
) -> None:
    """Take in vectors that the same space made elsewhere; rows of known ids are replaced."""
    from multimodal.library.imports import import_vectors

    with open_library(library) as opened:
        done = import_vectors(
            opened,
            table,
            collection=collection,
            space=space,
            modality=_one(modality),
            normalize=normalize,
        )
    print(f"{done.rows} rows in {done.collection}, {done.replaced} replaced", file=sys.stderr)


def _one(name: str | None) -> Modality | None:
    from multimodal.types import MODALITIES

    if name is not None and name not in MODALITIES:
        raise QueryError(f"--modality takes one of {', '.join(MODALITIES)}, not {name!r}.")
    return name
