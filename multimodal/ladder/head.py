"""The head that maps a rung's features into a space: ridge regression, its penalty by leave-one-out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import QueryError
from multimodal.ladder.extras import needed

Floats = NDArray[np.float32]

PENALTIES = tuple(float(value) for value in np.logspace(-3, 3, 13))
"""Features are unit rows: below, nothing is shrunk; above, everything."""
LARGE = 3000
"""Smaller side of the features above which the regression sees their leading DIRECTIONS only: decomposing
3000 x 3000 takes 5 s on two cores, and eight times as long for each doubling."""
DIRECTIONS = 1000


@dataclass(frozen=True, eq=False)
class Head:
    """Features (n, f) to rows (n, d): `features @ matrix + bias`; `mean` (d,) where there is no feature.

    `penalty` is the ridge's.
    """

    matrix: Floats
    bias: Floats
    mean: Floats
    penalty: float


def fit_head(features: Any, rows: NDArray[np.floating], own: bool = False) -> Head:
    """The ridge regression of unit rows (n, d) on features (n, f), dense or scipy.sparse.

    The penalty, of PENALTIES, has the least squared error when each pair is predicted from all others
    (exact leave-one-out from one decomposition; `sklearn.linear_model.RidgeCV`). With `own` the features are
    rows of the same space already: the matrix is drawn to the identity instead of to zero. Raises QueryError
    for fewer than 3 pairs.
    """
    with needed():
        from sklearn.decomposition import TruncatedSVD
        from sklearn.linear_model import RidgeCV

    if features.shape[0] < 3:
        raise QueryError(f"A head is fitted on at least 3 different texts, not on {features.shape[0]}.")
    targets, directions = np.asarray(rows, np.float64), None
    if min(features.shape) > LARGE:
        directions = TruncatedSVD(DIRECTIONS, random_state=0).fit(features).components_
        features = features @ directions.T
    wanted = targets - features if own else targets
    ridge = RidgeCV(alphas=PENALTIES).fit(features.astype(np.float64), wanted)
    matrix = ridge.coef_.T if directions is None else directions.T @ ridge.coef_.T
    if own:
        matrix = matrix + np.eye(len(matrix))
    bias = np.asarray(ridge.intercept_, np.float32)
    return Head(
        np.ascontiguousarray(matrix, np.float32),
        bias,
        targets.mean(axis=0).astype(np.float32),
        float(ridge.alpha_),
    )
