"""Build the starter's sound tower.

    python -m recipes.audio --teacher PATH/yamnet.tflite [--permissive-only] [--folder FOLDER]

Stages, each kept under `build/audio/` and skipped when done: gather the sounds, label them as they are,
write augmented windows labelled by the teacher, train the student, train its place in the text space,
export to `--folder`, the starter's by default. `--stage` runs one of them. `--start` begins the student's
training with the weights of another one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from multimodal.towers.mel import LogMel
from recipes.audio_labels import clip_means, plain_labels, sampling_weights, trainable
from recipes.audio_teacher import Teacher
from recipes.audio_windows import Augmenter, write_shards
from recipes.config import STARTER
from recipes.sounds import AUDIO, gather

STAGES = ("sounds", "windows", "train", "place")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teacher", type=Path, required=True, help="yamnet.tflite, its class map beside it")
    parser.add_argument("--permissive-only", action="store_true", help="leave out GPL and share-alike sounds")
    parser.add_argument("--stage", choices=STAGES, action="append", help="run only this stage (repeatable)")
    parser.add_argument("--shards", type=int, default=130, help="files of 1,024 training windows")
    parser.add_argument("--epochs", type=int, default=2, help="times that the student sees each window")
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate of the student")
    parser.add_argument("--start", type=Path, help="student.safetensors to begin with instead of noise")
    parser.add_argument("--folder", type=Path, default=STARTER, help="where audio.safetensors and .onnx go")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    stages = arguments.stage or STAGES
    name = "permissive" if arguments.permissive_only else "all"
    folder, student = AUDIO / f"windows-{name}", AUDIO / f"student-{name}.safetensors"
    if "sounds" in stages or "windows" in stages:
        prepare(
            arguments.teacher,
            arguments.permissive_only,
            folder,
            arguments.shards if "windows" in stages else 0,
        )
    if "train" in stages or "place" in stages:
        import torch

        torch.set_num_threads(arguments.threads)
    if "train" in stages:
        from recipes.audio_train import Course, train

        course = Course(arguments.epochs, arguments.rate)
        train(folder, student, course, arguments.start)
    if "place" in stages:
        from recipes.audio_place import finish

        finish(arguments.teacher, arguments.permissive_only, student, folder, arguments.folder)


def prepare(teacher_path: Path, permissive_only: bool, folder: Path, shards: int) -> None:
    """Gather and label the sounds, then write `shards` files of augmented windows into `folder`."""
    mel, teacher = LogMel(), Teacher(teacher_path)
    clips, samples = gather()
    plain = plain_labels(clips, samples, teacher, mel)
    scores = clip_means(plain["scores"], plain["clip"], len(clips))
    use = trainable(clips, clip_means(plain["features"], plain["clip"], len(clips)))
    if permissive_only:
        use &= np.array([clip.permissive for clip in clips])
    print(f"{use.sum()} clips to train on, {len(clips)} in all", flush=True)
    if shards:
        chosen = [clip for clip, used in zip(clips, use, strict=True) if used]
        lengths = np.array([clip.length for clip in chosen])
        weights = sampling_weights(scores[use], lengths)
        write_shards(Augmenter(chosen, samples, weights, mel), teacher, folder, shards)


if __name__ == "__main__":
    main()
