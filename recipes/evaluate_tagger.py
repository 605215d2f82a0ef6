"""How much of its teacher a sound tower keeps: its classes on sounds that no step of the training saw.

    python -m recipes.evaluate_tagger --teacher PATH/yamnet.tflite [--folder FOLDER]

The sounds are all that are out of training, captioned or not, as they are. The class of a clip is the
likeliest in the mean over its windows; the tower's is read from its logits, and again as the class whose
name is nearest to the clip's row. `--folder` compares another tower, `audio.safetensors` in there, with the
starter's.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch.nn import functional as F

from multimodal.towers.audio_module import StarterAudioModule
from multimodal.towers.mel import LogMel
from recipes.audio_labels import clip_means, plain_labels
from recipes.audio_learner import clip_rows
from recipes.audio_place import class_texts, hear
from recipes.audio_teacher import Teacher
from recipes.config import STARTER
from recipes.measures import interval
from recipes.sounds import gather

SURE = 0.3
"""Clips whose likeliest class has this score from the teacher are counted apart."""
WAYS = ("logits", "logits, teacher sure", "row", "row, teacher sure")


def agreement(folder: Path, teacher: Teacher) -> dict[str, NDArray[np.float64]]:
    """Of each of WAYS whether the tower's class is the teacher's, (n,); under "cosine" that of the features
    (windows,) with the teacher's."""
    module = StarterAudioModule()
    stored = load_file(folder / "audio.safetensors")
    module.load_state_dict({name: tensor.float() for name, tensor in stored.items()})
    clips, samples = gather()
    plain = plain_labels(clips, samples, teacher, LogMel())
    held = np.isin(plain["clip"], [i for i, clip in enumerate(clips) if clip.part != "train"])
    _, index = np.unique(plain["clip"][held], return_inverse=True)
    count = int(index.max()) + 1
    heard = hear(module.tagger.eval(), plain["mels"][held], index.astype(np.int32))
    wanted = clip_means(plain["scores"][held], index, count)
    truth, sure = wanted.argmax(1), wanted.max(1) > SURE
    logits = clip_means(torch.sigmoid(heard.logits).numpy(), index, count).argmax(1) == truth
    names = F.normalize(class_texts(teacher.names).mean(0), dim=1)
    rows = (clip_rows(module.place, heard, count) @ names.T).argmax(1).numpy() == truth
    cosine = F.cosine_similarity(heard.features, torch.from_numpy(plain["features"][held]))
    found = dict(zip(WAYS, (logits, logits[sure], rows, rows[sure]), strict=True))
    return {name: values.astype(np.float64) for name, values in {**found, "cosine": cosine.numpy()}.items()}


def main() -> None:
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("--teacher", type=Path, required=True, help="yamnet.tflite, its class map beside it")
    parser.add_argument("--folder", type=Path, help="another sound tower, to compare")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    teacher = Teacher(arguments.teacher)
    before = agreement(STARTER, teacher)
    after = before if arguments.folder is None else agreement(arguments.folder, teacher)
    print("| class as the teacher's | n | starter | other | gained |\n|---|---|---|---|---|")
    for way, values in after.items():
        low, high = interval(values - before[way])
        numbers = f"{before[way].mean():.3f} | {values.mean():.3f} | {(values - before[way]).mean():+.3f}"
        print(f"| {way} | {len(values)} | {numbers} [{low:+.3f}, {high:+.3f}] |", flush=True)


if __name__ == "__main__":
    main()
