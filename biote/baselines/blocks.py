"""Feature columns in which many rows repeat, and an equal but narrower form of them.

Legend: N rows, U distinct rows, F features, R coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

_Singles = npt.NDArray[np.float32]

LARGEST_BASIS: Final = 1_000
"""Most distinct rows that span the coordinates of a block."""

_SMALLEST_SD: Final = 1e-8
_SMALLEST_EIGENVALUE: Final = 1e-6  # of the largest; float32 features carry no more
_CHUNK: Final = 1_024


@dataclass(frozen=True)
class FeatureBlock:
    """A block of feature columns: each distinct row once, and which of them each row is."""

    distinct: _Singles
    """Distinct feature rows, (U, F)."""

    index: npt.NDArray[np.int64]
    """Distinct row of every row, (N,)."""


def dense_block(features: _Singles) -> FeatureBlock:
    """Take features in which no row is known to repeat as a block.

    Args:
        features: Features, (N, F).
    """
    return FeatureBlock(features, np.arange(len(features)))


def scaled_coordinates(
    block: FeatureBlock, train_rows: npt.NDArray[np.int64], *, seed: int
) -> _Singles:
    """Centre and scale features by the training rows, and give them in as few columns as will do.

    A feature is divided by the square root of its standard deviation. Of k-mer frequencies,
    division by the whole of it would make the counting noise of rare k-mers as large as the
    signal of common ones, and no division would drown rare ones altogether.

    Fewer distinct training rows than features span a small space; what of a test row lies outside
    it can have no weight in a ridge regression. So the coordinates in an orthonormal basis of
    that space give the same predictions as the features themselves. Where both distinct rows and
    features exceed `LARGEST_BASIS`, that many distinct rows span the space: an approximation
    that bounds time and memory.

    Args:
        block: Features of training and test rows.
        train_rows: Rows that decide mean, standard deviation and basis.
        seed: Chooses the rows of the basis where there are too many.

    Returns:
        Coordinates of every row, (N, R). Features that are constant in training are left out.
    """
    counts = np.bincount(block.index[train_rows], minlength=len(block.distinct))
    mean, sd = _mean_and_sd(block.distinct, counts / counts.sum())
    varies = sd > _SMALLEST_SD
    scale = np.where(varies, 1 / np.sqrt(np.where(varies, sd, 1.0)), 0.0)  # (F,)
    in_train = np.flatnonzero(counts)
    if len(in_train) < len(scale) or len(scale) > LARGEST_BASIS:
        if len(in_train) > LARGEST_BASIS:
            chosen = np.random.default_rng(seed).permutation(len(in_train))[:LARGEST_BASIS]
            in_train = in_train[np.sort(chosen)]
        rows = ((block.distinct[in_train] - mean) * scale).astype(np.float32)
        directions = scale[:, None] * _row_space(rows)  # (F, R)
    else:
        directions = np.diag(scale)[:, varies]
    coordinates = block.distinct @ directions.astype(np.float32) - mean @ directions  # (U, R)
    return coordinates.astype(np.float32)[block.index]


def _mean_and_sd(
    features: _Singles, weights: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Weighted mean and standard deviation of every feature, in double precision, (F,) each."""
    mean, variance = np.zeros(features.shape[1]), np.zeros(features.shape[1])
    starts = range(0, len(features), _CHUNK)
    for start in starts:
        mean += weights[start : start + _CHUNK] @ features[start : start + _CHUNK]
    for start in starts:
        deviations = features[start : start + _CHUNK] - mean
        variance += weights[start : start + _CHUNK] @ np.square(deviations)
    return mean, np.sqrt(variance)


def _row_space(rows: _Singles) -> npt.NDArray[np.float64]:
    """Orthonormal basis of what rows span, (F, R)."""
    values, vectors = np.linalg.eigh((rows @ rows.T).astype(np.float64))
    kept = values > _SMALLEST_EIGENVALUE * max(values[-1], np.finfo(np.float64).tiny)
    basis: npt.NDArray[np.float64] = rows.T @ (vectors[:, kept] / np.sqrt(values[kept]))
    return basis
