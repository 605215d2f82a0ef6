"""Texts longer than the context of a tower: nothing of them is cut off, what fits stays as it was."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal import load_space
from multimodal.towers.base import unit
from multimodal.towers.clip import BpeTokens
from multimodal.towers.windows import pooled, spans

CHINESE = "这是一只红色的狐狸，它在日出之前穿过结冰的湖面。村子里没有人听见它经过。" * 17


@given(st.integers(0, 5000), st.integers(1, 300))
def test_windows_are_few_even_and_hold_every_token(count: int, most: int) -> None:
    cuts = spans(count, most)
    assert [token for begin, end in cuts for token in range(begin, end)] == list(range(count))
    sizes = [end - begin for begin, end in cuts]
    assert max(sizes) <= most and max(sizes) - min(sizes) <= 1
    assert len(cuts) == max(1, -(-count // most))


def test_a_mean_of_unit_features_weighted_by_tokens() -> None:
    features = np.array([[3.0, 0.0], [0.0, 5.0], [2.0, 2.0]], dtype=np.float32)
    rows = pooled(features, [[10, 30], [7]])
    np.testing.assert_allclose(rows, [[0.25, 0.75], [2.0, 2.0]])
    assert pooled(features, [[1], [1], [1]]) is features


@pytest.mark.parametrize(
    "text", [CHINESE[:600], "The keeper counts ships. " * 200], ids=["Chinese", "English"]
)
def test_the_starter_reads_a_long_text_to_its_end(text: str) -> None:
    encoder = load_space()["text"]
    tower = encoder.tower
    windows = tower.preprocess(text)
    assert windows.ndim == 2 and windows.shape[1] <= 256
    inner = [ids[ids >= 0][1:-1] for ids in windows]
    words = tower.preprocess._tokenizer.encode(text).ids[1:-1]
    assert np.concatenate(inner).tolist() == words and len(words) > 254
    features = tower.forward([ids[ids >= 0] for ids in windows])
    expected = unit((unit(features) * [[len(ids)] for ids in inner]).sum(axis=0, keepdims=True))
    row = encoder.encode([text])
    assert (row * expected).sum() > 0.99999
    assert (encoder.encode(["a dog", text, text + " A whale."])[1] * row).sum() > 0.99999
    assert (encoder.encode([text + " A whale sings."]) * row).sum() < 0.9999


def test_a_text_that_fits_is_one_window_as_ever() -> None:
    tower = load_space()["text"].tower
    ids = tower.preprocess("word " * 254)
    assert ids.shape == (256,) and ids.dtype == np.int32
    assert tower.preprocess("word " * 255).shape == (2, 130)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(tower.preprocess))("word " * 254), ids)


class Tokenizer:
    """Words to ids from 10 on, framed as open_clip's tokenizers frame them; the rest is cut."""

    def __init__(self, before: list[int], after: list[int], padding: int, last: list[int]) -> None:
        self.context_length = 12
        self._frame = before, after, padding, last

    def __call__(self, texts: list[str], context_length: int | None = None) -> np.ndarray:
        before, after, padding, last = self._frame
        length = context_length or self.context_length
        room = length - len(before) - len(after) - len(last)
        rows = []
        for text in texts:
            ids = before + [10 + ord(word[0]) for word in text.split()[:room]] + after
            rows.append(ids + [padding] * (length - len(ids) - len(last)) + last)
        return np.array(rows)


FRAMES = {
    "CLIP": ([1], [2], 0, []),
    "T5, which pads with its end": ([], [3], 3, []),
    "Gemma": ([], [3], 0, []),
    "CLIPS, whose class token ends the padding": ([1], [2], 0, [4]),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 10, 11, 12, 25, 40])
def test_every_make_of_tokenizer_is_windowed(frame: tuple, count: int) -> None:  # type: ignore[type-arg]
    tokenizer = Tokenizer(*frame)
    tokens = BpeTokens(tokenizer)
    words = [chr(ord("a") + n % 26) for n in range(count)]
    text, (before, after, _, last) = " ".join(words), frame
    room = 12 - len(before) - len(after) - len(last)
    got = tokens(text)
    if count <= room:
        np.testing.assert_array_equal(got, tokenizer([text])[0])
        return
    assert got.shape == (-(-count // room), 13) and got[:, -1].sum() == count
    begin = 0
    for window in got:
        size = int(window[-1])
        alone = tokenizer([" ".join(words[begin : begin + size])])[0]
        np.testing.assert_array_equal(window[:-1], alone)
        begin += size


def test_open_clips_own_tokenizer_is_windowed() -> None:
    import open_clip

    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    tokens = BpeTokens(tokenizer)
    for text in ("a cat", "a " * 75, "!" * 200):
        np.testing.assert_array_equal(tokens(text), tokenizer([text])[0].numpy())
    for text in ("a " * 76, "a photo of a cat! " * 30, CHINESE[:600], "ﬁne… " * 40):
        windows = tokens(text)
        inner = [token for ids in windows for token in ids[1 : 1 + ids[-1]]]
        assert inner == tokenizer.encode(text) and windows[:, -1].max() <= 75
        assert (windows[:, 0] == tokenizer.sot_token_id).all()
        assert [ids[1 + ids[-1]] for ids in windows] == [tokenizer.eot_token_id] * len(windows)
