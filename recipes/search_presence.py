"""Does a library know that it has nothing to a query? Tables of refusals, and the fit of confidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal import MODALITIES
from multimodal.library import calibration
from multimodal.types import Modality
from recipes.search_libraries import Case

KEPT = (0.99, 0.95, 0.90, 0.80)
SHARE = {"gibberish": 0.5, "near": 0.25, "elsewhere": 0.25}
"""What a hundred queries without an answer consist of; their kinds are stated apart too."""
DRAWS = 1000
TEN = 10
SEARCHED: Mapping[str, tuple[Modality, ...]] = {
    **{f"{name} alone": (name,) for name in MODALITIES},
    "no text": ("image", "video", "audio"),
}
"""The modalities of those libraries that do not have all."""


@dataclass(frozen=True)
class Asked:
    """Queries to libraries of one name: evidence (q,) as a level, what each is, whether ten hits answer."""

    name: str
    evidence: NDArray[np.float64]
    kinds: NDArray[np.str_]
    answered: NDArray[np.bool_]


def asked(cases: Sequence[Case]) -> list[Asked]:
    """The evidence of every query in every case, cases of one name together."""
    parts: dict[str, list[tuple[NDArray[np.float64], NDArray[np.str_], NDArray[np.bool_]]]] = {}
    for case in cases:
        evidence, answered = [], []
        for query, right in zip(case.vectors, case.answers, strict=True):
            judged = list(case.shelf.judge("text", query).values())
            chance = calibration.presence([float(found.levels.max()) for _, found in judged])
            evidence.append((np.log(chance / (1 - chance)) - calibration.OFFSET) / calibration.SLOPE)
            places = np.concatenate([near for near, _ in judged])
            scores = np.concatenate([found.scores for _, found in judged])
            answered.append(bool(right[places[np.argsort(-scores)[:TEN]]].any()))
        parts.setdefault(case.name, []).append((np.array(evidence), case.kinds, np.array(answered)))
    return [
        Asked(name, *(np.concatenate([part[i] for part in some]) for i in range(3)))  # type: ignore[arg-type]
        for name, some in parts.items()
    ]


def refused(evidence: NDArray[np.float64], kinds: NDArray[np.str_], kept: float) -> dict[str, float]:
    """The share of each kind that is refused where `kept` of the present ones are kept; "all" is weighed."""
    bar = np.quantile(evidence[kinds == "present"], 1 - kept, method="lower")
    shares = {kind: float((evidence[kinds == kind] < bar).mean()) for kind in SHARE}
    return {**shares, "all": sum(SHARE[kind] * share for kind, share in shares.items())}


def presence_table(cases: Sequence[Case]) -> Iterator[str]:
    """For each sort of library the curve of refusals, and what the shipped bar does."""
    results = asked(cases)
    for title, only in (("present: the library has it", False), ("present: and ten hits show it", True)):
        yield (
            f"\n| {title} | n present / absent | refused at {', '.join(map(str, KEPT))} kept | at 0.95: "
            + ("gibberish / near / elsewhere | shipped bar: kept, refused |")
        )
        yield "|---|---|---|---|---|"
        for one in results:
            use = (one.kinds != "present") | one.answered if only else np.ones(len(one.kinds), bool)
            yield _row(one.name, one.evidence[use], one.kinds[use])


def _row(name: str, evidence: NDArray[np.float64], kinds: NDArray[np.str_]) -> str:
    curve = [refused(evidence, kinds, kept) for kept in KEPT]
    low, high = _interval(evidence, kinds)
    cells = ", ".join(f"{one['all']:.2f}" for one in curve)
    apart = " / ".join(f"{curve[1][kind]:.2f}" for kind in SHARE)
    bar = calibration.confidence(evidence) >= calibration.bar(SEARCHED.get(name, MODALITIES))
    kept = bar[kinds == "present"].mean()
    away = sum(SHARE[kind] * (1 - bar[kinds == kind].mean()) for kind in SHARE)
    present = int((kinds == "present").sum())
    return (
        f"| {name} | {present} / {len(kinds) - present} | {cells} (0.95: [{low:.2f}, {high:.2f}])"
        f" | {apart} | {kept:.2f}, {away:.2f} |"
    )


def _interval(evidence: NDArray[np.float64], kinds: NDArray[np.str_]) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    groups = [np.flatnonzero(kinds == kind) for kind in ("present", *SHARE)]
    found = []
    for _ in range(DRAWS):
        drawn = np.concatenate([rng.choice(group, len(group)) for group in groups])
        found.append(refused(evidence[drawn], kinds[drawn], 0.95)["all"])
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def fitted(cases: Sequence[Case]) -> Iterator[str]:
    """SLOPE, OFFSET and BARS of `multimodal.library.calibration`, from all libraries of the cases.

    Each sort of library counts the same; in each, present and absent queries do.
    """
    from sklearn.linear_model import LogisticRegression

    results = asked(cases)
    evidence = np.concatenate([one.evidence for one in results])
    present = np.concatenate([one.kinds == "present" for one in results])
    weights = np.concatenate([_weights(one.kinds) for one in results])
    line = LogisticRegression(C=1e3).fit(evidence[:, None], present, sample_weight=weights)
    slope, offset = float(line.coef_[0, 0]), float(line.intercept_[0])
    yield f"\nfitted: SLOPE {slope:.2f}, OFFSET {offset:.2f}; what 95 % of the present ones reach:"
    for one in results:
        level = float(np.quantile(one.evidence[one.kinds == "present"], 0.05))
        yield f"{one.name}: {1 / (1 + np.exp(-(slope * level + offset))):.3f}"


def _weights(kinds: NDArray[np.str_]) -> NDArray[np.float64]:
    weights = np.zeros(len(kinds))
    for kind, share in {"present": 1.0, **SHARE}.items():
        mine = kinds == kind
        weights[mine] = share / max(int(mine.sum()), 1)
    return weights
