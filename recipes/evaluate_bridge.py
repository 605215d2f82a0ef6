"""How much of finding sounds by text survives a bridge to another text space: a table in Markdown.

    python -m recipes.evaluate_bridge

The foreign model is the starter's sound tower with the starter's texts. The other space is WordLlama (MIT;
mean of trimmed token embeddings of language models, 256 dimensions), as packed in its wheel: it shares
neither data nor architecture with the starter. The sounds are those of `recipes.evaluate_audio`, the
sentences the bundled phrases, alone or with nouns of WordNet. No sound has a part in the fit but for the
mean, which is that of made-up noises. WordLlama is asked for the captions alone: the words of a prompt would
weigh as much as they do in its mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from multimodal import load_space
from multimodal.sound.bridge import PHRASES, fit, noises
from multimodal.towers.base import unit
from recipes.evaluate_audio import PROMPT, first_right, test_clips
from recipes.fetch import wheel
from recipes.measures import interval
from recipes.sounds import plain_caption
from recipes.wordnet import nouns

Floats = NDArray[np.float32]
NOUNS = 3000


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


def main() -> None:
    space, other = load_space(), WordLlama()
    chosen, sounds, _ = test_clips()
    names = [plain_caption(clip.caption or "") for clip in chosen]
    asked = [PROMPT.format(name) for name in names]
    heard = space.embed(sounds)
    direct = first_right(space.embed(asked) @ heard.T, names) < 10
    words = sorted({sense.words[0] for sense in nouns().senses.values()})
    drawn = np.random.default_rng(0).choice(words, NOUNS, replace=False).tolist()
    phrases = PHRASES.read_text(encoding="utf-8").splitlines()
    sentences = {
        f"{len(phrases)} phrases": phrases,
        f"and {NOUNS} nouns": [*phrases, *drawn],
    }
    noise = space.embed(noises(space.read_options.audio_rate))
    print(f"| text to sound, R@10, n={len(names)} | value | of the direct figure |")
    print("|---|---|---|")
    print(f"| direct, the starter's own texts | {direct.mean():.3f} | |")
    for name, some in sentences.items():
        foreign, own = space.embed(some), other.embed(some)
        for how, mean in (
            ("", None),
            (", gap closed by noises", noise),
            (", by the sounds' own mean", heard),
        ):
            rows = fit(foreign, own, mean)(heard)
            found = first_right(other.embed(names) @ rows.T, names) < 10
            low, high = interval(found.astype(np.float64))
            share = found.mean() / direct.mean()
            print(f"| {name}{how} | {found.mean():.3f} [{low:.3f}, {high:.3f}] | {share:.2f} |", flush=True)


if __name__ == "__main__":
    main()
