"""Measure the starter on sounds it never saw, through the public API.

    python -m recipes.evaluate_audio [--sounds FOLDER] [--space NAME]

The 200 test clips are those of `recipes.sounds`: held-out Tux Paint sounds, and clips drawn by hash from
the other captioned ones, at most one of a source and caption. A text finds its sound when a clip with the
same caption is among the first k. Captions that also occur in training (in words, article aside) are
counted apart from those that do not.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multimodal import Audio, Space, load_space
from recipes.measures import RANKS, interval
from recipes.sounds import RATE, Clip, gather, plain_caption

PROMPT = "the sound of a {}"
ENDINGS = {".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus", ".aac"}


def test_clips() -> tuple[list[Clip], list[Audio], NDArray[np.bool_]]:
    """The test clips, their sounds, and which captions occur in training."""
    clips, samples = gather()
    trained = {plain_caption(clip.caption) for clip in clips if clip.part == "train" and clip.caption}
    chosen = [clip for clip in clips if clip.part in ("test", "seen-test")]
    sounds = [
        Audio(samples[clip.start : clip.start + clip.length].astype(np.float32) / 32768, RATE)
        for clip in chosen
    ]
    return chosen, sounds, np.array([plain_caption(clip.caption or "") in trained for clip in chosen])


def first_right(scores: NDArray[np.float32], names: Sequence[str]) -> NDArray[np.int64]:
    """How many wrong columns of a row beat its best right one, (n,); right ones have the row's name."""
    same = np.array(names)[:, None] == np.array(names)[None, :]
    best = np.where(same, scores, -np.inf).max(1)
    found: NDArray[np.int64] = ((scores > best[:, None] + 1e-6) & ~same).sum(1)
    return found


def clips(space: Space) -> Iterator[str]:
    """Captions against the 200 clips, both ways, all together and by whether training had the caption."""
    chosen, sounds, seen = test_clips()
    names = [plain_caption(clip.caption or "") for clip in chosen]
    texts = space.embed([PROMPT.format(name) for name in names])
    scores = texts @ space.embed(sounds).T
    yield (
        "\n| held-out sounds | n | "
        + " | ".join(f"R@{k}" for k in RANKS)
        + " |\n|---|---|"
        + "---|" * len(RANKS)
    )
    to_sound, to_text = first_right(scores, names), first_right(scores.T, names)
    for title, better, part in (
        ("text to sound", to_sound, np.ones(len(seen), bool)),
        ("text to sound, caption in training", to_sound, seen),
        ("text to sound, caption not in training", to_sound, ~seen),
        ("sound to text", to_text, np.ones(len(seen), bool)),
    ):
        yield _row(title, better[part], RANKS)


def classes(space: Space, folder: Path) -> Iterator[str]:
    """Zero-shot classes of sounds: each subfolder's name is a class, underscores are spaces."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    names = [path.name.replace("_", " ") for path in folders]
    files = [
        (file, i)
        for i, path in enumerate(folders)
        for file in sorted(path.rglob("*"))
        if file.suffix.lower() in ENDINGS
    ]
    truth = np.array([i for _, i in files])
    texts = space.embed([PROMPT.format(name) for name in names])
    scores = space.embed([file for file, _ in files]) @ texts.T
    better = (scores > scores[np.arange(len(truth)), truth][:, None]).sum(1)
    yield f"\n| sounds of {len(names)} classes | n | top-1 | top-3 |\n|---|---|---|---|"
    yield _row("zero-shot", better, (1, 3))
    balanced = float(
        np.mean([(better[truth == i] < 1).mean() for i in range(len(names)) if (truth == i).any()])
    )
    yield f"| zero-shot, mean of the classes' top-1 | {len(files)} | {balanced:.3f} | |"


def table(space: Space, sounds: Path | None = None) -> Iterator[str]:
    """Lines of Markdown: the held-out clips and, where a folder is given, its zero-shot classes."""
    yield from clips(space)
    if sounds is not None:
        yield from classes(space, sounds)


def _row(title: str, better: NDArray[np.int64], at: Sequence[int]) -> str:
    cells = []
    for k in at:
        low, high = interval(better < k)
        cells.append(f"{(better < k).mean():.3f} [{low:.3f}, {high:.3f}]")
    return f"| {title} | {len(better)} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sounds", type=Path, help="folder with one folder of sounds a class")
    parser.add_argument("--space", default="starter")
    arguments = parser.parse_args()
    for line in table(load_space(arguments.space), arguments.sounds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
