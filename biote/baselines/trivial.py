"""The baselines of every results table, from the sequences of a split.

Legend: N training rows, M test rows, C targets or classes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from biote.baselines.blocks import FeatureBlock
from biote.baselines.kmers import kmer_frequencies
from biote.baselines.logistic import logistic_block_predictions
from biote.baselines.mean import majority_class_scores, mean_predictions
from biote.baselines.ridge import ridge_block_predictions
from biote.molecules import STANDARD_RESIDUES, Modality, Molecule

logger = logging.getLogger(__name__)

Parts = tuple[tuple[str, Molecule], ...]
"""Canonical sequences of a row with their molecule types."""

K_MAX: Final = 3
MEAN: Final = "train mean"
MAJORITY: Final = "majority class"
RIDGE: Final = f"ridge 1-{K_MAX}-mers"
LOGISTIC: Final = "k-mer logistic regression"
LOGISTIC_K_MAX: Final = {Modality.PROTEIN: 2, Modality.NUCLEIC: 4}

_ALPHABETS: Final = {Modality.PROTEIN: STANDARD_RESIDUES, Modality.NUCLEIC: "ACGT"}


def trivial_baselines(
    train_parts: Sequence[Parts],
    train_targets: npt.NDArray[np.float64],
    test_parts: Sequence[Parts],
    *,
    train_groups: Sequence[str],
    kind: Literal["regression", "classification"],
    n_classes: int,
    seed: int = 0,
) -> dict[str, npt.NDArray[np.float64]]:
    """Predict the test rows without a neural network.

    Regression gives the train mean and a ridge regression on k-mer frequencies; classification
    gives the majority class, the same ridge regression on one column of 0 and 1 per class, and a
    logistic regression on k-mers of up to 4 nucleotides or 2 residues.

    Args:
        train_parts: Sequences of the training rows, N.
        train_targets: Targets, (N, C), or class indices, (N, 1).
        test_parts: Sequences of the test rows, M.
        train_groups: Group of every training row, for the choice of the ridge penalty; where all
            rows are of one group, every row counts as a group.
        kind: What the targets are.
        n_classes: Number of classes, C; without meaning for regression.
        seed: Chooses which groups meet in an inner fold.

    Returns:
        Predictions in the units of the targets, or scores of the classes, by name of the
        baseline, (M, C) each.

    Raises:
        DataError: If there are fewer than two training rows.
        ValueError: If training rows, targets and groups differ in number.
    """
    if len(train_parts) != len(train_targets) or len(train_parts) != len(train_groups):
        lengths = f"{len(train_parts)} rows, {len(train_targets)} targets"
        raise ValueError(f"{lengths}, {len(train_groups)} groups")
    rows = len(test_parts)
    if kind == "regression":
        first = {MEAN: mean_predictions(train_targets, rows)}
    else:
        classes = train_targets[:, 0].astype(np.int64)
        first = {MAJORITY: majority_class_scores(classes, rows, n_classes=n_classes)}
        train_targets = np.eye(n_classes)[classes]  # (N, C)
    blocks = [kmer_block([*train_parts, *test_parts], modality) for modality in _ALPHABETS]
    groups = list(train_groups)
    if len(set(groups)) == 1:
        logger.info("All training rows are of one group: the ridge penalty is chosen by rows.")
        groups = [str(row) for row in range(len(groups))]
    ridge = ridge_block_predictions(blocks, train_targets, train_groups=groups, seed=seed)
    if kind == "regression":
        return first | {RIDGE: ridge}
    longer = [
        kmer_block([*train_parts, *test_parts], modality, k_max=k_max)
        for modality, k_max in LOGISTIC_K_MAX.items()
    ]
    logistic = logistic_block_predictions(
        longer, classes, n_classes=n_classes, train_groups=groups, seed=seed
    )
    return first | {RIDGE: ridge, LOGISTIC: logistic}


def kmer_block(rows: Sequence[Parts], modality: Modality, *, k_max: int = K_MAX) -> FeatureBlock:
    """K-mer frequencies of the sequences of one modality, averaged over those of a row.

    Args:
        rows: Sequences of every row.
        modality: Modality to count; other sequences are left out, and a row that has none of it
            is all zeros.
        k_max: Longest k-mer.
    """
    number_of: dict[tuple[str, ...], int] = {}
    index = np.empty(len(rows), dtype=np.int64)
    for i, parts in enumerate(rows):
        chosen = tuple(s for s, molecule in parts if molecule.modality is modality)
        index[i] = number_of.setdefault(chosen, len(number_of))
    sequences = sorted({sequence for chosen in number_of for sequence in chosen})
    row_of = {sequence: row for row, sequence in enumerate(sequences)}
    frequencies = kmer_frequencies(sequences, _ALPHABETS[modality], k_max)
    distinct = np.zeros((len(number_of), frequencies.shape[1]), dtype=np.float32)
    for chosen, row in number_of.items():
        if chosen:
            distinct[row] = frequencies[[row_of[sequence] for sequence in chosen]].mean(axis=0)
    return FeatureBlock(distinct, index)
