"""Commands that go through folders: index, doctor."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from multimodal.commands.common import (
    BackendOption,
    ExcludeOption,
    MemoryOption,
    PrecisionOption,
    TimeoutOption,
    WorkersOption,
    exit_for,
    space_in,
)
from multimodal.errors import NoMediaFile, QueryError

if TYPE_CHECKING:
    from multimodal.pipeline import Limits


def index(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder or file; also an address (s3://bucket/photos), a glob, or with --engine a table"
            " (.csv, .parquet) that names files.",
        ),
    ],
    library: Annotated[
        str | None,
        typer.Option(
            "--library",
            metavar="DIR",
            help="Where the library is kept; an address (s3://bucket/library) is that of a shared one.",
        ),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option("--space", metavar="NAME", help="Space of a new library; see `embed --help`."),
    ] = None,
    alongside: Annotated[
        bool,
        typer.Option("--alongside", help="Keep this --space in a library of its own, beside the first one."),
    ] = False,
    exclude: ExcludeOption = None,
    workers: WorkersOption = None,
    timeout: TimeoutOption = None,
    memory: MemoryOption = None,
    storage: Annotated[
        str | None,
        typer.Option("--storage", metavar="KIND", help="What searches scan: float16, int8 or binary."),
    ] = None,
    precision: PrecisionOption = "auto",
    backend: BackendOption = "auto",
    engine: Annotated[
        str | None,
        typer.Option("--engine", metavar="NAME", help="Who does the work: local, or ray (a cluster)."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="ADDRESS", help="The Ray cluster; default: this machine alone."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write a JSON line for each file seen.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Embed what is new or changed in SOURCE. The library is SOURCE/.multimodal unless --library says so."""
    from multimodal.console import index_progress, print_report
    from multimodal.export import report_lines
    from multimodal.library import Library, finding

    folder = Path(source)
    far = not folder.exists() and ("://" in source or any(sign in source for sign in "*?["))
    if not folder.exists() and not far:
        raise NoMediaFile(f"{folder} does not exist.")
    if address and engine != "ray":
        raise QueryError("--address is that of a Ray cluster: give --engine ray too.")
    if far and not library:
        raise QueryError(f"Say with --library where the library of {source} is to be kept.")
    if alongside and (not space or library):
        raise QueryError("--alongside needs --space NAME, and takes no --library.")
    shared = library if library and "://" in library else None
    if shared and storage:
        raise QueryError("--storage says how a library is searched: give it to the one that is pulled.")
    place = folder if folder.is_dir() else folder.parent
    home = Path(library) if library else place / ".multimodal"
    given = space_in(home, space, precision, backend)
    home = finding.alongside(place, given.name) if alongside and given else home
    with (
        Library(home, given, storage) as opened,  # type: ignore[arg-type]
        report_lines(report) as note,
        index_progress(quiet) as show,
    ):
        how: dict[str, Any] = {
            "workers": workers,
            "exclude": exclude or (),
            "limits": _limits(timeout, memory),
            "progress": show,
            "on_record": note,
        }
        if engine or far or shared:
            from multimodal.scale import index as index_far

            how.update(engine=engine or "local", address=address)
            done = (
                index_far(shared, source, space=given, **how) if shared else index_far(opened, source, **how)
            )
        else:
            done = opened.add(folder, **how)
    print_report(done, home)
    exit_for(done)


def pull(
    uri: Annotated[str, typer.Argument(metavar="ADDRESS", help="A shared library: s3://bucket/library.")],
    library: Annotated[Path, typer.Option("--library", metavar="DIR", help="Where the local one is kept.")],
) -> None:
    """Bring a library on this machine up to date with a shared one, to search it here."""
    from multimodal.scale.shared import pull as pull_shared

    changed = pull_shared(uri, library)
    print(f"{changed} files changed; library {library}", file=sys.stderr)


def doctor(
    folder: Annotated[Path, typer.Argument(help="The folder (or file) to look through.")],
    exclude: ExcludeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line for each file.")] = False,
) -> None:
    """Say what of FOLDER would be skipped, why, and which extra would change that; nothing is embedded."""
    from multimodal.console import print_findings
    from multimodal.library.doctor import examine

    if not folder.exists():
        raise NoMediaFile(f"{folder} does not exist.")
    findings = examine(folder, exclude or ())
    if as_json:
        for finding in findings:
            print(json.dumps(finding.as_dict(), ensure_ascii=False))
    else:
        print_findings(findings)


def _limits(timeout: float | None, memory: float | None) -> Limits:
    from multimodal.pipeline import Limits

    given: dict[str, Any] = {}
    if timeout is not None:
        given["seconds_without_progress"] = timeout
    if memory is not None:
        given["worker_memory"] = int(memory * 1e9)
    return Limits(**given)
