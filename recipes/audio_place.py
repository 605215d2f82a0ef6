"""Teach the student its place in the text space, choose the mix, export the tower.

Three terms, on windows of captioned clips (as they are and augmented) and on mixtures the teacher
labelled: captions told apart from all others, similar captions left out (InfoNCE, van den Oord et al.
2018); the teacher's classes told apart by their names; and closeness to ConSE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from multimodal.towers.audio_module import StarterAudioModule, Tagger, TextPlace, folded
from multimodal.towers.mel import LogMel
from recipes.audio_labels import clip_means as means
from recipes.audio_labels import plain_labels, trainable
from recipes.audio_teacher import Teacher
from recipes.audio_windows import Augmenter
from recipes.config import STARTER, write_section
from recipes.export import difference, export
from recipes.sounds import AUDIO, Clip, gather, plain_caption
from recipes.text_teacher import embed_texts

TEMPLATES = ("{}", "the sound of a {}", "a {} can be heard")
TEMPERATURE = 0.05
SIMILAR = 0.75
"""Captions this close to the right one (cosine) are not told apart from it."""
AUGMENTED = 16_000
SHARDS = 16
STEPS = 2_000
BATCH = 256
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)


@dataclass
class Heard:
    """What the student hears in windows: features (w, 1024), logits (w, 521), and an index per window."""

    features: torch.Tensor
    logits: torch.Tensor
    index: torch.Tensor


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


def train_place(
    place: TextPlace,
    captioned: Heard,
    captions: torch.Tensor,
    mixtures: Heard,
    scores: torch.Tensor,
    classes: torch.Tensor,
    seed: int = 0,
) -> None:
    """Train the perceptron of `place`. `captioned.index` numbers captions (t, c, 384); `scores` (m, 521)
    are the teacher's for `mixtures`; `classes` (t, 521, 384) the names' vectors.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW([p for p in place.parameters() if p.requires_grad], 1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    similar = (captions[0] @ captions[0].T > SIMILAR) | (captions[1] @ captions[1].T > 0.9)
    similar.fill_diagonal_(False)
    counts = torch.bincount(captioned.index, minlength=captions.shape[1]).float()
    weights = counts[captioned.index].rsqrt()
    named = (scores.max(dim=1).values > 0.15).nonzero().squeeze(1)
    place.train()
    for _ in range(STEPS):
        pick = torch.multinomial(weights, BATCH, replacement=True, generator=generator)
        template = int(torch.randint(len(TEMPLATES), (1,), generator=generator))
        features, logits = _dropped(captioned.features[pick], generator), captioned.logits[pick]
        rows = place(features, logits)
        right = captioned.index[pick]
        against = (rows @ captions[template].T / TEMPERATURE).masked_fill(similar[right], -1e4)
        loss = F.cross_entropy(against, right) + 0.5 * (1 - (rows * place.conse(logits)).sum(1).mean())
        pick = named[torch.randint(len(named), (BATCH,), generator=generator)]
        rows = place(_dropped(mixtures.features[pick], generator), mixtures.logits[pick])
        wanted = scores[pick].square()
        wanted = wanted / wanted.sum(1, keepdim=True)
        loss = loss + F.cross_entropy(rows @ classes[template].T / TEMPERATURE, wanted)
        loss = loss + 0.5 * (1 - (rows * place.conse(mixtures.logits[pick])).sum(1).mean())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    place.eval()


def _dropped(features: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    keep = torch.rand(features.shape, generator=generator) > 0.2
    return features * keep / 0.8


def clip_rows(place: TextPlace, heard: Heard, alpha: float, count: int) -> torch.Tensor:
    """Unit rows (count, 384): the mean over each clip's windows at a given alpha."""
    with torch.inference_mode():
        place.alpha.fill_(alpha)
        rows = place(heard.features, heard.logits)
        return F.normalize(torch.zeros(count, rows.shape[1]).index_add_(0, heard.index, rows), dim=1)


def recall(texts: torch.Tensor, rows: torch.Tensor, captions: Sequence[str], k: int = 10) -> float:
    """Share of texts (n, 384) with a row of the same caption among the `k` nearest of rows (n, 384)."""
    best = (texts @ rows.T).topk(min(k, len(rows)), dim=1).indices
    return float(
        np.mean([any(captions[j] == own for j in near) for own, near in zip(captions, best, strict=True)])
    )


def choose_alpha(place: TextPlace, heard: Heard, captions: list[str]) -> float:
    """The alpha with the best mean of text-to-sound R@10 and sound-to-text top-5 over validation clips.

    Those clips' captions were not trained on. `heard.index` numbers the clips.
    """
    texts = texts_of(captions)[1]
    names = sorted(set(captions))
    vocabulary = texts_of(names)[1]
    best = (-1.0, 1.0)
    for alpha in ALPHAS:
        rows = clip_rows(place, heard, alpha, len(captions))
        found = recall(texts, rows, captions)
        near = (rows @ vocabulary.T).topk(5, dim=1).indices
        named = float(
            np.mean([own in [names[j] for j in five] for own, five in zip(captions, near, strict=True)])
        )
        print(
            f"alpha {alpha}: {len(captions)} unseen captions, text->sound R@10 {found:.3f},"
            f" top-5 of {len(names)} names {named:.3f}",
            flush=True,
        )
        best = max(best, ((found + named) / 2, alpha))
    return best[1]


def finish(teacher_path: Path, permissive_only: bool, checkpoint: Path) -> None:
    """Train the place of the student at `checkpoint` and write audio.safetensors, audio.onnx and config."""
    torch.manual_seed(0)
    mel, teacher = LogMel(), Teacher(teacher_path)
    clips, samples = gather()
    plain = plain_labels(clips, samples, teacher, mel)
    use = trainable(clips, means(plain["features"], plain["clip"], len(clips)))
    if permissive_only:
        use &= np.array([clip.permissive for clip in clips])
    averaged = Tagger(batch_norm=True)
    averaged.load_state_dict(torch.load(checkpoint, weights_only=True)["average"])
    module = StarterAudioModule()
    module.tagger.load_state_dict(folded(averaged))
    module.eval()
    classes = class_texts(teacher.names)
    module.place.class_vectors.copy_(F.normalize(classes.mean(0), dim=1))
    chosen = [i for i, clip in enumerate(clips) if use[i] and clip.caption]
    captioned = _captioned(module.tagger, clips, samples, plain, chosen, mel)
    mixtures, scores = _mixtures(module.tagger, checkpoint)
    start = {name: tensor.clone() for name, tensor in module.place.state_dict().items()}
    alpha = _validated(module.place, clips, captioned, mixtures, scores, classes)
    module.place.load_state_dict(start)
    index, captions = _numbered([clips[i].caption or "" for i in captioned.index.tolist()])
    heard = Heard(captioned.features, captioned.logits, index)
    train_place(module.place, heard, texts_of(captions), mixtures, scores, classes)
    module.place.alpha.fill_(alpha)
    example = torch.randn(2, *mel.shape)
    folder = STARTER if not permissive_only else AUDIO / "permissive"
    export(module, example, folder, "audio", "mel")
    print(
        f"alpha {alpha}; torch against onnx {difference(module, example, folder / 'audio.onnx'):.1e}",
        flush=True,
    )
    if not permissive_only:
        section = {
            "graph": "audio.onnx",
            "weights": "audio.safetensors",
            "feature_dim": 384,
            "mel": mel.config(),
        }
        write_section("audio", section)


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


def _mixtures(tagger: Tagger, checkpoint: Path) -> tuple[Heard, torch.Tensor]:
    """What the student and the teacher hear in the first shards of training windows."""
    folder = checkpoint.with_name(checkpoint.stem.replace("student", "windows"))
    mels, scores = [], []
    for path in sorted(folder.glob("*.npz"))[:SHARDS]:
        with np.load(path) as saved:
            mels.append(saved["mels"])
            scores.append(saved["scores"])
    stacked = np.concatenate(mels)
    heard = hear(tagger, stacked, np.zeros(len(stacked), np.int32))
    return heard, torch.from_numpy(np.concatenate(scores)).float() / 255.0


def _numbered(captions: list[str]) -> tuple[torch.Tensor, list[str]]:
    """Each caption's number in the list of different ones, and that list."""
    names = sorted({plain_caption(caption) for caption in captions})
    number = {name: i for i, name in enumerate(names)}
    return torch.tensor([number[plain_caption(caption)] for caption in captions]), names


def _validated(
    place: TextPlace,
    clips: list[Clip],
    captioned: Heard,
    mixtures: Heard,
    scores: torch.Tensor,
    classes: torch.Tensor,
) -> float:
    """Alpha chosen with a sixth of the captions kept out of training, one clip of each heard as it is."""
    names = [plain_caption(clips[i].caption or "") for i in captioned.index.tolist()]
    kept = np.array([blake2b(name.encode(), digest_size=2).digest()[0] % 6 == 0 for name in names])
    index, captions = _numbered([name for name, out in zip(names, kept, strict=True) if not out])
    part = torch.from_numpy(~kept)
    train_place(
        place,
        Heard(captioned.features[part], captioned.logits[part], index),
        texts_of(captions),
        mixtures,
        scores,
        classes,
    )
    first: dict[str, int] = {}
    for i, name, out in zip(captioned.index.tolist(), names, kept, strict=True):
        if out:
            first.setdefault(name, i)
    number = {clip: k for k, clip in enumerate(first.values())}
    windows = torch.tensor(
        [w for w, i in enumerate(captioned.index.tolist()[: len(names) - AUGMENTED]) if i in number]
    )
    order = torch.tensor([number[int(i)] for i in captioned.index[windows]])
    held = Heard(captioned.features[windows], captioned.logits[windows], order)
    return choose_alpha(place, held, list(first))
