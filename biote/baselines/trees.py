"""Gradient-boosted trees on k-mer frequencies.

Legend: N training rows, M test rows, C targets or classes.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from biote.baselines.trivial import Parts, kmer_block
from biote.errors import ConfigError
from biote.molecules import Modality

ROUNDS: Final = 150
LEARNING_RATE: Final = 0.05
LONGEST_OF_PROTEIN: Final = 2
"""Longest k-mer of proteins by default: their 8,000 3-mers make a fold of ProNAB take 6 minutes of
a core instead of 12 seconds."""

LONGEST_OF_NUCLEIC: Final = 3

TREES: Final = "trees k-mers"

_SMALLEST_SD: Final = 1e-8


def trees_name(protein_k_max: int = LONGEST_OF_PROTEIN) -> str:
    """Name of the trees in results.

    Args:
        protein_k_max: Longest k-mer of proteins.
    """
    default = protein_k_max == LONGEST_OF_PROTEIN
    return TREES if default else f"{TREES}, proteins 1-{protein_k_max}"


def require_trees() -> None:
    """Refuse to begin without the library, before time is spent on anything else.

    Raises:
        ConfigError: If scikit-learn is not installed.
    """
    try:
        importlib.import_module("sklearn")
    except ImportError as error:
        raise ConfigError(
            "gradient-boosted trees need scikit-learn, which is not installed",
            where="--trees",
            mend="pip install 'biote[baselines]', or leave them out with --trees false",
        ) from error


def tree_predictions(
    train_parts: Sequence[Parts],
    train_targets: npt.NDArray[np.float64],
    test_parts: Sequence[Parts],
    *,
    kind: Literal["regression", "classification"],
    n_classes: int,
    protein_k_max: int = LONGEST_OF_PROTEIN,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Fit histogram-based gradient boosting on the training rows and predict the test rows.

    The features are frequencies of k-mers of proteins, and of 1- to 3-mers of nucleic acids.
    Rounds and rate are fixed, so nothing is chosen by any score.

    Args:
        train_parts: Sequences of the training rows, N.
        train_targets: Targets, (N, C), or class indices, (N, 1).
        test_parts: Sequences of the test rows, M.
        kind: What the targets are.
        n_classes: Number of classes, C; without meaning for regression.
        protein_k_max: Longest k-mer of proteins.
        seed: Seed of the binning.

    Returns:
        Predictions in the units of the targets, or probabilities of the classes, (M, C).

    Raises:
        ConfigError: If scikit-learn is not installed.
    """
    require_trees()
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    features = _features([*train_parts, *test_parts], protein_k_max)
    rows = len(train_parts)
    train, test = features[:rows], features[rows:]
    varies = train.std(axis=0) > _SMALLEST_SD
    train, test = train[:, varies], test[:, varies]
    # Early stopping would hold out rows whose proteins are in training.
    options: dict[str, Any] = {
        "max_iter": ROUNDS,
        "learning_rate": LEARNING_RATE,
        "early_stopping": False,
        "random_state": seed,
    }
    if kind == "regression":
        columns = [
            HistGradientBoostingRegressor(**options).fit(train, column).predict(test)
            for column in train_targets.T
        ]
        return np.stack(columns, axis=1).astype(np.float64)
    model = HistGradientBoostingClassifier(**options).fit(train, train_targets[:, 0].astype(int))
    scores = np.zeros((len(test), n_classes))
    scores[:, model.classes_] = model.predict_proba(test)  # a class may be absent from training
    return scores


def _features(rows: Sequence[Parts], protein_k_max: int) -> npt.NDArray[np.float32]:
    longest = {Modality.PROTEIN: protein_k_max, Modality.NUCLEIC: LONGEST_OF_NUCLEIC}
    blocks = [kmer_block(rows, modality, k_max=k) for modality, k in longest.items()]
    return np.concatenate([block.distinct[block.index] for block in blocks], axis=1)
