"""How the command shows things: progress, reports, hits. Plain aligned lines, easy to read and to pipe."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from multimodal.errors import plain
from multimodal.types import MODALITIES, Hit, Hits, IndexReport, LibraryStats

if TYPE_CHECKING:
    from multimodal.library import Progress
    from multimodal.library.doctor import Finding
    from multimodal.library.duplicates import Duplicates, FileFacts

SNIPPET = 72
"""Characters of a passage that are shown."""
REASONS = 20
"""Lines of reasons that are shown; more are counted."""


@contextmanager
def index_progress(quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """A bar with rate and time left on standard error, where that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("indexing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[name]}", style="dim", markup=False),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, rate="", name="")
        worked = 0

        def show(progress: Progress) -> None:
            nonlocal worked
            worked += progress.record is not None  # unchanged files come all at once, without a record
            elapsed = bar.tasks[0].elapsed or 0.0
            rate = f"{worked / elapsed:.1f} files/s" if elapsed > 1 else ""
            name = plain(progress.record.path.name) if progress.record else ""
            bar.update(task, completed=progress.done, total=progress.total, rate=rate, name=name[-40:])

        yield show


def print_report(report: IndexReport, home: Path) -> None:
    """What an index run did, with the reasons of what it left out, on standard error."""
    counts = [
        f"{report.count('added')} files added ({report.segments} segments)",
        f"{report.count('reused')} reused",
        f"{report.count('unchanged')} unchanged",
        f"{report.count('removed')} removed",
        f"{report.count('skipped')} skipped",
        f"{report.count('failed')} failed",
    ]
    print(f"{', '.join(counts)} in {report.seconds:.1f} s; library {_short(home)}", file=sys.stderr)
    print_problems(report)


def print_problems(report: IndexReport) -> None:
    """One line per failed file, then skipped files by reason, on standard error."""
    failed = [record for record in report.problems if record.status == "failed"]
    for record in failed[:REASONS]:
        print(f"  failed   {_short(record.path)}: {record.reason}", file=sys.stderr)
    if len(failed) > REASONS:
        print(f"  failed   and {len(failed) - REASONS} more", file=sys.stderr)
    skipped = Counter(record.reason for record in report.problems if record.status == "skipped")
    for reason, count in skipped.most_common(REASONS):
        print(f"  skipped  {count} x {reason}", file=sys.stderr)


def print_findings(findings: Sequence[Finding]) -> None:
    """What `doctor` found: readable files by what they are, the others by reason, the way out."""
    readable = Counter(str(finding.modality) for finding in findings if finding.outlook == "readable")
    beside = sum(finding.outlook == "companion" for finding in findings)
    counts = [f"{readable[name]} {name}" for name in MODALITIES if readable[name]]
    counts += [f"{beside} read with another file"] if beside else []
    print(f"{len(findings)} files: {', '.join(counts) or 'none to index'}")
    for outlook in ("skipped", "failed"):
        reasons: dict[str, list[Path]] = {}
        for finding in findings:
            if finding.outlook == outlook:
                reasons.setdefault(finding.reason or "", []).append(finding.path)
        for reason, paths in sorted(reasons.items(), key=lambda item: -len(item[1])):
            more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
            names = ", ".join(_short(path) for path in paths[:3])
            print(f"  {outlook:<8} {len(paths)} x {reason}: {names}{more}")
    extras = Counter(finding.extra for finding in findings if finding.extra)
    if extras:
        names = ",".join(sorted(str(extra) for extra in extras))
        print(f"pip install 'multimodal[{names}]' makes {sum(extras.values())} of them readable")


def print_hits(hits: Hits) -> None:
    """One line per hit: score, confidence, modality, file, moment, passage; or why there are none."""
    if not hits:
        print(hits.note or "Nothing was found.")
        return
    paths = [_short(hit.path) for hit in hits]
    width = max(len(path) for path in paths)
    for hit, path in zip(hits, paths, strict=True):
        page = "" if hit.page is None else f"page {hit.page}"
        moment = page if hit.start is None else f"{clock(hit.start)}-{clock(hit.end or hit.start)}"
        sure = "" if hit.confidence is None else f"{hit.confidence:4.0%}"
        line = f"{hit.score:6.2f} {sure:>5}  {hit.modality:<5}  {path:<{width}}  {moment:<13}"
        copies = f"  (and {len(hit.duplicates)} like it)" if hit.duplicates else ""
        print(f"{line}  {_snippet(hit)}".rstrip() + copies)


def print_duplicates(groups: Sequence[Duplicates]) -> None:
    """Each group: what is largest, then its copies with what they are, and how near they lie."""
    if not groups:
        print("No two files of the library show or say the same.")
        return
    for group in groups:
        print(f"{group.modality}: {len(group.copies)} files")
        width = max(len(_short(copy.file.path)) for copy in group.copies)
        for copy in group.copies:
            larger = "larger" if copy is group.copies[0] else f"{copy.cosine:.3f}"
            print(f"  {larger:<6}  {_short(copy.file.path):<{width}}  {_extent(copy.file)}")


def _extent(file: FileFacts) -> str:
    parts = [f"{file.pixels / 1e6:.2f} megapixels"] if file.pixels else []
    parts += [clock(file.seconds)] if file.seconds else []
    return ", ".join([*parts, f"{file.bytes:,} bytes"])


def print_stats(stats: LibraryStats, home: Path) -> None:
    print(f"library   {_short(home)} ({stats.bytes / 1e6:.1f} MB)")
    print(f"space     {stats.space} ({stats.dim} dimensions, id {stats.space_id})")
    print(f"files     {stats.files}")
    for modality in MODALITIES:
        print(f"{modality:<9} {stats.segments.get(modality, 0)} segments")


def clock(seconds: float) -> str:
    """Seconds as 0:07.5, 12:34.0 or 1:02:03.0."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def _snippet(hit: Hit) -> str:
    """The beginning of a passage, or the part with the words found, those in bold on a terminal."""
    if not hit.text:
        return ""
    if hit.snippet is None or not sys.stdout.isatty():
        line = plain(" ".join((hit.snippet or hit.text).split()))
        return f'"{line}"' if len(line) <= SNIPPET or hit.snippet else f'"{line[: SNIPPET - 3]}..."'
    parts, at = [], 0
    for begin, end in hit.marks:
        parts += [plain(hit.snippet[at:begin]), "\x1b[1m", plain(hit.snippet[begin:end]), "\x1b[22m"]
        at = end
    return f'"{" ".join("".join([*parts, plain(hit.snippet[at:])]).split())}"'


def _short(path: Path) -> str:
    """Relative to the current folder where it lies below it; what cannot be shown, as escapes."""
    absolute = path.absolute()
    here = Path.cwd()
    shown = absolute.relative_to(here) if absolute.is_relative_to(here) else absolute
    return plain(os.fsencode(shown).decode("utf-8", "backslashreplace"))
