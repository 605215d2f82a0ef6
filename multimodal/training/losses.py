"""Contrastive losses. All take cosines (n, m) of n queries with m candidates, of which number i answers
query i, and `wrong` (n, m), which is False where a candidate is neither the answer nor a negative."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(cosines: Tensor, wrong: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """Cross-entropy of the answer among the wrong ones (van den Oord et al. 2018; one way of CLIP's two).

    `weight` (n,) is how much each query counts.
    """
    target = torch.arange(len(cosines), device=cosines.device)
    logits = (scale * cosines).masked_fill(~(wrong | _diagonal(wrong)), -torch.inf)
    return (weight * F.cross_entropy(logits, target, reduction="none")).sum() / weight.sum()


def sigmoids(cosines: Tensor, wrong: Tensor, weight: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Each pair judged by itself, divided by the queries as in SigLIP (Zhai et al. 2023)."""
    answers = _diagonal(wrong)
    signs = torch.where(answers, 1.0, -1.0)
    each = -F.logsigmoid(signs * (scale * cosines + bias)) * (wrong | answers)
    return (weight * each.sum(dim=1)).sum() / weight.sum()


def _diagonal(wrong: Tensor) -> Tensor:
    return torch.eye(*wrong.shape, dtype=torch.bool, device=wrong.device)
