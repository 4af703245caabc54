"""K-mer models of binding free energy beside a fold model: fitted where it was, tested alike."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from jsonargparse import ArgumentParser

from biote.baselines.trees import TREES, tree_predictions
from biote.baselines.trivial import RIDGE, trivial_baselines
from biote.commands.comparison import write_scored
from biote.datamodules.base import LabelledDataModule
from biote.datamodules.jaspar import JasparDataModule
from biote.errors import BioteError, ConfigError
from biote.tasks.loading import training_data_state, training_sections
from biote.tasks.results import ResultRow

logger = logging.getLogger(__name__)

KMER_MODELS: Final = (RIDGE, TREES)
"""Names of the models. The ridge regression adds up what it finds in either half of a row, so its
Delta-Delta-G is of the strands alone, the same for every protein; trees can join the halves."""


def kmer_rows(
    data: JasparDataModule, example: ResultRow, folder: Path, *, checkpoint: Path, trees: bool
) -> list[ResultRow]:
    """Fit k-mer models on the training rows of a checkpoint and test them on consensus and mutants.

    Args:
        data: Data of the test.
        example: A result of the test, whose benchmark and fold they share.
        folder: Folder of the test; predictions and results are written beside the model's.
        checkpoint: Says which rows the model was trained on.
        trees: Whether gradient-boosted trees are wanted beside the ridge regression.

    Returns:
        Rows of the results.

    Raises:
        ConfigError: If the training rows cannot be had any more, or are no binding energies.
    """
    train = _training_rows(checkpoint)
    test = data.seen_rows("test")
    targets = np.array([row.target for row in train], np.float64)
    train_parts, test_parts = [row.parts for row in train], [row.parts for row in test]
    logger.info("K-mer models of %d training rows, for %d sites.", len(train), len(test))
    fitted = trivial_baselines(
        train_parts,
        targets,
        test_parts,
        train_groups=[row.group for row in train],
        kind="regression",
        n_classes=1,
        seed=data.seed,
    )
    predictions: dict[str, npt.NDArray[np.float64]] = {RIDGE: fitted[RIDGE]}
    if trees:
        predictions[TREES] = tree_predictions(
            train_parts, targets, test_parts, kind="regression", n_classes=1, seed=data.seed
        )
    metric = "mean_prediction"
    scores = {name: {metric: float(values.mean())} for name, values in predictions.items()}
    return write_scored(data, example, folder, predictions, scores, in_units=metric)


def _training_rows(checkpoint: Path) -> list[Any]:
    """The rows that the weights of a checkpoint were trained on.

    Raises:
        ConfigError: If they cannot be read, or are others by now.
    """
    mend = "run from the folder of the training, or leave them out with --baselines false"
    wanted = {"data": training_sections(checkpoint)["data"]}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LabelledDataModule, "data")
    try:
        data = parser.instantiate(parser.parse_object(wanted)).data
        rows: list[Any] = data.seen_rows("train")
        data.load_state_dict(training_data_state(checkpoint, type(data).__qualname__))
    except Exception as error:
        what = " ".join(str(error).split()) if isinstance(error, BioteError) else repr(error)
        raise ConfigError(
            f"no k-mer model can be fitted where {checkpoint} was ({what[:300]})",
            where="--baselines",
            mend=mend,
        ) from error
    if data.target_kind != "regression" or data.n_outputs != 1:
        raise ConfigError(
            f"{type(data).__name__} has other targets than one number a row",
            where="--baselines",
            mend=mend,
        )
    return rows
