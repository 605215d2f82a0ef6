"""A foreign audio model brought over by text: what survives, how it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from multimodal import Audio
from multimodal.errors import QueryError, SpaceError
from multimodal.phrases import everyday, nouns
from multimodal.sound import bridge_audio, clap
from multimodal.sound.bridge import fit, noises
from multimodal.towers.base import unit
from tests.fakes import Pitch, fake_space

Floats = NDArray[np.float32]
WORDS = ("red", "green", "blue", "low", "middle", "high", "cat", "dog", "tree", "song", "rain", "bell")


class Foreign:
    """Pitches and words in a space of 40 dimensions, the fake space's turned by a random matrix."""

    rate = 16_000

    def __init__(self, gap: float = 0.0) -> None:
        rng = np.random.default_rng(3)
        self._turn = np.linalg.qr(rng.standard_normal((40, 40)))[0][:32].astype(np.float32)
        self._gap = (gap * unit(rng.standard_normal(40))).astype(np.float32)
        self._space = fake_space()

    def tower(self) -> Any:
        outer = self

        class Tower:
            tower_id, feature_dim, preprocess = "foreign", 40, Pitch()

            def forward(self, batch: Sequence[Any]) -> Floats:
                return unit(unit(np.stack(batch)) @ outer._turn + outer._gap)

        return Tower()

    def embed_texts(self, texts: Sequence[str]) -> Floats:
        return unit(self._space.embed(list(texts)) @ self._turn)

    def save(self, folder: Path) -> dict[str, Any]:
        raise AssertionError("not kept here")


def sentences(count: int = 300) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, rng.integers(1, 4))) + f" w{n % 50}" for n in range(count)]


def sounds() -> list[Audio]:
    times = np.arange(16_000) / 16_000
    return [Audio(np.sin(2 * np.pi * f * times).astype(np.float32), 16_000) for f in (200, 800, 4000)]


@pytest.mark.parametrize("gap", [0.0, 0.8])
def test_sounds_are_found_by_words_they_never_met(gap: float) -> None:
    space = bridge_audio(Foreign(gap), fake_space(), sentences(), sounds() if gap else ())
    rows = space.embed(sounds())
    assert rows.shape == (3, 32)
    assert (space.embed(["low", "middle", "high"]) @ rows.T).argmax(axis=1).tolist() == [0, 1, 2]
    assert space["audio"].encoder_id != fake_space()["audio"].encoder_id


def test_the_gap_between_sounds_and_texts_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    texts = unit(rng.standard_normal((400, 16))).astype(np.float32)
    turn = np.linalg.qr(rng.standard_normal((16, 16)))[0].astype(np.float32)
    away = (1.5 * unit(rng.standard_normal(16))).astype(np.float32)
    heard = unit(texts + away)
    made = fit(texts, texts @ turn, heard)

    def right(rows: Floats) -> float:
        return float(((rows @ (texts @ turn).T).argmax(axis=1) == np.arange(400)).mean())

    assert right(made(heard)) > 0.9 > 0.3 > right(unit(heard @ turn))  # a map that is right for texts
    np.testing.assert_allclose(np.linalg.norm(made(heard), axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(made(heard[:1]), made(heard)[:1], atol=1e-5)
    again = fit(texts, texts @ turn, heard)
    assert again.id == made.id != fit(texts, texts @ turn, texts).id


def test_rows_lie_among_the_texts_of_the_space() -> None:
    rng = np.random.default_rng(2)
    own = unit(rng.standard_normal((300, 12)) + 3 * unit(rng.standard_normal(12))).astype(np.float32)
    foreign = unit(rng.standard_normal((300, 20))).astype(np.float32)
    rows = fit(foreign, own, foreign[:50])(foreign[:50])
    within, between = float((own @ own.T).mean()), float((rows @ own.T).mean())
    assert within > 0.3 and abs(between - within) < 0.1


def test_what_ships_is_asked_for_where_no_sentences_are_given() -> None:
    told: list[tuple[str, int, int]] = []
    space = bridge_audio(Foreign(), fake_space(), sounds=sounds(), progress=lambda *some: told.append(some))
    count = len(everyday()) + len(nouns())
    assert count > 7000 and told[-1] == ("embedding", count, count) and len(told) > 20
    assert space.embed(sounds()).shape == (3, 32)
    assert not set(nouns()) & {"Dog", "", "dogs "} and {"dog", "rain", "bell"} <= set(nouns())


def test_too_few_sentences_are_refused() -> None:
    with pytest.raises(QueryError, match="at least 50 sentences"):
        bridge_audio(Foreign(), fake_space(), sentences(49))


def test_made_up_sounds_are_the_same_each_time() -> None:
    first, second = noises(8_000, 6), noises(8_000, 6)
    assert [len(one.samples) for one in first] == [40_000] * 6
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.samples, b.samples)
        assert 0.3 < np.abs(a.samples).max() <= 0.51


def tiny_clap(folder: Path) -> Path:
    """CLAP in the format of transformers, with random weights and a small text tower."""
    transformers = pytest.importorskip("transformers")
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    torch.manual_seed(0)
    config = transformers.ClapConfig(
        text_config={
            "vocab_size": 40,
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": 80,
            "projection_dim": 16,
        },
        audio_config={
            "patch_embeds_hidden_size": 8,
            "depths": [1, 1],
            "num_attention_heads": [1, 2],
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "projection_dim": 16,
            "window_size": 8,
        },
        projection_dim=16,
    )
    transformers.ClapModel(config).eval().save_pretrained(folder)
    names = ["<s>", "<pad>", "</s>", "<unk>", *WORDS, *(f"w{n}" for n in range(20))]
    made = Tokenizer(models.WordLevel({name: n for n, name in enumerate(names)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    marks = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, **marks).save_pretrained(folder)
    return folder


def test_clap_is_bridged_kept_and_loaded_again(tmp_path: Path) -> None:
    from multimodal.sound import registry

    model = clap.read(tiny_clap(tmp_path / "clap"))
    rows = model.embed_texts(["red cat", "low song rain bell"])
    np.testing.assert_allclose(rows[:1], model.embed_texts(["red cat"]), atol=1e-5)
    space = bridge_audio(
        model, fake_space(), sentences(60), [Audio(np.zeros(4800, np.float32) + 0.1, 48_000)]
    )
    assert space.read_options.audio_rate == 48_000
    sound = Audio(np.random.default_rng(0).uniform(-1, 1, 9600).astype(np.float32), 48_000)
    part = space._source._part  # type: ignore[attr-defined]
    (tmp_path / "kept").mkdir()
    again = registry.saved(tmp_path / "kept", part.save(tmp_path / "kept"))
    prepared = part.tower().preprocess(sound)
    np.testing.assert_allclose(again.tower().forward([prepared]), space.embed(sound), atol=1e-6)
    assert again.tower().tower_id == space["audio"].tower.tower_id
    with pytest.raises(SpaceError, match="no folder of CLAP"):
        clap.read(tmp_path / "kept")
