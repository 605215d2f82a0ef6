"""The starter's text tower distilled into a table of words, beside its teacher.

    python -m recipes.distil [--nouns 40000]

Texts: names of WordNet's concrete nouns, alone and before their definitions, captions of training stamps and
of training sounds, the phrases that ship. Measured on what no training saw: captions and pictures of held-out
stamps, names and held-out sounds, as in `recipes.evaluate`; differences are query by query.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numpy.typing import NDArray

from multimodal import Space, load_space
from multimodal.distil import distil
from multimodal.evaluation.measure import measured
from multimodal.matching import PHRASES
from recipes.evaluate import held_out_stamps, stamp_path
from recipes.evaluate_audio import PROMPT, first_right, plain_caption, test_clips
from recipes.pictures import stamps
from recipes.search_collection import CONCRETE
from recipes.sounds import gather
from recipes.wordnet import nouns


def texts(most: int) -> list[str]:
    """What the teacher is asked."""
    known = nouns()
    senses = [sense for number in sorted(known.senses) if (sense := known.senses[number]).field in CONCRETE]
    drawn = [senses[place] for place in np.linspace(0, len(senses) - 1, min(most, len(senses))).astype(int)]
    said = [name for sense in drawn for name in sense.words[:1]]
    said += [f"{sense.words[0]}: {sense.definition}" for sense in drawn[::2]]
    said += [caption for p in stamps() if not p.held_out for caption in p.captions]
    heard = {plain_caption(clip.caption) for clip in gather()[0] if clip.part == "train" and clip.caption}
    said += [PROMPT.format(name) for name in sorted(heard)]
    return said + PHRASES.read_text(encoding="utf-8").splitlines()


def places(space: Space, pictures: NDArray[np.float32], sounds: NDArray[np.float32],
           captions: list[str], names: list[str]) -> dict[str, NDArray[np.int64]]:  # fmt: skip
    """The rank of the first right answer of each query, from 0."""
    asked, heard = space.embed(captions), space.embed([PROMPT.format(name) for name in names])
    return {
        "caption to picture": first_right(asked @ pictures.T, captions),
        "picture to caption": first_right(pictures @ asked.T, captions),
        "text to sound": first_right(heard @ sounds.T, names),
    }


def speed(space: Space, said: list[str]) -> float:
    """Texts a second, the best of three."""
    best = 0.0
    for _ in range(3):
        began = time.perf_counter()
        space["text"].encode(said)
        best = max(best, len(said) / (time.perf_counter() - began))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nouns", type=int, default=40_000)
    args = parser.parse_args()
    teacher, said = load_space(), texts(args.nouns)
    began = time.perf_counter()
    student = distil(teacher, said)
    print(f"{len(said)} texts, {time.perf_counter() - began:.0f} s, {student!r}")
    stamps_there = held_out_stamps()
    clips, sounds, _ = test_clips()
    captions, names = (
        [p.captions[0] for p in stamps_there],
        [plain_caption(clip.caption or "") for clip in clips],
    )
    pictures = teacher.embed([stamp_path(p) for p in stamps_there])
    heard = teacher.embed(sounds)
    ranks = [places(space, pictures, heard, captions, names) for space in (teacher, student)]
    print("| R@10 | n | teacher | student | kept | difference |\n|---|---|---|---|---|---|")
    for task in ranks[0]:
        before, after = (rank[task] < 10 for rank in ranks)
        change = measured(after.astype(float) - before)
        kept = after.mean() / before.mean()
        print(
            f"| {task} | {len(before)} | {before.mean():.3f} | {after.mean():.3f} | {kept:.2f} | {change} |"
        )
    some = said[:: max(1, len(said) // 2000)]
    print(f"texts a second: teacher {speed(teacher, some):.0f}, student {speed(student, some):.0f}")
    print(f"MB: student {student._source.rung.size / 1e6:.1f}")  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
