"""Confidence intervals of how well genes and proteins find each other.

What is resampled are the groups that the split keeps on one side: pairs that share a gene or a
protein, or whole clusters. Pairs of relatives are no independent evidence, so an interval over
single pairs would be too narrow.

Legend: N tested pairs, G groups, R replicates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from biote.tasks.bootstrap import interval

REPLICATES: Final = 1_000
_AT_ONCE: Final = 50


@dataclass(frozen=True)
class Influence:
    """A score and how much each pair moves it."""

    value: float
    of_pair: Tensor
    """Derivative by the weight of every pair, (N,), of sum 0."""


@dataclass(frozen=True)
class Means:
    """A score that is a mean over what single pairs contribute."""

    values: Tensor
    """(N,), or several to a pair, (K, N); NaN where a pair contributes nothing."""


def intervals(
    scores: Mapping[str, Influence | Means], groups: Tensor, *, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Percentile intervals, 95 %, from resampling groups with replacement.

    A mean is computed anew in every replicate, over the pairs that were drawn; what they are
    compared with stays. Of an `Influence` the replicates are those of its first-order expansion,
    in which a pair counts in all its parts: an exact replicate would compare all with all again.

    Args:
        scores: By name.
        groups: Group of every pair, (N,).
        seed: Chooses the replicates, the same for all scores.

    Returns:
        Both ends by name; NaN where there are fewer than two groups.
    """
    _, inverse = torch.unique(groups.cpu(), return_inverse=True)
    index = inverse.numpy()
    number = int(index.max()) + 1 if len(index) else 0
    if number < 2:
        return dict.fromkeys(scores, (float("nan"), float("nan")))
    sums = {name: _group_sums(score, index, number) for name, score in scores.items()}
    found: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in scores}
    generator = np.random.default_rng(seed)
    for start in range(0, REPLICATES, _AT_ONCE):
        size = min(_AT_ONCE, REPLICATES - start)
        drawn = generator.multinomial(number, np.full(number, 1 / number), size=size)  # (R, G)
        for name, score in scores.items():
            above, below = sums[name]
            if isinstance(score, Influence):
                found[name].append(np.clip(score.value + drawn @ above, 0, 1))
            else:
                with np.errstate(invalid="ignore"):
                    found[name].append((drawn @ above) / (drawn @ below))
    # A replicate may hold no pair that contributes: it has no value.
    return {name: interval(np.concatenate(parts)) for name, parts in found.items()}


def _group_sums(
    score: Influence | Means, index: npt.NDArray[np.int64], number: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sum of the contributions of every group and their number, (G,) each."""
    values = score.of_pair if isinstance(score, Influence) else score.values
    rows = values.detach().double().cpu().reshape(-1, len(index)).numpy()
    known = ~np.isnan(rows)
    total = np.where(known, rows, 0.0).sum(0)
    return (
        np.bincount(index, total, minlength=number).astype(np.float64),
        np.bincount(index, known.sum(0), minlength=number).astype(np.float64),
    )
