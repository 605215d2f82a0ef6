"""The starter's held-out pictures and sounds as pairs, for `multimodal evaluate`.

    python -m recipes.held_out FOLDER
    multimodal evaluate FOLDER/pictures.csv --robustness --markdown pictures.md
    multimodal evaluate FOLDER/sounds.csv --robustness --markdown sounds.md

The same 250 stamps and 200 clips as `recipes.evaluate` takes. Equal captions are one in these measures: any
of their items is right.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable
from pathlib import Path

from recipes.evaluate import held_out_stamps, stamp_path
from recipes.evaluate_audio import PROMPT, test_clips
from recipes.sounds import plain_caption


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "pictures.csv", ((p.captions[0], stamp_path(p)) for p in held_out_stamps()))
    write(folder / "sounds.csv", sounds(folder / "sounds"))


def sounds(folder: Path) -> Iterable[tuple[str, Path]]:
    """Each test clip in a file of its own, with its caption."""
    import soundfile

    folder.mkdir(exist_ok=True)
    clips, samples, _ = test_clips()
    for number, (clip, audio) in enumerate(zip(clips, samples, strict=True)):
        path = folder / f"{number:03}.wav"
        soundfile.write(path, audio.samples, audio.rate)
        yield PROMPT.format(plain_caption(clip.caption or "")), path


def write(path: Path, pairs: Iterable[tuple[str, Path]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "path"))
        writer.writerows((text, item.absolute()) for text, item in pairs)


if __name__ == "__main__":
    main()
