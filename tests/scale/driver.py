"""A driver to be killed: `python -m tests.scale.driver SOURCE HOME ADDRESS REPORT`."""

from __future__ import annotations

import sys
from pathlib import Path

from multimodal import Library
from multimodal.export import report_lines
from multimodal.scale import index, shared
from tests.scale.hard import hard_space

if __name__ == "__main__":
    source, home, address, report = sys.argv[1:]
    shared.BATCH = 4, 0.1  # so that there is something to be killed between
    with report_lines(Path(report)) as note:
        if "://" in home:
            index(home, source, space=hard_space(), engine="ray", address=address, on_record=note)
        else:
            with Library(home, hard_space()) as library:
                index(library, source, engine="ray", address=address, on_record=note)
