"""The command that labels the files of a folder: tag."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from multimodal.commands.common import ExcludeOption, LibraryOption, WorkersOption, exit_for
from multimodal.errors import NoMediaFile, QueryError

if TYPE_CHECKING:
    from multimodal.labels import Label
    from multimodal.library.means import FileMean

COLUMNS = ("path", "modality", "label", "under", "probability", "cosine")


def tag(
    folder: Annotated[Path, typer.Argument(help="The folder (or file) to label; it is indexed first.")],
    labels: Annotated[
        Path, typer.Option("--labels", metavar="FILE", help='Labels, one a line; "animal > dog" for a tree.')
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help=".csv, .json, .md or .parquet; else on the screen."
        ),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many labels of each file.")] = 3,
    least: Annotated[
        float, typer.Option("--min-probability", min=0, max=1, help="Leave out labels below this.")
    ] = 0.1,
    none: Annotated[bool, typer.Option("--none", help='Let a file be "none of these".')] = False,
    template: Annotated[
        list[str] | None,
        typer.Option("--template", metavar="TEXT", help='Such as "a photo of a {}"; may be repeated.'),
    ] = None,
    xmp: Annotated[bool, typer.Option("--xmp", help="Add the labels to XMP sidecars of the files.")] = False,
    library: LibraryOption = None,
    exclude: ExcludeOption = None,
    workers: WorkersOption = None,
) -> None:
    """Say what each file of FOLDER is, out of a list of labels.

    New and changed files are indexed as `index` does, so that an interrupted run goes on where it stopped.
    """
    from multimodal.console import index_progress, print_problems
    from multimodal.labels import Classifier, read_labels
    from multimodal.library import Library
    from multimodal.library.means import file_means

    if not folder.exists():
        raise NoMediaFile(f"{folder} does not exist.")
    write = table_writer(output, COLUMNS)
    wanted = read_labels(labels)
    home = library or (folder if folder.is_dir() else folder.parent) / ".multimodal"
    with Library(home) as opened, index_progress(False) as show:
        report = opened.add(folder, progress=show, exclude=exclude or (), workers=workers)
        classify = Classifier(opened.space, wanted, template, none)
        tagged = [
            (file, _chosen(classify.of_row(file.vector, file.modality), top, least))
            for file in file_means(opened, folder.absolute())
        ]
    refused = _write_sidecars(tagged) if xmp else []
    write([_row(file, label) for file, found in tagged for label in found])
    print_problems(report)
    for reason in refused:
        print(f"  failed   {reason}", file=sys.stderr)
    exit_for(report)
    if refused:
        raise typer.Exit(3)


def _chosen(found: Sequence[Label], top: int, least: float) -> list[Label]:
    """The best labels that have none below, with those above them left to `under`."""
    names = {label.path for label in found}
    above = {path[:length] for path in names for length in range(1, len(path))}
    ends = [one for one in found if one.path not in above]
    return [label for label in ends[:top] if label.probability >= least]


def _row(file: FileMean, label: Label) -> dict[str, Any]:
    from multimodal.export import shown_path

    under = " > ".join(label.path[:-1])
    numbers = round(label.probability, 4), round(label.cosine, 4)
    values = (shown_path(file.path), file.modality, label.name, under, *numbers)
    return dict(zip(COLUMNS, values, strict=True))


def _write_sidecars(tagged: Sequence[tuple[FileMean, Sequence[Label]]]) -> list[str]:
    """Sentences about the sidecars that could not be written."""
    from multimodal.labels import NONE
    from multimodal.sidecars import write_labels

    refused = []
    for file, labels in tagged:
        paths = [label.path for label in labels if label.path != (NONE,)]
        if paths and file.modality != "text":
            try:
                write_labels(file.path, paths)
            except QueryError as error:
                refused.append(str(error))
    return refused


def table_writer(output: Path | None, columns: Sequence[str]) -> Callable[[list[dict[str, Any]]], None]:
    """What writes rows of labels, chosen before the work is done. Raises QueryError for an unknown ending."""
    if output is None:
        return _print
    writers = {".csv": _csv, ".json": _json, ".md": _markdown, ".parquet": _parquet}
    if output.suffix.lower() not in writers:
        raise QueryError(f"A table of labels ends in {', '.join(writers)}, not {output.suffix!r}.")

    def write(rows: list[dict[str, Any]]) -> None:
        unfinished = output.with_name(f".{output.name}.{os.getpid()}.tmp")
        try:
            writers[output.suffix.lower()](rows, columns, unfinished)
            os.replace(unfinished, output)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            reason = (error.strerror or str(error)).lower()
            raise QueryError(f"The labels cannot be written to {output}: {reason}.") from error

    return write


def _print(rows: list[dict[str, Any]]) -> None:
    from multimodal.errors import plain

    paths = [os.path.relpath(row["path"]) for row in rows]
    width = max(map(len, paths), default=0)
    for row, path in zip(rows, paths, strict=True):
        name = f"{row['under']} > {row['label']}" if row.get("under") else row["label"]
        print(f"{plain(path):<{width}}  {row['probability']:4.0%}  {plain(name)}")


def _csv(rows: list[dict[str, Any]], columns: Sequence[str], target: Path) -> None:
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _json(rows: list[dict[str, Any]], _: Sequence[str], target: Path) -> None:
    target.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _markdown(rows: list[dict[str, Any]], columns: Sequence[str], target: Path) -> None:
    def line(cells: Sequence[object]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |\n"

    text = line(columns) + line(["---"] * len(columns)) + "".join(line([*row.values()]) for row in rows)
    target.write_text(text, encoding="utf-8")


def _parquet(rows: list[dict[str, Any]], columns: Sequence[str], target: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = {"probability", "cosine"}
    schema = pa.schema([(name, pa.float64() if name in numbers else pa.string()) for name in columns])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), str(target))
