"""How much of finding sounds by text survives a bridge to another text space: a table in Markdown.

    python -m recipes.evaluate_bridge

The foreign model is the starter's sound tower with the starter's texts. The other space is WordLlama (MIT;
mean of trimmed token embeddings of language models, 256 dimensions), as packed in its wheel: it shares
neither data nor architecture with the starter. The sounds are those of `recipes.evaluate_audio`, the
sentences the bundled phrases, alone or with the bundled nouns. No sound has a part in the fit but for the
mean, which is that of made-up noises. WordLlama is asked for the captions alone: the words of a prompt would
weigh as much as they do in its mean. "linear" is ridge regression from the ones' texts to the others', with
the means of sounds and texts moved together: what one would write first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from multimodal import load_space
from multimodal.phrases import everyday, nouns
from multimodal.sound.bridge import fit, noises
from multimodal.towers.base import unit
from recipes.evaluate_audio import PROMPT, first_right, test_clips
from recipes.fetch import wheel
from recipes.measures import interval
from recipes.sounds import plain_caption

Floats = NDArray[np.float32]


class WordLlama:
    """Texts as the unit mean of their tokens' embeddings."""

    def __init__(self) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        folder = wheel("wordllama") / "wordllama"
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizers/l2_supercat_tokenizer_config.json"))
        (self._table,) = load_file(str(folder / "weights/l2_supercat_256.safetensors")).values()

    def embed(self, texts: Sequence[str]) -> Floats:
        ids = (self._tokenizer.encode(text, add_special_tokens=False).ids for text in texts)
        return unit(np.stack([self._table[some].astype(np.float32).mean(axis=0) for some in ids]))


def linear(foreign: Floats, own: Floats, noise: Floats, sounds: Floats) -> Floats:
    """Rows of sounds by ridge regression from text to text, (n, dim)."""
    origin, target = foreign.mean(axis=0), own.mean(axis=0)
    gram = (foreign - origin).T @ (foreign - origin)
    ridge = 0.1 * np.trace(gram) / len(gram) * np.eye(len(gram))
    matrix = np.linalg.solve(gram + ridge, (foreign - origin).T @ (own - target))
    return unit((sounds - noise.mean(axis=0)) @ matrix + target)


def main() -> None:
    space, other = load_space(), WordLlama()
    chosen, sounds, _ = test_clips()
    names = [plain_caption(clip.caption or "") for clip in chosen]
    asked = [PROMPT.format(name) for name in names]
    heard = space.embed(sounds)
    direct = first_right(space.embed(asked) @ heard.T, names) < 10
    noise = space.embed(noises(space.read_options.audio_rate))
    print(f"| text to sound, R@10, n={len(names)} | value | of the direct figure |")
    print("|---|---|---|")
    print(f"| direct, the starter's own texts | {direct.mean():.3f} | |")
    queries = other.embed(names)
    for name, some in (("phrases", everyday()), ("phrases and nouns", [*everyday(), *nouns()])):
        foreign, own = space.embed(some), other.embed(some)
        ways = {
            "linear": linear(foreign, own, noise, heard),
            "the bridge": fit(foreign, own, noise)(heard),
            "the bridge, by the sounds' own mean": fit(foreign, own, heard)(heard),
        }
        for how, rows in ways.items():
            found = first_right(queries @ rows.T, names) < 10
            low, high = interval(found.astype(np.float64))
            share = found.mean() / direct.mean()
            title = f"{len(some)} {name}, {how}"
            print(f"| {title} | {found.mean():.3f} [{low:.3f}, {high:.3f}] | {share:.2f} |", flush=True)


if __name__ == "__main__":
    main()
