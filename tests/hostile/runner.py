"""Reads files through the real pipeline with the fake space, and says what became of each.

    python -m tests.hostile.runner [--workers 2] [--timeout 20] [--memory 1073741824] < paths

One line of JSON for each file, as it is finished: path, status, reason, seconds, and a digest of its rows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

from multimodal.pipeline import EncodedFile, Limits, encode_files
from tests.fakes import fake_space


def digest(file: EncodedFile) -> str:
    """Of everything that is kept of a file."""
    found = hashlib.blake2b(digest_size=8)
    for row in file.rows:
        found.update(
            repr((row.modality, row.start, row.end, row.text, row.page, row.chars, row.role)).encode()
        )
        found.update(b"" if row.vector is None else row.vector.astype("<f2").tobytes())
        found.update(b"" if row.frames is None else row.frames.vectors.astype("<f2").tobytes())
    return f"{len(file.rows)}-{found.hexdigest()}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=20.0)
    parser.add_argument("--memory", type=int, default=1 << 30)
    given = parser.parse_args()
    paths = [Path(line) for line in sys.stdin.read().splitlines()]
    limits = Limits(given.timeout, given.memory)
    for file in encode_files(paths, fake_space(), workers=given.workers, limits=limits):
        told = {"path": str(file.path), "status": file.status, "reason": file.reason, "rows": digest(file)}
        print(json.dumps({**told, "seconds": round(file.seconds, 3)}), flush=True)


if __name__ == "__main__":
    main()
