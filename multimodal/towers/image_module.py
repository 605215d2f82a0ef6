"""The image tower of the starter space in torch: EfficientNet-Lite2, its class posterior as a sentence
vector, and a trained residual.

The graph beside the weights (`image.onnx`) is exported from this module and reads the same tensors;
this definition serves training, gradients and tests. Sources: EfficientNet (Tan & Le 2019) in its
Lite variant (no squeeze-and-excite, ReLU6); ConSE (Norouzi et al. 2014) for the class posterior as
a mixture of class-name vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIZE = 260
CLASSES = 1000
CHANNELS = 1280
STEM = 32
# kernel, stride, expansion, channels, repeats of each stage: EfficientNet-B0's, width 1.1, depth 1.2.
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 3),
    (5, 2, 6, 48, 3),
    (3, 2, 6, 88, 4),
    (5, 1, 6, 120, 4),
    (5, 2, 6, 208, 5),
    (3, 1, 6, 352, 1),
)
GRID = 3
"""The last map (9 x 9) is averaged to GRID x GRID places before the residual looks at it."""


@dataclass(frozen=True)
class ResidualSizes:
    """Widths of the trained residual: `pooled` values in `heads` heads, `hidden` units, `dim` out."""

    dim: int = 384
    hidden: int = 1024
    pooled: int = 256
    heads: int = 8
    dropout: float = 0.0


class SameConv(nn.Module):
    """Convolution with a bias (batch norm folded into it) and TensorFlow's `SAME` padding.

    The weights were trained with that padding: at stride 2 on an even side it pads one more pixel
    after than before, which torch's symmetric padding does not reproduce.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs // groups, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.kernel, self.stride, self.groups = kernel, stride, groups

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            return F.conv2d(x, self.weight, self.bias, padding=self.kernel // 2, groups=self.groups)
        before_after = [self._pad(int(side)) for side in (x.shape[3], x.shape[2])]
        x = F.pad(x, [p for pair in before_after for p in pair])
        return F.conv2d(x, self.weight, self.bias, stride=self.stride, groups=self.groups)

    def _pad(self, side: int) -> tuple[int, int]:
        outputs = -(-side // self.stride)
        missing = max((outputs - 1) * self.stride + self.kernel - side, 0)
        return missing // 2, missing - missing // 2


class Block(nn.Module):
    """Inverted residual: widen, look around in each channel, narrow; added to its input where shapes fit."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = SameConv(inputs, wide, 1) if expansion > 1 else None
        self.depthwise = SameConv(wide, wide, kernel, stride, groups=wide)
        self.project = SameConv(wide, outputs, 1)
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.skip else y


class Backbone(nn.Module):
    """EfficientNet-Lite2: (n, 3, 260, 260) in [-1, 1] -> places (n, 9, 1280) and stage means (n, 856)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, STEM, 3, stride=2)
        self.stages = nn.ModuleList()
        inputs = STEM
        for kernel, stride, expansion, outputs, repeats in STAGES:
            blocks = [Block(inputs, outputs, kernel, stride, expansion)]
            blocks += [Block(outputs, outputs, kernel, 1, expansion) for _ in range(repeats - 1)]
            self.stages.append(nn.Sequential(*blocks))
            inputs = outputs
        self.head = SameConv(inputs, CHANNELS, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu6(self.stem(x))
        means = []
        for stage in self.stages:
            x = stage(x)
            means.append(x.mean((2, 3)))
        places = F.avg_pool2d(F.relu6(self.head(x)), x.shape[-1] // GRID)
        return places.flatten(2).transpose(1, 2), torch.cat(means, 1)


CONSE_GAIN = 384**0.5  # a unit row's entries become as large as the other inputs
STAGE_MEANS = sum(outputs for _, _, _, outputs, _ in STAGES)


class Residual(nn.Module):
    """What training adds to ConSE: places, stage means and ConSE's own vectors -> (n, dim).

    `means` are standardised by fixed numbers; an attention pool with learned queries looks at the nine
    places, which start out weighted evenly; the average stays among the inputs. ConSE is one of them
    so that the residual can step back where the classifier is sure.
    """

    mean_shift: Tensor
    mean_scale: Tensor

    def __init__(self, sizes: ResidualSizes) -> None:
        super().__init__()
        self.register_buffer("mean_shift", torch.zeros(STAGE_MEANS))
        self.register_buffer("mean_scale", torch.ones(STAGE_MEANS))
        self.norm = nn.LayerNorm(CHANNELS)
        self.query = nn.Linear(CHANNELS, sizes.heads)
        each = sizes.pooled // sizes.heads
        self.value = nn.Parameter(torch.randn(sizes.heads, CHANNELS, each) * CHANNELS**-0.5)
        self.hidden = nn.Linear(CHANNELS + sizes.pooled + STAGE_MEANS + sizes.dim, sizes.hidden)
        self.out = nn.Linear(sizes.hidden, sizes.dim)
        self.drop = nn.Dropout(sizes.dropout)
        nn.init.zeros_(self.query.weight)
        nn.init.zeros_(self.query.bias)

    def forward(self, places: Tensor, means: Tensor, conse: Tensor) -> Tensor:
        normed = self.norm(places)
        weights = self.query(normed).softmax(1)  # (n, 9, heads): how much each place counts
        seen = weights.transpose(1, 2) @ normed  # (n, heads, 1280)
        pooled = (seen.transpose(0, 1) @ self.value).transpose(0, 1).flatten(1)
        means = (means - self.mean_shift) * self.mean_scale
        x = torch.cat([normed.mean(1), pooled, means, conse * CONSE_GAIN], 1)
        return self.out(self.drop(F.gelu(self.hidden(self.drop(x)))))


class StarterImageModule(nn.Module):
    """Pictures (n, 260, 260, 3) uint8 -> unit rows (n, dim) float32: unit(strength * ConSE + residual).

    ConSE enters at its own length, which is near 1 where the classifier is sure and small where it is
    not: the residual decides where the 1,000 classes do not fit.
    """

    strength: Tensor
    sharpness: Tensor

    def __init__(self, sizes: ResidualSizes | None = None) -> None:
        super().__init__()
        sizes = sizes or ResidualSizes()
        self.backbone = Backbone()
        self.classifier = nn.Linear(CHANNELS, CLASSES)
        self.class_vectors = nn.Parameter(torch.zeros(CLASSES, sizes.dim))
        self.residual = Residual(sizes)
        self.register_buffer("strength", torch.ones(1))
        self.register_buffer("sharpness", torch.ones(1))

    def forward(self, pixels: Tensor) -> Tensor:
        x = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1.0
        return self.embed(*self.backbone(x))

    def conse(self, places: Tensor) -> Tensor:
        """Class-name vectors mixed by the sharpened class posterior, (n, dim), not of unit length."""
        posterior = (self.classifier(places.mean(1)) * self.sharpness).softmax(-1)
        return posterior @ self.class_vectors

    def embed(self, places: Tensor, means: Tensor) -> Tensor:
        """Unit rows (n, dim) from the backbone's two outputs."""
        conse = self.conse(places)
        return F.normalize(self.strength * conse + self.residual(places, means, conse), dim=-1)


def load_image_module(weights: Path, sizes: ResidualSizes | None = None) -> StarterImageModule:
    """The module with the weights of a safetensors file (float16 there, float32 here), in eval mode.

    Without `sizes` the residual is as wide as the file's.

    Raises RuntimeError when the file's tensors are not the module's.
    """
    from safetensors.torch import load_file

    tensors = load_file(str(weights))
    value, out = tensors.get("residual.value"), tensors.get("residual.out.weight")
    if sizes is None and value is not None and out is not None:
        (heads, _, each), (dim, hidden) = value.shape, out.shape
        sizes = ResidualSizes(dim, hidden, heads * each, heads)
    module = StarterImageModule(sizes)
    module.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return module.eval()
