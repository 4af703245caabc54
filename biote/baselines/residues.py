"""Baselines for labels of residues: a constant, and a ridge regression on what stands around.

Legend: R residues, K outputs, C labels of a residue.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from biote.baselines.blocks import FeatureBlock
from biote.baselines.mean import majority_class_scores, mean_predictions
from biote.baselines.ridge import ridge_block_predictions
from biote.baselines.trivial import MAJORITY, MEAN
from biote.errors import DataError
from biote.molecules import STANDARD_RESIDUES
from biote.residue_batch import ResidueKind

logger = logging.getLogger(__name__)

REACH: Final = 7
"""Residues on either side that the ridge regression sees."""

RIDGE: Final = f"ridge {2 * REACH + 1}-residue windows"

MOST_TRAINING_RESIDUES: Final = 200_000
"""The ridge regression is fitted on whole sequences of about so many residues at most."""

_OTHER: Final = len(STANDARD_RESIDUES)  # X and other letters that are no standard residue
_OUTSIDE: Final = _OTHER + 1  # before the first residue, behind the last


@dataclass(frozen=True, eq=False)
class LabelledSequence:
    """A protein and labels of its residues."""

    sequence: str
    labels: npt.NDArray[np.float32]
    """Labels of the residues, (R, C), NaN where there is none."""

    group: str
    """Sequences of one group are on one side of every inner split."""


def residue_baselines(
    train: Sequence[LabelledSequence],
    test: Sequence[LabelledSequence],
    *,
    kind: ResidueKind,
    n_outputs: int,
    seed: int = 0,
) -> dict[str, npt.NDArray[np.float64]]:
    """Predict the residues of test sequences without a neural network.

    Args:
        train: Sequences to learn from; residues without a label are left out.
        test: Sequences to predict for.
        kind: What the labels are.
        n_outputs: Number of classes, or of labels of a residue, K.
        seed: Chooses training sequences where there are too many, and inner folds.

    Returns:
        Predictions for all test residues, end to end, by name of the baseline: scores of the
        classes, shares from 0 to 1, or values, (R, K) each.

    Raises:
        DataError: If no training residue is labelled.
    """
    chosen = _some(train, seed)
    labels = np.concatenate([s.labels for s in chosen]).astype(np.float64)
    known = np.asarray(~np.isnan(labels).any(axis=1))
    if not known.any():
        raise DataError("no training residue is labelled", where="baselines")
    rows = sum(len(s.sequence) for s in test)
    every = np.concatenate([s.labels for s in train]).astype(np.float64)
    every = every[~np.isnan(every).any(axis=1)]
    if kind == "classes":
        constant = majority_class_scores(every[:, 0].astype(np.int64), rows, n_classes=n_outputs)
        first = {MAJORITY: constant}
        targets = np.eye(n_outputs)[labels[known, 0].astype(np.int64)]
    else:
        first = {MEAN: mean_predictions(every, rows)}
        targets = labels[known]
    groups = [s.group for s in chosen for _ in s.sequence]
    train_groups = [group for group, is_known in zip(groups, known, strict=True) if is_known]
    if len(set(train_groups)) < 2:
        logger.info("The training rows are of one group: no ridge regression is fitted.")
        return first
    blocks = _windows(chosen, known, test)
    ridge = ridge_block_predictions(blocks, targets, train_groups=train_groups, seed=seed)
    if kind == "binary":
        ridge = ridge.clip(0, 1)
    return first | {RIDGE: ridge}


def _some(sequences: Sequence[LabelledSequence], seed: int) -> list[LabelledSequence]:
    """Sequences in random order until they have enough residues."""
    order = np.random.default_rng(seed).permutation(len(sequences))
    residues = 0
    chosen: list[LabelledSequence] = []
    for i in order.tolist():
        if residues >= MOST_TRAINING_RESIDUES:
            logger.info(
                "%s: fitted on %d of %d training sequences.", RIDGE, len(chosen), len(sequences)
            )
            break
        chosen.append(sequences[i])
        residues += len(sequences[i].sequence)
    return chosen


def _windows(
    train: Sequence[LabelledSequence],
    known: npt.NDArray[np.bool_],
    test: Sequence[LabelledSequence],
) -> list[FeatureBlock]:
    """One block for every place in the window: which residue stands there."""
    one_hot = np.eye(_OUTSIDE + 1, dtype=np.float32)
    train_places = np.concatenate([_neighbours(s.sequence) for s in train])[known]
    test_places = [_neighbours(s.sequence) for s in test]
    places = np.concatenate([train_places, *test_places])  # (R, window)
    return [FeatureBlock(one_hot, places[:, place]) for place in range(places.shape[1])]


def _neighbours(sequence: str) -> npt.NDArray[np.int64]:
    """Residues around every residue as numbers, (R, 2 * REACH + 1)."""
    codes = np.full(256, _OTHER, np.int64)
    codes[np.frombuffer(STANDARD_RESIDUES.encode(), np.uint8)] = np.arange(_OTHER)
    residues = codes[np.frombuffer(sequence.encode("ascii"), np.uint8)]
    padded = np.pad(residues, REACH, constant_values=_OUTSIDE)
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * REACH + 1)
