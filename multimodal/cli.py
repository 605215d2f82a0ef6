"""The command `multimodal`: what is under its name, and how it ends.

Exit code 0 is success, 2 wrong use, 3 that some files failed, 130 an interruption, 143 a termination.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated, NoReturn

import typer

from multimodal import __version__
from multimodal.commands import (
    benchmarking,
    bridging,
    distilling,
    evaluating,
    explaining,
    exporting,
    folders,
    laddering,
    matching,
    probing,
    searching,
    serving,
    spaces,
    summarising,
    tagging,
    training,
    vectors,
    watching,
)
from multimodal.errors import MultimodalError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Search text, photos, videos and sounds by meaning, in one space, on your own machine.",
)
app.command()(folders.index)
app.command()(folders.pull)
app.command(cls=searching.SearchCommand)(searching.search)
app.command()(searching.duplicates)
app.command()(explaining.explain)
app.command()(matching.match)
app.command()(matching.caption)
app.command()(tagging.tag)
app.command()(summarising.summary)
app.command()(vectors.embed)
app.command()(exporting.export)
app.command("import")(exporting.import_)
app.command()(watching.watch)
app.command()(evaluating.evaluate)
app.command()(laddering.ladder)
app.command()(training.train)
app.command()(distilling.distil)
app.command()(benchmarking.benchmark)
app.command()(bridging.bridge)
app.command()(folders.doctor)
app.command("app")(serving.app)
app.command()(searching.info)
app.add_typer(probing.app, name="probe")
app.add_typer(spaces.app, name="spaces")


def main() -> None:
    """The console script: errors of this package become one sentence and exit code 2."""
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else a shell's background job
        signal.signal(signal.SIGINT, _stop)
    if isinstance(sys.stdout, TextIOWrapper):  # a name in letters that the output's encoding does not have
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        _run()
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
    except OSError as error:
        if error.filename is not None:  # only what is printed has no name
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what still waits to be printed goes nowhere
        reason = (error.strerror or str(error)).lower()
        print(f"multimodal: The output cannot be written: {reason}.", file=sys.stderr)
        sys.exit(2)


def _run() -> None:
    try:
        app()
    except _Stopped:
        raise
    except SystemExit:  # how every command ends
        sys.stdout.flush()
        raise


class _Stopped(SystemExit):
    """A signal has come that ends the process in peace; the code is what a shell makes of the signal."""


def _stop(sign: int, _: object) -> NoReturn:
    raise _Stopped(128 + sign)


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


if __name__ == "__main__":
    main()


__all__: Sequence[str] = ["app", "main"]
