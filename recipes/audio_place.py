"""Teach the student its place in the text space, choose the mix, export the tower."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from multimodal.precision import cpu_has_bf16
from multimodal.towers.audio_module import StarterAudioModule, Tagger, TextPlace, folded
from multimodal.towers.mel import LogMel
from multimodal.training.settings import Settings
from recipes.audio_labels import clip_means as means
from recipes.audio_labels import plain_labels, trainable
from recipes.audio_learner import BATCH, Heard, Lessons, clip_rows, train_place
from recipes.audio_teacher import Teacher
from recipes.audio_train import trained
from recipes.audio_windows import Augmenter
from recipes.config import STARTER, write_section
from recipes.export import difference, export
from recipes.measures import fit_logit_scale
from recipes.sounds import AUDIO, Clip, gather, plain_caption
from recipes.text_teacher import embed_texts

TEMPLATES = ("{}", "the sound of a {}", "a {} can be heard")
ALIKE = 0.75
"""Captions this close (cosine) are not told apart."""
AUGMENTED = 16_000
SHARDS = 16
STEPS = 700
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)


@dataclass
class Material:
    """What a place may be trained on.

    `names` are the captions of captioned clips, `captioned` what the student hears in their windows (the
    index numbers all clips), `mixtures` what it hears in mixtures, `scores` (m, 521) what the teacher does,
    `classes` (t, 521, 384) the vectors of the classes' names.
    """

    names: dict[int, str]
    captioned: Heard
    mixtures: Heard
    scores: torch.Tensor
    classes: torch.Tensor

    def lessons(self, of: Callable[[str], bool] = bool) -> Lessons:
        """Those of the captions that `of` holds for."""
        names = {clip: name for clip, name in self.names.items() if of(name)}
        captions = sorted(set(names.values()))
        number = {name: k for k, name in enumerate(captions)}
        owner = np.array([number[name] for name in names.values()])
        heard = _of(self.captioned, {clip: k for k, clip in enumerate(names)})
        return Lessons(heard, owner, texts_of(captions), self.mixtures, self.scores, self.classes)


def texts_of(captions: Sequence[str]) -> torch.Tensor:
    """Sentence vectors (templates, n, 384) of captions; an article in front of one is dropped."""
    plain = [plain_caption(caption) for caption in captions]
    return torch.stack([torch.from_numpy(embed_texts([t.format(p) for p in plain])) for t in TEMPLATES])


def class_texts(names: Sequence[str]) -> torch.Tensor:
    """Sentence vectors (templates, 521, 384) of class names; of several names of a class, the mean."""
    parts = [
        [part.strip().lower() for part in name.split("(")[0].split(",") if part.strip()] for name in names
    ]
    flat = texts_of([part for several in parts for part in several])
    owner = torch.tensor([k for k, several in enumerate(parts) for _ in several])
    sums = torch.zeros(len(TEMPLATES), len(names), flat.shape[2]).index_add_(1, owner, flat)
    return F.normalize(sums, dim=2)


def hear(tagger: Tagger, mels: NDArray[np.float16], index: NDArray[np.int32]) -> Heard:
    """The tagger's output for windows (w, mels, frames)."""
    features, logits = [], []
    with torch.inference_mode():
        for at in range(0, len(mels), 64):
            f, z = tagger(torch.from_numpy(mels[at : at + 64]).float())
            features.append(f)
            logits.append(z)
    return Heard(torch.cat(features).clone(), torch.cat(logits).clone(), torch.from_numpy(index).long())


def recall(texts: torch.Tensor, rows: torch.Tensor, captions: Sequence[str], k: int = 10) -> float:
    """Share of texts (n, 384) with a row of the same caption among the `k` nearest of rows (n, 384)."""
    best = (texts @ rows.T).topk(min(k, len(rows)), dim=1).indices
    return float(
        np.mean([any(captions[j] == own for j in near) for own, near in zip(captions, best, strict=True)])
    )


