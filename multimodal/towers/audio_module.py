"""The starter's sound tower in torch: a residual network on log-mel windows, then into the text space."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

CLASSES = 521
"""Classes of AudioSet that the tagger distilled into this network knows."""
FEATURES = 1024
DIM = 384
TOP = 10
"""A window's place in the text space comes from its ten likeliest classes."""


def convolution(inputs: int, outputs: int, kernel: int, stride: int, batch_norm: bool) -> nn.Sequential:
    """A convolution with batch norm while training, with a bias (into which the norm was folded) after."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=not batch_norm),
    ]
    return nn.Sequential(*layers, nn.BatchNorm2d(outputs)) if batch_norm else nn.Sequential(*layers)


class Residual(nn.Module):
    """`relu(x + conv(relu(conv(x))))` (He et al. 2016, Deep residual learning)."""

    def __init__(self, channels: int, batch_norm: bool) -> None:
        super().__init__()
        self.first = convolution(channels, channels, 3, 1, batch_norm)
        self.second = convolution(channels, channels, 3, 1, batch_norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.second(F.relu(self.first(x))))


class Tagger(nn.Module):
    """Log-mel windows (n, mels, frames) to features (n, 1024), not negative, and logits (n, 521)."""

    def __init__(self, blocks: tuple[int, ...] = (1, 1, 1), batch_norm: bool = False) -> None:
        super().__init__()
        self.stem = convolution(1, 32, 3, 2, batch_norm)
        channels, stages = 32, []
        for depth, width in zip(blocks, (64, 128, 256), strict=True):
            stages.append(convolution(channels, width, 3, 2, batch_norm))
            stages.append(nn.Sequential(*(Residual(width, batch_norm) for _ in range(depth))))
            channels = width
        self.stages = nn.ModuleList(stages)
        self.wide = convolution(channels, FEATURES, 1, 1, batch_norm)
        self.classes = nn.Linear(FEATURES, CLASSES)

    def forward(self, mel: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = F.relu(self.stem(mel.unsqueeze(1)))
        for stage in self.stages:
            x = F.relu(stage(x))
        features = F.relu(self.wide(x)).mean(dim=(2, 3))
        return features, self.classes(features)


class TextPlace(nn.Module):
    """From a tagger's output to unit rows in the text space.

    ConSE (Norouzi et al. 2014) averages the sentence vectors of the likeliest classes, weighted by
    their scores; a perceptron adds what the classes do not say: `unit(conse + alpha * mlp(features, conse))`.
    """

    def __init__(self, hidden: int = 512) -> None:
        super().__init__()
        self.register_buffer("class_vectors", torch.zeros(CLASSES, DIM))
        self.register_buffer("alpha", torch.ones(1))
        self.first = nn.Linear(FEATURES + DIM, hidden)
        self.second = nn.Linear(hidden, DIM)

    class_vectors: torch.Tensor
    alpha: torch.Tensor

    def conse(self, logits: torch.Tensor) -> torch.Tensor:
        """Unit rows (n, 384): the ten likeliest classes' vectors, weighted by score."""
        scores = torch.sigmoid(logits)
        least = scores.topk(TOP, dim=1).values[:, -1:]
        weights = torch.where(scores >= least, scores, torch.zeros_like(scores))
        return F.normalize(weights @ self.class_vectors, dim=1)

    def forward(self, features: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        conse = self.conse(logits)
        place = torch.cat([torch.log1p(4.0 * features), conse], dim=1)
        return F.normalize(conse + self.alpha * self.second(F.gelu(self.first(place))), dim=1)


class StarterAudioModule(nn.Module):
    """`forward(mel)`: (n, mels, frames) float32 as `LogMel` gives to unit rows (n, 384) float32.

    Rows do not depend on the rest of the batch. The shipped weights load with `batch_norm=False`.
    """

    def __init__(self, blocks: tuple[int, ...] = (1, 1, 1), batch_norm: bool = False) -> None:
        super().__init__()
        self.tagger = Tagger(blocks, batch_norm)
        self.place = TextPlace()

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        features, logits = self.tagger(mel)
        return self.place(features, logits)


def folded(tagger: Tagger) -> dict[str, torch.Tensor]:
    """The tagger's weights for `batch_norm=False`, each norm folded into the convolution before it."""
    state: dict[str, torch.Tensor] = {}
    for name, module in tagger.named_modules():
        parts = list(module.children()) if isinstance(module, nn.Sequential) else []
        if len(parts) == 2 and isinstance(parts[0], nn.Conv2d) and isinstance(parts[1], nn.BatchNorm2d):
            conv, norm = parts
            mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
            gain = norm.weight / torch.sqrt(variance + norm.eps)
            state[f"{name}.0.weight"] = conv.weight * gain[:, None, None, None]
            state[f"{name}.0.bias"] = norm.bias - mean * gain
        elif isinstance(module, nn.Linear):
            state[f"{name}.weight"], state[f"{name}.bias"] = module.weight, module.bias
    return {name: tensor.detach().clone() for name, tensor in state.items()}
