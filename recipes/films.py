"""Sound from silent film, measured: sounds learn from videos alone what they sound like.

    python -m recipes.films [--space NAME] [--seeds N] [--lose SHARE]

Each film is one picture for as long as its sound lasts. Those to learn from are made of training sounds and
training pictures of what is heard (a stamp's own, else one with the same caption); captions only choose
which picture goes with which sound, no training sees them. Measured on films of held-out stamps with their
own sounds, and on the 200 test clips of `recipes.evaluate_audio`.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from multimodal import Space, load_space
from multimodal.measures import interval
from multimodal.training import Settings
from multimodal.training.film_rows import Film, films
from multimodal.training.films import trained_from
from multimodal.training.fitting import Learned
from recipes.evaluate_audio import PROMPT, first_right, test_clips
from recipes.fetch import BUILD
from recipes.image_features import flatten
from recipes.measures import ranks
from recipes.picture import Picture
from recipes.pictures import SOURCES, STAMPS
from recipes.sounds import RATE, Clip, gather, plain_caption

FOLDER = BUILD / "films"
SIZE = (240, 240)
FRAMES = 4
"""A second."""
LEAST, MOST = 2.0, 10.0
"""Seconds of a film: a shorter sound is repeated, a longer one ends."""
K = 10


def chosen(clips: Sequence[Clip]) -> tuple[list[tuple[Picture, Clip]], list[tuple[Picture, Clip]]]:
    """Pictures and sounds of training films, and of held-out ones: one of each stamp that has a sound."""
    stamps: dict[str, Picture] = {}
    named: dict[str, list[Picture]] = {}
    for source in SOURCES:
        for picture in source.pictures():
            if source.name == STAMPS:
                stamps[picture.key] = picture
            if not picture.held_out and picture.captions:
                named.setdefault(comparable(picture.captions[0]), []).append(picture)
    train, test = [], []
    rng = random.Random(0)
    for clip in clips:
        if clip.key.endswith("_desc.ogg"):  # a voice that reads the caption
            continue
        own = stamps.get(clip.key.partition("/stamps/")[2].rpartition(".")[0])
        if clip.part == "train":
            same = named.get(comparable(clip.caption or ""), []) if clip.caption else []
            if own is not None or same:
                train.append((own or rng.choice(same), clip))
        elif own is not None and own.held_out:
            test.append((own, clip))
    return train, test


def comparable(caption: str) -> str:
    return " ".join(re.findall(r"\w+", plain_caption(caption)))


def compose(picture: Picture, samples: NDArray[np.int16], path: Path) -> None:
    """A film of one picture, whole on white, and its sound."""
    import av

    count = int(np.clip(len(samples), LEAST * RATE, MOST * RATE))
    sound = np.resize(samples, count)
    canvas = Image.new("RGB", SIZE, "white")
    flat = flatten(picture.open())
    flat.thumbnail(SIZE, Image.Resampling.BICUBIC)
    canvas.paste(flat, ((SIZE[0] - flat.width) // 2, (SIZE[1] - flat.height) // 2))
    with av.open(str(path), "w") as film:
        stream = film.add_stream("mpeg4", rate=FRAMES)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.bit_rate, stream.time_base = 2_000_000, Fraction(1, FRAMES)
        track = film.add_stream("pcm_s16le", rate=RATE)
        track.codec_context.layout = "mono"
        for number in range(int(np.ceil(count / RATE * FRAMES))):
            frame = av.VideoFrame.from_image(canvas)
            frame.pts = number
            film.mux(stream.encode(frame))
            block = sound[number * RATE // FRAMES : (number + 1) * RATE // FRAMES]
            if len(block):
                heard = av.AudioFrame.from_ndarray(block[None], format="s16", layout="mono")
                heard.sample_rate, heard.pts, heard.time_base = (
                    RATE,
                    number * RATE // FRAMES,
                    Fraction(1, RATE),
                )
                film.mux(track.encode(heard))
        film.mux(stream.encode())
        film.mux(track.encode())


def composed(name: str, pairs: Sequence[tuple[Picture, Clip]], samples: NDArray[np.int16]) -> Path:
    """The folder of films of some pairs, made once."""
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    for number, (picture, clip) in enumerate(pairs):
        path = folder / f"{number:04}.mkv"
        if not path.is_file():
            part = path.with_name(f"part-{path.name}")
            compose(picture, np.asarray(samples[clip.start : clip.start + clip.length]), part)
            part.replace(path)
    return folder


class Measured:
    """What is measured before and after, and of every trained space anew."""

    def __init__(self, space: Space, held: Sequence[Film]) -> None:
        self.pictures = np.stack([film.pictures[0] for film in held])
        self.heard = np.stack([film.sounds.mean(axis=0) for film in held])
        self.heard /= np.linalg.norm(self.heard, axis=1, keepdims=True)
        clips, sounds, self.seen = test_clips()
        self.names = [plain_caption(clip.caption or "") for clip in clips]
        self.texts = space.embed([PROMPT.format(name) for name in self.names])
        self.sounds = space.embed(sounds)

    def found(self, learned: Learned | None) -> dict[str, NDArray[np.bool_]]:
        """Whether the right answer is among the first K, of each query by title."""
        adapter = None if learned is None else learned.adapters.get("audio")
        heard = self.heard if adapter is None else adapter(self.heard)
        sounds = self.sounds if adapter is None else adapter(self.sounds)
        to_sound = first_right(self.texts @ sounds.T, self.names) < K
        return {
            "held-out films: sound to its picture": ranks(heard @ self.pictures.T) < K,
            "held-out films: picture to its sound": ranks(self.pictures @ heard.T) < K,
            "test clips: text to sound": to_sound,
            "test clips: text to sound, caption in training": to_sound[self.seen],
            "test clips: text to sound, caption not in training": to_sound[~self.seen],
            "test clips: sound to text": first_right(sounds @ self.texts.T, self.names) < K,
        }


def report(measured: Measured, runs: Sequence[Learned]) -> Iterator[str]:
    """Markdown: R@10 before and after, means over the runs, and the difference with its interval."""
    before = measured.found(None)
    after = [measured.found(learned) for learned in runs]
    yield f"| R@{K} | n | before | after | difference |\n|---|---|---|---|---|"
    for title, hits in before.items():
        mean = np.mean([found[title] for found in after], axis=0)
        low, high = interval(mean - hits)
        gain = f"{100 * (mean - hits).mean():+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
        yield f"| {title} | {len(hits)} | {hits.mean():.3f} | {mean.mean():.3f} | {gain} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--space", default="starter")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lose", type=float, default=Settings().lose)
    parser.add_argument("--hold", type=float, default=Settings().hold)
    parser.add_argument("--workers", type=int)
    arguments = parser.parse_args()
    space = load_space(arguments.space)
    clips, samples = gather()
    train, test = chosen(clips)
    known = [
        films(space, composed(name, pairs, samples), FOLDER, arguments.workers)
        for name, pairs in (("train", train), ("test", test))
    ]
    (found, _), (held, _) = known
    print(f"{len(train)} training films, {len(found)} of them heard; {len(held)} of {len(test)} held out\n")
    measured, runs = Measured(space, held), []
    for seed in range(arguments.seeds):
        settings = Settings().with_(parts=("audio",), seed=seed, lose=arguments.lose, hold=arguments.hold)
        runs.append(trained_from(space, settings, found))
        point = runs[-1].point
        print(
            f"seed {seed}: alpha {point.alpha:g}, validation R@10 {point.recall:.3f}, kept {point.kept:.3f}"
        )
    print("\n" + "\n".join(report(measured, runs)))


if __name__ == "__main__":
    main()
