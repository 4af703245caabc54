"""Multinomial logistic regression on features, its penalty chosen inside the training part.

Legend: N training rows, M test rows, R feature coordinates, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from biote.baselines.blocks import FeatureBlock, scaled_coordinates
from biote.baselines.ridge import INNER_FOLDS
from biote.errors import DataError
from biote.splits import assign_folds

PENALTIES: Final = (1e-1, 1e-2, 1e-3, 1e-4)
"""Penalties tried, strongest first, of features whose variance is 1 on average."""

_MOST_ITERATIONS: Final = 100
_FEWEST_ITERATIONS: Final = 16
_OPERATIONS: Final = 1e12
"""Floating-point operations a baseline may take, beyond which it iterates less."""


def logistic_block_predictions(
    blocks: Sequence[FeatureBlock],
    train_classes: npt.NDArray[np.int64],
    *,
    n_classes: int,
    train_groups: Sequence[str],
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Fit a logistic regression with an L2 penalty and predict the test rows.

    Args:
        blocks: Blocks of features side by side, each of the N training rows and then the M test
            rows.
        train_classes: Class indices, (N,).
        n_classes: Number of classes, C.
        train_groups: Group of every training row; a fifth of the groups is held out to choose
            the penalty by its cross-entropy.
        penalties: Penalties to choose from, strongest first.
        seed: Chooses the groups that are held out, and the rows of too large a basis.

    Returns:
        Probabilities of the classes, (M, C).

    Raises:
        DataError: If the training rows are of fewer than two groups.
    """
    rows, groups = len(train_classes), len(set(train_groups))
    if groups < 2:
        raise DataError(
            "the training rows are all of one group, so no penalty can be chosen",
            where="logistic baseline",
            mend="check the group column and the split",
        )
    parts = [scaled_coordinates(block, np.arange(rows), seed=seed) for block in blocks]
    coordinates = np.concatenate(parts, axis=1)  # (N + M, R)
    spread = np.sqrt(coordinates[:rows].var(axis=0).mean()) if coordinates.shape[1] else 0.0
    features = torch.from_numpy(coordinates / (spread if spread > 0 else 1.0))
    classes = torch.from_numpy(train_classes)
    folds = np.array(assign_folds(train_groups, min(INNER_FOLDS, groups), seed=seed))
    kept, held_out = np.flatnonzero(folds != 0), np.flatnonzero(folds == 0)
    weights = torch.zeros(features.shape[1] + 1, n_classes)  # the last row is the intercept
    # Six operations for every row, feature and class and iteration, once for each fit.
    each = 6.0 * rows * features.shape[1] * n_classes * (len(penalties) + 1)
    iterations = int(np.clip(_OPERATIONS / max(each, 1.0), _FEWEST_ITERATIONS, _MOST_ITERATIONS))
    losses, starts = [], []
    for penalty in penalties:  # each begins where the stronger one ended
        weights = _fit(features[kept], classes[kept], weights, penalty, iterations)
        logits = _logits(features[held_out], weights)
        losses.append(float(functional.cross_entropy(logits, classes[held_out])))
        starts.append(weights)
    best = int(np.argmin(losses))
    weights = _fit(features[:rows], classes, starts[best], penalties[best], iterations)
    probabilities: npt.NDArray[np.float64] = (
        _logits(features[rows:], weights).double().softmax(-1).numpy()
    )
    return probabilities


def _logits(features: Tensor, weights: Tensor) -> Tensor:
    return features @ weights[:-1] + weights[-1]


def _fit(
    features: Tensor, classes: Tensor, start: Tensor, penalty: float, iterations: int
) -> Tensor:
    """Weights of least penalised cross-entropy, (R + 1, C)."""
    weights = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weights], max_iter=iterations, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(_logits(features, weights), classes)
        loss = loss + penalty / 2 * weights[:-1].square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return weights.detach()
