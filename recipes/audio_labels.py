"""What the teacher says about the sounds as they are, and how often each is drawn in training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from multimodal.towers.mel import LogMel
from multimodal.types import Audio
from recipes.audio_teacher import Teacher
from recipes.audio_windows import heard
from recipes.sounds import AUDIO, RATE, Clip

NEAR_DUPLICATE = 0.99
"""Cosine of two clips' mean teacher features from which a training clip is dropped for a test clip."""


def plain_labels(
    clips: list[Clip], samples: NDArray[np.int16], teacher: Teacher, mel: LogMel
) -> dict[str, NDArray[np.float32]]:
    """`mels` (w, mels, frames), `scores` (w, 521), `features` (w, 1024), `clip` (w,): all windows.

    Windows are those of `LogMel`, at its level; kept in `build/audio/plain.npz`.
    """
    store = AUDIO / "plain.npz"
    if not store.is_file():
        parts: dict[str, list[NDArray[np.float32]]] = {"mels": [], "scores": [], "features": [], "clip": []}
        for index, clip in enumerate(clips):
            windows, mels = _windows(samples[clip.start : clip.start + clip.length], mel)
            heads = [teacher(heard(window)) for window in windows]
            parts["mels"].append(mels.astype(np.float16))
            parts["scores"].append(np.stack([scores for scores, _ in heads]))
            parts["features"].append(np.stack([features for _, features in heads]))
            parts["clip"].append(np.full(len(windows), index, np.int32))
        with store.open("wb") as file:
            np.savez(file, **{name: np.concatenate(arrays) for name, arrays in parts.items()})
    with np.load(store) as saved:
        return {name: saved[name] for name in saved.files}


def _windows(data: NDArray[np.int16], mel: LogMel) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    """The samples of each window that `mel` keeps, at its level, and the windows themselves."""
    audio = Audio(data.astype(np.float32) / 32768, RATE)
    samples, starts = mel.cut(audio)
    length = mel.window_samples
    return [samples[start : start + length] for start in starts * mel.hop_length], mel(audio)


def clip_means(values: NDArray[np.float32], clip: NDArray[np.int32], count: int) -> NDArray[np.float32]:
    """Mean over each clip's windows: (w, d) to (count, d); clips without windows give zeros."""
    sums = np.zeros((count, values.shape[1]), np.float32)
    np.add.at(sums, clip, values)
    return sums / np.maximum(np.bincount(clip, minlength=count), 1)[:, None].astype(np.float32)


def trainable(clips: list[Clip], features: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which clips may train: those of the part "train" that are no near duplicate of a test clip.

    `features` (n, 1024) are the clips' mean teacher features. Other takes of a "seen-test" sound stay
    unless they are as near as that.
    """
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6)
    part = np.array([clip.part for clip in clips])
    test = np.isin(part, ("test", "seen-test"))
    near = (unit @ unit[test].T).max(axis=1) > NEAR_DUPLICATE
    return (part == "train") & ~near


def sampling_weights(scores: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weight of each clip: 1 / sqrt(how many clips share its top class), longer ones up to 2.5 times."""
    top = scores.argmax(axis=1)
    frequency = np.bincount(top, minlength=scores.shape[1])[top]
    return np.clip(lengths / RATE, 0.7, 5.0) ** 0.5 / np.sqrt(frequency)
