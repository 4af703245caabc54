"""Trivial baselines beside every tested model, computed on the same split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torchmetrics.functional import (
    mean_absolute_error,
    pearson_corrcoef,
)
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_confusion_matrix,
    multiclass_f1_score,
)

from biote.baselines.trees import tree_predictions, trees_name
from biote.baselines.trivial import trivial_baselines
from biote.commands.contact_comparison import separation_rows
from biote.commands.residue_comparison import residue_rows
from biote.datamodules.base import LabelledDataModule
from biote.datamodules.contact_map import ContactMapDataModule
from biote.datamodules.residues import ResidueDataModule
from biote.errors import ConfigError
from biote.tasks.class_metrics import matthews_corrcoef, present_classes_auroc
from biote.tasks.correlation import rank_correlation, varies
from biote.tasks.results import (
    ResultRow,
    prediction_frame,
    write_predictions,
    write_results,
)


def trivial_rows(data: LabelledDataModule, example: ResultRow, folder: Path) -> list[ResultRow]:
    """Results of the trivial baselines on the rows that were tested; written beside them.

    Args:
        data: The data of the test.
        example: A result of the test, whose benchmark and split they share.
        folder: Run folder.
    """
    if isinstance(data, ContactMapDataModule):
        return separation_rows(data, example, folder)
    if isinstance(data, ResidueDataModule):
        return residue_rows(data, example, folder)
    kind = _kind(data)
    train, test = data.seen_rows("train"), data.seen_rows("test")
    targets = np.array([row.target for row in train], np.float64)
    predictions = trivial_baselines(
        [row.parts for row in train],
        targets,
        [row.parts for row in test],
        train_groups=[row.group for row in train],
        kind=kind,
        n_classes=data.n_outputs,
        seed=data.seed,
    )
    return _write_baselines(data, example, folder, predictions)


def tree_rows(
    data: LabelledDataModule, example: ResultRow, folder: Path, *, protein_k_max: int
) -> list[ResultRow]:
    """Results of gradient-boosted trees on the rows that were tested; written beside them.

    Args:
        data: The data of the test.
        example: A result of the test, whose benchmark and split they share.
        folder: Run folder.
        protein_k_max: Longest k-mer of proteins.

    Raises:
        ConfigError: If scikit-learn is not installed.
    """
    train, test = data.seen_rows("train"), data.seen_rows("test")
    predictions = tree_predictions(
        [row.parts for row in train],
        np.array([row.target for row in train], np.float64),
        [row.parts for row in test],
        kind=_kind(data),
        n_classes=data.n_outputs,
        protein_k_max=protein_k_max,
        seed=data.seed,
    )
    return _write_baselines(data, example, folder, {trees_name(protein_k_max): predictions})


def _kind(data: LabelledDataModule) -> Literal["regression", "classification"]:
    kind = data.target_kind
    if kind == "contacts" or kind == "residues":
        raise ConfigError(
            f"{type(data).__name__} has no number or class for a row to predict",
            where="--trees",
            mend="leave the baseline out",
        )
    return kind


def _write_baselines(
    data: LabelledDataModule,
    example: ResultRow,
    folder: Path,
    predictions: Mapping[str, npt.NDArray[np.float64]],
) -> list[ResultRow]:
    """Score and write predictions for the tested rows, by name of the baseline."""
    truth = np.array([row.target for row in data.seen_rows("test")], np.float64)
    scores = {
        name: _scores(predicted, truth, kind=_kind(data)) for name, predicted in predictions.items()
    }
    return write_scored(data, example, folder, predictions, scores, in_units="mae")


def write_scored(
    data: LabelledDataModule,
    example: ResultRow,
    folder: Path,
    predictions: Mapping[str, npt.NDArray[np.float64]],
    scores: Mapping[str, Mapping[str, float]],
    *,
    in_units: str,
) -> list[ResultRow]:
    """Write predictions of models without weights for the tested rows, and their scores.

    Args:
        data: The data of the test.
        example: A result of the test, whose benchmark and split they share.
        folder: Run folder.
        predictions: By name of the model, one line a tested row.
        scores: By name of the model and of the metric.
        in_units: The metric that has the units of the data.

    Returns:
        Rows of the results.
    """
    test = data.seen_rows("test")
    truth = np.array([row.target for row in test], np.float64)
    rows: list[ResultRow] = []
    for name, predicted in predictions.items():
        rows += [
            replace(
                example,
                model=name,
                head="-",
                metric=metric,
                value=value,
                n=len(test),
                unit=data.unit if metric == in_units else "",
                weights_fingerprint="",
            )
            for metric, value in scores[name].items()
        ]
        write_predictions(
            folder,
            prediction_frame(
                model=name,
                split=data.tested_split,
                fold=data.fold,
                row_ids=[row.id for row in test],
                targets=torch.from_numpy(truth),
                predictions=torch.from_numpy(np.asarray(predicted, np.float64)),
            ),
        )
    write_results(folder, rows)
    return rows


def _scores(
    predicted: npt.NDArray[np.float64], truth: npt.NDArray[np.float64], *, kind: str
) -> Mapping[str, float]:
    """The task's metrics on plain arrays, (N, C) each; of classes, scores against indices."""
    if kind == "classification":
        scores = torch.from_numpy(predicted)
        classes = torch.from_numpy(truth[:, 0]).long()
        count = predicted.shape[1]
        values = {
            "mcc": matthews_corrcoef(multiclass_confusion_matrix(scores, classes, count)),
            "accuracy": multiclass_accuracy(scores, classes, count, average="micro"),
            "f1_macro": multiclass_f1_score(scores, classes, count, average="macro"),
            "f1_weighted": multiclass_f1_score(scores, classes, count, average="weighted"),
            # Scores of a regression need not be from 0 to 1; their ranks are what counts.
            "auroc": present_classes_auroc(_ranks(scores), classes),
        }
        return {name: float(value) for name, value in values.items()}
    columns = [
        (torch.from_numpy(predicted[:, i].copy()), torch.from_numpy(truth[:, i].copy()))
        for i in range(truth.shape[1])
    ]
    functions: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor | float]] = {
        "pcc": pearson_corrcoef,
        "spearman": rank_correlation,
        "mae": mean_absolute_error,
    }
    constant = not any(varies(p) for p, _ in columns)
    return {
        # A constant has no correlation with anything.
        name: float("nan")
        if constant and name != "mae"
        else float(np.mean([float(function(p, t)) for p, t in columns]))
        for name, function in functions.items()
    }


def _ranks(scores: torch.Tensor) -> torch.Tensor:
    """Scores of each class as numbers from 0 to 1 in the same order, ties kept, (N, C)."""
    columns = [column.unique(return_inverse=True)[1] for column in scores.unbind(1)]
    ranks = torch.stack(columns, dim=1).double()
    return ranks / max(1, len(scores))