def taught(place: TextPlace, lessons: Lessons) -> None:
    """Train a place from where it is."""
    epoch = -(-len(lessons.owner) // BATCH)
    settings = Settings(
        epochs=max(1, STEPS // epoch),
        batch=BATCH,
        rate=1e-3,
        decay=0.05,
        warmup=0.02,
        hard=0,
        hold=1.0,
        alike=ALIKE,
        bf16=cpu_has_bf16(),
    )
    train_place(place, lessons, settings)


def choose_alpha(place: TextPlace, heard: Heard, captions: list[str]) -> float:
    """The alpha with the best mean of R@10 of both directions over validation clips.

    Those clips' captions were not trained on. `heard.index` numbers the clips.
    """
    texts = texts_of(captions)[1]
    best = (-1.0, 1.0)
    for alpha in ALPHAS:
        place.alpha.fill_(alpha)
        rows = clip_rows(place, heard, len(captions))
        to_sound, to_text = recall(texts, rows, captions), recall(rows, texts, captions)
        print(
            f"alpha {alpha}: {len(captions)} unseen captions, R@10 text to sound {to_sound:.3f},"
            f" sound to text {to_text:.3f}",
            flush=True,
        )
        best = max(best, ((to_sound + to_text) / 2, alpha))
    return best[1]


def prepared(
    teacher_path: Path, permissive_only: bool, student: Path, shards: Path
) -> tuple[StarterAudioModule, Material]:
    """The tower with a student's tagger and an untrained place, and what that is trained on."""
    mel, teacher = LogMel(), Teacher(teacher_path)
    clips, samples = gather()
    plain = plain_labels(clips, samples, teacher, mel)
    use = trainable(clips, means(plain["features"], plain["clip"], len(clips)))
    if permissive_only:
        use &= np.array([clip.permissive for clip in clips])
    torch.manual_seed(0)
    module = StarterAudioModule()
    module.tagger.load_state_dict(folded(trained(student)))
    module.eval()
    classes = class_texts(teacher.names)
    module.place.class_vectors.copy_(F.normalize(classes.mean(0), dim=1))
    names = {i: plain_caption(clip.caption) for i, clip in enumerate(clips) if use[i] and clip.caption}
    captioned = _captioned(module.tagger, clips, samples, plain, list(names), mel)
    mixtures, scores = _mixtures(module.tagger, shards)
    return module, Material(names, captioned, mixtures, scores, classes)


def finish(
    teacher_path: Path, permissive_only: bool, student: Path, shards: Path, folder: Path = STARTER
) -> None:
    """Train the place of a student and write audio.safetensors and audio.onnx into `folder`; into config.json
    too where that is the starter's."""
    if permissive_only and folder == STARTER:
        folder = AUDIO / "permissive"
    module, material = prepared(teacher_path, permissive_only, student, shards)
    start = {name: tensor.clone() for name, tensor in module.place.state_dict().items()}
    alpha, scale = _validated(module.place, material)
    module.place.load_state_dict(start)
    taught(module.place, material.lessons())
    write(module, alpha, scale, folder)


def write(module: StarterAudioModule, alpha: float, scale: float, folder: Path) -> None:
    """Weights, graph and, in the starter's own folder, their section of config.json and the logit scale of
    sounds."""
    module.place.alpha.fill_(alpha)
    mel = LogMel()
    example = torch.randn(2, *mel.shape)
    export(module, example, folder, "audio", "mel")
    apart = difference(module, example, folder / "audio.onnx")
    print(f"alpha {alpha}; torch against onnx {apart:.1e}", flush=True)
    if folder.resolve() == STARTER:
        section = {
            "graph": "audio.onnx",
            "weights": "audio.safetensors",
            "feature_dim": 384,
            "mel": mel.config(),
        }
        write_section("audio", section)
        write_section("logit_scales", {"audio": round(scale, 1)})


def _captioned(
    tagger: Tagger,
    clips: list[Clip],
    samples: NDArray[np.int16],
    plain: dict[str, NDArray[np.float32]],
    chosen: list[int],
    mel: LogMel,
) -> Heard:
    """What the student hears in captioned clips, as they are and augmented; the index numbers clips."""
    mine = np.isin(plain["clip"], chosen)
    as_is = hear(tagger, plain["mels"][mine], plain["clip"][mine])
    rng = np.random.default_rng(1)
    draws = rng.choice(chosen, size=AUGMENTED)
    mels = []
    for i in draws:
        alone = Augmenter([clips[i]], samples, np.ones(1), mel)
        mels.append(mel.spectrum(alone.window(rng, alone=True)).astype(np.float16))
    altered = hear(tagger, np.stack(mels), draws.astype(np.int32))
    return Heard(
        torch.cat([as_is.features, altered.features]),
        torch.cat([as_is.logits, altered.logits]),
        torch.cat([as_is.index, altered.index]),
    )


def _mixtures(tagger: Tagger, folder: Path) -> tuple[Heard, torch.Tensor]:
    """What the student and the teacher hear in the first shards of training windows."""
    mels, scores = [], []
    for path in sorted(folder.glob("*.npz"))[:SHARDS]:
        with np.load(path) as saved:
            mels.append(saved["mels"])
            scores.append(saved["scores"])
    stacked = np.concatenate(mels)
    heard = hear(tagger, stacked, np.zeros(len(stacked), np.int32))
    return heard, torch.from_numpy(np.concatenate(scores)).float() / 255.0


def _of(heard: Heard, place: dict[int, int], windows: int | None = None) -> Heard:
    """Those of the first `windows` that are of the clips in `place`, whose values become the index."""
    found = [(w, place[clip]) for w, clip in enumerate(heard.index.tolist()[:windows]) if clip in place]
    which, index = torch.tensor(found).T
    return heard.chosen(which, index)


def _validated(place: TextPlace, material: Material) -> tuple[float, float]:
    """Alpha chosen with a sixth of the captions kept out of training, one clip of each heard as it is; and
    the scale at which a softmax over ten of those captions is as sure as it is right."""
    names = material.names
    taught(place, material.lessons(lambda name: _sixth(name) != 0))
    first: dict[str, int] = {}
    for clip, name in names.items():
        if _sixth(name) == 0:
            first.setdefault(name, clip)
    number = {clip: k for k, clip in enumerate(first.values())}
    held = _of(material.captioned, number, len(material.captioned.index) - AUGMENTED)
    alpha = choose_alpha(place, held, list(first))
    place.alpha.fill_(alpha)
    scale = fit_logit_scale((clip_rows(place, held, len(first)) @ texts_of(list(first))[1].T).numpy())
    print(f"logit scale {scale:.1f}", flush=True)
    return alpha, scale


def _sixth(name: str) -> int:
    return blake2b(name.encode(), digest_size=2).digest()[0] % 6
