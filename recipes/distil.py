"""The starter's text tower distilled into a table of words and a small transformer, beside their teacher.

    python -m recipes.distil [--nouns 20000] [--student words|transformer|FILE.json]...

Texts: names of WordNet's concrete nouns, alone and before their definitions, captions of training pictures in
all their wordings and of training sounds, the phrases that ship. Measured on what no training saw: captions
and pictures of held-out stamps, names and held-out sounds, as in `recipes.evaluate`; differences are query by
query. The teacher's vectors and what a killed run had learned lie in `build/distil`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from multimodal import Space, load_space
from multimodal.distil import learn
from multimodal.evaluation.measure import measured
from multimodal.phrases import everyday
from recipes.captions import comparable, wordings
from recipes.config import STARTER
from recipes.evaluate import held_out_stamps, stamp_path
from recipes.evaluate_audio import PROMPT, first_right, plain_caption, test_clips
from recipes.fetch import BUILD
from recipes.image_data import SHARE
from recipes.pictures import SOURCES, stamps
from recipes.search_collection import CONCRETE
from recipes.sounds import gather
from recipes.wordnet import nouns

Ranks = dict[str, NDArray[np.int64]]
RUN = BUILD / "distil"
TEACHER = STARTER / "text.safetensors"


def texts(most: int) -> list[str]:
    """What the teacher is asked."""
    known = nouns()
    senses = [sense for number in sorted(known.senses) if (sense := known.senses[number]).field in CONCRETE]
    drawn = [senses[place] for place in np.linspace(0, len(senses) - 1, min(most, len(senses))).astype(int)]
    said = [name for sense in drawn for name in sense.words[:1]]
    said += [f"{sense.words[0]}: {sense.definition}" for sense in drawn[::2]]
    said += pictured()
    heard = {plain_caption(clip.caption) for clip in gather()[0] if clip.part == "train" and clip.caption}
    said += [PROMPT.format(name) for name in sorted(heard)]
    return said + everyday()


def pictured() -> list[str]:
    """What is said of the pictures that the starter learned from, without what held-out stamps are called."""
    held_out = {comparable(caption) for p in stamps() if p.held_out for caption in p.captions}
    pictures = (p for source in SOURCES if source.name in SHARE for p in source.pictures() if not p.held_out)
    found = dict.fromkeys(text for p in pictures for text in wordings(p))
    return [text for text in found if comparable(text) not in held_out]


def places(space: Space, pictures: NDArray[np.float32], sounds: NDArray[np.float32],
           captions: list[str], names: list[str]) -> Ranks:  # fmt: skip
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


def told(name: str, before: Ranks, after: Ranks) -> Iterator[str]:
    """Lines of the table: what a student keeps of its teacher's R@10."""
    tasks = [(task, before[task], after[task]) for task in before]
    whole, kept = (np.concatenate(list(ranks.values())) for ranks in (before, after))
    for task, ranks, then in (*tasks, ("all", whole, kept)):
        was, now = ranks < 10, then < 10
        change = measured(now.astype(float) - was)
        shares = f"{was.mean():.3f} | {now.mean():.3f} | {now.mean() / was.mean():.3f} | {change}"
        yield f"| {name} | {task} | {len(ranks)} | {shares} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nouns", type=int, default=20_000)
    parser.add_argument(
        "--student", action="append", help="words, transformer or a JSON file; may be repeated"
    )
    args = parser.parse_args()
    teacher, said = load_space(), texts(args.nouns)
    stamps_there = held_out_stamps()
    clips, sounds, _ = test_clips()
    captions = [p.captions[0] for p in stamps_there]
    names = [plain_caption(clip.caption or "") for clip in clips]
    pictures = teacher.embed([stamp_path(p) for p in stamps_there])
    heard = teacher.embed(sounds)
    before = places(teacher, pictures, heard, captions, names)
    some = said[:: max(1, len(said) // 1000)]
    rows, facts = [], [f"teacher: {TEACHER.stat().st_size / 1e6:.1f} MB, {speed(teacher, some):.0f} texts/s"]
    for name in args.student or ("words", "transformer"):
        began = time.perf_counter()
        made = learn(teacher, said, name, run=RUN)
        seconds = time.perf_counter() - began
        rows += told(name, before, places(made.space, pictures, heard, captions, names))
        apart = "" if made.cosine is None else f", cosine to the teacher on new texts {made.cosine:.3f}"
        facts.append(
            f"{name}: {made.bytes / 1e6:.1f} MB, {speed(made.space, some):.0f} texts/s,"
            f" taught with {len(said)} texts in {seconds:.0f} s{apart}"
        )
    print("| student | R@10 | n | teacher | student | kept | difference |\n|---|---|---|---|---|---|---|")
    print(*rows, *facts, sep="\n")


if __name__ == "__main__":
    main()
