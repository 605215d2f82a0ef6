"""The command: `multimodal index | search | embed | doctor | info`.

Only this module prints. Results go to standard output, everything else to standard error; exit code 0
is success, 2 wrong use, 3 that some files failed, 130 an interruption, 143 a termination.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from multimodal import __version__
from multimodal.errors import MultimodalError, NoMediaFile, QueryError

if TYPE_CHECKING:
    from multimodal.library import Library
    from multimodal.pipeline import Limits
    from multimodal.types import Hit, IndexReport, Modality

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Search text, photos, videos and sounds by meaning, in one space, on your own machine.",
)

LibraryOption = Annotated[
    Path | None, typer.Option("--library", metavar="DIR", help="Where the library is kept.")
]
SpaceOption = Annotated[
    str, typer.Option("--space", metavar="NAME", help="'starter', an open_clip MODEL/TAG, or a saved folder.")
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Decoding processes; by default one for each core.")
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="PATTERN", help="Pass over these, as in .gitignore; may be repeated."),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout", metavar="SECONDS", min=1, help="Give up a file after this long without progress."
    ),
]
MemoryOption = Annotated[
    float | None,
    typer.Option("--memory", metavar="GB", min=0.25, help="Most memory of a decoding process (Linux)."),
]


def main() -> None:
    """The console script: errors of this package become one sentence and exit code 2."""
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else a shell's background job
        signal.signal(signal.SIGINT, _stop)
    if isinstance(sys.stdout, TextIOWrapper):  # a name in letters that the output's encoding does not have
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except MultimodalError as error:
        print(f"multimodal: {error}", file=sys.stderr)
        sys.exit(2)
    except _Stopped as stopped:
        told = "interrupted" if stopped.code == 130 else "terminated"
        print(f"multimodal: {told}; what was done is kept, run it again to go on", file=sys.stderr)
        raise
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        sys.stderr.close()
        sys.exit(0)


class _Stopped(SystemExit):
    """A signal has come that ends the process in peace; the code is what a shell makes of the signal."""


def _stop(sign: int, _: object) -> NoReturn:
    raise _Stopped(128 + sign)


@app.command()
def index(
    folder: Annotated[Path, typer.Argument(help="The folder (or file) to index.")],
    library: LibraryOption = None,
    space: Annotated[
        str | None,
        typer.Option("--space", metavar="NAME", help="Space of a new library; see `embed --help`."),
    ] = None,
    exclude: ExcludeOption = None,
    workers: WorkersOption = None,
    timeout: TimeoutOption = None,
    memory: MemoryOption = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write a JSON line for each file seen.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Embed what is new or changed in FOLDER. The library is FOLDER/.multimodal unless --library says so."""
    from multimodal.console import index_progress, print_report
    from multimodal.export import report_lines
    from multimodal.library import Library
    from multimodal.space import load_space

    if not folder.exists():
        raise NoMediaFile(f"{folder} does not exist.")
    home = library or (folder if folder.is_dir() else folder.parent) / ".multimodal"
    with (
        Library(home, load_space(space) if space else None) as opened,
        report_lines(report) as note,
        index_progress(quiet) as show,
    ):
        done = opened.add(
            folder,
            workers=workers,
            exclude=exclude or (),
            limits=_limits(timeout, memory),
            progress=show,
            on_record=note,
        )
    print_report(done, home)
    _exit_for(done)


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="Words, or the path of a picture, video, sound or text.")],
    library: LibraryOption = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many results.")] = 10,
    modalities: Annotated[
        str | None, typer.Option("--in", metavar="LIST", help="Only these, e.g. image,video,audio,text.")
    ] = None,
    all_segments: Annotated[
        bool, typer.Option(help="Every moment, not only the best one of each file.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array on standard output.")] = False,
) -> None:
    """Find files, and moments in them, by meaning. The library is the nearest .multimodal from here up."""
    from multimodal.console import print_hits

    with _open(library) as opened:
        hits = opened.search(_query(query), k, modality=_modalities(modalities), all_segments=all_segments)
    if as_json:
        print(json.dumps([_as_dict(hit) for hit in hits], indent=1, ensure_ascii=False))
    else:
        print_hits(hits)


@app.command()
def embed(
    files: Annotated[list[Path], typer.Argument(help="Files of any kind.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A .parquet file.")],
    space: SpaceOption = "starter",
    workers: WorkersOption = None,
) -> None:
    """Write the vectors of files to a parquet table: path, modality, start, end, text, vector."""
    from multimodal.console import print_problems
    from multimodal.export import write_parquet
    from multimodal.space import load_space

    if output.suffix != ".parquet":
        raise QueryError(f"The output is written as parquet; name it something.parquet, not {output.name!r}.")
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise NoMediaFile(f"{missing[0]} does not exist or is not a file.")
    report = write_parquet(files, output, load_space(space), workers=workers)
    print(f"{report.segments} vectors of {report.count('added')} files in {output}", file=sys.stderr)
    print_problems(report)
    _exit_for(report)


@app.command()
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


@app.command()
def info(library: LibraryOption = None) -> None:
    """What the library holds and which space made it."""
    from multimodal.console import print_stats

    with _open(library) as opened:
        print_stats(opened.stats(), opened.path)


def _version(value: bool) -> None:
    if value:
        print(f"multimodal {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command."""


def _open(library: Path | None) -> Library:
    from multimodal.library import Library

    return Library(library or Library.find())


def _limits(timeout: float | None, memory: float | None) -> Limits:
    from multimodal.pipeline import Limits

    given: dict[str, Any] = {}
    if timeout is not None:
        given["seconds_without_progress"] = timeout
    if memory is not None:
        given["worker_memory"] = int(memory * 1e9)
    return Limits(**given)


def _query(text: str) -> str | Path:
    """A path where the words name a media file: one that exists, or that looks meant to."""
    from multimodal.readers import EXTENSIONS

    path = Path(text)
    looks_meant = path.suffix.lower() in EXTENSIONS and (
        "/" in text or "\\" in text or " " not in text.strip()
    )
    if looks_meant or (("/" in text or "\\" in text) and path.is_file()):
        if not path.is_file():
            raise NoMediaFile(f"The query file {text} does not exist.")
        return path
    return text


def _modalities(text: str | None) -> list[Modality] | None:
    from multimodal.types import MODALITIES

    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in MODALITIES]
    if unknown or not names:
        raise QueryError(f"--in takes a list of {', '.join(MODALITIES)}, not {text!r}.")
    return names  # type: ignore[return-value]


def _as_dict(hit: Hit) -> dict[str, Any]:
    from multimodal.export import shown_path

    return {
        "path": shown_path(hit.path),
        "modality": hit.modality,
        "start": hit.start,
        "end": hit.end,
        "score": round(hit.score, 4),
        "cosine": round(hit.cosine, 4),
        "role": hit.role,
        "page": hit.page,
        "chars": hit.chars,
        "text": hit.text,
    }


def _exit_for(report: IndexReport) -> None:
    if report.count("failed"):
        raise typer.Exit(3)


if __name__ == "__main__":
    main()


__all__: Sequence[str] = ["app", "main"]
