"""What a folder holds before anything is embedded: which files a run would read, which not, and why."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from multimodal import readers
from multimodal.errors import MultimodalError, NeedsExtra, UnsupportedFile
from multimodal.library.roots import FOLDER, existing
from multimodal.library.scan import walk
from multimodal.types import Modality

Outlook: TypeAlias = Literal["readable", "companion", "skipped", "failed"]


@dataclass(frozen=True)
class Finding:
    """What would become of a file. `modality` is what a readable file mostly holds; `extra` is the one
    that would make a skipped file readable, as in `pip install multimodal[extra]`."""

    path: Path
    outlook: Outlook
    modality: Modality | None = None
    reason: str | None = None
    extra: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, the path as text."""
        path = os.fsencode(self.path).decode("utf-8", "backslashreplace")
        return {
            "path": path,
            "outlook": self.outlook,
            "modality": self.modality,
            "reason": self.reason,
            "extra": self.extra,
        }


def examine(folder: str | Path, exclude: Sequence[str] = ()) -> list[Finding]:
    """One finding for each file that a run over `folder` would see, by the first bytes of each.

    A file that is readable here may still turn out to be damaged further in. Raises NoMediaFile where
    there is no such folder or file.
    """
    start = existing(Path(folder))
    root, prefix = (start, "") if start.is_dir() else (start.parent, start.name)
    seen = walk(root, prefix, leave_out=root / FOLDER, exclude=exclude)
    findings: list[Finding] = []
    for found in seen.files:
        path = root / found.path
        findings.append(_finding(path))
        for one in found.companions:
            findings.append(Finding(root / one.path, "companion", "text", f"read with {path.name}"))
    findings += [Finding(root / passed.path, "skipped", reason=passed.reason) for passed in seen.passed]
    findings += [Finding(root / shut.path, "failed", reason=shut.reason) for shut in seen.closed]
    return list({finding.path: finding for finding in findings}.values())


def _finding(path: Path) -> Finding:
    try:
        return Finding(path, "readable", readers.reader_for(path).modality)
    except NeedsExtra as error:
        return Finding(path, "skipped", reason=str(error), extra=error.extra)
    except UnsupportedFile as error:
        return Finding(path, "skipped", reason=str(error))
    except MultimodalError as error:
        return Finding(path, "failed", reason=str(error))
