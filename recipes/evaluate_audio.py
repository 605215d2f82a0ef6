"""Measure the starter on sounds it never saw, through the public API.

    python -m recipes.evaluate_audio [--sounds FOLDER] [--space NAME] [--folder FOLDER]

The 200 test clips are those of `recipes.sounds`: held-out Tux Paint sounds, and clips drawn by hash from
the other captioned ones, at most one of a source and caption. A text finds its sound when a clip with the
same caption is among the first k. Captions that also occur in training (in words, article aside) are
counted apart from those that do not. `--folder` compares another sound tower, `audio.safetensors` and
`audio.onnx` in there, with that of the space: paired differences.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from multimodal import Audio, Space, load_space
from multimodal.sources import EMBEDDED
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
    yield _header("held-out sounds")
    for title, better in found(space).items():
        yield _row(title, better, RANKS)


def found(space: Space) -> dict[str, NDArray[np.int64]]:
    """Of each line of the table how many wrong answers beat the best right one, (n,)."""
    chosen, sounds, seen = test_clips()
    names = [plain_caption(clip.caption or "") for clip in chosen]
    texts = space.embed([PROMPT.format(name) for name in names])
    scores = texts @ space.embed(sounds).T
    to_sound, to_text = first_right(scores, names), first_right(scores.T, names)
    return {
        "text to sound": to_sound,
        "text to sound, caption in training": to_sound[seen],
        "text to sound, caption not in training": to_sound[~seen],
        "sound to text": to_text,
    }


def compared(space: Space, folder: Path) -> Iterator[str]:
    """The same for the starter with the sound tower in a folder, and what that gains over `space`."""
    with TemporaryDirectory() as whole:
        for file in (*EMBEDDED.iterdir(), *(folder / f"audio.{end}" for end in ("safetensors", "onnx"))):
            if file.is_file():
                shutil.copyfile(file, Path(whole) / file.name)
        before, after = found(space), found(load_space(whole))
    yield _header("held-out sounds, the other tower")
    for title, better in after.items():
        yield _row(title, better, RANKS)
    yield _header("gained")
    for title, better in after.items():
        yield _row(title, better, RANKS, before[title])


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


def _header(title: str) -> str:
    ranks = " | ".join(f"R@{k}" for k in RANKS)
    return f"\n| {title} | n | {ranks} |\n|---|---|" + "---|" * len(RANKS)


def _row(
    title: str, better: NDArray[np.int64], at: Sequence[int], than: NDArray[np.int64] | None = None
) -> str:
    """Shares of queries with fewer than k wrong answers before the right one, or what they are more than
    those of `than`, with 95 % intervals over queries."""
    cells = []
    for k in at:
        hit = (better < k).astype(np.float64)
        if than is not None:
            hit -= than < k
        low, high = interval(hit)
        sign = "" if than is None else "+"
        cells.append(f"{hit.mean():{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]")
    return f"| {title} | {len(better)} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sounds", type=Path, help="folder with one folder of sounds a class")
    parser.add_argument("--space", default="starter")
    parser.add_argument("--folder", type=Path, help="another sound tower for the starter, to compare")
    arguments = parser.parse_args()
    space = load_space(arguments.space)
    lines = table(space, arguments.sounds)
    for line in lines if arguments.folder is None else compared(space, arguments.folder):
        print(line, flush=True)


if __name__ == "__main__":
    main()
