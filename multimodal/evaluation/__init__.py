"""How good a space is: retrieval, zero-shot labels, moments, robustness; and whether another is better."""

from multimodal.evaluation.compare import Comparison, compare
from multimodal.evaluation.measure import Measure
from multimodal.evaluation.moments import MomentReport, evaluate_moments
from multimodal.evaluation.retrieval import Direction, Evaluation, evaluate
from multimodal.evaluation.robustness import Robustness, evaluate_robustness
from multimodal.evaluation.zero_shot import ZeroShot, evaluate_zero_shot

__all__ = [
    "Comparison",
    "Direction",
    "Evaluation",
    "Measure",
    "MomentReport",
    "Robustness",
    "ZeroShot",
    "compare",
    "evaluate",
    "evaluate_moments",
    "evaluate_robustness",
    "evaluate_zero_shot",
]
