"""A twin of the starter that has not seen the validation items, to choose search settings on.

    python -m recipes.search_twin --teacher PATH/yamnet.tflite [--only image audio] [--threads N]

What ships was trained on the validation stamps and sounds too, so their cosines are higher than those
of anything a user has. The twin is trained as the starter was, without the validation stamps
(`recipes.split`) and without a sixth of the sounds' captions; its folder, `build/search/twin`, loads with
`load_space`. The text tower is the same file.
"""

from __future__ import annotations

import argparse
import json
import shutil
from hashlib import blake2b
from pathlib import Path

import torch

from recipes.config import STARTER, weights_hash
from recipes.fetch import BUILD
from recipes.sounds import Clip, gather, plain_caption

TWIN = BUILD / "search" / "twin"
SIXTHS = 6


def unheard(caption: str) -> bool:
    """Whether the twin's sound tower is trained without clips of this caption (a sixth of them all)."""
    return blake2b(plain_caption(caption).encode(), digest_size=2).digest()[0] % SIXTHS == 0


def make_image(folder: Path) -> None:
    """The picture tower, as `recipes.image` trains it with `--validate`."""
    from multimodal.towers.image_module import SIZE
    from recipes import image_data
    from recipes.export import export
    from recipes.image_train import train

    data = image_data.gather(permissive_only=False, validating=True)
    module = train(data, image_data.photos())
    example = torch.randint(0, 256, (2, SIZE, SIZE, 3), dtype=torch.uint8)
    export(module, example, folder, "image", "pixels")


def make_audio(folder: Path, teacher_path: Path) -> None:
    """The sound tower: the shipped tagger, and a place in the text space without the validation captions."""
    from recipes import audio_place
    from recipes.sounds import AUDIO

    student, shards = AUDIO / "student-all.safetensors", AUDIO / "windows-all"
    module, material = audio_place.prepared(teacher_path, False, student, shards)
    audio_place.taught(module.place, material.lessons(lambda name: not unheard(name)))
    audio_place.write(module, _shipped_alpha(), folder)


def _shipped_alpha() -> float:
    from safetensors.numpy import load_file

    return float(load_file(str(STARTER / "audio.safetensors"))["place.alpha"].item())


def validation_clips() -> list[Clip]:
    """One clip of each caption that the twin has not heard."""
    first: dict[str, Clip] = {}
    for clip in gather()[0]:
        if clip.part == "train" and clip.caption and unheard(clip.caption):
            first.setdefault(plain_caption(clip.caption), clip)
    return list(first.values())


def write_config(folder: Path) -> None:
    """The starter's config with the hashes of the twin's weights, and the text tower's files."""
    config = json.loads((STARTER / "config.json").read_text(encoding="utf-8"))
    for name in (config["text"]["weights"], config["text"]["tokenizer"]):
        shutil.copy2(STARTER / name, folder / name)
    for part in ("image", "audio"):
        files = [folder / config[part][key] for key in ("graph", "weights")]
        config[part]["weights_hash"] = weights_hash(files)
    (folder / "config.json").write_text(json.dumps({**config, "name": "twin"}, indent=1), encoding="utf-8")


def main() -> None:
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("--teacher", type=Path, required=True, help="yamnet.tflite, its class map beside it")
    parser.add_argument("--only", nargs="+", choices=["image", "audio"], default=["image", "audio"])
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    TWIN.mkdir(parents=True, exist_ok=True)
    if "image" in arguments.only:
        make_image(TWIN)
    if "audio" in arguments.only:
        make_audio(TWIN, arguments.teacher)
    write_config(TWIN)
    print(f"{TWIN}: not trained on {len(validation_clips())} sounds' captions and the validation stamps")


if __name__ == "__main__":
    main()
